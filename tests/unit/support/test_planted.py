"""The sabotages of `make planted` fit the code as it is, and what runs them tells caught from missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.arch.code import ROOT
from tests.planted.sabotage import Sabotage
from tests.planted.sabotages import SABOTAGES
from tests.planted.workshop import Workshop


@pytest.mark.parametrize("one", SABOTAGES, ids=lambda one: one.what)
def test_each_fits_one_place_and_names_tests_that_are_there(one: Sabotage) -> None:
    text = (ROOT / one.path).read_text()
    assert text.count(one.old) == 1
    compile(text.replace(one.old, one.new), one.path, "exec")
    for test in one.caught_by.split():
        assert (ROOT / test.partition("::")[0]).exists(), test


def test_there_are_enough_and_none_twice() -> None:
    assert len(SABOTAGES) >= 40
    assert len({(one.path, one.old, one.new) for one in SABOTAGES}) == len(SABOTAGES)
    assert len({one.what for one in SABOTAGES}) == len(SABOTAGES)


def test_one_is_caught_and_a_harmless_change_is_not(tmp_path: Path) -> None:
    workshop, tests = Workshop(tmp_path), "tests/unit/shared/test_padding.py"
    path, line = "shared/padding.py", "        return floor_bytes\n"
    assert (tmp_path / "SECURITY.md").exists()
    before = (tmp_path / path).read_text()
    assert not workshop.is_caught(Sabotage("harmless", path, line, line + "\n", tests))[0]
    assert not workshop.is_caught(Sabotage("nothing runs", path, line, "", tests))[0]
    assert workshop.is_caught(Sabotage("wrong", path, line, "        return 1\n", tests))[0]
    (tmp_path / "tests/unit/shared/test_wrong.py").write_text("def test_wrong() -> None:\n    assert False\n")
    said = workshop.is_caught(Sabotage("not its doing", path, line, line + "\n", "tests/unit/shared/test_wrong.py"))
    assert not said[0] and said[1].startswith("without the sabotage, too")
    assert (tmp_path / path).read_text() == before
