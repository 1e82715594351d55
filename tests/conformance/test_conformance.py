"""The conformance cases, run against this project's own command through the runner that any runtime can use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.conformance.run import run_case

CASES = sorted((Path(__file__).resolve().parent / "cases").glob("*.json"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_case_ends_as_the_contract_says(case: Path, programs: Path) -> None:
    is_new = os.environ.get("CALLSHEET_FORK") == "0"
    command = [sys.executable, "-m", "callsheet"] if is_new else [str(programs / "callsheet")]
    assert run_case([*command, "run"], case) == []
