"""Rules of retention: which snapshots of one NAME are kept, and by which rule. Nothing here touches a home.

Rules are written `last 3, daily 14, weekly 8, monthly 12, yearly 7, within 30d, tag release`, in any order and case:

| rule                  | keeps                                                                                      |
| --------------------- | ------------------------------------------------------------------------------------------ |
| last N                | the newest N, partial ones too                                                             |
| hourly N ... yearly N | one of each bucket (hour, day, ISO week, month, year in local time) of the N newest ones   |
| within SPAN           | whatever is no older than SPAN before the newest good one                                  |
| tag T                 | whatever has this tag                                                                      |

- Buckets go by the log's time, which never runs backwards and is that of the end of a backup: one from 23:50 to 0:10
  belongs to the later day. Only those that hold snapshots are counted, so a machine that was off for a month loses
  nothing by it. `within` does not look at the clock either, and a pause between two snapshots of over a week and over
  three times the usual one counts as no more than that: it may be a machine that was off, or a clock that was put
  forward, and the snapshots before it are no older for that.
- Of a bucket the newest good snapshot is kept, and where there is none the newest partial one. Buckets with good
  snapshots are counted by themselves: partial ones push none of them out.
- The newest good snapshot is always kept (of a NAME that has none, the newest), and so is what cannot be read.
- A snapshot that was recorded over an hour after it ended has a log time that is not its own: the clock had been put
  back, or `repair log` took it back. It is always kept and counts in no bucket; only a person may forget it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from itertools import pairwise

from msgspec import Struct

from shared.durations import parse_duration
from shared.errors import UsageError
from siteagent.ledger.state import SnapshotEntry

_COUNT_MAX, _RULES_MAX, _TEXT_MAX = 100_000, 100, 10_000
_OWN_TIME_LIMIT_NS = 3600 * 10**9
_PAUSE_MIN_NS = 7 * 86_400 * 10**9
_BUCKETS: dict[str, Callable[[datetime], str]] = {
    # The offset tells the two hours apart that have one name when summer time ends.
    "hourly": lambda moment: moment.replace(minute=0, second=0, microsecond=0).isoformat(timespec="minutes"),
    "daily": lambda moment: moment.date().isoformat(),
    "weekly": lambda moment: "{}-W{:02}".format(*moment.isocalendar()[:2]),
    "monthly": lambda moment: moment.date().isoformat()[:7],
    "yearly": lambda moment: moment.date().isoformat()[:4],
}
_KINDS = ("last", *_BUCKETS, "within", "tag")
_HOW = "write rules like `last 3, daily 14, weekly 8, monthly 12, yearly 7, within 30d, tag release`"


class Rule(Struct, frozen=True):
    """One rule: its kind, what was written after it, and that as a number (snapshots, buckets, or nanoseconds)."""

    kind: str
    value: str
    amount: int = 0

    @property
    def text(self) -> str:
        """The rule as it is written."""
        return f"{self.kind} {self.value}"


class Judged(Struct, frozen=True):
    """A snapshot and the rules that keep it (`last 1`, `daily 2026-11-23`); none when it would go."""

    snapshot: SnapshotEntry
    rules: tuple[str, ...]

    @property
    def is_kept(self) -> bool:
        """True when a rule keeps it."""
        return bool(self.rules)


def parse_rules(text: str) -> tuple[Rule, ...]:
    """The rules of a text, in the order of the table above; raises UsageError that names the word that is wrong."""
    pieces = [piece.strip() for piece in text.split(",")]
    if len(text) > _TEXT_MAX or len(pieces) > _RULES_MAX:
        raise UsageError(f"these are more than {_RULES_MAX} rules", subject=f"{text[:60]}...", next_step=_HOW)
    rules = [_rule(piece) for piece in pieces]
    names = [rule.text if rule.kind == "tag" else rule.kind for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise UsageError("a rule is written twice", subject=name, next_step="write each rule once")
    return tuple(sorted(rules, key=lambda rule: (_KINDS.index(rule.kind), rule.value)))


def rules_text(rules: Iterable[Rule]) -> str:
    """The text of rules, one for every way to write them."""
    return ", ".join(rule.text for rule in rules)


def _rule(piece: str) -> Rule:
    word, _, value = piece.partition(" ")
    kind, value = word.lower(), value.strip()
    if not piece:
        raise UsageError("a rule is missing", subject="--keep", next_step=_HOW)
    if kind not in _KINDS:
        raise UsageError("there is no such rule", subject=word, next_step=_HOW)
    if not value:
        raise UsageError("this rule does not say how much it keeps", subject=word, next_step=_HOW)
    if kind == "tag":
        return Rule(kind, value)
    if kind == "within":
        return _within(value)
    if not (value.isascii() and value.isdecimal() and len(value) < 10 and 1 <= int(value) <= _COUNT_MAX):
        raise UsageError(f"this is no number from 1 to {_COUNT_MAX}", subject=piece, next_step=_HOW)
    return Rule(kind, str(int(value)), int(value))


def _within(value: str) -> Rule:
    span_ns = parse_duration(value)
    if not span_ns:
        raise UsageError("a span of no time keeps nothing", subject=f"within {value}", next_step=_HOW)
    return Rule("within", value.replace(" ", "").lower(), span_ns)


def apply_rules(rules: Iterable[Rule], snapshots: Sequence[SnapshotEntry], zone: tzinfo | None = None) -> list[Judged]:
    """What keeps each of the snapshots of one NAME, oldest first as they are given.

    `zone` is the local time that buckets go by (default: this machine's).
    """
    series = _Series(snapshots, zone)
    for rule in rules:
        series.apply(rule)
    series.keep_always()
    return [Judged(entry, tuple(kept)) for entry, kept in zip(snapshots, series.kept, strict=True)]


class _Series:
    """The snapshots of one NAME by their numbers, and what keeps each so far."""

    def __init__(self, snapshots: Sequence[SnapshotEntry], zone: tzinfo | None) -> None:
        self.kept: list[list[str]] = [[] for _ in snapshots]
        self._snapshots, self._zone = snapshots, zone
        readable = [number for number, entry in enumerate(snapshots) if entry.summary is not None]
        self._newest_first = readable[::-1]
        self._placed = [number for number in self._newest_first if not has_foreign_time(snapshots[number])]

    def apply(self, rule: Rule) -> None:
        """Note what one rule keeps."""
        if rule.kind == "last":
            for count, number in enumerate(self._newest_first[: rule.amount], 1):
                self._keep(number, f"last {count}")
        elif rule.kind == "tag":
            self._keep_all(rule.text, (n for n in self._newest_first if rule.value in self._snapshots[n].tags))
        elif rule.kind == "within":
            self._keep_all(rule.text, self._within(rule.amount))
        else:
            self._apply_buckets(rule)

    def _within(self, span_ns: int) -> Iterator[int]:
        times = [self._snapshots[number].time_ns for number in self._placed]
        pauses = [later_ns - earlier_ns for later_ns, earlier_ns in pairwise(times)]
        longest_ns = _longest_pause_ns(pauses)
        newest = next((place for place, number in enumerate(self._placed) if self._is_good(number)), 0)
        yield from self._placed[: newest + 1]
        age_ns = 0
        for number, pause_ns in zip(self._placed[newest + 1 :], pauses[newest:], strict=True):
            age_ns += min(pause_ns, longest_ns)
            if age_ns > span_ns:
                return
            yield number

    def _apply_buckets(self, rule: Rule) -> None:
        bucket_of = _BUCKETS[rule.kind]
        buckets: dict[str, list[int]] = {}
        for number in self._placed:
            moment = datetime.fromtimestamp(self._snapshots[number].time_ns // 10**9, UTC).astimezone(self._zone)
            buckets.setdefault(bucket_of(moment), []).append(number)
        good_buckets = 0
        for place, (bucket, numbers) in enumerate(buckets.items()):
            good = next(filter(self._is_good, numbers), None)
            if (place if good is None else good_buckets) < rule.amount:
                self._keep(numbers[0] if good is None else good, f"{rule.kind} {bucket}")
            good_buckets += good is not None

    def keep_always(self) -> None:
        """Note what no rule may drop."""
        good = next(filter(self._is_good, self._newest_first), None)
        if good is not None:
            self._keep(good, "last good")
        elif self._newest_first:
            self._keep(self._newest_first[0], "last of its name")
        for number, entry in enumerate(self._snapshots):
            if entry.summary is None:
                self._keep(number, entry.mark.value if entry.mark else "unreadable")
            elif has_foreign_time(entry):
                self._keep(number, "time not its own")

    def _is_good(self, number: int) -> bool:
        return is_good(self._snapshots[number])

    def _keep_all(self, text: str, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._keep(number, text)

    def _keep(self, number: int, text: str) -> None:
        self.kept[number].append(text)


def _longest_pause_ns(pauses: list[int]) -> int:
    """As what a pause between two snapshots counts at most. The longest says nothing about what is usual."""
    others = sorted(pauses)[:-1]
    return max(_PAUSE_MIN_NS, 3 * others[len(others) // 2] if others else 0)


def is_good(snapshot: SnapshotEntry) -> bool:
    """True when a snapshot can be read and is not partial."""
    return snapshot.summary is not None and snapshot.summary.is_good


def has_foreign_time(snapshot: SnapshotEntry) -> bool:
    """True when the log time of a snapshot is not the time at which it was taken."""
    return snapshot.summary is not None and snapshot.time_ns - snapshot.summary.ended_ns > _OWN_TIME_LIMIT_NS
