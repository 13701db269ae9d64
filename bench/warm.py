"""Puts the machine into the same state before every measured run: inputs in the page cache, memory already backed."""

import os
import subprocess
import sys
from pathlib import Path

BLOCK_BYTES = 1 << 20
TOUCH_PROGRAM = "import sys; b'x' * int(sys.argv[1])"


def read_all(folder: Path) -> None:
    """Read every file below `folder` once, so that the page cache holds it."""
    buffer = bytearray(BLOCK_BYTES)
    for root, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(root, name), "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def touch_memory(size_bytes: int) -> None:
    """Let a short-lived process write `size_bytes` of memory, which the next process then gets to use.

    Where the host of a virtual machine backs memory on first touch only, a page never used before costs about ten
    times as much as one used again (2 GB written to a tmpfs: 7.8 s instead of 0.8 s). Without this the first tool to
    reach new memory would pay for all that follow.
    """
    subprocess.run([sys.executable, "-S", "-c", TOUCH_PROGRAM, str(size_bytes)], check=True)
