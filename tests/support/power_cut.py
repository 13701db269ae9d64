"""Power failures of a whole home, in a process that may mount: `python -m tests.support.power_cut PLAN.json`.

A home lives on a recorded disk under a real file system; then the disk is put back into states that a power failure
could have left, each is mounted (the file system mends itself as after a real failure), and looked at.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct, field

from tests.support.early_writeback import EarlyWriteback
from tests.support.file_extents import BLOCK_BYTES
from tests.support.mounting import MountError, become_private, make_ext4, mounted_ext4
from tests.support.power_check import PowerCheck
from tests.support.power_states import (
    Disks,
    State,
    copy_sparse,
    every_state_at,
    flushed_at,
    pending_at,
    states_at,
)
from tests.support.power_story import Life, Story
from tests.support.recorded_block import Event, RecordedBlock, Write

DISK_BYTES = 256 << 20
_ROOT = Path(__file__).parents[2]
_DATABASES = ("log", "index")


class Plan(Struct, frozen=True):
    """What to do in `folder`: so many moments (0: all), with these mount options; `seed` chooses."""

    folder: str
    options: str
    moments: int
    seed: int
    is_thorough: bool = False
    sabotage: str = ""
    """Lines of Python that run before the shipped command: what is broken in it must be found."""


class Outcome(Struct):
    """What was tried. `refused`: why this machine cannot do it; `failure`: the first thing that did not hold."""

    events: int = 0
    flushes: int = 0
    moments: int = 0
    states: int = 0
    flavours: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    refused: str = ""
    failure: str = ""


def cut_power(plan: Plan) -> Outcome:
    """Carry a plan out in a process of its own."""
    path = Path(plan.folder) / "plan.json"
    path.write_bytes(msgspec.json.encode(plan))
    done = subprocess.run([sys.executable, "-m", "tests.support.power_cut", path], cwd=_ROOT, capture_output=True,
                          check=False)  # fmt: skip
    if done.returncode:
        return Outcome(failure=f"exit code {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return msgspec.json.decode(done.stdout, type=Outcome)


def record(folder: Path, options: str, use: Callable[[Path, RecordedBlock], Story], seed: int | None) -> Story:
    """Let `use` have a mounted folder on a recorded disk; `folder`/durable is the disk as it was before.

    With a seed dirty pages are written back early, now and then; else only what is asked for is.
    """
    image = folder / "image"
    make_ext4(image, DISK_BYTES)
    copy_sparse(image, folder / "durable")
    block = RecordedBlock(image, folder / "served")
    try:
        with mounted_ext4(folder / "served", folder / "disk", options) as mounted:
            with contextlib.ExitStack() as stack:
                if seed is not None:
                    stack.callback(EarlyWriteback(mounted, seed).close)
                return use(mounted, block)
    finally:
        block.close()


def try_states(folder: Path, options: str, events: list[Event], states: list[State],
               check: Callable[[State], None]) -> str:
    """Mount one state after the other; returns what did not hold in the first that failed, "" when all held."""
    disks = Disks(events, folder / "durable")
    for state in sorted(states, key=lambda state: state.flushed):
        image = folder / "state"
        disks.make(state, image)
        try:
            with mounted_ext4(image, folder / "disk", options):
                check(state)
        except Exception:
            disks.make(state, folder / "failed")
            return f"{state} (the disk is kept: {folder / 'failed'})\n{traceback.format_exc()}"
        finally:
            image.unlink()
    return ""


def moments_of(story: Story, count: int, chance: random.Random) -> list[int]:
    """The moments to cut the power: all that were told, and of those with writes in flight all, or equal shares of what
    concerns the log, the index, and the rest."""
    told = story.moments_told()
    first, last = story.commands[0].began + 1, story.commands[-1].ended
    busy = [moment for moment in range(first, last + 1) if isinstance(story.events[moment - 1], Write)]
    if not count:
        return sorted({*told, *busy})
    chosen = set(told)
    share = max(0, count - len(told)) // 3
    for part in _DATABASES:
        those = [moment for moment in busy if moment not in chosen and part in parts_at(story, moment)]
        chosen.update(chance.sample(those, min(share, len(those))))
    rest = [moment for moment in busy if moment not in chosen]
    chosen.update(chance.sample(rest, min(max(0, count - len(chosen)), len(rest))))
    return sorted(chosen)


def parts_at(story: Story, moment: int) -> set[str]:
    """The parts of the home that the writes in flight at a moment belong to; "ext4" for those of the file system."""
    found = set()
    for place in pending_at(story.events, moment):
        write = story.events[place]
        assert isinstance(write, Write)
        blocks = range(write.offset // BLOCK_BYTES, -(-(write.offset + len(write.data)) // BLOCK_BYTES))
        found |= {story.parts.get(block, "ext4") for block in blocks}
    return found


def _chosen(story: Story, plan: Plan) -> tuple[list[int], list[State]]:
    chance = random.Random(plan.seed)
    moments = moments_of(story, plan.moments, chance)
    make = every_state_at if plan.is_thorough else states_at
    states: dict[object, State] = {}
    for moment in moments:
        for state in make(story.events, moment, chance):
            # What was told by then is a part of what must hold, so equal disks at other moments are other states.
            states.setdefault((state.content, len(story.told(moment)), len(story.begun(moment))), state)
    return moments, list(states.values())


def _carry_out(plan: Plan) -> Outcome:
    folder = Path(plan.folder)
    story = record(folder, plan.options, lambda mounted, block: _lived(plan, mounted, block),
                   None if plan.sabotage else plan.seed)  # fmt: skip
    moments, states = _chosen(story, plan)
    check = PowerCheck(story, folder / "disk", folder, is_thorough=plan.is_thorough)
    failure = try_states(folder, plan.options, story.events, states,
                         lambda state: check.require_survival(state.moment, looks_first=_looks_first(state)))
    return Outcome(
        events=len(story.events), flushes=flushes_in(story.events), moments=len(moments), states=len(states),
        flavours=dict(Counter(state.flavour.value for state in states)),
        parts=dict(Counter(part for moment in moments for part in parts_at(story, moment))), failure=failure,
    )  # fmt: skip


def _looks_first(state: State) -> bool:
    return (state.moment + len(state.kept)) % 2 == 0


def _lived(plan: Plan, mounted: Path, block: RecordedBlock) -> Story:
    folder = Path(plan.folder)
    if not plan.sabotage:
        return Life(folder, mounted, block, plan.seed).live()
    command = folder / "sabotaged"
    command.write_text(f"#!{sys.executable}\nimport sys\n{plan.sabotage}\nfrom siteagent.main import main\n"
                       "sys.exit(main())\n")
    command.chmod(0o700)
    return Life(folder, mounted, block, plan.seed, command).live_shortly()


def flushes_in(events: list[Event]) -> int:
    """How many moments after which everything before is durable."""
    return len({flushed_at(events, place + 1) for place, event in enumerate(events) if not isinstance(event, Write)})


def main() -> int:
    """Carry the plan out; the outcome goes to standard output."""
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    try:
        become_private()
        outcome = _carry_out(plan)
    except MountError as error:
        outcome = Outcome(refused=str(error))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
