"""Tar headers: what the 512 bytes cannot say stands in an extended header, as the standard library reads it."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from siteagent.restore import pax
from siteagent.restore.pax import Member, header


def read(member: Member) -> tarfile.TarInfo:
    """The member as another program sees it; its content is left out."""
    with tarfile.open(fileobj=io.BytesIO(header(member))) as tar:
        return tar.getmembers()[0] if member.size == 0 else next(iter(tar))


PLAIN = Member(b"name", pax.FILE, 0o4755, 1000, 1001, 0, 1_600_000_000 * 10**9)


def test_what_fits_needs_no_extended_header() -> None:
    largest = Member(b"n" * 100, pax.FILE, 0o7777, 8**7 - 1, 8**7 - 1, 8**11 - 1, (8**11 - 1) * 10**9)
    for member in (PLAIN, largest):
        found = read(member)
        assert len(header(member)) == 512
        assert (found.uid, found.gid, found.size, found.mtime) == (
            member.uid, member.gid, member.size, member.mtime_ns // 10**9)  # fmt: skip


@pytest.mark.parametrize("what", ["uid", "gid", "size"])
@pytest.mark.parametrize("beyond", [0, 1, 10**6])
def test_large_numbers_come_back(what: str, beyond: int) -> None:
    value = (8**11 if what == "size" else 8**7) + beyond
    fields = {name: getattr(PLAIN, name) for name in PLAIN.__struct_fields__}
    assert getattr(read(Member(**{**fields, what: value})), what) == value


@pytest.mark.parametrize("mtime_ns", [-1, -1_500_000_001, 1, 8**11 * 10**9, 1_600_000_000_123_456_789])
def test_times_come_back_to_the_nanosecond(mtime_ns: int) -> None:
    fields = {name: getattr(PLAIN, name) for name in PLAIN.__struct_fields__}
    seconds, _, rest = read(Member(**{**fields, "mtime_ns": mtime_ns})).pax_headers["mtime"].partition(".")
    sign = -1 if seconds.startswith("-") else 1
    assert sign * (abs(int(seconds)) * 10**9 + int(rest.ljust(9, "0") or 0)) == mtime_ns


@pytest.mark.parametrize("name", [b"n" * 101, "Käse".encode(), b"Latin-1: \xe9", b"\xff" * 300, "語".encode() * 200])
def test_names_of_any_bytes_come_back(name: bytes) -> None:
    fields = {field: getattr(PLAIN, field) for field in PLAIN.__struct_fields__}
    found = read(Member(**{**fields, "name": name, "kind": pax.LINK, "link": name}))
    assert (os.fsencode(found.name), os.fsencode(found.linkname)) == (name, name)
    is_binary = b"hdrcharset=BINARY" in header(Member(**{**fields, "name": name}))
    assert is_binary == (b"\xff" in name or b"\xe9" in name)
