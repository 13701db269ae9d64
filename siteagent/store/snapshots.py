"""Manifests and reaches as files of the home, written durably before the fact that names them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection

from shared.errors import DamagedError, HostileError
from shared.manifest import MANIFEST_LIMIT_BYTES, Manifest, decode_manifest, decode_manifest_header, manifest_digest
from siteagent.disk.disk import Disk
from siteagent.disk.durable import PART, read_whole, remove_quietly, write_durably
from siteagent.store.names import SegmentName
from siteagent.store.reach import BYTES_MAX, Reach, apply, decode_reach
from siteagent.store.reader import Keys

_MANIFESTS, _REACHES, _SUFFIX = "snapshots", "reaches", ".manifest"
_ASIDE = ".aside"


class SnapshotFiles:
    """The manifests and reaches of one home."""

    def __init__(self, disk: Disk, keys: Keys) -> None:
        self._disk, self._keys = disk, keys

    def write(self, snapshot: bytes, manifest: bytes, reach: bytes) -> None:
        """Write both files; they are durable when this returns."""
        write_durably(self._disk, f"{_REACHES}/{snapshot.hex()}", reach)
        write_durably(self._disk, f"{_MANIFESTS}/{snapshot.hex()}{_SUFFIX}", manifest)

    def require_stored(self, manifest: Manifest, reach: Reach) -> None:
        """Read both files of a snapshot back and open them; raises DamagedError when they do not say this."""
        snapshot = manifest.header.snapshot
        if self.manifest(snapshot, None) != manifest or self.reach(snapshot) != reach:
            raise DamagedError("a manifest or a reach is not what was to be written: memory or disk is at fault",
                               subject=snapshot.hex(), next_step="test this machine's memory, then back up again")

    def manifest_bytes(self, snapshot: bytes) -> bytes:
        """A manifest as stored; raises DamagedError when it is missing."""
        return self._read(f"{_MANIFESTS}/{snapshot.hex()}{_SUFFIX}", MANIFEST_LIMIT_BYTES)

    def manifest(self, snapshot: bytes, digest: bytes | None) -> Manifest:
        """A manifest, checked against the digest its fact names (None: not checked)."""
        subject = f"{_MANIFESTS}/{snapshot.hex()}{_SUFFIX}"
        data = self.manifest_bytes(snapshot)
        if digest is not None and manifest_digest(data) != digest:
            raise DamagedError("a manifest is not the one its fact names", subject=subject,
                               next_step="restore this file from a copy or a partner")
        epoch = self._keys.epoch(decode_manifest_header(data, subject=subject).key_epoch)
        return decode_manifest(data, manifest_key=epoch.manifest_key, subject=subject)

    def reach(self, snapshot: bytes, digest: bytes | None = None) -> Reach:
        """A reach file, checked against the digest its fact names."""
        subject = f"{_REACHES}/{snapshot.hex()}"
        data = self._read(subject, BYTES_MAX)
        if digest is not None and manifest_digest(data) != digest:
            raise DamagedError("a reach is not the one its fact names", subject=subject,
                               next_step="restore this file from a copy or a partner")
        return decode_reach(data, subject)

    def segments(self, snapshot: bytes, digest: bytes | None = None) -> set[SegmentName]:
        """The whole set of segments a snapshot needs."""
        return apply(self.reach(snapshot, digest), self.reach)

    def manifests(self) -> list[bytes]:
        """Ids of all snapshots that have a manifest file."""
        names = self._disk.list(_MANIFESTS)
        return [bytes.fromhex(name.removesuffix(_SUFFIX)) for name in names if _is_manifest(name)]

    def remove_others(self, known: set[bytes]) -> None:
        """Remove what abandoned runs left: manifests and reaches of other snapshots than these, and unfinished files.

        The reach of a manifest that was set aside stays with it, and so does one that a kept reach differs from.
        """
        self._remove({snapshot.hex() for snapshot in known}, lambda *_: True)

    def remove(self, swept: Collection[bytes], known: set[bytes]) -> None:
        """Remove the manifests and reaches of these snapshots, and nothing that a running job may be writing.

        The reach of one that stays may differ from one of a swept snapshot, which is kept then.
        """
        gone = {snapshot.hex() for snapshot in swept}
        self._remove({snapshot.hex() for snapshot in known}, lambda stem, name: stem in gone and name[-5:] != PART)

    def _remove(self, kept: set[str], may_go: Callable[[str, str], bool]) -> None:
        manifests, reaches = self._disk.list(_MANIFESTS), self._disk.list(_REACHES)
        kept.update(name.partition(".")[0] for name in manifests if name.endswith(_ASIDE))
        bases: set[str] | None = None
        for folder, suffix, names in ((_MANIFESTS, _SUFFIX, manifests), (_REACHES, "", reaches)):
            for name in names:
                stem = name.removesuffix(PART).removesuffix(suffix)
                is_left = name == stem + suffix + PART or (name == stem + suffix and stem not in kept)
                if not is_left or not _is_id(stem) or not may_go(stem, name):
                    continue
                if folder == _REACHES and name == stem:
                    bases = self._bases(kept) if bases is None else bases
                    if stem in bases:
                        continue
                remove_quietly(self._disk, f"{folder}/{name}")

    def _bases(self, kept: set[str]) -> set[str]:
        """The ids of all snapshots whose reaches those of `kept` rest on."""
        found: set[str] = set()
        for stem in filter(_is_id, kept):
            snapshot = bytes.fromhex(stem)
            with contextlib.suppress(DamagedError, HostileError):
                while (base := self.reach(snapshot).base) and base.hex() not in found:
                    found.add(base.hex())
                    snapshot = base
        return found

    def set_aside(self, snapshot: bytes) -> str:
        """Give a manifest that cannot be used a name that stands for no snapshot; returns it."""
        path = f"{_MANIFESTS}/{snapshot.hex()}{_SUFFIX}"
        self._disk.rename(path, path + _ASIDE)
        self._disk.sync_folder(_MANIFESTS)
        return path + _ASIDE

    def _read(self, path: str, limit_bytes: int) -> bytes:
        try:
            return read_whole(self._disk, path, limit_bytes=limit_bytes)
        except FileNotFoundError:
            raise DamagedError("a file of a snapshot is missing", subject=path,
                               next_step="restore this file from a copy or a partner; see `farkeep verify`") from None


def _is_manifest(name: str) -> bool:
    return name.endswith(_SUFFIX) and _is_id(name.removesuffix(_SUFFIX))


def _is_id(stem: str) -> bool:
    return len(stem) == 32 and set(stem) <= set("0123456789abcdef")
