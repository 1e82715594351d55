"""Every example folder runs on its scripted answers and gives what its expected.json says."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.conformance.run import run_case

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*/workflow.js"))


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.parent.name)
def test_the_example_does_what_its_folder_says(script: Path, tmp_path: Path) -> None:
    case = tmp_path / "workflow.json"
    shutil.copy(script, case.with_suffix(".js"))
    case.write_text(json.dumps(json.loads((script.parent / "expected.json").read_text(encoding="utf-8"))))
    assert run_case([sys.executable, "-m", "callsheet", "run"], case) == []


def test_every_example_folder_is_whole() -> None:
    assert EXAMPLES
    for script in EXAMPLES:
        assert (script.parent / "README.md").is_file()
        assert (script.parent / "expected.json").is_file()
