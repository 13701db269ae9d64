"""The content of one file, checked piece by piece."""

import os
from pathlib import Path

import pytest

from shared.errors import DamagedError, ExhaustedError, RefusedError
from siteagent.home import Home
from siteagent.jobs.content import copy_file
from siteagent.store.reader import SegmentReader
from tests.support.site import WHO, Site, newest


def content(site: Site, home: Home, name: str | bytes) -> bytes:
    parts: list[bytes] = []
    size = copy_file(home, newest(home), site.path(name), WHO, lambda data: parts.append(bytes(data)))
    assert size == sum(map(len, parts))
    return b"".join(parts)


@pytest.mark.parametrize("name", ["large", "empty", "sub/small", "sub/hard", "sparse", b"odd\n\xff\x1b[1m"])
def test_the_content_is_the_files(site: Site, home: Home, name: str | bytes) -> None:
    assert content(site, home, name) == Path(os.fsdecode(site.path(name))).read_bytes()


@pytest.mark.parametrize(("name", "words"), [
    ("sub", ["folder", "dump"]), ("link", ["link", "sub/small"]), ("fifo", ["fifo", "name a file"]),
    ("none", ["not in the snapshot", "ls"]),
])  # fmt: skip
def test_what_is_no_file_is_refused_with_the_way_out(site: Site, home: Home, name: str, words: list[str]) -> None:
    with pytest.raises(RefusedError) as caught:
        content(site, home, name)
    assert all(word in caught.value.message + caught.value.next_step for word in words)


def test_the_top_of_all_folders_is_no_file(home: Home) -> None:
    with pytest.raises(RefusedError, match="folder"):
        copy_file(home, newest(home), b"/", WHO, lambda _: None)


def test_a_piece_that_is_not_what_was_recorded_is_damage(
    site: Site, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SegmentReader.chunk

    def lying(reader: SegmentReader, name: bytes, chunk_id: bytes) -> memoryview:
        data = real(reader, name, chunk_id)
        return memoryview(b"SMALL content") if bytes(data) == b"small content" else data

    monkeypatch.setattr(SegmentReader, "chunk", lying)
    with pytest.raises(DamagedError, match="not what was recorded") as caught:
        content(site, home, "sub/small")
    assert "verify --read-data" in caught.value.next_step


def test_who_read_what_is_a_fact(site: Site, home: Home) -> None:
    content(site, home, "sub/small")
    job = home.ledger.history().jobs[-1]
    assert (job.kind, job.outcome) == ("restore", "done")
    assert job.started is not None
    assert (job.started.user, job.started.what[::2]) == ("tester", ("cat", str(site.source / "sub/small")))
    assert job.ended is not None
    assert job.ended.counters == {"files": 1, "bytes": 13}
    assert [fact.kind for fact in home.ledger.facts()][-3:] == ["job.started", "restore.done", "job.ended"]


def test_a_failed_reading_is_recorded_as_failed(site: Site, home: Home) -> None:
    def refuse(_: object) -> None:
        raise BrokenPipeError(32, "nobody reads")

    with pytest.raises(BrokenPipeError):
        copy_file(home, newest(home), site.path("large"), WHO, refuse)
    assert home.ledger.history().jobs[-1].outcome == "failed"
    assert home.leases.held() == []


def test_content_comes_out_although_nothing_can_be_recorded(
    site: Site, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ExhaustedError("no space left")

    monkeypatch.setattr(home.ledger, "record", full)
    assert content(site, home, "sub/small") == b"small content"
    assert home.notes == ["this is not recorded: no space left"]
