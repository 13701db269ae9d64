"""`farkeep stats`: what a home holds and what it costs on disk."""

from __future__ import annotations

from argparse import ArgumentParser

from siteagent.cli.moment import local_time, rfc3339
from siteagent.cli.session import Session
from siteagent.cli.sizes import shown_count, shown_size
from siteagent.jobs.listing import Stats, stats


def add_options(parser: ArgumentParser, _: str) -> None:
    """No options of its own."""
    del parser


def run(session: Session) -> int:
    """Print the figures. JSON: one object, sizes in bytes; `bytes_stored` is all but the index."""
    with session.open_home() as home:
        found = stats(home)
    output = session.output
    output.document({
        "site": found.site.hex(), "site_name": found.site_name, "snapshots": found.snapshots,
        "forgotten": found.forgotten, "names": found.names,
        "oldest": rfc3339(found.oldest_ns) if found.snapshots else None,
        "newest": rfc3339(found.newest_ns) if found.snapshots else None, "bytes_seen": found.bytes_seen,
        "packs": found.packs, "segments": found.segments, "damaged_segments": found.damaged_segments,
        "bytes_stored": found.bytes_stored, "bytes_data": found.bytes_data, "bytes_catalog": found.bytes_catalog,
        "bytes_manifests": found.bytes_manifests, "bytes_log": found.bytes_log, "bytes_index": found.bytes_index,
        "bytes_free": found.bytes_free,
    })  # fmt: skip
    if not output.has_document:
        for what, text in _lines(found):
            output.line(f"{what:<18}{text}")
    return 0


def _lines(found: Stats) -> list[tuple[str, str]]:
    lines = [
        ("site", f"{found.site_name} ({found.site.hex()})"),
        ("snapshots", f"{shown_count(found.snapshots)} of {found.names} names"),
        ("newest of each", f"{shown_size(found.bytes_seen)} when restored"),
        ("stored", f"{shown_size(found.bytes_stored)} in {found.packs} packs, {shown_count(found.segments)} segments"),
        ("  data", shown_size(found.bytes_data)),
        ("  catalog", shown_size(found.bytes_catalog)),
        ("  manifests", shown_size(found.bytes_manifests)),
        ("  log", shown_size(found.bytes_log)),
        ("index (a cache)", shown_size(found.bytes_index)),
        ("free on the disk", shown_size(found.bytes_free)),
    ]
    if found.forgotten:
        lines.insert(2, ("forgotten", f"{shown_count(found.forgotten)}, not swept yet"))
    if found.snapshots:
        lines.insert(2, ("time", f"{local_time(found.oldest_ns)} to {local_time(found.newest_ns)}"))
    if found.damaged_segments:
        lines.append(("DAMAGED", f"{found.damaged_segments} segments: see `farkeep verify`"))
    return lines
