"""`farkeep verify`: is everything that snapshots need there, and does it read."""

from __future__ import annotations

from argparse import ArgumentParser

from shared.errors import DamagedError, UsageError
from siteagent.cli.output import Json, name_fields, plain
from siteagent.cli.progress import Progress, Sample
from siteagent.cli.session import Session, host_name, user_name
from siteagent.cli.sizes import shown_count, shown_duration, shown_size
from siteagent.jobs.record import Who
from siteagent.jobs.verify import DamagedSegment, Mode, VerifyProgress, VerifyReport, verify

_PATHS_MAX = 5


def add_options(parser: ArgumentParser, _: str) -> None:
    """The options of verify."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--read-data", action="store_true", help="read every segment whole and check every byte")
    how.add_argument("--sample", metavar="PERCENT", help="read this share of the segments whole, chosen at random")


def run(session: Session) -> int:
    """Verify; exit code 4 when something is damaged.

    JSON: {mode, snapshots, segments_checked, bytes_read, damaged: [{segment, what, paths, snapshots}], problems:
    [{subject, message}], mended, not_proven, notes, seconds}. A damaged segment with parts of catalogs in it has
    `unlisted_below`, the folders of which not every entry can be named.
    """
    mode, percent = _mode(session)
    output = session.output
    with session.open_home() as home:
        total = sum(pack.size_bytes for pack in home.ledger.history().packs.values()) if mode == "read-data" else 0
        with Progress(output.stderr, "verify", is_wanted=output.wants_progress) as progress:

            def watch(running: VerifyProgress) -> None:
                progress.watch(lambda: Sample(running.bytes_read, 0, total))

            report = verify(home, mode, percent, watch, Who(user_name(), host_name()))
    _report(session, report)
    return 0 if report.is_good else DamagedError.exit_code


def _mode(session: Session) -> tuple[Mode, float]:
    options = session.options
    if options.sample is None:
        return ("read-data" if options.read_data else "structure"), 100.0
    try:
        percent = float(options.sample.removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not 0 < percent <= 100:
        raise UsageError("this is no share in per cent", subject=f"--sample {options.sample}",
                         next_step="give a number above 0, up to 100")
    return "sample", percent


def _report(session: Session, report: VerifyReport) -> None:
    output = session.output
    problems: list[Json] = [{"subject": plain(subject), "message": plain(message)}
                            for subject, message in report.problems]
    output.document({
        "mode": report.mode, "snapshots": report.snapshots, "segments_checked": report.segments_checked,
        "bytes_read": report.bytes_read, "damaged": list(map(_damaged, report.damaged)), "problems": problems,
        "mended": report.mended, "not_proven": report.not_proven, "notes": list(map(plain, report.notes)),
        "seconds": round(report.seconds, 3),
    })  # fmt: skip
    state = "nothing is damaged" if report.is_good else "DAMAGE was found"
    output.say(f"{state}: {report.snapshots} snapshots, {shown_count(report.segments_checked)} segments checked, "
               f"{shown_size(report.bytes_read)} read, {shown_duration(report.seconds)}")
    output.detail(f"  {shown_count(report.segments_read_whole)} segments read whole, "
                  f"{shown_size(report.bytes_read / max(report.seconds, 1e-3))}/s")
    for subject, message in report.problems:
        output.warn(f"  {subject}: {message}")
    for segment in report.damaged:
        _say_damaged(session, segment)
    if report.mended:
        output.say(f"  {len(report.mended)} segments that were damaged hold again")
    session.notes(report.notes)
    for text in report.not_proven:
        output.say(f"  not proven: {text}")
    if not report.is_good:
        output.warn("  next: back up again what is still there; it is read anew where its copy here is damaged")


def _damaged(found: DamagedSegment) -> Json:
    fields = [name_fields("path", path) for path in found.paths]
    row: dict[str, Json] = {"segment": found.segment, "what": plain(found.what),
                            "paths": [each["path"] for each in fields],
                            "snapshots": [snapshot.hex() for snapshot in found.snapshots]}  # fmt: skip
    if found.stretches:
        row["unlisted_below"] = sorted({plain(stretch.folder.decode("utf-8", "surrogateescape"))
                                        for stretch in found.stretches})
    if found.is_cut:
        row["has_more_paths"] = True
    if any("path_bytes" in each for each in fields):
        row["paths_bytes"] = [each.get("path_bytes") for each in fields]
    return row


def _say_damaged(session: Session, found: DamagedSegment) -> None:
    output = session.output
    output.warn(f"  segment {found.segment}: {found.what}; {len(found.snapshots)} snapshots need it")
    for path in found.paths[:_PATHS_MAX]:
        output.warn(f"    {path.decode('utf-8', 'surrogateescape')}")
    if len(found.paths) > _PATHS_MAX or found.is_cut:
        output.warn(f"    and {'at least ' if found.is_cut else ''}{max(len(found.paths) - _PATHS_MAX, 1)} more")
    if found.stretches:
        output.warn(f"    and {len(found.stretches)} parts of catalogs that cannot be listed")
