"""Catalogs that contradict themselves: rows that no honest writer makes, with what each of them tries."""

from __future__ import annotations

import os
from collections.abc import Callable

from shared.sealing import digest
from shared.tree import BLOCK_DEVICE, CHARACTER_DEVICE, HOLE, folder_key
from siteagent.store.entry import Entry
from siteagent.store.writer import StoreWriter
from tests.support.forged import forged_entry

Rows = Callable[[StoreWriter], list[Entry]]
_TOP, _A = b"", b"a"


def _rows(*kinds: tuple[bytes, bytes, str]) -> Rows:
    return lambda store: [forged_entry(store, *kind) for kind in kinds]


def _but(kind: str = "file", **changed: object) -> Rows:
    """A good folder with a good file, and between them an entry that lies in one thing."""

    def make(store: StoreWriter) -> list[Entry]:
        if "segments" in changed:
            changed["segments"] = (store.put(memoryview(b"elsewhere"))[1],) * len(changed["segments"])  # type: ignore[arg-type]
        lie = forged_entry(store, _A, b"lie", kind)._replace(**changed)  # type: ignore[arg-type]
        return [forged_entry(store, _TOP, _A, "folder"), forged_entry(store, _A, b"file", "file"), lie]

    return make


def _linked(store: StoreWriter) -> list[Entry]:
    """One group for a link that leads out, a file, and another file."""
    top, leads = forged_entry(store, _TOP, _A, "folder"), forged_entry(store, _A, b"1", "link")
    one, other = (forged_entry(store, _A, name, "file") for name in (b"2", b"3"))
    other = other._replace(ids=HOLE, segments=(), size=7)
    return [top, *(row._replace(link_group=99) for row in (leads, one, other))]


def _xattrs(name: bytes, value: bytes) -> bytes:
    return b"\0" + len(name).to_bytes(2, "little") + len(value).to_bytes(4, "little") + name + value


LIES: dict[str, Rows] = {
    "a link, then a file through it": _rows((_TOP, _A, "link"), (_A, b"kept", "file")),
    "a link, then a folder through it": _rows((_TOP, _A, "link"), (_A, b"x", "folder"), (b"a\0x", b"kept", "file")),
    "a link, then a link through it": _rows((_TOP, _A, "link"), (_A, b"kept", "link")),
    "a file, then a file in it": _rows((_TOP, _A, "file"), (_A, b"kept", "file")),
    "a large file, then a file in it": _rows((_TOP, _A, "large"), (_A, b"kept", "file")),
    "a file in what is not there": _rows((_TOP, b"b", "folder"), (_A, b"kept", "file")),
    "a link and a folder of one name": _rows((_TOP, _A, "link"), (_TOP, _A, "folder"), (_A, b"kept", "file")),
    "a folder and a link of one name": _rows((_TOP, _A, "folder"), (_TOP, _A, "link"), (_A, b"kept", "file")),
    "a file twice": _rows((_TOP, _A, "folder"), (_A, b"x", "file"), (_A, b"x", "file")),
    "out of order": _rows((_TOP, _A, "folder"), (_A, b"y", "file"), (_A, b"x", "file")),
    "folders out of order": _rows((_A, b"y", "file"), (_TOP, _A, "folder")),
    "a folder in two parts": _rows((_TOP, _A, "folder"), (_A, b"x", "file"), (_TOP, b"b", "file")),
    "another size, more": _but(size=1 << 20),
    "another size, less": _but(size=3),
    "another size, none": _but(size=0),
    "a size beyond every disk": _but("large", size=(1 << 62)),
    "a size that is no number of bytes": _but(size=-1),
    "a size beyond every number": _but(size=1 << 63),
    "large, and longer than its pieces": _but("large", size=(9 << 20) + 4096),
    "large, and shorter than its pieces": _but("large", size=(9 << 20) - 4096),
    "content in another segment": _but(segments=(b"",), ids=digest(b"another")),
    "a chunk that is not in its segment": _but(ids=digest(b"none")),
    "a hole of megabytes": _but(ids=HOLE, segments=(), size=1 << 24),
    "no type": _but(type=0),
    "a type of the future": _but(type=9),
    "a negative type": _but(type=-3),
    "a size, no content": _but(ids=b"", segments=()),
    "a user beyond every number": _but(uid=1 << 40),
    "a negative group": _but(gid=-5),
    "a time beyond the end": _but(mtime_ns=1 << 100),
    "a time before the beginning": _but(mtime_ns=-(1 << 100)),
    "flags that nobody knows": _but(flags=1 << 20),
    "negative flags": _but(flags=-1),
    "a negative inode": _but(inode=-1),
    "a mode beyond every number": _but(mode=1 << 40),
    "a device beyond every number": _but(type=CHARACTER_DEVICE, device=1 << 90, ids=b"", segments=()),
    "a negative device": _but(type=BLOCK_DEVICE, device=-1, ids=b"", segments=()),
    "a link to nothing": _but("link", target=b""),
    "a link to an empty name": _but("link", target=b"\0"),
    "a link to a cut name": _but("link", target=b"\0" + b"x\0y"),
    "a link to what is too long": _but("link", target=b"\0" + b"y" * 4097),
    "a target of no kind": _but("link", target=b"\7x"),
    "a target elsewhere, cut off": _but("link", target=b"\1\0\0", segments=(b"",)),
    "a target elsewhere that is nowhere": _but("link", target=b"\1" + bytes(36), segments=(b"",)),
    "an attribute without a name": _but(xattrs=_xattrs(b"", b"x")),
    "an attribute with a cut name": _but(xattrs=_xattrs(b"user.\0x", b"x")),
    "attributes that end too soon": _but(xattrs=b"\0\xff\xff\xff\xff\xff\xffx"),
    "attributes of no kind": _but(xattrs=b"\7x"),
    "an attribute for the kernel": _but(xattrs=_xattrs(b"system.nothing", b"x")),
    "a list of no level": _but(ids=b"", tree=b"\1"),
    "a list of 255 levels": _but(ids=b"", tree=b"\xff" + digest(b"x")),
    "a list that is a chunk": _but(ids=b"", tree=b"\0" + digest(b"x")),
    "a list and chunks": _but(tree=b"\0" + digest(b"x"), segments=(b"", b"")),
    "pieces of no length": _but("large", lengths=(0,) * 16),
    "pieces of negative length": _but("large", lengths=(-1,) * 16),
    "pieces of other lengths": _but("large", lengths=(4096,) * 16),
    "pieces beyond every number": _but("large", lengths=(1 << 62,) * 16),
    "a group of names that are not one file": _linked,
    "a link in a group of its own": _but("link", link_group=5),
    "a folder in a group": _but("folder", link_group=5),
    "folders nested beyond the limit": lambda store: [
        forged_entry(store, _TOP, _A, "folder"), forged_entry(store, folder_key([_A] * 17_000), b"kept", "file")],
    "folders nested to the limit": lambda store: [
        forged_entry(store, _TOP, _A, "folder"), forged_entry(store, folder_key([_A] * 900), b"kept", "file")],
    "set-user-id for root": _but(mode=0o104755, uid=0, gid=os.getgid()),
}  # fmt: skip
HARMLESS = frozenset({
    "flags that nobody knows", "a hole of megabytes", "a link in a group of its own", "a folder in a group",
    "set-user-id for root", "a link to what is too long", "an attribute for the kernel",
    "a group of names that are not one file", "folders nested to the limit", "a file in what is not there",
    "a link, then a file through it", "a link, then a folder through it", "a link, then a link through it",
    "a file, then a file in it", "a large file, then a file in it",
})  # fmt: skip
"""What a restore may do without a word, or cannot judge: it stays inside all the same."""
