"""From facts to an append: whom they are about, when it is, what the aggregates say, then one transaction."""

from __future__ import annotations

from shared.chain import NO_ID, Position
from shared.clock import Clock
from shared.errors import BugError
from shared.facts import ClockJumped, Fact, LogOpened, Subject, SubjectOpened
from siteagent.ledger.application import LedgerApplication
from siteagent.ledger.fact_keys import FactKeys
from siteagent.ledger.log_clock import Jump, LogClock, Stamp
from siteagent.ledger.recorder import Destruction

_MINUTE_NS = 60 * 1_000_000_000


class Appender:
    """Appends to one log whose newest fact has the time `last`. The caller holds the ledger's lock."""

    def __init__(self, application: LedgerApplication, keys: FactKeys, clock: Clock, last: Stamp | None) -> None:
        self._application = application
        self._keys = keys
        self._clock = LogClock(clock, last)
        self._staged: list[SubjectOpened] = []

    def append(self, facts: list[Fact], site: bytes, destruction: Destruction | None = None) -> Position:
        """Append facts in this order, with what must come before them: a jump of the clock, new keys of subjects.

        Nothing is remembered of an append that failed. Returns the position of the last fact.
        """
        reading = self._clock.read()
        self._staged = []
        try:
            # A new log epoch begins with its opening: nothing more is written to the one before it.
            openings = [fact for fact in facts[:1] if isinstance(fact.clear, LogOpened)]
            noted = [*openings, *_jump_facts(reading.jump), *facts[len(openings) :]]
            pairs = [pair for fact in noted for pair in self._with_subject(fact)]
            prepared = [(fact, pseudonym, reading.stamp) for fact, pseudonym in pairs]
            self._application.append(prepared, site, destruction)
        except BaseException:
            for opened in self._staged:
                self._keys.unlearn(opened)
            raise
        self._clock.settle(reading)
        head = self._application.recorded_head()
        if head is None:
            raise BugError("an append left no head", next_step="report this")
        return head

    def _with_subject(self, fact: Fact) -> list[tuple[Fact, bytes]]:
        if fact.subject is None:
            return [(fact, NO_ID)]
        pseudonym = self._keys.pseudonym_of(fact.subject)
        if pseudonym is not None and self._keys.is_current(pseudonym):
            return [(fact, pseudonym)]
        opened = self._open(fact.subject)
        return [(Fact(opened, fact.subject), opened.pseudonym), (fact, opened.pseudonym)]

    def _open(self, subject: Subject) -> SubjectOpened:
        opened = self._keys.new_opening(subject)
        self._keys.learn(opened)
        self._keys.name(opened.pseudonym, subject)
        self._staged.append(opened)
        return opened


def _jump_facts(jump: Jump | None) -> list[Fact]:
    if jump is None:
        return []
    from_ns, to_ns = (moment_ns // _MINUTE_NS * _MINUTE_NS for moment_ns in (jump.from_ns, jump.to_ns))
    return [Fact(ClockJumped(from_ns=from_ns, to_ns=to_ns))]
