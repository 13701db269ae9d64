"""`farkeep migrate`: bring a home of an older format to the one of this Farkeep."""

from __future__ import annotations

from argparse import ArgumentParser

from msgspec.structs import replace

from siteagent.cli.session import Session, host_name, user_name
from siteagent.home import open_home
from siteagent.jobs.record import Who, recorded
from siteagent.salvage import prepare_writing


def add_options(parser: ArgumentParser, _: str) -> None:
    """No options of its own."""
    del parser


def run(session: Session) -> int:
    """JSON: {from, to, steps, notes}; `from` equals `to` when the home had the newest format."""
    with open_home(replace(session.access, may_migrate=True), session.command, session.world) as home:
        done = home.migrated
        if done.steps:
            prepare_writing(home)
            with recorded(home, "migrate", Who(user_name(), host_name()), done.steps):
                pass
        notes = list(home.notes)
    output = session.output
    output.document({"from": done.from_version, "to": done.to_version, "steps": list(done.steps), "notes": notes})
    for step in done.steps:
        output.say(f"  {step}")
    output.say(f"the home was brought from format {done.from_version} to {done.to_version}" if done.steps else
               f"the home has format {done.to_version}, the newest: nothing was to be done")  # fmt: skip
    session.notes(notes)
    return 0
