"""An outside scanner: looks for marked words in any file, as they are, in common encodings, and after decompression.

It knows nothing of Farkeep's formats: what it decompresses starts wherever a header of zlib, gzip or zstd may start.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from rocksdict import AccessType, Options, Rdict
from zstandard import ZstdDecompressor, ZstdError

_ZLIB = re.compile(rb"(?=[\x08\x18\x28\x38\x48\x58\x68\x78](.))", re.DOTALL)
_GZIP, _ZSTD = re.compile(rb"\x1f\x8b\x08"), re.compile(rb"\x28\xb5\x2f\xfd")
_PLAIN_MAX, _STEP = 1 << 22, 8


def _base64_forms(word: bytes) -> Iterator[bytes]:
    """What of its base64 is the same wherever in a text the word stands; both alphabets."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + word + bytes(2))
        core = text[-(-before * 8 // 6) : (before + len(word)) * 8 // 6]
        yield core
        yield core.replace(b"+", b"-").replace(b"/", b"_")


def forms(word: bytes) -> set[bytes]:
    """How a word may stand in a file."""
    text = word.decode("latin-1")
    found = {word, text.encode("utf-16-le"), text.encode("utf-16-be"), word.hex().encode(), word.hex().upper().encode(),
             word[::-1]}  # fmt: skip
    return found | {form for form in _base64_forms(word) if len(form) >= 12}


class Scanner:
    """Looks for words; `searched_bytes` counts what was looked at, decompressed data too."""

    def __init__(self, words: Iterable[bytes]) -> None:
        self._names = {form: word for word in words for form in forms(word)}
        self._pattern = re.compile(b"|".join(map(re.escape, sorted(self._names, key=len, reverse=True))))
        self.searched_bytes = 0

    def in_data(self, data: bytes) -> set[bytes]:
        """The words in some bytes."""
        found = self._plain(data)
        for plain in _decompressed(data):
            found |= self._plain(plain)
        return found

    def _plain(self, data: bytes) -> set[bytes]:
        self.searched_bytes += len(data)
        return {self._names[match] for match in self._pattern.findall(data)}

    def in_folder(self, folder: Path) -> dict[str, set[bytes]]:
        """The words in names and contents of all files below, by path; databases of RocksDB are read as such, too."""
        found: dict[str, set[bytes]] = {}
        for path in sorted(folder.rglob("*")):
            hits = self._plain(bytes(path.relative_to(folder)))
            if path.is_file():
                hits |= self.in_data(path.read_bytes())
            if (path / "CURRENT").is_file():
                hits |= self.in_data(_rows(path))
            if hits:
                found[str(path.relative_to(folder))] = hits
        return found


def _decompressed(data: bytes) -> Iterator[bytes]:
    for match in _ZLIB.finditer(data):
        at = match.start()
        if (data[at] << 8 | data[at + 1]) % 31 == 0:
            yield _inflated(data, at, zlib.MAX_WBITS)
    for match in _GZIP.finditer(data):
        yield _inflated(data, match.start(), zlib.MAX_WBITS | 16)
    for match in _ZSTD.finditer(data):
        yield _unzstd(data, match.start())


def _inflated(data: bytes, at: int, bits: int) -> bytes:
    """As much as comes out before something is wrong."""
    stream, plain = zlib.decompressobj(bits), b""
    try:
        while at < len(data) and not stream.eof and len(plain) < _PLAIN_MAX:
            plain += stream.decompress(data[at : at + _STEP])
            at += _STEP
    except zlib.error:
        pass
    return plain


def _unzstd(data: bytes, at: int) -> bytes:
    stream, plain = ZstdDecompressor().decompressobj(), b""
    try:
        while at < len(data) and not stream.eof and len(plain) < _PLAIN_MAX:
            plain += stream.decompress(data[at : at + _STEP])
            at += _STEP
    except ZstdError:
        pass
    return plain


def _rows(folder: Path) -> bytes:
    """All keys and values of a RocksDB database, whose blocks may be compressed without a header."""
    rows = Rdict(str(folder), Options(raw_mode=True), access_type=AccessType.read_only())
    try:
        return b"\0".join(part for pair in rows.items() for part in pair if isinstance(part, bytes))
    finally:
        rows.close()
