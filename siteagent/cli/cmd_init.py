"""`farkeep init`: make a home, with an organisation of its own, in an existing one, or without recovery."""

from __future__ import annotations

import os
from argparse import ArgumentParser

from shared.errors import FarkeepError, RefusedError, UsageError
from shared.organisation import LIMIT_BYTES, Organisation, decode_organisation
from siteagent.cli.session import Session
from siteagent.cli.settings import FILE, encode_file
from siteagent.cli.sizes import parse_share
from siteagent.disk.durable import write_durably
from siteagent.home import Access
from siteagent.jobs.initialise import NewHome, initialise
from siteagent.jobs.recovery import (
    ORGANISATION_FILE,
    ShareCount,
    new_organisation,
    remove_recovery,
    require_free_folder,
    write_recovery,
)

_NAME_MAX = 64


def add_options(parser: ArgumentParser, _: str) -> None:
    """The options of init."""
    parser.add_argument("--site", metavar="NAME", required=True, help="the name of this site")
    parser.add_argument("--recovery-out", metavar="DIR", help="make an organisation; write its recovery shares here")
    parser.add_argument("--shares", metavar="K/N", help="K of N shares are needed to recover (default: 2/3)")
    parser.add_argument("--organisation-name", metavar="NAME", help="its name (default: the site's)")
    parser.add_argument("--organisation", metavar="FILE", help="join the organisation of this organisation.json")
    parser.add_argument("--no-recovery", action="store_true", help="nobody can recover without the key file")


def run(session: Session) -> int:
    """Make a home. JSON: {site, name, home, key_file, is_protected, organisation, shares, next}."""
    _require_choice(session)
    name, access = _site_name(session.options.site), session.access
    _require_key_outside(access)
    organisation: Organisation | None
    if session.options.recovery_out:
        site, organisation, shares = _found(session, name)
    else:
        organisation, shares = _joined(session), []
        site = initialise(NewHome(access, name, organisation), session.world)
    _remember(session)
    _report(session, site, name, organisation, shares)
    return 0


def _require_choice(session: Session) -> None:
    options = session.options
    chosen = [option for option in (options.recovery_out, options.organisation, options.no_recovery) if option]
    if len(chosen) > 1:
        raise UsageError("--recovery-out, --organisation and --no-recovery exclude each other", subject="farkeep init",
                         next_step="choose one")
    if (options.shares or options.organisation_name) and not options.recovery_out:
        raise UsageError("--shares and --organisation-name belong to --recovery-out", subject="farkeep init",
                         next_step="add --recovery-out DIR, or leave them out")
    if not chosen:
        raise RefusedError("nobody could open this home again if its key file were lost", subject="farkeep init",
                           next_step="add --recovery-out DIR to get recovery shares, --organisation FILE to join an "
                                     "organisation that has some, or --no-recovery when you really want none")


def _site_name(name: str) -> str:
    if not (0 < len(name) <= _NAME_MAX and name.isprintable() and name == name.strip()):
        raise UsageError(f"a site's name has 1 to {_NAME_MAX} printable characters", subject=name,
                         next_step="choose another --site")
    return name


def _require_key_outside(access: Access) -> None:
    inside, around = os.path.realpath(access.key_path), os.path.realpath(access.home)
    if inside.startswith(around + os.sep):
        raise RefusedError("the key file would lie in the home: a thief of the home would have both",
                           subject=access.key_path, next_step="name a place outside the home with --key-file")


def _found(session: Session, name: str) -> tuple[bytes, Organisation, list[str]]:
    """Make an organisation and a home; the shares are durable before anything is sealed to them."""
    options, access, world = session.options, session.access, session.world
    folder = os.path.abspath(options.recovery_out)
    count = ShareCount(*parse_share(options.shares or "2/3", "number of shares"))
    require_free_folder(folder, access.home)
    organisation, texts = new_organisation(options.organisation_name or name, count, world)
    shares: list[str] = []

    def keep() -> None:
        shares.extend(write_recovery(folder, texts, organisation, world))

    try:
        site = initialise(NewHome(access, name, organisation, keep), world)
    except (FarkeepError, OSError, KeyboardInterrupt):
        if shares:
            remove_recovery(folder, len(texts), world)
        raise
    return site, organisation, shares


def _joined(session: Session) -> Organisation | None:
    path = session.options.organisation
    if not path:
        return None
    try:
        with open(path, "rb") as file:
            return decode_organisation(file.read(LIMIT_BYTES + 1), subject=path)
    except OSError as error:
        raise RefusedError(f"the organisation's file cannot be read: {error.strerror}", subject=path,
                           next_step="give the organisation.json that `farkeep init --recovery-out` wrote") from error


def _remember(session: Session) -> None:
    """Note a key file that was named in H/farkeep.toml."""
    access = session.access
    if session.options.key_file:
        write_durably(session.world.disk(access.home), FILE, encode_file({"key_file": access.key_path}))


def _report(session: Session, site: bytes, name: str, organisation: Organisation | None, shares: list[str]) -> None:
    access, output = session.access, session.output
    steps = list(_advice(session, organisation, shares))
    output.document({
        "site": site.hex(), "name": name, "home": access.home, "key_file": access.key_path,
        "is_protected": access.passphrase is not None,
        "organisation": None if organisation is None else {
            "name": organisation.name, "id": organisation.id.hex(), "fingerprint": organisation.fingerprint},
        "shares": shares, "next": steps,
    })  # fmt: skip
    output.say(f"the home of site {name} is ready: {access.home}")
    for step in steps:
        output.say(f"  - {step}")


def _advice(session: Session, organisation: Organisation | None, shares: list[str]) -> list[str]:
    key = session.access.key_path
    steps = [f"the key file is {key}: without it (or recovery) nothing can be opened; keep a copy elsewhere"]
    if shares and organisation is not None:
        folder = os.path.dirname(shares[0])
        needed = session.options.shares or "2/3"
        steps += [
            f"print {folder}/share-1.txt to share-{len(shares)}.txt, give each to another person or place, then delete "
            f"them: {needed.replace('/', ' of ')} open every backup of the organisation",
            f"other sites join with {os.path.join(folder, ORGANISATION_FILE)}; it is public, its fingerprint is "
            f"{organisation.fingerprint}",
        ]
    elif organisation is not None:
        steps.append(f"this site belongs to {organisation.name}; compare the fingerprint by voice: "
                     f"{organisation.fingerprint}")
    else:
        steps.append("there is no recovery: if the key file is lost, so is everything")
    return steps
