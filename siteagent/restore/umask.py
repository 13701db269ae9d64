"""The file mode creation mask of this process, taken away while anything is being restored.

It belongs to the whole process, so restores that run side by side share one absence of it: the first takes it away,
the last puts it back.
"""

from __future__ import annotations

import os
import threading

_lock = threading.Lock()
_users: list[int] = []
"""The mask that each found; the first one is the real one."""


def take_away() -> None:
    """From here to `put_back` files and folders get exactly the modes that are asked for."""
    with _lock:
        _users.append(os.umask(0))


def put_back() -> None:
    """Nobody of those who called `take_away` once needs it any more."""
    with _lock:
        if len(_users) == 1:
            os.umask(_users[0])
            _users.clear()
        else:
            _users.pop()
