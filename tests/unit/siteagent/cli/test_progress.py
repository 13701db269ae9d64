"""The one line of progress."""

import io
import threading

import pytest

from siteagent.cli.progress import Progress, Sample, describe
from tests.support.command_line import Terminal

MIB = 1 << 20


@pytest.mark.parametrize(("sample", "elapsed_s", "text"), [
    (Sample(50 * MIB, 7, 100 * MIB), 10.0, " 50%  50.0 MiB of 100 MiB, 5.0 MiB/s, 10 s left, 7 files"),
    (Sample(5 * MIB, 1200, 20 * MIB, True), 5.0, " 25%  5.0 MiB of about 20.0 MiB, 1.0 MiB/s, 15 s left, 1 200 files"),
    (Sample(50 * MIB, 7), 10.0, "50.0 MiB, 5.0 MiB/s, 10 s, 7 files"),
    (Sample(50 * MIB, 7, 100 * MIB), 1.0, " 50%  50.0 MiB of 100 MiB, 50.0 MiB/s, 1.0 s, 7 files"),
    (Sample(300 * MIB, 0, 100 * MIB, True), 10.0, "300 MiB, 30.0 MiB/s, 10 s"), (Sample(0, 0), 0.0, "0 B, 0.0 s"),
])  # fmt: skip
def test_rate_and_time_left_are_said_when_they_mean_something(sample: Sample, elapsed_s: float, text: str) -> None:
    assert describe(sample, elapsed_s) == text


def test_a_line_fits_the_terminal_and_is_erased_at_the_end() -> None:
    terminal = Terminal()
    moments = iter([0.0, 4.0])
    with Progress(terminal, "backup", columns=lambda: 30, monotonic=lambda: next(moments)) as progress:
        progress.watch(lambda: Sample(8 * MIB, 3, 16 * MIB))
        progress.draw()
        assert terminal.getvalue() == "\r\x1b[K" + "backup:  50%  8.0 MiB of 16.0 MiB, 2.0 MiB/s"[:29]
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert not any(thread.name == "progress" for thread in threading.enumerate())


@pytest.mark.parametrize(("stream", "is_wanted"), [(io.StringIO(), True), (Terminal(), False)])
def test_nothing_is_shown_where_nobody_looks_or_it_is_not_wanted(stream: io.StringIO, is_wanted: bool) -> None:
    with Progress(stream, "backup", is_wanted=is_wanted) as progress:
        progress.watch(lambda: Sample(1, 1))
        assert not any(thread.name == "progress" for thread in threading.enumerate())
    assert stream.getvalue() == ""
