"""Names that were used, or could be used, to make a program write,
        read or show what it should not: groups with reasons.

`CORPUS` is data: (why, names). A name is what stands in a catalog as one component,
        raw bytes. Linux allows most of them
as names of files (`is_possible`); the others can only be forged.
"""

from __future__ import annotations

_DEVICES = (b"CON", b"PRN", b"AUX", b"NUL", b"CONIN$", b"CONOUT$", b"CLOCK$", b"COM1", b"COM9", b"LPT1", b"LPT9")
_DOTS = ("\u2024", "\u2025", "\u2026", "\uff0e", "\ufe52", "\u3002", "\uff61")
_SLASHES = ("\u2044", "\u2215", "\u29f8", "\uff0f", "\u2571", "\u29f5", "\ufe68", "\uff3c", "\u0338")
_UNSEEN = ("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u034f", "\u180e", "\u3164", "\u115f", "\u2800",
           "\u00a0", "\u2003", "\u3000")  # fmt: skip
_TURNING = ("\u200e", "\u200f", "\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068",
        "\u2069",
            "\u061c")  # fmt: skip
_SEQUENCES = (b"[2J", b"[H", b"[31m", b"[?1049h", b"[6n", b"[21t", b"]0;title\x07", b"]52;c;cm0=\x07",
              b"]8;;file:///etc\x07", b"Pq#0", b"c", b"7", b"(0", b"^x\x1b\\", b"_x\x1b\\", b"[5i", b"[>c", b"[1;9999r",
              b"]4;1;?\x07", b"[200~")  # fmt: skip

CORPUS: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    ("leads out of the folder, as it stands", (b"", b".", b"..", b"/", b"//", b"./", b"../", b"/..", b"/.")),
    ("leads out through a path in one name", (
        b"../x", b"../../x", b"a/../../x", b"./../x", b"a/b", b"a/", b"/a", b"a//b", b"..//x", b"x/..", b"x/../..",
        b"../outside", b"../outside/kept", b"../../../../../../../../etc/passwd", b"a/./../../x", b"/../x", b"..\0/x",
        b"../" * 60 + b"x", b"a" * 200 + b"/../../x")),
    ("is absolute", (b"/etc/passwd", b"//etc/passwd", b"/tmp/farkeep-forged", b"///tmp/farkeep-forged",
        b"/proc/self/cwd",
                     b"/proc/self/root/x", b"/dev/fd/1", b"/dev/stdout")),
    ("traversal in the spelling of other systems", (
        b"..\\x", b"..\\..\\x", b"\\..\\x", b"a\\..\\..\\x", b"..\\/x", b"\\", b"\\\\", b"a\\b", b"..\\", b".\\x",
        b"....\\\\x", b"..;\\x", b"\\etc\\passwd")),
    ("traversal in the spelling of URLs", (
        b"%2e%2e%2f", b"%2e%2e", b"..%2f", b"..%2Fx", b"%2e%2e%5c", b"..%5cx", b"%252e%252e%252f", b"..%c0%af",
        b"%c0%ae%c0%ae%c0%af", b"%u002e%u002e%u2215", b"..%00", b"%2f", b"%00", b"file:%2f%2f%2fetc", b"..%ff", b"%")),
    ("dots that are trimmed or doubled elsewhere", (
        b"...", b"....", b".....", b".. ", b" ..", b". ", b" .", b"..\t", b"\t..", b"..\n", b"\n..", b"..\r", b". .",
        b"x.", b"x..", b"x ", b" x", b".x", b"..x", b"x .", b". . .", b"..." * 80)),
    ("absolute or shared on Windows", (
        b"C:", b"c:", b"C:\\", b"C:\\Windows\\x", b"C:x", b"\\\\server\\share", b"\\\\?\\C:\\x", b"\\\\.\\pipe\\x",
        b"\\??\\C:\\x", b"\\\\localhost\\c$\\x", b"\\Device\\HarddiskVolume1", b"\\\\?\\UNC\\server\\share", b"Z:..",
        b"shell:startup", b"::{20d04fe0-3aea-1069-a2d8-08002b30309d}")),
    ("alternate data streams", (
        b"x:y", b"x::$DATA", b":x", b"x:", b"::$DATA", b"x:$DATA", b"x:y:$DATA", b"dir:$I30:$INDEX_ALLOCATION", b"x:..",
        b"$MFT", b"$Extend", b"x:y:z:w", b"file.txt:Zone.Identifier")),
    ("device names of Windows", (
        *_DEVICES, *(name.lower() for name in _DEVICES), *(name + b".txt" for name in _DEVICES),
        *(name + b" " for name in _DEVICES), b"COM\xc2\xb9", b"LPT\xc2\xb2", b"NUL.tar.gz", b"aux.", b"con:")),
    ("dots in other scripts", (
        *((dot * 2).encode() for dot in _DOTS), *(dot.encode() for dot in _DOTS),
        *(f"{dot}{dot}\u2215x".encode() for dot in _DOTS))),
    ("slashes in other scripts", (
        *(f"..{slash}x".encode() for slash in _SLASHES), *(slash.encode() for slash in _SLASHES))),
    ("overlong, cut and forbidden UTF-8", (
        b"\xc0\xae\xc0\xae", b"\xc0\xaf", b"..\xc0\xafx", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf",
        b"\xc1\x9c", b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xfe",
        b"\xff",
        b"\xff\xfe", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\x80", b"\xbf", b"a\xffb", b"\xc3\x28", b"\xfc\x80",
        b"\xef\xbf\xbe", b"\xef\xbf\xbf")),
    ("same letters to a system that folds case", (
        b"File", b"file", b"FILE", b"fILE", b"Stra\xc3\x9fe", b"STRASSE", b"strasse", "\u0130".encode(),
        "i\u0307".encode(),
        "\u0131".encode(), b"I", b"i", "\u212a".encode(), b"K", b"k", "\u017f".encode(), b"S", b"s")),
    ("same letters to a system that normalises", (
        "\u00e9".encode(), "e\u0301".encode(), "\u212b".encode(), "\u00c5".encode(), "A\u030a".encode(),
        "\ufb01".encode(), b"fi", "\u2126".encode(), "\u03a9".encode(), "\u1e9b\u0323".encode(), "\uff21".encode(),
        b"A",
        "\u00bd".encode(), "1\u20442".encode(), "\u2160".encode(), ("e" + "\u0301" * 100).encode())),
    ("nothing to see", (*(f"a{mark}b".encode() for mark in _UNSEEN), *(mark.encode() for mark in _UNSEEN))),
    ("turns the text around it", (*(f"gpj{mark}exe".encode() for mark in _TURNING),
        *(mark.encode() for mark in _TURNING))),
    ("NUL, where C ends a name", (b"\0", b"x\0", b"\0x", b"x\0y", b"..\0", b"\0..", b"good\0/../x")),
    ("line ends and other controls", (
        *(b"a" + bytes((number,)) + b"b" for number in range(1, 32)), b"\x7f", b"a\x7fb", b"\n", b"\r", b"\r\n",
        b"a\nb\nc",
        "\u2028".encode(), "\u2029".encode(), "\u0085".encode(), "\ufff9x\ufffb".encode())),
    ("speaks to a terminal", (
        *(b"\x1b" + sequence for sequence in _SEQUENCES), *(b"\xc2\x9b" + rest for rest in (b"2J", b"31m", b"6n")),
        b"\x9b2J", b"\x90q", "\u009d0;x\u0007".encode(), b"a\b\b\bb", b"\x0e", b"\x0f", b"\x05", b"a\rb")),
    ("reads as mark-up", (
        b"[red]x[/red]", b"[/]", b"[bold", b"[link=file:]x[/link]", b"[blink]", b"\\[x]", b"<b>x<b>", b"<script>",
        b"&lt;",
        b"{0}", b"{x}", b"%s%n", b"%(x)s", b"${x}", b"$(id)", b"`id`", b"{{7*7}}", b":skull:", b"**x**", b"__x__")),
    ("reads as an option, a pattern or a reference", (
        b"-", b"--", b"-rf", b"--json", b"--delete", b"-v", b"-h", b"--to=x", b"-0", b"@x", b"+x", b"~", b"~root",
        b"*", b"?",
        b"[a-z]", b"!x", b"#x", b"latest", b"latest:", b"latest@x", b"a;b", b"a|b", b"a&b", b"a>b", b"'", b'"',
        b"a'b\"c",
        b"=", b"=1+1", b",", b"\\x41", b"\\u0041", b"null", b"None", b"0", b"-1", b"NaN", b"true")),
    ("names that programs keep for themselves", (
        b".farkeep", b".farkeep-0123456789abcdef01234567.part", b".git", b".ssh", b"authorized_keys", b"CACHEDIR.TAG",
        b"desktop.ini", b".DS_Store", b"lost+found", b".snapshot", b".zfs", b"PaxHeader", b"././@PaxHeader",
        b"._x", b".nfs0001", b"core", b"System Volume Information", b".wh..wh..opq", b".wh.x")),
    ("as long as a name may be, and longer", (
        b"x" * 255, b"\xff" * 255, b"." * 255, b"-" * 255, b" " * 255, b"\xe2\x82\xac" * 85, b"\xc3\xa9" * 127,
        b"x" * 254,
        b"x" * 256, b"x" * 257, b"." * 256, b"x" * 1000, b"\xe2\x82\xac" * 86, b"x" * 4096)),
)  # fmt: skip


def names() -> list[bytes]:
    """All of them, each once, sorted."""
    return sorted({name if isinstance(name, bytes) else name.encode() for _, group in CORPUS for name in group})


def is_possible(name: bytes) -> bool:
    """True when Linux lets a file have this name."""
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name and len(name) <= 255
