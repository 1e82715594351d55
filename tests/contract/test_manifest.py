"""The list of contract lines and the tests that prove them, held against each other in both directions."""

from __future__ import annotations

import ast
import json
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
LINES = tomllib.loads((TESTS / "contract" / "requirements.toml").read_text(encoding="utf-8"))["line"]
OPEN = {line["id"]: line["open"] for line in LINES if "open" in line}


def ids_marked_in(path: Path) -> set[str]:
    """The ids in `pytest.mark.contract(...)` of one test file, read without importing it."""
    found: set[str] = set()
    text = path.read_text(encoding="utf-8")
    if ".contract" not in text:
        return found
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "contract":
            found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
    return found


@cache
def proofs() -> dict[str, set[str]]:
    """Which files prove which id: marked tests and conformance cases."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in TESTS.rglob("test_*.py"):
        for name in ids_marked_in(path):
            found[name].add(path.name)
    for case in (TESTS / "conformance" / "cases").glob("*.json"):
        for name in json.loads(case.read_text(encoding="utf-8"))["ids"]:
            found[name].add(case.name)
    return found


@pytest.mark.parametrize("line", [line["id"] for line in LINES if "open" not in line])
def test_a_contract_line_that_is_held_has_a_test(line: str) -> None:
    assert proofs().get(line), f"no test is marked contract({line!r}) and no conformance case names it"


def test_no_test_names_a_line_that_the_contract_does_not_have() -> None:
    assert set(proofs()) <= {line["id"] for line in LINES}


def test_an_open_line_says_what_it_waits_for_and_is_closed_once_it_has_tests() -> None:
    assert all(OPEN.values())
    assert all(line.get("partly", "said") for line in LINES)
    assert not set(OPEN) & set(proofs()), "these lines have tests now: take their `open` away"
