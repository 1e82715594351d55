"""The conformance cases, run against this project's own command through the runner that any runtime can use."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conformance.run import run_case

CASES = sorted((Path(__file__).resolve().parent / "cases").glob("*.json"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_case_ends_as_the_contract_says(case: Path) -> None:
    assert run_case([sys.executable, "-m", "callsheet", "run"], case) == []
