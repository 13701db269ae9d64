"""One restful line on a terminal: what is done, how fast, how long it will take. Nothing where nobody looks.

A thread wakes twice a second and asks for the figures; the work itself is not touched.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple, TextIO

from siteagent.cli.sizes import shown_count, shown_duration, shown_size

_EVERY_S = 0.5
_SETTLE_S = 2.0
_ERASE = "\r\x1b[K"


class Sample(NamedTuple):
    """Figures at one moment; `total_bytes` 0: not known. `is_estimate`: the total is what the previous run saw."""

    done_bytes: int
    files: int
    total_bytes: int = 0
    is_estimate: bool = False


def describe(sample: Sample, elapsed_s: float) -> str:
    """The line for people: `41%  1.2 GiB of 2.9 GiB, 310 MiB/s, 6 s left, 12 345 files`; the end may be cut off."""
    parts = [shown_size(sample.done_bytes)]
    share = sample.done_bytes / sample.total_bytes if sample.total_bytes else 0.0
    if sample.total_bytes and share <= 1:
        about = "about " if sample.is_estimate else ""
        parts = [f"{share:4.0%}  {shown_size(sample.done_bytes)} of {about}{shown_size(sample.total_bytes)}"]
    if elapsed_s > 0:
        parts.append(f"{shown_size(sample.done_bytes / elapsed_s)}/s")
    if elapsed_s >= _SETTLE_S and 0 < share < 1:
        parts.append(f"{shown_duration(elapsed_s / share - elapsed_s)} left")
    else:
        parts.append(shown_duration(elapsed_s))
    if sample.files:
        parts.append(f"{shown_count(sample.files)} files")
    return ", ".join(parts)


class Progress:
    """Shows the line while a block runs; a context manager."""

    def __init__(self, stream: TextIO, label: str, *, is_wanted: bool = True, columns: Callable[[], int] | None = None,
                 monotonic: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._label, self._monotonic = stream, label, monotonic
        self.is_shown = is_wanted and stream.isatty()
        self._columns = columns or _terminal_columns
        self._sample: Callable[[], Sample] | None = None
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._began = monotonic()

    def watch(self, sample: Callable[[], Sample]) -> None:
        """Take the figures from here."""
        self._sample = sample
        if self.is_shown and self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name="progress")
            self._thread.start()

    def draw(self) -> None:
        """Draw the line once."""
        if self._sample is not None:
            text = f"{self._label}: {describe(self._sample(), self._monotonic() - self._began)}"
            self._stream.write(_ERASE + text[: max(self._columns() - 1, 10)])
            self._stream.flush()

    def _run(self) -> None:
        while not self._end.wait(_EVERY_S):
            self.draw()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()
            self._stream.write(_ERASE)
            self._stream.flush()


def _terminal_columns() -> int:
    from shutil import get_terminal_size

    return get_terminal_size().columns
