"""Try every sabotage, two at a time: `python -m tests.planted [words that a sabotage must contain]`.

Prints one line each; the exit code is 1 when one was not caught.
"""

from __future__ import annotations

import queue
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.planted.sabotage import Sabotage
from tests.planted.sabotages import SABOTAGES
from tests.planted.workshop import Workshop

_WORKSHOPS = 2


def main(words: list[str]) -> int:
    """Try those that contain all the words."""
    chosen = [one for one in SABOTAGES if all(word in f"{one.what} {one.path}" for word in words)]
    waiting: queue.SimpleQueue[Sabotage] = queue.SimpleQueue()
    for one in chosen:
        waiting.put(one)
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="farkeep-planted-") as folder:
        # Some tests work as an ordinary user, who has to read the copy.
        Path(folder).chmod(0o755)
        threads = [threading.Thread(target=_work, args=(Workshop(_made(Path(folder), number)), waiting, missed))
                   for number in range(_WORKSHOPS)]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(f"{len(chosen) - len(missed)} of {len(chosen)} sabotages were caught")
    return int(bool(missed) or not chosen)


def _made(folder: Path, number: int) -> Path:
    place = folder / str(number)
    place.mkdir()
    return place


def _work(workshop: Workshop, waiting: queue.SimpleQueue[Sabotage], missed: list[str]) -> None:
    while True:
        try:
            one = waiting.get_nowait()
        except queue.Empty:
            return
        began = time.monotonic()
        try:
            is_caught, said = workshop.is_caught(one)
        except Exception as error:
            is_caught, said = False, repr(error)
        if not is_caught:
            missed.append(one.what)
        verdict = "caught by" if is_caught else "NOT CAUGHT by"
        print(f"{one.what}: {verdict} {one.caught_by} ({time.monotonic() - began:.0f} s)", flush=True)
        if not is_caught:
            print(said, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
