"""The values a hostile tree is made of: names, modes, times, sizes, link targets, owners, attributes."""

import struct

from tests.support.acls import ACCESS, DEFAULT, acl_value
from tests.support.descriptions import Content, Fill

KIB = 1024
MIB = 1024 * 1024
SECOND_NS = 1_000_000_000

# Names that read as options, patterns, references, escape sequences, other names, or no text at all.
NAMES: tuple[bytes, ...] = (
    b"plain.txt",
    b" ",
    b" leading",
    b"trailing ",
    b"two  spaces",
    b"\n",
    b"new\nline",
    b"carriage\rreturn",
    b"tab\there",
    b"-rf",
    b"--",
    b"--delete",
    b"...",
    b"....",
    b"..a",
    b".farkeep",
    b".hidden",
    b"Case",
    b"case",
    b"CASE",
    b"\xc3\xa9",
    b"e\xcc\x81",
    b"\x01",
    b"\x01\xff",
    b"\x7f",
    b"\xff",
    b"\xff\xfe\xfd",
    b"\xc3\x28",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\xaf",
    b"\x1b[31mred\x1b[0m",
    b"\x1b]0;title\x07",
    b"\x9b2J",
    b"\xe2\x80\xaetxt.exe",
    b"\xef\xbb\xbfmark",
    b"zero\xe2\x80\x8bwidth",
    b"x" * 255,
    b"\xe2\x82\xac" * 85,
    b"\xff" * 255,
    b"back\\slash",
    b"\\x41",
    b"%2e%2e%2f",
    b"a:b",
    b":",
    b"latest:",
    b"name@latest",
    b"*",
    b"?",
    b"[a-z]",
    b"!not",
    b"#comment",
    b"~",
    b"$HOME",
    b"`id`",
    b"'single'",
    b'"double"',
    b"a;b|c&d",
    b"{0}%s",
    b"CON",
    b"null",
    b"0",
    b"core.tmp~",
)

# A folder "a" sorts against these differently by component than by whole path: "/" is 0x2f.
SORT_TRAPS: tuple[bytes, ...] = (b"a", b"a\x01", b"a ", b"a!", b"a-b", b"a.b", b"a0", b"ab", b"a\xff")

MODES: tuple[int, ...] = (
    *(0o000, 0o400, 0o200, 0o100, 0o444, 0o600, 0o644, 0o755, 0o777, 0o007, 0o070),
    *(0o4755, 0o2755, 0o6711, 0o1777, 0o7777, 0o4000, 0o2000, 0o1000),
)

TIMES_NS: tuple[int, ...] = (
    0,
    1,
    -1,
    999_999_999,
    -999_999_999,
    -SECOND_NS,
    -SECOND_NS - 1,
    -(2**31) * SECOND_NS,
    -(2**31) * SECOND_NS + 1,
    -(2**31) * SECOND_NS - 1,
    -14_182_940 * SECOND_NS + 500_000_007,
    (2**31 - 1) * SECOND_NS + 999_999_999,
    2**31 * SECOND_NS,
    2**32 * SECOND_NS + 3,
    2**33 * SECOND_NS,
    2**33 * SECOND_NS + 123_456_789,
    1_700_000_000 * SECOND_NS,
    1_700_000_000_123_456_789,
    4_102_444_800 * SECOND_NS + 1,
    15_032_385_535 * SECOND_NS,
)

SMALL_SIZES: tuple[int, ...] = (0, 1, 2, 7, 511, 512, 4095, 4096, 4097, 20_000)
# Around the edges of one-chunk files, of chunk lengths, and of reads.
EDGE_SIZES: tuple[int, ...] = (
    *(16 * KIB - 1, 16 * KIB, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1),
    *(128 * KIB - 1, 128 * KIB, 128 * KIB + 1, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, 300_001),
    *(MIB - 1, MIB, MIB + 1),
)

TARGETS: tuple[bytes, ...] = (
    b"plain.txt",
    b"missing",
    b"..",
    b".",
    b"../..",
    b"../../../../../../../../../../../../../../../../etc/passwd",
    b"/",
    b"/etc/hostname",
    b"/nonexistent/absolute",
    b"//double//slash/",
    b"dot/./dot",
    b" ",
    b"-rf",
    b"new\nline",
    b"\xff\xfe not text",
    b"\x1b[2J",
    b"/proc/self/root",
    b"x" * 255,
    b"y" * 1023,
    b"y" * 1025,
    b"up/" * 600 + b"end",
    b"a/" * 2047 + b"z",
)

OWNERS: tuple[tuple[int, int], ...] = ((0, 0), (1000, 1000), (12345, 54321), (65534, 65534), (0, 70000), (2**32 - 2, 1))

DEVICES: tuple[tuple[bool, int, int], ...] = ((False, 1, 3), (False, 5, 1), (True, 7, 200), (False, 4095, 1048575))

SPARSE: tuple[Content, ...] = (
    Content(4 * MIB, extents=()),
    Content(5 * MIB, 1, extents=((2 * MIB, 70_000),)),
    Content(3 * MIB + 17, 2, extents=((0, 4096),)),
    Content(5 * MIB + 1, 3, extents=((5 * MIB, 1),)),
    Content(64 * KIB, 4, extents=()),
    Content(192 * KIB, 5, extents=((0, 64 * KIB), (128 * KIB, 64 * KIB))),
    Content(2 * MIB, 6, extents=tuple((place * 128 * KIB, 64 * KIB) for place in range(16))),
    Content(MIB, 7, extents=tuple((place * 16 * KIB, 4 * KIB) for place in range(64))),
    Content(6 * MIB, 8, Fill.TEXT, extents=((1 * MIB + 100, 200_000), (4 * MIB - 1, 2))),
    Content(3, 9, extents=()),
    Content(2 * MIB, 10, Fill.ZEROS, extents=((512 * KIB, 512 * KIB),)),
)

USER_XATTRS: tuple[tuple[bytes, bytes], ...] = (
    (b"user.empty", b""),
    (b"user.text", b"caf\xc3\xa9"),
    (b"user.binary", bytes(range(256))),
    (b"user.nul", b"\0\0\0"),
    (b"user.\xff\x01 odd\nname", b"\xff\n"),
    (b"user.just_in_line", b"i" * 1024),
    (b"user.out_of_line", b"o" * 1025),
    (b"user.long", bytes((place * 7) % 256 for place in range(2048))),
)
TRUSTED_XATTR = (b"trusted.overlay.test", b"\x00trusted\xff")
# struct vfs_cap_data, revision 2, effective, cap_net_bind_service (linux/capability.h): lost by a later chown.
CAPABILITY_XATTR = (b"security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))

ACCESS_ACL = (ACCESS, acl_value(7, 5, 0, users={1000: 7, 12345: 4}, groups={70000: 5}))
MASKED_ACL = (ACCESS, acl_value(6, 6, 4, users={0: 6}, groups={}, mask=4))
DEFAULT_ACL = (DEFAULT, acl_value(7, 5, 5, users={1000: 7}, groups={54321: 0, 54322: 1}))
LONG_ACL = (ACCESS, acl_value(7, 7, 7, users=dict.fromkeys(range(2000, 2100), 5), groups={1: 1}))
