"""Invariant 25: any one key may be lost or leaked. What is lost is restored from any two of three shares; what leaked
opens nothing that is sealed after `key rotate --new-secret`; and nothing else opens anything, nor changes a byte.
"""

from __future__ import annotations

import os
import re
import shutil
from itertools import combinations
from pathlib import Path

import pytest

from shared import shares as shares_module
from shared.epochkeys import EpochKeys
from shared.errors import DamagedError, FarkeepError
from shared.keyfile import decode_key_file
from shared.keyring import Keyring
from shared.keyringfile import open_keyring, read_keyring
from shared.sealing import keyed_id
from shared.shares import combine
from siteagent.store.segment import HEADER_BYTES, MAGIC, open_segment, parse_header
from tests.support.farkeep import Result
from tests.support.inside import InsideFarkeep
from tests.support.tally import Tally

PAIRS = list(combinations((1, 2, 3), 2))


class Safe:
    """A site with shares, a source and two snapshots, one of them before the last rotation."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.source = folder, folder / "source"
        self.source.mkdir()
        self.farkeep = InsideFarkeep(folder / "home")
        self.farkeep.init("--recovery-out", folder / "shares")
        self.key, self.keyring = folder / "home.key", folder / "home" / "keyring"
        self.contents: list[bytes] = []
        self.back_up()

    def back_up(self) -> None:
        """A new content, a new snapshot."""
        self.contents.append(os.urandom(3_000))
        (self.source / "file").write_bytes(self.contents[-1])
        self.farkeep.backup(self.source, name="docs")

    def share(self, number: int) -> Path:
        """A share's file."""
        return self.folder / "shares" / f"share-{number}.txt"

    def restore(self, *shares: Path) -> Result:
        """`key restore` with these shares."""
        words = [word for share in shares for word in ("--recovery-share", share)]
        return self.farkeep.run("key", "restore", *words, check=False)

    def require_all_reads(self, *options: str) -> None:
        """Every snapshot gives back its content, and nothing is damaged."""
        rows = self.farkeep.snapshots(*options).json()
        assert len(rows) == len(self.contents)
        for row, content in zip(sorted(rows, key=lambda row: row["time"]), self.contents, strict=True):
            spec = f"{row['snapshot']}:{self.source}/file"
            assert self.farkeep.run("cat", spec, *options, is_json=False).stdout == content
        self.farkeep.verify("--read-data", *options)

    def require_shut(self, result: Result, *codes: int) -> None:
        """The command was refused with a way out, and the home does not open without the right key."""
        error = result.json()["error"]
        assert result.exit_code in (codes or (1,)), result.report()
        assert error["next"]


@pytest.fixture
def safe(tmp_path: Path) -> Safe:
    return Safe(tmp_path)


def sealed_segments(home: Path) -> list[bytes]:
    """Every sealed segment in the packs, found by its magic as somebody would who has no index."""
    found = []
    for pack in sorted((home / "packs").glob("*.pack")):
        data = pack.read_bytes()
        for match in re.finditer(re.escape(MAGIC), data):
            try:
                header = parse_header(data[match.start() : match.start() + HEADER_BYTES], "a segment")
            except FarkeepError:
                continue
            found.append(data[match.start() : match.start() + header.length])
    return found


def opened_by(keys: EpochKeys, segments: list[bytes]) -> set[int]:
    """The key epochs of the segments that these keys open."""
    found = set()
    for data in segments:
        header = parse_header(data[:HEADER_BYTES], "a segment")
        try:
            open_segment(header, memoryview(data)[HEADER_BYTES:], keys)
        except FarkeepError:
            continue
        found.add(header.key_epoch)
    return found


def test_any_two_shares_restore_a_lost_key_file(safe: Safe, tally: Tally) -> None:
    for pair in PAIRS:
        old = safe.key.read_bytes()
        safe.key.unlink()
        safe.require_shut(safe.farkeep.snapshots(check=False))
        assert safe.restore(*map(safe.share, pair)).exit_code == 0
        safe.require_all_reads()
        safe.back_up()
        new = safe.key.read_bytes()
        safe.key.write_bytes(old)
        safe.require_shut(safe.farkeep.snapshots(check=False))
        safe.key.write_bytes(new)
    tally("keys lost, mistyped or leaked", len(PAIRS))


def mistyped(text: str) -> list[str]:
    """A share's text with two words or two digits swapped, a word or line left out or doubled, for each place."""
    lines = text.splitlines()
    found = []
    for place, line in enumerate(lines):
        if not line or line.startswith("#"):
            continue
        found.append("\n".join((*lines[:place], *lines[place + 1 :])))
        for match in re.finditer(r"[0-9a-f](?=[0-9a-f])", line.split(":", 1)[-1]) if ":" in line[:15] else ():
            at = len(line) - len(line.split(":", 1)[-1]) + match.start()
            swapped = line[:at] + line[at + 1] + line[at] + line[at + 2 :]
            found.append("\n".join((*lines[:place], swapped, *lines[place + 1 :])))
    words = re.findall(r"\d+\. (\w+)", text)
    for place in range(len(words) - 1):
        changed = [*words[:place], words[place + 1], words[place], *words[place + 2 :]]
        found += [" ".join(changed), " ".join(words[:place] + words[place + 1 :]), " ".join((*words, words[place]))]
    assert len(words) == 33
    return found


def told_of(share: str, said: str) -> set[str]:
    """Words of a share in a message that are no words of our own messages."""
    ours = set(re.findall(r"[a-z]+", Path(shares_module.__file__).read_text().lower()))
    return (set(re.findall(r"\d+\. (\w+)", share)) & set(re.findall(r"[a-z]+", said.lower()))) - ours


def test_a_mistyped_share_is_found_out(safe: Safe, tally: Tally) -> None:
    good, other = safe.share(1).read_text(), safe.share(2).read_text()
    seed, tried = combine([good, other]), 0
    for text in mistyped(good):
        tried += 1
        try:
            found = combine([text, other])
        except FarkeepError as error:
            assert told_of(good, str(error)) == set()
            continue
        assert found == seed, text
    assert tried > 100
    tally("keys lost, mistyped or leaked", tried)


def test_shares_that_do_not_do_change_nothing(safe: Safe, tmp_path: Path, tally: Tally) -> None:
    """Too few, one twice, another organisation's, one of each, of two splits, with a wrong word, with wrong digits."""
    foreign = InsideFarkeep(tmp_path / "foreign")
    foreign.init("--recovery-out", tmp_path / "others", site="beta")
    words = [word for number in (1, 2) for word in ("--recovery-share", safe.share(number))]
    safe.farkeep.run("key", "split", *words, "--recovery-out", tmp_path / "again")
    text = safe.share(2).read_text()
    first, second = re.findall(r"\d+\. (\w+)", text)[:2]
    bad = {"words": text.replace(first, "?").replace(second, first).replace("?", second),
           "digits": re.sub(r"Set: (.)(.)(..)", lambda found: f"Set: {found[2]}{found[1]}{found[3]}x", text),
           "cut": text[: len(text) // 2], "empty": ""}  # fmt: skip
    for name, changed in bad.items():
        (tmp_path / name).write_text(changed)
    other = [tmp_path / "others" / f"share-{number}.txt" for number in (1, 2)]
    tries = [[safe.share(1)], [safe.share(2)] * 2, other, [safe.share(1), other[1]],
             [safe.share(1), tmp_path / "again/share-2.txt"], *([safe.share(1), tmp_path / name] for name in bad)]
    safe.key.unlink()
    before = safe.keyring.read_bytes()
    for number, shares in enumerate(tries):
        result = safe.restore(*shares)
        safe.require_shut(result, *((1, 4) if number > 1 else (1,)))
        assert number > 1 or "2 different shares" in result.json()["error"]["message"]
        assert told_of(text, result.json()["error"]["message"] + result.json()["error"]["next"]) == set()
        assert safe.keyring.read_bytes() == before
        assert not safe.key.exists()
    assert safe.restore(safe.share(1), safe.share(3)).exit_code == 0
    safe.require_all_reads()
    tally("keys lost, mistyped or leaked", len(tries))


def test_a_new_split_leaves_the_old_shares_good(safe: Safe, tmp_path: Path) -> None:
    """Plainly: only their holders can end an old set, by destroying it. The command says so."""
    words = [word for number in (1, 2) for word in ("--recovery-share", safe.share(number))]
    result = safe.farkeep.run("key", "split", *words, "--recovery-out", tmp_path / "new", "--shares", "2/2")
    assert "earlier sets stay valid" in result.stderr
    for shares in ([safe.share(2), safe.share(3)], [tmp_path / f"new/share-{number}.txt" for number in (1, 2)]):
        safe.key.unlink()
        assert safe.restore(*shares).exit_code == 0
        safe.require_all_reads()


@pytest.mark.parametrize("protected", [False, True])
def test_a_key_file_that_is_cut_or_changed_opens_nothing(safe: Safe, protected: bool, tmp_path: Path,
                                                         tally: Tally) -> None:
    (tmp_path / "passphrase").write_text("open sesame\n")
    options = ("--passphrase-file", str(tmp_path / "passphrase")) if protected else ()
    if protected:
        safe.farkeep.run("key", "passphrase", "--new-passphrase-file", tmp_path / "passphrase")
    good = safe.key.read_bytes()
    site = decode_key_file(good, subject="key", passphrase=b"open sesame").site_id
    changed = [good[:length] for length in range(len(good))] + [good + b"x", good * 2, bytes(len(good))]
    changed += [good[:place] + bytes((good[place] ^ 1 << bit,)) + good[place + 1 :]
                for place in range(len(good)) for bit in range(8)]  # fmt: skip
    for data in changed:
        with pytest.raises(FarkeepError):
            decode_key_file(data, subject="key", site_id=site, passphrase=b"open sesame")
    for data in changed[:: len(changed) // 8]:
        safe.key.write_bytes(data)
        safe.require_shut(safe.farkeep.snapshots(*options, check=False), 1, 4)
    safe.key.write_bytes(good)
    safe.require_all_reads(*options)
    tally("keys lost, mistyped or leaked", len(changed))


def test_another_sites_key_file_is_named_as_such(safe: Safe, tmp_path: Path) -> None:
    InsideFarkeep(tmp_path / "other").init(site="beta")
    result = safe.farkeep.snapshots("--key-file", str(tmp_path / "other.key"), check=False)
    safe.require_shut(result)
    assert "belongs to site" in result.json()["error"]["message"]


def test_a_changed_passphrase_shuts_out_the_old_one_but_not_old_copies(safe: Safe, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).write_text(name + "\n")
    safe.farkeep.run("key", "passphrase", "--new-passphrase-file", tmp_path / "first")
    copy = safe.key.read_bytes()
    result = safe.farkeep.run("key", "passphrase", "--new-passphrase-file", tmp_path / "second", "--passphrase-file",
                              tmp_path / "first")  # fmt: skip
    assert "copies of the key file made before still open" in result.stderr
    for options in ((), ("--passphrase-file", str(tmp_path / "first"))):
        safe.require_shut(safe.farkeep.snapshots(*options, check=False))
    safe.require_all_reads("--passphrase-file", str(tmp_path / "second"))
    safe.key.write_bytes(copy)
    safe.require_all_reads("--passphrase-file", str(tmp_path / "first"))


def keyring_of(keyring: bytes, key_file: bytes) -> Keyring:
    """What somebody has who has both files."""
    return open_keyring(keyring, decode_key_file(key_file, subject="key").site_secret)


def test_what_leaked_before_a_rotation_opens_nothing_newer(safe: Safe, tally: Tally) -> None:
    """The thief had everything, home and key file; then the secret was changed; then he takes the disk again."""
    old_keyring, old_key = safe.keyring.read_bytes(), safe.key.read_bytes()
    thief = keyring_of(old_keyring, old_key)
    safe.farkeep.run("key", "rotate", "--new-secret")
    safe.back_up()
    segments = sealed_segments(safe.farkeep.home)
    assert {parse_header(data[:HEADER_BYTES], "a segment").key_epoch for data in segments} == {1, 2}
    assert opened_by(thief.epoch(1), segments) == {1}
    with pytest.raises(DamagedError):
        thief.epoch(2)
    with pytest.raises(FarkeepError):
        keyring_of(safe.keyring.read_bytes(), old_key)
    records = read_keyring(safe.keyring.read_bytes()).records
    assert {len([wrap for wrap in record.wraps if wrap.recipient == "site"]) for record in records} == {1}
    new_key = safe.key.read_bytes()
    safe.key.write_bytes(old_key)
    safe.require_shut(safe.farkeep.snapshots(check=False))
    safe.keyring.write_bytes(old_keyring)
    assert safe.farkeep.run("cat", f"latest:{safe.source}/file", check=False, is_json=False).exit_code != 0
    for words in (["backup", str(safe.source)], ["key", "rotate"], ["forget", "latest", "--yes-last"]):
        result = safe.farkeep.run(*words, check=False)
        safe.require_shut(result)
        assert "it lacks key epoch 2" in result.json()["error"]["message"]
    safe.key.write_bytes(new_key)
    safe.require_shut(safe.farkeep.snapshots(check=False))
    tally("keys lost, mistyped or leaked", 6)


def test_a_leaked_key_epoch_opens_that_epoch_and_no_other(safe: Safe) -> None:
    """Old key epochs stay readable for ever; each opens what was sealed under it; new data is under the newest."""
    for _ in range(2):
        safe.farkeep.run("key", "rotate")
        safe.back_up()
    safe.require_all_reads()
    keyring = keyring_of(safe.keyring.read_bytes(), safe.key.read_bytes())
    segments = sealed_segments(safe.farkeep.home)
    for number in (1, 2, 3):
        assert opened_by(keyring.epoch(number), segments) == {number}
        others = keyring.epoch(number % 3 + 1)
        renamed = EpochKeys(number, others.seal_key, others.manifest_key, others.fact_key, others.mark_key)
        assert opened_by(renamed, segments) == {number % 3 + 1}
    safe.key.unlink()
    assert safe.restore(safe.share(1), safe.share(2)).exit_code == 0
    safe.require_all_reads()


def test_a_plain_rotation_leaves_old_copies_of_the_key_file_good(safe: Safe) -> None:
    """Plainly: without `--new-secret` the secret stays. That is why SECURITY.md names it after a leak."""
    copy = safe.key.read_bytes()
    safe.farkeep.run("key", "rotate")
    safe.back_up()
    assert safe.key.read_bytes() == copy
    safe.require_all_reads()


def test_what_does_not_rotate_is_said(safe: Safe) -> None:
    """The key of chunk ids and the identity stay: who had them can recognise known content in a later index, and sign.

    SECURITY.md says so; when this changes, it has to be said otherwise there.
    """
    thief = keyring_of(safe.keyring.read_bytes(), safe.key.read_bytes())
    safe.farkeep.run("key", "rotate", "--new-secret")
    safe.back_up()
    index = b"".join(file.read_bytes() for file in (safe.farkeep.home / "index").iterdir() if file.is_file())
    assert keyed_id(thief.default_domain.chunk_id_key, safe.contents[-1]) in index
    now = keyring_of(safe.keyring.read_bytes(), safe.key.read_bytes())
    assert now.identity.public == thief.identity.public
    said = (Path(__file__).parents[2] / "SECURITY.md").read_text()
    assert "`key rotate` does not change" in said


def test_one_sites_keys_open_nothing_of_another_in_the_same_organisation(safe: Safe, tmp_path: Path) -> None:
    other = InsideFarkeep(tmp_path / "second")
    other.init("--organisation", tmp_path / "shares/organisation.json", site="beta")
    other.backup(safe.source, name="docs")
    mine = keyring_of(safe.keyring.read_bytes(), safe.key.read_bytes())
    assert opened_by(mine.epoch(1), sealed_segments(other.home)) == set()
    shutil.copy(safe.keyring, other.home / "keyring")
    safe.require_shut(other.snapshots(check=False), 1, 4)
