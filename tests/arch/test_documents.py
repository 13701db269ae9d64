"""Documents name only files, commands and targets that exist."""

import re

import pytest

from siteagent.cli.parser import COMMANDS
from tests.arch.code import ROOT, listed

DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "GLOSSARY.md", "SECURITY.md")
_PATH = re.compile(r"[`(]((?:[\w.-]+/)+[\w.-]+\.\w+|[A-Z]+\.md)[`)]")
_COMMAND = re.compile(r"(?:^ {4}|`)farkeep (?:--home H )?([a-z]+(?: [a-z]+)?)", re.MULTILINE)
_TARGET = re.compile(r"(?:^ {4}|`)make ([a-z-]+)", re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_files_exist(document: str) -> None:
    named = set(_PATH.findall((ROOT / document).read_text()))
    near = [ROOT, ROOT / "siteagent/store"]
    assert listed(sorted(name for name in named if not any((folder / name).exists() for folder in near))) == ""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_commands_exist(document: str) -> None:
    named = set(_COMMAND.findall((ROOT / document).read_text()))
    unknown = [name for name in named if name not in COMMANDS and name.split()[0] not in COMMANDS]
    assert listed(sorted(unknown)) == ""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_targets_exist(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert listed(sorted(set(_TARGET.findall((ROOT / document).read_text())) - targets)) == ""


def test_the_readme_names_the_system_packages_and_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "    apt install git make python3-venv\n" in text
    assert "    make demo\n    make test\n" in text
