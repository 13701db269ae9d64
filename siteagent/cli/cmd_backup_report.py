"""What a backup did, as JSON and in words."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.errors import PartialError
from siteagent.cli.moment import rfc3339
from siteagent.cli.output import Json, name_fields, plain
from siteagent.cli.session import Session
from siteagent.cli.sizes import counted, shown_count, shown_duration, shown_size
from siteagent.jobs.backup import BackupResult
from siteagent.sources.base import Skipped, SourceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from siteagent.jobs.dryrun import Preview

ERRORS_MAX = 1000
_LINES_MAX = 10


def report(session: Session, result: BackupResult, skipped: Skipped) -> int:
    """Print what a backup did; returns the exit code."""
    summary, output = result.summary, session.output
    errors = [*result.errors, *result.alarms]
    output.document({
        "snapshot": result.snapshot.hex(), "name": summary.name, "time": rfc3339(summary.time_ns),
        "files": summary.files, "folders": summary.folders, "bytes_seen": summary.bytes_seen,
        "bytes_read": summary.bytes_read, "bytes_new": summary.bytes_new, "bytes_stored": result.bytes_stored,
        "seconds": round(result.seconds, 3), "quality": summary.quality, **error_fields(errors),
        "counts": msgspec.to_builtins(summary.counts), **_skipped_fields(skipped),
        "notes": list(map(plain, result.notes)),
    })  # fmt: skip
    output.say(f"snapshot {result.snapshot.hex()[:12]} of {summary.name}: {counted(summary.files, 'file')} in "
               f"{counted(summary.folders, 'folder')}, {shown_size(summary.bytes_seen)}")
    output.say(f"  {shown_size(summary.bytes_read)} read, {shown_size(summary.bytes_new)} new, "
               f"{shown_size(result.bytes_stored)} stored, {shown_duration(result.seconds)}")
    counts = summary.counts
    output.detail(f"  entries: {counts.new} new, {counts.changed} changed, {counts.renamed} renamed, {counts.removed} "
                  f"removed, {counts.unchanged} unchanged; {summary.links} links, {summary.others} others")
    output.detail(f"  {shown_size(summary.bytes_read / max(result.seconds, 1e-3))}/s read, "
                  f"{shown_size(summary.incompressible_bytes)} of what is new does not shrink")
    _say_skipped(session, skipped)
    session.notes(result.notes)
    say_errors(session, errors, "could not be read")
    if summary.quality == "changed":
        output.warn("note: a file changed while it was read, every time; its last reading was kept and marked")
    return PartialError.exit_code if summary.quality in ("changed", "partial") else 0


def report_preview(session: Session, name: str, preview: Preview, skipped: Skipped) -> int:
    """Print what a backup would do; returns the exit code."""
    output, counts = session.output, preview.counts
    output.document({
        "is_dry_run": True, "name": name, "files": preview.files, "folders": preview.folders,
        "bytes_seen": preview.bytes_seen, "files_to_read": preview.files_to_read,
        "bytes_to_read": preview.bytes_to_read, "seconds": round(preview.seconds, 3), **error_fields(preview.errors),
        "counts": msgspec.to_builtins(counts), **_skipped_fields(skipped),
    })  # fmt: skip
    output.say(f"a backup of {name} would see {counted(preview.files, 'file')}, {shown_size(preview.bytes_seen)}, "
               f"and read {shown_count(preview.files_to_read)} of them, {shown_size(preview.bytes_to_read)}")
    output.say(f"  entries: {counts.new} new, {counts.changed} changed, {counts.renamed} renamed, "
               f"{counts.removed} removed, {counts.unchanged} unchanged")
    _say_skipped(session, skipped)
    say_errors(session, preview.errors, "could not be looked at")
    return PartialError.exit_code if preview.errors else 0


def error_fields(errors: Sequence[SourceError]) -> dict[str, Json]:
    """The JSON members `errors` (the first 1000) and `error_count`."""
    rows: list[Json] = [{**name_fields("path", error.path), "reason": plain(error.reason)}
                        for error in errors[:ERRORS_MAX]]
    return {"errors": rows, "error_count": len(errors)}


def say_errors(session: Session, errors: Sequence[SourceError], what: str) -> None:
    """Name the first few entries that something was wrong with."""
    if not errors:
        return
    session.output.warn(f"{len(errors)} {'entry' if len(errors) == 1 else 'entries'} {what}:")
    for error in errors[:_LINES_MAX]:
        text = error.path.decode("utf-8", "surrogateescape")
        session.output.warn(f"  {text}: {error.reason}")
    if len(errors) > _LINES_MAX:
        session.output.warn(f"  and {len(errors) - _LINES_MAX} more (--json lists {ERRORS_MAX})")


def _skipped_fields(skipped: Skipped) -> dict[str, Json]:
    homes = [path.decode("utf-8", "backslashreplace") for path in skipped.home]
    return {"excluded": skipped.excluded, "sockets_skipped": skipped.sockets, "skipped_home": homes}


def _say_skipped(session: Session, skipped: Skipped) -> None:
    for path in skipped.home:
        session.output.say(f"  the home itself was left out: {path.decode('utf-8', 'surrogateescape')}")
    if skipped.excluded or skipped.sockets:
        session.output.say(f"  {skipped.excluded} excluded, {skipped.sockets} sockets skipped")
