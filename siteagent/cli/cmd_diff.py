"""`farkeep diff`: what changed between two snapshots, or two folders of snapshots."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from siteagent.cli.limits import check_limit
from siteagent.cli.output import Json, name_fields
from siteagent.cli.session import Session
from siteagent.cli.sizes import shown_count, shown_size
from siteagent.cli.snapspec import SnapSpec, find_snapshot, parse_spec
from siteagent.home import Home
from siteagent.jobs.diff import Change, Part, diff

_MARKS = {"added": "+", "removed": "-", "type": "T", "content": "M", "metadata": "m"}
_WORDS = {"added": "added", "removed": "removed", "type": "of another type", "content": "with other content",
          "metadata": "with other metadata only"}  # fmt: skip


def add_options(parser: ArgumentParser, _: str) -> None:
    """The options of diff."""
    parser.add_argument("old", metavar="SNAP[:PATH]", help="what is compared: a snapshot, or a folder or file of it")
    parser.add_argument("new", metavar="SNAP[:PATH]", help="with what; marks: + added, - removed, M other content, "
                        "m other metadata only, T other type")
    parser.add_argument("--limit", type=int, metavar="N", help="show no more than N changes")
    parser.add_argument("--stat", action="store_true", help="count the changes, name none")


def run(session: Session) -> int:
    """Compare.

    JSON: a list of {change, path, type, size, old_size}; change is added, removed, type, content or metadata. With
    --stat: {added, removed, type, content, metadata, bytes}. In words: + added, - removed, M content, m metadata only,
    T type.
    """
    options, output = session.options, session.output
    old, new, limit = parse_spec(options.old), parse_spec(options.new), check_limit(options.limit)
    tally, is_cut = _Tally(), False
    with session.open_home() as home:
        found = tally.counted(diff(home, _part(home, old), _part(home, new)))
        if options.stat:
            for _ in found:
                pass
            output.document(tally.document())
        else:
            _show(session, islice(found, limit))
            is_cut = limit is not None and next(found, None) is not None
        session.notes(home.notes)
    output.say(f"only the first {limit} changes are shown (--limit)" if is_cut else tally.text())
    return 0


class _Tally:
    """Counts what passes."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.growth_bytes = 0

    def counted(self, changes: Iterator[Change]) -> Iterator[Change]:
        """The same changes, counted."""
        for change in changes:
            self.counts[change.kind] += 1
            self.growth_bytes += (0 if change.kind == "removed" else change.size_bytes) - change.old_size_bytes
            yield change

    def document(self) -> dict[str, Json]:
        """The counts by kind, and by how many bytes the files grew."""
        return {**{kind: self.counts[kind] for kind in _MARKS}, "bytes": self.growth_bytes}

    def text(self) -> str:
        """The counts in words."""
        parts = [f"{shown_count(self.counts[kind])} {words}" for kind, words in _WORDS.items() if self.counts[kind]]
        if not parts:
            return "nothing differs"
        sign = "-" if self.growth_bytes < 0 else "+"
        return f"{', '.join(parts)}; {sign}{shown_size(abs(self.growth_bytes))}"


def _part(home: Home, spec: SnapSpec) -> Part:
    return Part(find_snapshot(home.ledger.history(), spec.snap), spec.path)


def _show(session: Session, changes: Iterator[Change]) -> None:
    output = session.output
    if output.is_json or output.is_jsonl:
        output.records(map(_record, changes))
        return
    for change in changes:
        end = "/" if change.type == "folder" else ""
        output.line(f"{_MARKS[change.kind]} {change.path.decode('utf-8', 'surrogateescape')}{end}")
    output.flush()


def _record(change: Change) -> dict[str, Json]:
    return {"change": change.kind, **name_fields("path", change.path), "type": change.type, "size": change.size_bytes,
            "old_size": change.old_size_bytes}
