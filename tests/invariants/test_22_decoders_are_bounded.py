"""Decoders are bounded and closed: whatever bytes or words they are given, a value or a typed error comes out, for at
most 256 MiB of memory and one second of processor time per message; nothing named by data is imported or called."""

from __future__ import annotations

import ast
import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import FarkeepError
from tests.arch.code import Module, listed, modules
from tests.support.decoders import COVERED, DECODERS, LEFT_OUT, Decoder
from tests.support.fuzzer import Fuzzer
from tests.support.tally import Tally

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
SHORT_STEPS = 60
LONG_S = float(os.environ.get("FARKEEP_FUZZ_SECONDS", "60"))
"""How long `make fuzz` stays with each decoder."""
KEPT_MAX, KEPT_BYTES_MAX = 24, 4096
"""What the corpus of a decoder holds at most: it is kept with the source."""
_NAMED = re.compile(r"(decode|parse|read|unpack|open|expand|combine)_")
_TAKEN = re.compile(r"bytes|memoryview|^str$|^Header$|^Body$")
_RAISES = re.compile(r"\b[Rr]aises?\b.*(Error|like|what)", re.DOTALL)

named = pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)


def _fuzzer(decoder: Decoder, seed: int) -> Fuzzer:
    return Fuzzer(decoder.check, decoder.feed, random.Random(f"{seed} {decoder.name}"))


def _corpus(decoder: Decoder) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / decoder.name).glob("*"))]


@named
def test_no_input_gets_more_than_a_typed_error(decoder: Decoder, seed: int, tally: Tally, is_long_run: bool) -> None:
    """Seeds, the corpus kept so far, then mutations of whatever reached new code. `make fuzz` adds to the corpus."""
    fuzzer = _fuzzer(decoder, seed)
    fuzzer.seed([*decoder.seeds(), *_corpus(decoder)])
    sound = len(fuzzer.corpus)
    if is_long_run:
        until = time.process_time() + LONG_S
        while time.process_time() < until:
            fuzzer.step()
        _keep(decoder, fuzzer.kept)
    else:
        for _ in range(SHORT_STEPS):
            fuzzer.step()
    assert sound
    tally("fuzzed inputs", fuzzer.tried)
    tally("edges reached in decoders", len(fuzzer.edges))


def _keep(decoder: Decoder, found: list[bytes]) -> None:
    folder = CORPUS / decoder.name
    room = KEPT_MAX - len(_corpus(decoder))
    for data in sorted((one for one in set(found) if len(one) <= KEPT_BYTES_MAX), key=len)[: max(0, room)]:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{random.Random(data).getrandbits(64):016x}").write_bytes(data)


@named
def test_its_seeds_are_sound(decoder: Decoder) -> None:
    """At least one input gets through, or else nothing behind the first check is ever fuzzed."""
    outcomes = set()
    for data in decoder.seeds():
        try:
            decoder.run(data)
            outcomes.add("sound")
        except FarkeepError as error:
            outcomes.add(error.kind)
    assert "sound" in outcomes, outcomes


def test_every_decoder_is_on_the_list() -> None:
    """Found by name, or by taking bytes or words and saying what it raises for bad ones."""
    found = {name for module in modules("siteagent", "shared") for name in _decoders_of(module)}
    assert listed(sorted(found - COVERED - LEFT_OUT.keys())) == ""
    assert listed(sorted((COVERED | LEFT_OUT.keys()) - found - _helpers())) == "", "listed, and not there any more"
    assert listed(sorted(COVERED & LEFT_OUT.keys())) == ""
    assert len(COVERED) > 50


def _helpers() -> set[str]:
    """Functions that are fed although the rule does not find them."""
    return {f"{module.name}.{node.name}" for module in modules("siteagent", "shared") for node in module.tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)}  # fmt: skip


def _decoders_of(module: Module) -> Iterator[str]:
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and _is_decoder(node):
            yield f"{module.name}.{node.name}"
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inside in node.body:
                if not isinstance(inside, ast.FunctionDef):
                    continue
                if inside.name == "__init__" and _RAISES.search(ast.get_docstring(inside) or ""):
                    yield f"{module.name}.{node.name}"
                elif re.match(r"(decode|parse|unpack)_", inside.name):
                    yield f"{module.name}.{node.name}.{inside.name}"


def _is_decoder(function: ast.FunctionDef) -> bool:
    if _NAMED.match(function.name):
        return True
    arguments = [*function.args.posonlyargs, *function.args.args]
    first = ast.unparse(arguments[0].annotation) if arguments and arguments[0].annotation else ""
    return bool(_TAKEN.search(first) and _RAISES.search(ast.get_docstring(function) or ""))
