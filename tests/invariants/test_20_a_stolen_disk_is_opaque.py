"""Invariant 20: who takes the disk of a home learns nothing from it; logs, temporary files and crash files included.

Marked contents and names, and the secrets themselves, are sought by a scanner that knows none of our formats. What a
thief does see (sizes, times, counts, names of commands, the organisation's name) is listed in SECURITY.md.
"""

from __future__ import annotations

import gzip
import importlib
import json
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import zlib
from pathlib import Path

import pytest
import zstandard
from msgspec import Struct

import shared
import siteagent
from shared.keyfile import decode_key_file
from shared.keyringfile import open_keyring
from shared.sealing import digest
from shared.secret import Secret
from siteagent.jobs import listing
from siteagent.jobs.keys import ShareText
from tests.support.canaries import Scanner, forms
from tests.support.farkeep import Farkeep
from tests.support.held import held_backup
from tests.support.inside import InsideFarkeep
from tests.support.tally import Tally

pytestmark = pytest.mark.usefixtures("no_sync_of_restores")
MARK = "canary-7c1e"
WORDS = [f"{MARK}-{word}".encode() for word in (
    "contents", "filename", "foldername", "pathname", "username", "hostname", "snapshot", "tagword", "noteword",
    "pattern", "command", "reason", "target", "xattrname", "xattrvalue", "linktarget", "sitename", "failing", "killed",
    "stdinname",
)]  # fmt: skip
_LINE = re.compile(r"[-0-9T:.]+Z [a-z-]+ [a-z]+ exit=\d+ seconds=[0-9.]+ errors=\d+ warnings=\d+( facts=\d+-\d+)?")


def word(name: str) -> str:
    """One of the marked words."""
    assert f"{MARK}-{name}".encode() in WORDS
    return f"{MARK}-{name}"


class Disk:
    """A disk with a home on it (`stolen`), a source elsewhere, and everything done to it that leaves traces."""

    def __init__(self, folder: Path, *, passphrase: bool) -> None:
        self.folder, self.stolen = folder, folder / "stolen"
        self.source = folder / word("pathname") / "source"
        self.source.mkdir(parents=True)
        self.stolen.mkdir()
        self.passphrase = folder / "passphrase"
        self.passphrase.write_text(f"{MARK} open sesame\n")
        self.options = ("--passphrase-file", str(self.passphrase)) if passphrase else ()
        self.farkeep = InsideFarkeep(self.stolen / "home")
        self._fill()

    def _fill(self) -> None:
        (self.source / word("foldername")).mkdir()
        marked = word("contents").encode()
        file = self.source / word("foldername") / word("filename")
        file.write_bytes(marked * 200)
        os.setxattr(file, f"user.{word('xattrname')}", word("xattrvalue").encode())
        os.symlink(word("linktarget"), self.source / "link")
        (self.source / "incompressible").write_bytes(os.urandom(200_000) + marked + os.urandom(100_000))
        (self.source / "large").write_bytes((marked + os.urandom(100)) * 8_000)

    def run(self, *words: object, is_bad: bool = False) -> None:
        """A command that comes to a good end, or to none."""
        result = self.farkeep.run(*map(str, words), *self.options, check=False)
        assert (result.exit_code != 0) == is_bad, result.report()

    def live(self) -> None:
        """Everything that leaves traces."""
        name = word("snapshot")
        self.run("init", "--site", word("sitename"), "--recovery-out", self.folder / "shares",
                 "--organisation-name", "The Firm")
        backup = ("backup", self.source, "--name", name, "--exclude", word("pattern"))
        self.run(*backup, "--tag", word("tagword"))
        (self.source / "large").write_bytes(b"x" + (self.source / "large").read_bytes())
        self.run(*backup)
        self.run("note", "latest", word("noteword"))
        self.run("hold", "latest", "--reason", word("reason"))
        command = ("backup", "--name", name, "--stdin-name", word("stdinname"), "--stdin-from-command")
        self.run(*command, f"echo {word('command')}")
        self.run(*command, f"echo {word('failing')}; exit 3", is_bad=True)
        self._fill_up()
        self._kill()
        oldest = min(self.farkeep.snapshots(*self.options).json(), key=lambda row: row["time"])
        self.run("forget", oldest["snapshot"])
        self.run("prune", "--now")
        self.run("restore", "latest", "--to", self.folder / word("target"))
        self.run("key", "rotate")
        self.run(*backup, "--rehash")
        for what in ("index", "packs", "log"):
            self.run("repair", what)
        self.run("verify", "--read-data")
        for number in range(8):
            # So many facts that what they add up to is kept beside the log.
            self.run("tag", "latest", "--add", f"{word('tagword')}-{number}")
        assert (self.stolen / "home/log/history").exists()
        self._kill()

    def _fill_up(self) -> None:
        """A backup that ends in the middle of a pack, as on a full disk."""
        (self.source / "more").write_bytes(os.urandom(400_000) + word("contents").encode())
        narrow = self.folder / "narrow"
        narrow.write_text(f'#!/bin/sh\nulimit -f 400\nexec "{self.farkeep.command("version")[0].decode()}" "$@"\n')
        narrow.chmod(0o755)
        full = Farkeep(self.farkeep.home, executable=narrow)
        assert full.backup(self.source, *self.options, name=word("snapshot"), check=False).exit_code == 6

    def _kill(self) -> None:
        """A backup that is killed in the middle, its lock file and unfinished pack left behind."""
        gates = self.folder / word("killed")
        gates.mkdir(exist_ok=True)
        with held_backup(Farkeep(self.farkeep.home), gates, *self.options) as held:
            os.killpg(held.process.pid, signal.SIGKILL)
            held.process.wait()

    def secrets(self) -> list[bytes]:
        """What must not be found anywhere but in an unprotected key file."""
        key = decode_key_file((self.stolen / "home.key").read_bytes(), subject="key",
                              passphrase=self.passphrase.read_bytes().rstrip(b"\n"))
        ring = open_keyring((self.stolen / "home/keyring").read_bytes(), key.site_secret)
        found = [key.site_secret, *ring._secrets.values(), ring.default_domain.chunk_id_key]
        for number in range(1, ring.current.number + 1):
            epoch = ring.epoch(number)
            found += [epoch.seal_key, epoch.manifest_key, epoch.fact_key, epoch.mark_key]
        return [*found, self.passphrase.read_bytes().rstrip(b"\n")]


@pytest.fixture
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """User and host have names that can be sought."""
    real = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((real[0], word("hostname"), *real[2:])))
    monkeypatch.setattr("siteagent.cli.session.user_name", lambda: word("username"))
    for module in ("backup", "forget", "hold", "key", "label", "restore"):
        monkeypatch.setattr(f"siteagent.cli.cmd_{module}.user_name", lambda: word("username"))


@pytest.mark.parametrize("passphrase", [False, True])
def test_nothing_marked_is_found_on_the_disk(passphrase: bool, tmp_path: Path, known_machine: None,
                                             tally: Tally) -> None:
    """The whole disk: home, mark and, where a passphrase protects it, the key file."""
    disk = Disk(tmp_path, passphrase=passphrase)
    disk.live()
    secrets = disk.secrets()
    guessed = digest(os.fsencode(tmp_path / word("target")))[:16]
    scanner = Scanner([*WORDS, *secrets, str(tmp_path).encode(), guessed])
    if not passphrase:
        assert scanner.in_data((disk.stolen / "home.key").read_bytes()) == {secrets[0]}
        (disk.stolen / "home.key").unlink()
    assert scanner.in_folder(disk.stolen) == {}
    assert json.loads((disk.stolen / "home/owner").read_text()).keys() == {"process", "command", "since_ns"}
    assert all(map(_LINE.fullmatch, (disk.stolen / "home/farkeep.log").read_text().splitlines()))
    tally("bytes searched for canaries", scanner.searched_bytes)
    tally("canaries and their forms", len(scanner._names))


def test_other_users_of_the_machine_are_shut_out(tmp_path: Path) -> None:
    disk = Disk(tmp_path, passphrase=False)
    disk.run("init", "--site", "x", "--recovery-out", tmp_path / "shares")
    disk.run("backup", disk.source)
    beside = [disk.stolen / name for name in ("home", "home.key", "home.head")]
    closed = [*beside, *(tmp_path / "shares").iterdir()]
    assert [path.name for path in closed if path.stat().st_mode & 0o077] == []


def test_the_name_of_the_machine_is_not_in_the_index(tmp_path: Path) -> None:
    """RocksDB puts it into every table and into its own log, unless it is told otherwise."""
    disk = Disk(tmp_path, passphrase=False)
    disk.run("init", "--site", "x", "--no-recovery")
    disk.run("backup", disk.source)
    disk.run("verify")
    index = disk.stolen / "home/index"
    for table in index.glob("*.sst"):
        assert b"host.identityfarkeep" in table.read_bytes()
    assert not (index / "LOG").exists()


def test_while_a_backup_runs_and_when_it_is_killed_with_a_signal_that_dumps(tmp_path: Path) -> None:
    """Unfinished packs, the lock, command lines, environments, and what faulthandler says: no content, no secret.

    Command lines do hold what the user put there: paths and names. No process of ours adds any.
    """
    disk = Disk(tmp_path, passphrase=True)
    disk.run("init", "--site", "x", "--no-recovery")
    disk.run("backup", disk.source, "--name", "docs")
    secrets = Scanner([word("contents").encode(), word("filename").encode(), *disk.secrets()])
    gates = tmp_path / "gates"
    gates.mkdir()
    dumping = tmp_path / "dumping"
    dumping.write_text(f'#!/bin/sh\nulimit -c unlimited\nexec "{disk.farkeep.command("version")[0].decode()}" "$@"\n')
    dumping.chmod(0o755)
    farkeep = Farkeep(disk.farkeep.home, executable=dumping)
    with held_backup(farkeep, gates, *disk.options) as held:
        status = Path(f"/proc/{held.process.pid}")
        assert re.search(r"Max core file size +0 +0 ", (status / "limits").read_text())
        for file in ("cmdline", "environ"):
            assert secrets.in_data((status / file).read_bytes()) == set()
        assert secrets.in_folder(disk.stolen) == {}
        held.process.send_signal(signal.SIGSEGV)
        output, errors = held.process.communicate(timeout=60)
    assert held.process.returncode == -signal.SIGSEGV
    assert secrets.in_data(output + errors) == set()
    assert not list(tmp_path.rglob("core*"))
    environment = {"PYTHONFAULTHANDLER": "1", "FARKEEP_DEBUG": "1"}
    process = subprocess.Popen(farkeep.command("verify", "--read-data", *disk.options), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env={**os.environ, **environment}, cwd=tmp_path)  # fmt: skip
    process.send_signal(signal.SIGSEGV)
    said = b"".join(process.communicate(timeout=60))
    assert secrets.in_data(said) == set()


def test_what_a_bug_says_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With FARKEEP_DEBUG the whole trace is shown: lines of source and the message, no values."""
    disk = Disk(tmp_path, passphrase=True)
    disk.run("init", "--site", "x", "--no-recovery")
    disk.run("backup", disk.source, "--name", "docs")
    secrets = Scanner([word("contents").encode(), *disk.secrets()])

    def fails(home: object, *_: object, **__: object) -> None:
        raise ZeroDivisionError(home)

    monkeypatch.setattr(listing, "catalog_of", fails)
    result = disk.farkeep.run("ls", "latest", "-v", *disk.options, check=False, env={"FARKEEP_DEBUG": "1"})
    assert result.exit_code == 70
    assert "Traceback" in result.stderr
    assert secrets.in_data(result.stderr.encode() + result.stdout) == set()
    (tmp_path / "wrong").write_text("wrong passphrase 4711\n")
    result = disk.farkeep.run("ls", "latest", "--passphrase-file", tmp_path / "wrong", check=False,
                              env={"FARKEEP_DEBUG": "1"})
    assert "4711" not in result.stderr
    assert secrets.in_folder(disk.stolen) == {}


_TOLD_TO_NOBODY = re.compile(r"passphrase|site_secret|private|id_keys|"
                             r"(seal|fact|mark|manifest|chunk|chunk_id|page_id|boundary)_key")


def test_every_value_with_a_secret_in_it_shows_its_name_only() -> None:
    for package in (shared, siteagent):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    waiting, checked = [Struct], set[str]()
    while waiting:
        waiting += (kind := waiting.pop()).__subclasses__()
        if kind.__module__.partition(".")[0] in ("shared", "siteagent") and any(
            map(_TOLD_TO_NOBODY.fullmatch, kind.__struct_fields__)
        ):
            assert issubclass(kind, Secret), kind
            checked.add(kind.__name__)
    assert checked >= {"Access", "KeyFile", "EpochKeys", "DomainKeys", "RecoveryKeys", "SealingKeys"}
    assert "word" not in repr(ShareText("path", "some words"))


def stolen(disk: Disk) -> InsideFarkeep:
    """A home with one snapshot and its key file, copied and in the hands of a thief."""
    disk.run("init", "--site", "x", "--no-recovery")
    disk.run("backup", disk.source, "--name", "docs")
    shutil.copytree(disk.stolen, disk.folder / "loot")
    return InsideFarkeep(disk.folder / "loot/home")


def test_a_thief_of_home_and_protected_key_file_is_kept_out(tmp_path: Path) -> None:
    thief = stolen(Disk(tmp_path, passphrase=True))
    (tmp_path / "guess").write_text("password\n")
    for options in ((), ("--passphrase-file", str(tmp_path / "guess"))):
        for words in (["snapshots"], ["ls", "latest"], ["events"], ["key", "show"], ["repair", "index"]):
            assert thief.run(*words, *options, check=False).exit_code == 1


def test_a_thief_of_home_and_plain_key_file_reads_everything(tmp_path: Path) -> None:
    """Plainly: what a plain key file beside the home is worth. SECURITY.md says so."""
    disk = Disk(tmp_path, passphrase=False)
    thief = stolen(disk)
    file = disk.source / word("foldername") / word("filename")
    assert word("contents").encode() in thief.run("cat", f"latest:{file}", is_json=False).stdout
    said = (Path(__file__).parents[2] / "SECURITY.md").read_text()
    assert "reads everything" in said


def test_the_scanner_finds_what_is_there(tmp_path: Path, tally: Tally) -> None:
    """In every form, at odd places, inside what is compressed and cut off."""
    marked, noise = word("contents").encode(), os.urandom(999)
    inner = b"some text before it, " * 9 + marked + b" and after it" * 99
    hidden = {f"form {number}": form for number, form in enumerate(sorted(forms(marked)))}
    hidden |= {"zlib": zlib.compress(inner, 1), "zlib 9": zlib.compress(inner, 9), "gzip": gzip.compress(inner),
               "zstd": zstandard.compress(inner), "nested name": marked}  # fmt: skip
    for name, data in hidden.items():
        (tmp_path / name).write_bytes(noise + data[: len(data) - 3 * (name in ("zlib", "gzip"))] + noise)
    (tmp_path / word("filename")).touch()
    found = Scanner(WORDS).in_folder(tmp_path)
    assert found == {**{name: {marked} for name in hidden}, word("filename"): {word("filename").encode()}}
    tally("canaries and their forms", len(hidden))
