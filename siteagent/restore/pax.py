"""Headers of tar archives in the pax interchange format (POSIX.1-2017, pax, "ustar Interchange Format" and "pax
Extended Header"), made one by one for a stream that is never sought.

What the 512 bytes of a ustar header cannot say goes into an extended header (type `x`) before it: `mtime` with
nanoseconds, long or odd names (`path`, `linkpath`), large numbers (`size`, `uid`, `gid`), and extended attributes as
`SCHILY.xattr.<name>` with raw values, `%` and `=` in names written %25 and %3D (as GNU tar does). Names are raw bytes;
where they are no UTF-8 the extended header begins with `hdrcharset=BINARY`.
"""

from __future__ import annotations

from msgspec import Struct, field

BLOCK_BYTES = 512
FILE, HARD_LINK, LINK, CHARACTER_DEVICE, BLOCK_DEVICE, FOLDER, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
END = bytes(2 * BLOCK_BYTES)
_NAME_MAX, _LINK_MAX = 100, 100
_SECOND_NS = 1_000_000_000


class Member(Struct, frozen=True):
    """One member of an archive; `link` is the target of a link or the name that a hard link leads to."""

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)


def header(member: Member) -> bytes:
    """The blocks that come before the content of a member."""
    records = _records(member)
    if not records:
        return _block(member, member.kind, member.size)
    name = b"././@PaxHeader"
    about = Member(name, b"x", 0o644, 0, 0, len(records), 0)
    return _block(about, b"x", len(records)) + records + padding(len(records)) + _block(member, member.kind,
                                                                                        member.size)  # fmt: skip


def padding(size_bytes: int) -> bytes:
    """The zeros that fill the last block of a content."""
    return bytes(-size_bytes % BLOCK_BYTES)


def _records(member: Member) -> bytes:
    pairs: list[tuple[bytes, bytes]] = []
    if len(member.name) > _NAME_MAX or not member.name.isascii():
        pairs.append((b"path", member.name))
    if len(member.link) > _LINK_MAX or not member.link.isascii():
        pairs.append((b"linkpath", member.link))
    if not _is_utf8(member.name + member.link):
        pairs.insert(0, (b"hdrcharset", b"BINARY"))
    seconds, rest_ns = divmod(member.mtime_ns, _SECOND_NS)
    if rest_ns or not 0 <= seconds < 8**11:
        pairs.append((b"mtime", _decimal(member.mtime_ns)))
    numbers = ((b"size", member.size, 11), (b"uid", member.uid, 7), (b"gid", member.gid, 7))
    pairs += [(key, b"%d" % value) for key, value, digits in numbers if value >= 8**digits]
    pairs += [(b"SCHILY.xattr." + _keyword(name), value) for name, value in sorted(member.xattrs.items())]
    return b"".join(_record(key, value) for key, value in pairs)


def _record(key: bytes, value: bytes) -> bytes:
    """`<length> <key>=<value>\\n`, the length counting its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _block(member: Member, kind: bytes, size: int) -> bytes:
    fields = (
        _text(member.name, 100), _octal(member.mode & 0o7777, 8), _octal(member.uid, 8), _octal(member.gid, 8),
        _octal(size, 12), _octal(max(member.mtime_ns // _SECOND_NS, 0), 12), b" " * 8, kind,
        _text(member.link, 100), b"ustar\x0000", bytes(32), bytes(32), _octal(member.device[0], 8),
        _octal(member.device[1], 8), bytes(155 + 12),
    )  # fmt: skip
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _text(value: bytes, width: int) -> bytes:
    return value[:width].ljust(width, b"\0")


def _octal(value: int, width: int) -> bytes:
    """A number in octal digits and a zero byte; one that does not fit stands in the extended header."""
    return b"%0*o\0" % (width - 1, value if value < 8 ** (width - 1) else 0)


def _decimal(time_ns: int) -> bytes:
    sign, magnitude = ("-", -time_ns) if time_ns < 0 else ("", time_ns)
    seconds, rest_ns = divmod(magnitude, _SECOND_NS)
    return f"{sign}{seconds}.{rest_ns:09}".encode()


def _keyword(name: bytes) -> bytes:
    return name.replace(b"%", b"%25").replace(b"=", b"%3D")


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
