"""`farkeep key show | rotate | split | passphrase | restore`."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Callable

from shared.errors import RefusedError, UsageError
from shared.shares import LIMIT_BYTES
from siteagent.cli.moment import local_time, rfc3339
from siteagent.cli.session import Session, host_name, user_name
from siteagent.cli.settings import FILE, encode_file, read_file, read_passphrase
from siteagent.cli.sizes import parse_share
from siteagent.disk.durable import write_durably
from siteagent.jobs.keys import ShareText, change_passphrase, restore_key, rotate, show, split_again
from siteagent.jobs.record import Who
from siteagent.jobs.recovery import ShareCount


def add_options(parser: ArgumentParser, name: str) -> None:
    """The options of one of the key commands."""
    if name == "key rotate":
        parser.add_argument("--new-secret", action="store_true",
                            help="also write the key file anew: older copies of it open nothing sealed from now on")
    if name == "key passphrase":
        how = parser.add_mutually_exclusive_group(required=True)
        how.add_argument("--new-passphrase-file", metavar="F", help="protect the key file with this passphrase")
        how.add_argument("--remove", action="store_true", help="keep the key file without a passphrase")
    if name in ("key split", "key restore"):
        parser.add_argument("--recovery-share", action="extend", nargs="+", required=True, metavar="F",
                            help="files of shares, as many as are needed; may be given several times")
    if name == "key split":
        parser.add_argument("--recovery-out", required=True, metavar="DIR", help="write the new shares here")
        parser.add_argument("--shares", default="2/3", metavar="K/N", help="K of N are needed (default: 2/3)")


def run(session: Session) -> int:
    """Do what was asked for."""
    actions: dict[str, Callable[[Session], None]] = {
        "key show": _show, "key rotate": _rotate, "key split": _split, "key passphrase": _passphrase,
        "key restore": _restore,
    }  # fmt: skip
    actions[session.command](session)
    return 0


def _who() -> Who:
    return Who(user_name(), host_name())


def _show(session: Session) -> None:
    """JSON: {site, site_name, identity, key_file, is_protected, organisation, key_epochs, domains}."""
    with session.open_home() as home:
        found = show(home)
    output = session.output
    newest = max(record.number for record in found.epochs)
    output.document({
        "site": found.site.hex(), "site_name": found.site_name, "identity": found.identity.hex(),
        "key_file": found.key_file, "is_protected": found.is_protected,
        "organisation": {"name": found.organisation, "fingerprint": found.fingerprint} if found.organisation else None,
        "key_epochs": [{"number": record.number, "created": rfc3339(record.created_ns),
                        "is_current": record.number == newest} for record in found.epochs],
        "domains": [record.id.hex() for record in found.domains],
    })  # fmt: skip
    if output.has_document:
        return
    output.line(f"site          {found.site_name} ({found.site.hex()})")
    output.line(f"identity      {found.identity.hex()}")
    output.line(f"key file      {found.key_file} ({'needs a passphrase' if found.is_protected else 'plain'})")
    recovery = f"{found.organisation}, fingerprint {found.fingerprint}" if found.organisation else "none"
    output.line(f"recovery      {recovery}")
    for record in found.epochs:
        mark = " (current)" if record.number == newest else ""
        output.line(f"key epoch {record.number:<3} since {local_time(record.created_ns)}{mark}")


def _rotate(session: Session) -> None:
    """JSON: {key_epoch}."""
    with session.open_home() as home:
        number = rotate(home, _who(), is_new_secret=session.options.new_secret)
    session.output.document({"key_epoch": number})
    session.output.say(f"everything is sealed under key epoch {number} from now on; older snapshots stay readable")
    if session.options.new_secret:
        session.output.say("  the key file was written anew: copy it to where you keep its copies")


def _split(session: Session) -> None:
    """JSON: {shares}."""
    options = session.options
    count = ShareCount(*parse_share(options.shares, "number of shares"))
    texts = list(map(_share, options.recovery_share))
    with session.open_home() as home:
        paths = split_again(home, _who(), texts, count, os.path.abspath(options.recovery_out))
    session.output.document({"shares": paths})
    session.output.say(f"{len(paths)} new shares are in {options.recovery_out}: any {count.needed} of them recover")
    session.output.say("  earlier sets stay valid until their holders destroy them")


def _passphrase(session: Session) -> None:
    """JSON: {key_file, is_protected}."""
    new = session.options.new_passphrase_file
    passphrase = read_passphrase(new) if new else None
    with session.open_home() as home:
        change_passphrase(home, _who(), passphrase)
        path = home.access.key_path
    session.output.document({"key_file": path, "is_protected": passphrase is not None})
    session.output.say(f"the key file {path} {'needs the new passphrase' if new else 'needs no passphrase any more'}")
    session.output.say("  copies of the key file made before still open the home as they did")


def _restore(session: Session) -> None:
    """JSON: {site, key_file, is_protected}."""
    access = session.access
    texts = list(map(_share, session.options.recovery_share))
    inside, around = os.path.realpath(access.key_path), os.path.realpath(access.home)
    if inside.startswith(around + os.sep):
        raise RefusedError("the key file would lie in the home: a thief of the home would have both",
                           subject=access.key_path, next_step="name a place outside the home with --key-file")
    site = restore_key(access, _who(), texts, session.world)
    if session.options.key_file:
        stored = read_file(os.path.join(access.home, FILE))
        write_durably(session.world.disk(access.home), FILE, encode_file({**stored, "key_file": access.key_path}))
    session.output.document({"site": site.hex(), "key_file": access.key_path,
                             "is_protected": access.passphrase is not None})
    session.output.say(f"the home opens again with {access.key_path}; keep a copy of it elsewhere")


def _share(path: str) -> ShareText:
    try:
        with open(path, "rb") as file:
            data = file.read(LIMIT_BYTES * 4 + 1)
        return ShareText(path, data.decode("utf-8"))
    except OSError as error:
        raise RefusedError(f"a recovery share cannot be read: {error.strerror}", subject=path,
                           next_step="check the path and its permissions") from error
    except UnicodeDecodeError:
        raise UsageError("this is no recovery share: it is not text", subject=path,
                         next_step="give the text file of one share") from None
