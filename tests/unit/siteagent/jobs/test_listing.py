"""What a snapshot and a home hold."""

import os
import stat

import pytest

from shared.errors import DamagedError, RefusedError
from siteagent.home import Home
from siteagent.jobs.listing import Row, list_entries, stats
from tests.support.site import Site, newest


def names(site: Site, rows: "list[Row]") -> list[bytes]:
    return [row.path.removeprefix(site.path() + b"/") for row in rows]


def test_a_folder_lists_its_entries_in_order(site: Site, home: Home) -> None:
    rows = list(list_entries(home, newest(home), site.path(), is_recursive=False))
    assert names(site, rows) == sorted(os.listdir(os.fsencode(site.source)))


def test_all_below_a_folder_is_listed_when_asked_for(site: Site, home: Home) -> None:
    rows = list(list_entries(home, newest(home), site.path(), is_recursive=True))
    walked = os.walk(site.path())
    expected = [os.path.join(folder, name) for folder, folders, files in walked for name in folders + files]
    assert sorted(row.path for row in rows) == sorted(expected)


def test_without_a_path_everything_is_listed_with_the_way_to_it(site: Site, home: Home) -> None:
    paths = [row.path for row in list_entries(home, newest(home), None, is_recursive=False)]
    assert site.path() in paths
    assert os.path.dirname(site.path()) in paths
    assert site.path("sub/small") in paths


def test_the_top_lists_what_leads_to_the_source(site: Site, home: Home) -> None:
    rows = list(list_entries(home, newest(home), b"/", is_recursive=False))
    assert [row.path for row in rows] == [b"/" + site.path().split(b"/")[1]]


@pytest.mark.parametrize(("name", "kind"), [("large", "file"), ("sub", "folder"), ("link", "link"), ("fifo", "fifo")])
def test_an_entry_says_what_stat_says(site: Site, home: Home, name: str, kind: str) -> None:
    about = os.lstat(site.path(name))
    (row,) = (row for row in list_entries(home, newest(home), site.path(), is_recursive=False)
              if row.path == site.path(name))
    assert (row.type, row.mode, row.uid, row.gid, row.mtime_ns) == (
        kind, stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid, about.st_mtime_ns)  # fmt: skip
    assert row.size_bytes == (about.st_size if kind in ("file", "link") else 0)
    assert row.target == (b"sub/small" if kind == "link" else None)


def test_a_file_lists_itself(site: Site, home: Home) -> None:
    rows = list(list_entries(home, newest(home), site.path("sub/small"), is_recursive=False))
    assert [(row.path, row.size_bytes) for row in rows] == [(site.path("sub/small"), 13)]


def test_a_path_that_is_not_there_is_refused(site: Site, home: Home) -> None:
    with pytest.raises(RefusedError, match="not in the snapshot") as caught:
        list(list_entries(home, newest(home), site.path("none"), is_recursive=False))
    assert "farkeep ls" in caught.value.next_step


def test_a_lost_index_is_made_again_for_reading(site: Site, home: Home) -> None:
    home.index.reset()
    assert list(list_entries(home, newest(home), site.path(), is_recursive=True))


def test_a_lost_pack_is_damage(site: Site, home: Home) -> None:
    entry = newest(home)
    for pack in home.packs.finished():
        os.unlink(os.path.join(home.path, "packs", pack.hex() + ".pack"))
    with pytest.raises(DamagedError):
        list(list_entries(home, entry, None, is_recursive=True))


def test_a_lease_is_held_while_a_list_is_read_and_given_back(site: Site, home: Home) -> None:
    rows = list_entries(home, newest(home), None, is_recursive=True)
    next(rows)
    assert home.leases.held() == ["ls"]
    list(rows)
    assert home.leases.held() == []


def test_stats_add_up_what_lies_on_the_disk(site: Site, home: Home) -> None:
    found = stats(home)
    packs = os.path.join(home.path, "packs")
    assert (found.snapshots, found.names, found.site_name, found.damaged_segments) == (1, 1, "alpha", 0)
    assert found.bytes_data + found.bytes_catalog == sum(os.path.getsize(os.path.join(packs, name))
                                                         for name in os.listdir(packs))
    assert found.packs == len(os.listdir(packs))
    assert found.bytes_stored == found.bytes_data + found.bytes_catalog + found.bytes_manifests + found.bytes_log
    assert found.bytes_seen == sum(os.path.getsize(site.path(name)) for name in (
        "large", "empty", "sub/small", "sub/hard", "sparse", b"odd\n\xff\x1b[1m"))  # fmt: skip


def test_stats_of_a_new_home_are_zero(site: Site) -> None:
    with site.open() as home:
        found = stats(home)
    assert (found.snapshots, found.packs, found.segments, found.bytes_seen, found.oldest_ns) == (0, 0, 0, 0, 0)
    assert found.bytes_log > 0
