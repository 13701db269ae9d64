"""Choosers for schedules: all orders within bounds by running them again and again, seeded ones, and written ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tests.support.steps import Steps


class Path:
    """Follows choices at the places where there are several, then lets whoever went last go on.

    `points`: those places as they were met: who could go on, who did, and who had gone before.
    """

    def __init__(self, choices: Sequence[str] = ()) -> None:
        self._choices = tuple(choices)
        self.points: list[tuple[tuple[str, ...], str, str]] = []

    def __call__(self, ready: Sequence[str], last: str) -> str:
        if len(ready) == 1:
            return ready[0]
        place = len(self.points)
        chosen = self._choices[place] if place < len(self._choices) else last if last in ready else ready[0]
        assert chosen in ready, "the same choices led elsewhere"
        self.points.append((tuple(ready), chosen, last))
        return chosen

    def others(self, depth: int, switches: int) -> list[tuple[str, ...]]:
        """The choices that branch off after those given: at the first `depth` places, with so many switches at most.

        A switch is taking the turn from a job that could go on.
        """
        found, taken, made = list[tuple[str, ...]](), list[str](), 0
        for place, (ready, chosen, last) in enumerate(self.points[:depth]):
            if place >= len(self._choices):
                found += [(*taken, other) for other in ready
                          if other != chosen and made + (last in ready and other != last) <= switches]  # fmt: skip
            made += last in ready and chosen != last
            taken.append(chosen)
        return found


def explore(run: Callable[[Path], None], *, depth: int, switches: int, limit: int, seed: int) -> tuple[int, bool]:
    """Run every order within the bounds, or a seeded choice of them when there are more than `limit`.

    Returns how many were run, and whether these were all.
    """
    chance, waiting, count = random.Random(seed), [()], 0
    while waiting and count < limit:
        path = Path(waiting.pop(chance.randrange(len(waiting))))
        run(path)
        count += 1
        waiting += path.others(depth, switches)  # type: ignore[arg-type]
    return count, not waiting


class Script:
    """Lets jobs go on as written: (job, up to what it is about to do), one after the other; then as they come.

    Besides labels of steps: "end"; "wait": it cannot go on before another job does; "kill": it is cut off where it
    stands. "label#2" is the second step of that label, "a|b" whatever comes first. What is not reached is a failure:
    then the schedule would show nothing.
    """

    def __init__(self, steps: Steps, *acts: tuple[str, str]) -> None:
        self._steps, self._acts = steps, list(acts)

    def __call__(self, ready: Sequence[str], last: str) -> str:
        name = self._next(ready)
        if name:
            assert name in ready, f"{name} never came to {self._acts[0][1]}: {self._steps.trace[-9:]}"
            return name
        return last if last in ready else ready[0]

    def _next(self, ready: Sequence[str]) -> str:
        """Who goes on by what is written; empty when all of it was reached."""
        while self._acts:
            name, until = self._acts[0]
            self._steps.jobs[name].is_to_die = until == "kill"
            if not any(self._is_at(name, place, is_ready=name in ready) for place in until.split("|")):
                return name
            self._acts.pop(0)
        return ""

    def _is_at(self, name: str, place: str, *, is_ready: bool) -> bool:
        job = self._steps.jobs[name]
        if place in ("end", "kill") or job.is_done:
            return job.is_done and place in ("end", "kill")
        label, _, number = place.partition("#")
        done = self._steps.trace.count((name, label))
        return not is_ready if place == "wait" else job.label == label and done >= int(number or 1) - 1

    def require_reached(self) -> None:
        """Raise AssertionError when a part was left out."""
        assert not self._next(()), f"not reached: {self._acts}"


def at_random(seed: int) -> Callable[[Sequence[str], str], str]:
    """Mostly whoever went last goes on; else any."""
    chance = random.Random(seed)

    def choose(ready: Sequence[str], last: str) -> str:
        return last if last in ready and chance.random() < 0.7 else chance.choice(list(ready))

    return choose
