"""Keys shown, rotated, split, protected, restored; and what a crash between two writes leaves."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import DamagedError, RefusedError
from shared.facts import KeyAdded
from shared.shares import note_of
from siteagent.disk.durable import write_durably
from siteagent.disk.local import LocalDisk
from siteagent.home import Access, Home, open_home
from siteagent.jobs import keys
from siteagent.jobs.initialise import write_key_file
from siteagent.jobs.keys import ShareText, change_passphrase, restore_key, rotate, show, split_again
from siteagent.jobs.listing import list_entries
from siteagent.jobs.recovery import ShareCount
from tests.support.command_line import local_world
from tests.support.site import WHO, Site, fill, newest


def shares(site: Site, *numbers: int, folder: str = "recovery") -> list[ShareText]:
    paths = [site.folder / folder / f"share-{number}.txt" for number in numbers]
    return [ShareText(str(path), path.read_text()) for path in paths]


def key_path(site: Site) -> Path:
    return Path(site.access.key_path)


def opens(site: Site, passphrase: bytes | None = None) -> bool:
    """The home opens and every snapshot in it can be listed."""
    with open_home(Access(site.access.home, passphrase=passphrase), "test", local_world()) as home:
        for entry in home.ledger.history().snapshots:
            assert list(list_entries(home, entry, None, is_recursive=True))
    return True


def recorded_keys(home: Home) -> set[tuple[str, bytes]]:
    return {(record.kind, record.id) for record in home.ledger.history().keys}


def test_what_is_shown_is_no_secret(site: Site) -> None:
    with site.open() as home:
        found = show(home)
    assert (found.site_name, found.organisation, found.is_protected) == ("alpha", "alpha", False)
    assert found.key_file == str(key_path(site))
    assert [record.number for record in found.epochs] == [1]
    secret = key_path(site).read_bytes()[26:58]
    assert secret not in repr(found).encode("latin-1", "replace")


def test_a_rotation_opens_a_key_epoch_that_is_durable_and_recorded(site: Site) -> None:
    fill(site.source)
    site.backup()
    with site.open() as home:
        assert rotate(home, WHO, is_new_secret=False) == 2
        assert recorded_keys(home) == {(record.kind, record.id) for record in home.keyring.records}
    site.backup("--rehash")
    with site.open() as home:
        assert home.keyring.current.number == 2
        assert newest(home).taken.key_epoch == 2
    assert opens(site)


def test_a_new_secret_makes_the_old_key_file_useless(site: Site) -> None:
    old = key_path(site).read_bytes()
    with site.open() as home:
        assert rotate(home, WHO, is_new_secret=True) == 2
    assert opens(site)
    new = key_path(site).read_bytes()
    assert new != old
    key_path(site).write_bytes(old)
    with pytest.raises(RefusedError):
        opens(site)


def test_a_new_secret_keeps_the_passphrase(site: Site) -> None:
    with site.open() as home:
        change_passphrase(home, WHO, b"open sesame")
    with open_home(Access(site.access.home, passphrase=b"open sesame"), "test", local_world()) as home:
        rotate(home, WHO, is_new_secret=True)
    assert opens(site, b"open sesame")
    with pytest.raises(RefusedError, match="passphrase"):
        opens(site)


class _CutError(Exception):
    """The power goes."""


def _cut_at(monkeypatch: pytest.MonkeyPatch, count: int) -> Callable[[], int]:
    """Stop at the given durable write of a key operation; returns how many were begun."""
    begun = [0]

    def counted(real: Callable[..., None]) -> Callable[..., None]:
        def call(*words: object) -> None:
            begun[0] += 1
            if begun[0] == count:
                raise _CutError
            real(*words)

        return call

    monkeypatch.setattr(keys, "write_durably", counted(write_durably))
    monkeypatch.setattr(keys, "write_key_file", counted(write_key_file))
    return lambda: begun[0]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("is_new_secret", [False, True])
def test_a_rotation_that_is_cut_off_locks_nobody_out(
    site: Site, monkeypatch: pytest.MonkeyPatch, count: int, is_new_secret: bool
) -> None:
    fill(site.source)
    site.backup()
    with monkeypatch.context() as patch:
        begun = _cut_at(patch, count)
        home = site.open()
        try:
            rotate(home, WHO, is_new_secret=is_new_secret)
        except _CutError:
            assert begun() == count
        finally:
            home.close()
    assert opens(site)
    site.backup("--rehash")
    assert opens(site)
    with site.open() as home:
        assert recorded_keys(home) == {(record.kind, record.id) for record in home.keyring.records}


def test_a_key_epoch_that_is_not_recorded_yet_is_before_anything_is_sealed_in_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.open() as home, monkeypatch.context() as patch:
        patch.setattr(type(home.ledger), "use_keyring", _stop)
        with pytest.raises(_CutError):
            rotate(home, WHO, is_new_secret=False)
    site.backup()
    with site.open() as home:
        assert recorded_keys(home) == {(record.kind, record.id) for record in home.keyring.records}
        facts = list(home.ledger.facts())
        added = [fact.position.sequence for fact in facts if isinstance(fact.clear, KeyAdded)
                 and fact.clear.record.number == 2]  # fmt: skip
        assert len(added) == 1
        assert added[0] < max(fact.position.sequence for fact in facts if fact.kind == "snapshot.taken")
        assert newest(home).taken.key_epoch == 2


def _stop(*_: object) -> None:
    raise _CutError


def test_a_split_makes_a_new_set_and_leaves_the_old_one_valid(site: Site) -> None:
    with site.open() as home:
        paths = split_again(home, WHO, shares(site, 1, 3), ShareCount(3, 5), str(site.folder / "new"))
    assert [os.path.basename(path) for path in paths] == [f"share-{number}.txt" for number in range(1, 6)]
    notes = [note_of(Path(path).read_text()) for path in paths]
    assert {note.threshold for note in notes} == {3}
    assert notes[0].set_id != note_of(shares(site, 1)[0].text).set_id
    for texts in (shares(site, 2, 4, 5, folder="new"), shares(site, 1, 2)):
        key_path(site).unlink()
        restore_key(site.access, WHO, texts, local_world())
        assert opens(site)


def test_a_site_without_recovery_has_nothing_to_split_or_restore(site: Site) -> None:
    other = Site(site.folder / "other", type(site.commands)(site.folder / "other-home"))
    other.commands.good("init", "--site", "beta", "--no-recovery")
    with other.open() as home, pytest.raises(RefusedError, match="--no-recovery"):
        split_again(home, WHO, shares(site, 1, 2), ShareCount(), str(site.folder / "new"))
    key_path(other).unlink()
    with pytest.raises(RefusedError, match="--no-recovery"):
        restore_key(other.access, WHO, shares(site, 1, 2), local_world())


def test_a_passphrase_is_set_changed_and_removed(site: Site) -> None:
    plain = key_path(site).read_bytes()
    with site.open() as home:
        change_passphrase(home, WHO, b"first")
    with pytest.raises(RefusedError, match="passphrase"):
        opens(site)
    with pytest.raises(RefusedError, match="does not open"):
        opens(site, b"second")
    with open_home(Access(site.access.home, passphrase=b"first"), "test", local_world()) as home:
        assert show(home).is_protected
        change_passphrase(home, WHO, b"second")
    with open_home(Access(site.access.home, passphrase=b"second"), "test", local_world()) as home:
        change_passphrase(home, WHO, None)
    assert opens(site)
    assert key_path(site).read_bytes() == plain


def test_a_lost_key_file_is_made_again_from_shares(site: Site) -> None:
    fill(site.source)
    site.backup()
    old = key_path(site).read_bytes()
    key_path(site).unlink()
    assert restore_key(site.access, WHO, shares(site, 2, 3), local_world())
    assert opens(site)
    assert key_path(site).stat().st_mode & 0o777 == 0o600
    with site.open() as home:
        job = home.ledger.history().jobs[-1]
        assert (job.kind, job.outcome) == ("key", "done")
    key_path(site).write_bytes(old)
    with pytest.raises(RefusedError):
        opens(site)


def test_an_existing_key_file_is_never_overwritten(site: Site) -> None:
    before = key_path(site).read_bytes()
    with pytest.raises(RefusedError, match="there is a key file already") as caught:
        restore_key(site.access, WHO, shares(site, 1, 2), local_world())
    assert "move it away" in caught.value.next_step
    assert key_path(site).read_bytes() == before


def test_too_few_shares_change_nothing(site: Site) -> None:
    keyring = (site.commands.home / "keyring").read_bytes()
    key_path(site).unlink()
    with pytest.raises(RefusedError, match="2 different shares"):
        restore_key(site.access, WHO, shares(site, 1), local_world())
    assert (site.commands.home / "keyring").read_bytes() == keyring
    assert not key_path(site).exists()


def test_a_restore_that_is_cut_off_between_its_two_writes_can_be_done_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_path(site).unlink()
    with monkeypatch.context() as patch:
        _cut_at(patch, 2)
        with pytest.raises(_CutError):
            restore_key(site.access, WHO, shares(site, 1, 2), local_world())
    restore_key(site.access, WHO, shares(site, 1, 2), local_world())
    assert opens(site)


def test_without_a_keyring_there_is_nothing_to_restore(site: Site) -> None:
    key_path(site).unlink()
    LocalDisk(site.access.home).remove("keyring")
    with pytest.raises(DamagedError, match="keyring is missing"):
        restore_key(site.access, WHO, shares(site, 1, 2), local_world())
