"""Forgetting snapshots, by name or by rule. Nothing is removed: until a sweep, `unforget` takes it all back.

What stands against it, in this order:

| guard                     | applies to | the way past it                                                             |
| ------------------------- | ---------- | --------------------------------------------------------------------------- |
| a hold or a lock          | both       | release it; by rule what is held is kept and said to be held                |
| the last good of a NAME   | both       | named: `--yes-last`; by rule: none                                          |
| a clock that jumped       | by rule    | `--confirm-clock`, once per jump: the job that records it ends the waiting  |
| more than half would go   | by rule    | `--yes-forget N` with the very number; not asked when the same rules for    |
|                           |            | the same NAMEs were applied the last time (they were agreed to then)        |

"More than half" is looked at for each NAME and for all together, where there are at least 4 snapshots.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from msgspec import Struct, field

from shared.decisions import SnapshotsForgotten, SnapshotsForgottenSealed
from shared.errors import RefusedError
from shared.facts import CLOCK_CONFIRMED, Fact, plain_text
from siteagent.home import Home
from siteagent.jobs.holds import ID_SHOWN_DIGITS, hold_of, require_free
from siteagent.jobs.record import RunningJob, Who, recorded
from siteagent.jobs.retention import Judged, Rule, apply_rules, is_good, rules_text
from siteagent.ledger.history import History
from siteagent.ledger.reading import Mark
from siteagent.ledger.state import SnapshotEntry
from siteagent.salvage import prepare_writing

BRAKE_MIN_SNAPSHOTS = 4
GRACE_DEFAULT_NS = 7 * 86_400 * 10**9
_HOUR_NS = 3600 * 10**9
_JOB = "forget"


class Manner(Struct, frozen=True, kw_only=True):
    """How long forgotten snapshots stay (ns from now), and whether this is only a rehearsal."""

    grace_ns: int = GRACE_DEFAULT_NS
    is_dry_run: bool = False


class RuleRequest(Struct, frozen=True, kw_only=True):
    """Rules for every NAME or one, the number of snapshots that may go at once, and what is said of the clock."""

    rules: tuple[Rule, ...]
    name: str = ""
    agreed_count: int | None = None
    confirms_clock: bool = False


class Forgetting(Struct):
    """What a run forgot or would forget. `judged` is empty when snapshots were named.

    `needed_count`: the number that `--yes-forget` has to say, None when it is not asked for.
    """

    sweep_after_ns: int
    judged: list[Judged] = field(default_factory=list)
    forgotten: list[SnapshotEntry] = field(default_factory=list)
    already: list[SnapshotEntry] = field(default_factory=list)
    needed_count: int | None = None
    notes: list[str] = field(default_factory=list)


def forget_named(home: Home, who: Who, snapshots: Sequence[SnapshotEntry], manner: Manner, *,
                 allows_last: bool = False) -> Forgetting:
    """Forget these snapshots; those that are forgotten already stay as they are.

    Raises RefusedError for what is held and, unless `allows_last`, for the last good snapshot of a NAME.
    """
    going = [entry for entry in snapshots if not entry.is_forgotten]
    with _job(home, who, tuple(entry.id.hex() for entry in snapshots), manner) as job:
        require_free(home, going)
        if not allows_last:
            _require_others(home.ledger.history(), going)
        result = Forgetting(home.ledger.now_ns() + manner.grace_ns, forgotten=going)
        result.already = [entry for entry in snapshots if entry.is_forgotten]
        _decide(home, who, job, result, "")
    return result


def forget_by_rules(home: Home, who: Who, request: RuleRequest, manner: Manner) -> Forgetting:
    """Forget what no rule keeps, each NAME by itself; raises RefusedError (see above), also for an unknown NAME."""
    what = ("keep", rules_text(request.rules), *([request.name] if request.name else []))
    names = _by_name(home.ledger.history(), request.name)
    if request.confirms_clock and not manner.is_dry_run:
        _confirm_clock(home, who)
    with _job(home, who, what, manner) as job:
        result = Forgetting(home.ledger.now_ns() + manner.grace_ns)
        _look_at_clock(home, request, manner, result)
        result.judged = [judged for entries in names.values() for judged in _judge(home, request.rules, entries)]
        result.forgotten = [judged.snapshot for judged in result.judged if not judged.is_kept]
        _look_at_number(home, what, request, manner, result)
        _decide(home, who, job, result, rules_text(request.rules))
    return result


def _job(home: Home, who: Who, what: tuple[str, ...], manner: Manner) -> AbstractContextManager[RunningJob]:
    if manner.is_dry_run:
        return nullcontext(RunningJob())
    prepare_writing(home)
    return recorded(home, _JOB, who, what)


def _decide(home: Home, who: Who, job: RunningJob, result: Forgetting, rules: str) -> None:
    """Record the decision together with the end of the job (a dry run records neither)."""
    job.counters = {"forgotten": len(result.forgotten)}
    if job.id and result.forgotten:
        clear = SnapshotsForgotten(decision=home.world.randomness.bits(16), sweep_after_ns=result.sweep_after_ns,
                                   snapshots=tuple(entry.id for entry in result.forgotten))
        sealed = SnapshotsForgottenSealed(user=plain_text(who.user), host=plain_text(who.host), rules=rules)
        job.facts.append(Fact(clear, sealed))


def _require_others(history: History, going: Sequence[SnapshotEntry]) -> None:
    """Raise RefusedError when a NAME would be left without a good snapshot (without any, where none is good)."""
    for entry in going:
        if entry.summary is None and entry.mark is not Mark.ERASED:
            raise _last(entry, "this snapshot cannot be read: it may be the last good one of its name")
    ids = {entry.id for entry in going}
    for name in sorted({entry.summary.name for entry in going if entry.summary is not None}):
        series = history.snapshots_named(name)
        precious = [entry for entry in series if is_good(entry)] or series
        if all(entry.id in ids for entry in precious):
            newest = precious[-1]
            raise _last(newest, f"this is the last {'good ' * is_good(newest)}snapshot of {name}")


def _last(entry: SnapshotEntry, message: str) -> RefusedError:
    return RefusedError(message, subject=entry.id.hex(), next_step="add --yes-last when it may go all the same")


def _by_name(history: History, only: str) -> dict[str, list[SnapshotEntry]]:
    """The wanted snapshots by name, oldest first; what has no readable name is under the empty one."""
    names: dict[str, list[SnapshotEntry]] = {}
    for entry in history.wanted:
        names.setdefault(entry.summary.name if entry.summary is not None else "", []).append(entry)
    if not only:
        return dict(sorted(names.items()))
    if only not in names:
        known = ", ".join(sorted(filter(None, names))[:10])
        raise RefusedError("there is no snapshot of this name", subject=only,
                           next_step=f"the names are: {known}" if known else "take one with `farkeep backup`")
    return {only: names[only]}


def _judge(home: Home, rules: tuple[Rule, ...], entries: list[SnapshotEntry]) -> list[Judged]:
    holds, counted_ns = home.ledger.history().holds, home.ledger.counted().now_ns
    found = []
    for judged in apply_rules(rules, entries):
        hold = hold_of(holds, judged.snapshot, counted_ns)
        word = () if hold is None else (f"{'lock' if hold.is_lock else 'hold'} {hold.id.hex()[:ID_SHOWN_DIGITS]}",)
        found.append(Judged(judged.snapshot, judged.rules + word))
    return found


def _confirm_clock(home: Home, who: Who) -> None:
    prepare_writing(home)
    if _is_clock_doubtful(home) or home.ledger.counted().is_doubtful:
        with recorded(home, CLOCK_CONFIRMED, who, ()):
            pass


def _is_clock_doubtful(home: Home) -> bool:
    """True after a jump nobody confirmed, also one that is noted only when something is recorded."""
    history = home.ledger.history()
    last = history.last_stamp
    is_behind = last is not None and last.wall_ns - home.world.clock.now_ns() >= _HOUR_NS
    return is_behind or bool(history.unconfirmed_jumps)


def _look_at_clock(home: Home, request: RuleRequest, manner: Manner, result: Forgetting) -> None:
    if request.confirms_clock or not _is_clock_doubtful(home):
        return
    error = RefusedError("the clock of this machine jumped by over an hour: rules forget nothing until somebody has "
                         "looked at it", subject="clock",
                         next_step="compare the clock and the times in `farkeep snapshots`; when both are right, "
                                   "add --confirm-clock once")
    if not manner.is_dry_run:
        raise error
    result.notes.append(f"{error.message}: {error.next_step}")


def _look_at_number(home: Home, what: tuple[str, ...], request: RuleRequest, manner: Manner,
                    result: Forgetting) -> None:
    count = len(result.forgotten)
    if request.agreed_count is not None and request.agreed_count != count:
        raise RefusedError(f"{count} snapshots would be forgotten, not {request.agreed_count}", subject="--yes-forget",
                           next_step="look again with --dry-run, then write the number that it says")
    if request.agreed_count is not None or what == _last_applied(home, request.name):
        return
    excess = _excess(result.judged)
    if not excess:
        return
    result.needed_count = count
    if not manner.is_dry_run:
        raise RefusedError(f"these rules would forget {excess}: more than half", subject=rules_text(request.rules),
                           next_step=f"look at it with --dry-run; when it is what you want, add --yes-forget {count}")


def _excess(judged: list[Judged]) -> str:
    """In words: that more than half of all snapshots, or of those of one NAME, would go; empty when not."""
    groups: dict[str, list[Judged]] = {"": []}
    for each in judged:
        if each.snapshot.summary is not None:
            groups[""].append(each)
            groups.setdefault(each.snapshot.summary.name, []).append(each)
    for name, group in groups.items():
        going = sum(not each.is_kept for each in group)
        if len(group) >= BRAKE_MIN_SNAPSHOTS and going * 2 > len(group):
            return f"{going} of {len(group)} snapshots{f' of {name}' if name else ''}"
    return ""


def _last_applied(home: Home, name: str) -> tuple[str, ...]:
    """What the newest rule run that came to its end for the same NAMEs was asked for."""
    names = (name,) if name else ()
    for job in home.ledger.history().newest_jobs():
        what = job.started.what if job.kind == _JOB and job.outcome == "done" and job.started is not None else ()
        if what[:1] == ("keep",) and what[2:] == names:
            return what
    return ()
