"""What a restore would do: compare sizes and times, touch nothing."""

from __future__ import annotations

import os
import stat

from shared.tree import FILE
from siteagent.disk.confined import Confined
from siteagent.restore.messages import Answer
from siteagent.restore.worker import Mapping
from siteagent.store.catalog import Catalog
from siteagent.store.entry import Entry


def preview(catalog: Catalog, mapping: Mapping, confined: Confined | None) -> Answer:
    """Count what would be written and what is right already; `confined` None: the target is not there."""
    answer = Answer()
    for entry in catalog.below(mapping.prefix):
        if not mapping.wants(entry) or entry.type != FILE:
            continue
        answer.files += 1
        if confined is not None and _is_there(confined, mapping.folder(entry.folder), entry):
            answer.unchanged += 1
        else:
            answer.written += 1
            answer.bytes_written += entry.size
    return answer


def _is_there(confined: Confined, path: tuple[bytes, ...], entry: Entry) -> bool:
    handle = confined.existing(path)
    if handle is None:
        return False
    try:
        about = os.stat(entry.name, dir_fd=handle, follow_symlinks=False)
    except OSError:
        return False
    finally:
        os.close(handle)
    return (stat.S_ISREG(about.st_mode), about.st_size, about.st_mtime_ns) == (True, entry.size, entry.mtime_ns)
