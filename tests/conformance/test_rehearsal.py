"""A rehearsal predicts the agents of a run exactly, for each script of suite and examples that it calls exact."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import callsheet
from callsheet.errors import CallsheetError
from callsheet.script.reader import read_script
from callsheet.script.shape import shape_of
from tests.support.deadline import within
from tests.surfaces.test_examples import repository

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(ROOT.glob("examples/*/expected.json"))
NUMBERS = {"--max-agents": "max_agents", "--max-parallel": "max_parallel", "--budget": "budget"}


def _script(case: Path) -> Path:
    return case.with_name("workflow.js") if case in EXAMPLES else case.with_suffix(".js")


def _is_predicted(case: Path) -> bool:
    """Whether its agents are told from its text, and it has some; not of one that only a limit ends."""
    script, told = _script(case), _case(case)
    if told["expect"].get("refused") or "--cpu-limit" in told.get("flags", []):
        return False
    try:
        shape = shape_of(read_script(script.read_bytes(), origin=script.name, path=str(script)))
    except (CallsheetError, OSError):
        return False
    return shape.is_fixed and bool(shape.sites)


def _case(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return told


CASES = sorted((ROOT / "tests/conformance/cases").glob("*.json"))
SETTLED = {"fan-out", "judge-panel", "merge-findings", "nested", "tour"}
"""Examples that call the same agents whatever these answer; of some the text does not show it to a look by name."""
FIXED = [case for case in (*EXAMPLES, *CASES) if _is_predicted(case)]
PLAYED = [*EXAMPLES, *(case for case in FIXED if case not in EXAMPLES)]


def _options(case: dict[str, Any]) -> dict[str, Any]:
    flags = iter(case.get("flags", []))
    options: dict[str, Any] = {}
    for flag in flags:
        if flag in NUMBERS:
            value = next(flags)
            options[NUMBERS[flag]] = value if flag == "--budget" else int(value)
        else:
            assert flag == "--strict", flag
            options["strict"] = True
    return options | ({"args": case["args"]} if "args" in case else {})


def _laid_out(path: Path, case: dict[str, Any], folder: Path) -> str:
    """Puts a case where it runs; its script."""
    for name, text in case.get("files", {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    if path not in EXAMPLES:
        return str(_script(path))
    for script in path.parent.glob("*.js"):
        shutil.copy(script, folder)
    if case.get("git"):
        repository(folder)
    return str(folder / "workflow.js")


@pytest.mark.parametrize("path", PLAYED, ids=lambda path: path.parent.name if path in EXAMPLES else path.stem)
async def test_what_is_told_beforehand_is_what_a_run_calls(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = _case(path)
    (tmp_path / "work").mkdir()
    (tmp_path / "answers.json").write_text(json.dumps(case.get("answers", {})), encoding="utf-8")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path))
    options, script = _options(case), _laid_out(path, case, tmp_path / "work")
    with within(60):
        run = await callsheet.run(script, backend=f"scripted:{tmp_path}/answers.json", **options)
        told = await callsheet.rehearse(script, backend="anthropic", **options)

    if path.parent.name in SETTLED:
        assert told.agents == len(run.agents)
    if told.is_exact:
        assert told.agents == len(run.agents)
        planned = {(phase.title): phase.agents for phase in told.phases if phase.agents}
        assert planned == Counter(agent.phase for agent in run.agents)
    elif path in EXAMPLES:
        assert told.assumptions
    else:
        assert told.status not in ("completed", "degraded") or told.violations or told.assumptions


def test_most_of_the_suite_and_the_examples_whose_shape_is_fixed_are_predicted() -> None:
    """Else the test above would hold for nothing."""
    assert {case.parent.name for case in FIXED if case in EXAMPLES} == {"fan-out", "nested", "tour"}
    assert len(FIXED) > 25
