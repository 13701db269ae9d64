"""`farkeep repair index`, `repair packs` and `repair log`: what can be made again from what is still there."""

from __future__ import annotations

from argparse import ArgumentParser

from shared.errors import DamagedError, PartialError
from siteagent.cli.moment import local_time, rfc3339
from siteagent.cli.output import Json, plain
from siteagent.cli.session import Session, host_name, user_name
from siteagent.cli.sizes import shown_count, shown_duration
from siteagent.jobs.record import Who
from siteagent.jobs.repair_index import repair_index
from siteagent.jobs.repair_log import open_broken, repair_log
from siteagent.jobs.repair_packs import repair_packs


def add_options(parser: ArgumentParser, _: str) -> None:
    """No options of its own."""
    del parser


def run(session: Session) -> int:
    """Do what was asked for."""
    return {"repair index": _index, "repair packs": _packs, "repair log": _log}[session.command](session)


def _index(session: Session) -> int:
    """JSON: {packs, segments, walked, left_out, notes, seconds}; exit code 4 when something did not read."""
    with session.open_home() as home:
        report = repair_index(home, who=Who(user_name(), host_name()))
    output = session.output
    output.document({"packs": report.packs, "segments": report.segments, "walked": _rows(report.walked),
                     "left_out": _rows(report.left_out), "notes": list(map(plain, report.notes)),
                     "seconds": round(report.seconds, 3)})  # fmt: skip
    output.say(f"the index was made again from {report.packs} packs: {shown_count(report.segments)} segments, "
               f"{shown_duration(report.seconds)}")
    _say(session, report.walked, "has no sound trailer and was walked")
    _say(session, report.left_out, "was left out")
    session.notes(report.notes)
    return 0 if report.is_good else DamagedError.exit_code


def _packs(session: Session) -> int:
    """JSON: {packs, mended: [{pack, damage, saved, lost, unnamed, aside}], notes, seconds}; exit code 4 when something
    is lost."""
    with session.open_home() as home:
        report = repair_packs(home, Who(user_name(), host_name()))
    output = session.output
    output.document({
        "packs": report.packs,
        "mended": [{"pack": pack.pack_id.hex(), "damage": plain(pack.damage), "saved": pack.saved,
                    "lost": list(pack.lost), "unnamed": pack.unnamed, "aside": pack.aside} for pack in report.mended],
        "notes": list(map(plain, report.notes)), "seconds": round(report.seconds, 3),
    })  # fmt: skip
    output.say(f"{report.packs} packs looked at, {len(report.mended)} mended, {shown_duration(report.seconds)}")
    for pack in report.mended:
        kept = f"; the old file is kept as {pack.aside}" if pack.aside else ""
        output.warn(f"  packs/{pack.pack_id.hex()}.pack: {pack.damage}: {pack.saved} segments saved, "
                    f"{len(pack.lost) + pack.unnamed} lost{kept}")
    session.notes(report.notes)
    return 0 if report.is_good else DamagedError.exit_code


def _log(session: Session) -> int:
    """JSON: {reason, known_until, rescued, snapshots, packs, not_taken, notes}; exit code 3 when not all could be taken
    back."""
    with open_broken(session.access, session.command, session.world) as home:
        report = repair_log(home, Who(user_name(), host_name()))
    output, rescue, known_ns = session.output, report.rescue, report.known_until_ns
    output.document({
        "reason": plain(report.reason), "known_until": rfc3339(known_ns) if known_ns else None,
        "rescued": None if rescue is None else {"aside": rescue.aside, "facts": rescue.facts},
        "snapshots": [snapshot.hex() for snapshot in report.snapshots], "packs": len(report.packs),
        "not_taken": _rows(report.not_taken), "notes": list(map(plain, report.notes)),
    })  # fmt: skip
    if not report.reason:
        output.say("the log lacks nothing: it was left as it is")
        return 0
    output.say(f"{report.reason}: {len(report.snapshots)} snapshots and {len(report.packs)} packs were taken back")
    if rescue is not None:
        kept = f"; the old file is kept as {rescue.aside}" if rescue.aside else ""
        output.say(f"  {rescue.facts} facts of the old log hold{kept}")
    since = f"after {local_time(known_ns)}" if known_ns else "until now"
    output.warn(f"  what was decided {since} has to be decided again: holds, tags, notes, and what was forgotten")
    _say(session, report.not_taken, "could not be taken back")
    session.notes(report.notes)
    return PartialError.exit_code if report.not_taken else 0


def _rows(found: list[tuple[str, str]]) -> list[Json]:
    return [{"subject": plain(subject), "message": plain(message)} for subject, message in found]


def _say(session: Session, found: list[tuple[str, str]], what: str) -> None:
    for subject, message in found:
        session.output.warn(f"  {subject} {what}: {message}")
