"""`farkeep migrate` as a command: nothing is to be done in a home of today; a made-up next format shows the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from tests.support.command_line import CommandLine, local_world
from tests.support.golden_store import copy_golden
from tests.support.migrating import MOVING, use_second_format


@pytest.fixture
def commands(tmp_path: Path) -> CommandLine:
    return CommandLine(Path(copy_golden(tmp_path).home))


def test_a_home_of_today_is_left_as_it_is(commands: CommandLine) -> None:
    before = (commands.home / "format").read_bytes()
    assert commands.good("migrate") == {"from": 1, "to": 1, "steps": [], "notes": []}
    assert (commands.home / "format").read_bytes() == before


def test_a_home_of_an_older_format_waits_for_it(commands: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    older = commands
    newer = replace(commands, world=structs.replace(local_world(), migrations=(MOVING,)))
    use_second_format(monkeypatch)
    refused = newer("snapshots")
    assert (refused.code, refused.kind) == (1, "refused")
    assert "farkeep migrate" in refused.json()["error"]["next"]
    assert newer.good("migrate") == {"from": 1, "to": 2, "steps": [MOVING.what], "notes": []}
    assert len(newer.good("snapshots")) == 2
    assert newer.good("verify")["damaged"] == []
    assert "migrate" in newer("events").stdout.decode()
    assert older("snapshots").code == 1
