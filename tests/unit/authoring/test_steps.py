"""The judge of what the orchestrator of a task hands in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from callsheet.app.choices import Choices
from callsheet.app.doing import DoingJudge, DoOrder, doing_judge, order_of
from callsheet.app.plan import RunOrder, Surroundings, plan_run
from callsheet.app.quantities import parse_budget
from callsheet.app.trusting import PermissionChoices
from callsheet.authoring.doing import doing_script
from callsheet.errors import UsageError
from callsheet.model.values import JsonValue
from callsheet.script.reader import read_script
from tests.support.agents import agent_task
from tests.support.deadline import within
from tests.surfaces.events import ended, events, queued

pytestmark = pytest.mark.anyio

META = "export const meta = { name: 'look', description: 'Looks' }\n"
LOOK = META + "return await parallel(args.files.map((file) => () => agent(`Read ${file}`, { label: file })))\n"


def judge_in(
    folder: Path,
    *,
    budget: str | None = None,
    permissions: PermissionChoices = PermissionChoices(),  # noqa: B008 - frozen
    **order: Any,
) -> DoingJudge:
    (folder / "home").mkdir(exist_ok=True)
    around = Surroundings(start=folder, environ={}, home=folder / "home")
    choices = Choices(budget=None if budget is None else parse_budget(budget))
    run = RunOrder(choices=choices, permissions=permissions)
    plan = plan_run(order_of(DoOrder(task="Look at a.txt", run=run, **order), around), around)
    judge = doing_judge(plan, read_script(doing_script().encode(), origin="-", path=None))
    assert judge is not None
    return judge


async def told(judge: DoingJudge, folder: Path, **step: Any) -> str:
    with within(60):
        return "\n".join(await judge(agent_task(folder), step))


@pytest.mark.contract("G01")
async def test_a_script_is_rehearsed_with_the_args_that_it_is_given(tmp_path: Path) -> None:
    judge = judge_in(tmp_path)
    args: JsonValue = {"files": ["a", "b"]}
    assert await told(judge, tmp_path, workflow={"script": LOOK, "args": args, "why": ""}) == ""
    assert await told(judge, tmp_path, workflow={"script": LOOK, "args": json.dumps(args), "why": ""}) == ""
    without = await told(judge, tmp_path, workflow={"script": LOOK, "why": ""})
    assert "did not return" in without
    assert "hand in `args` beside `script`" in without
    assert "--arg" not in without


async def test_hooks_that_are_not_run_are_nothing_that_its_author_could_mend(tmp_path: Path) -> None:
    (tmp_path / ".claude").mkdir()
    hook = {"matcher": "Bash", "hooks": [{"type": "command", "command": "true"}]}
    settings = json.dumps({"hooks": {"PreToolUse": [hook]}})
    (tmp_path / ".claude" / "settings.json").write_text(settings, encoding="utf-8")
    judge = judge_in(tmp_path, permissions=PermissionChoices(ignore_hooks=True))
    assert await told(judge, tmp_path, workflow={"script": LOOK, "args": {"files": ["a"]}, "why": ""}) == ""


async def test_a_script_has_so_many_agents_as_its_size_allows(tmp_path: Path) -> None:
    args: JsonValue = {"files": [*"abcdef"]}
    found = await told(judge_in(tmp_path, size="small"), tmp_path, workflow={"script": LOOK, "args": args, "why": ""})
    assert "size small means at most 5" in found


async def test_a_script_may_use_what_earlier_agents_have_left_of_the_budget(tmp_path: Path) -> None:
    judge = judge_in(tmp_path, budget="100k")
    step = {"script": LOOK, "args": {"files": ["a", "b"]}, "why": ""}
    assert await told(judge, tmp_path, workflow=step) == ""
    for event in events(ended(1, output_tokens=99_500)):
        judge.on_event(event)
    assert "the budget leaves 450 output tokens" in await told(judge, tmp_path, workflow=step)
    assert await told(judge, tmp_path, workflow=step) == "", "it is an estimate: who insists may try"


async def test_what_is_run_cannot_start_other_workflows_itself(tmp_path: Path) -> None:
    folder = tmp_path / ".claude" / "workflows"
    folder.mkdir(parents=True)
    (folder / "look.js").write_text(LOOK, encoding="utf-8")
    over = META.replace("'look'", "'over'") + "await agent('x')\nreturn await workflow('look', { files: ['a'] })\n"
    (folder / "over.js").write_text(over, encoding="utf-8")
    judge = judge_in(tmp_path)
    assert await told(judge, tmp_path, workflow={"name": "look", "args": {"files": ["a"]}, "why": ""}) == ""
    assert "goes one level deep" in await told(judge, tmp_path, workflow={"script": over, "why": ""})
    assert "goes one level deep" in await told(judge, tmp_path, workflow={"name": "over", "why": ""})


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"why": ""}, "neither `script` nor `name`"),
        ({"script": LOOK, "name": "look", "why": ""}, "both `script` and `name`"),
        ({"name": "nobody", "why": ""}, "nobody"),
        ({"script": LOOK.replace("meta =", "meta: object ="), "why": ""}, "line 1"),
    ],
)
async def test_a_step_that_names_nothing_to_run_is_sent_back(tmp_path: Path, step: dict[str, Any], words: str) -> None:
    assert words in await told(judge_in(tmp_path), tmp_path, workflow=step)


async def test_only_agents_of_workflows_can_be_cited(tmp_path: Path) -> None:
    judge = judge_in(tmp_path)
    for event in events(queued(1), ended(1), queued(2, workflow="look"), ended(2, workflow="look")):
        judge.on_event(event)

    def done(agent: str) -> dict[str, Any]:
        return {"answer": "x", "evidence": [{"claim": "y", "agents": [agent]}], "conflicts": [], "left_out": []}

    assert await told(judge, tmp_path, done=done("a0002")) == ""
    assert "'a0001' is cited and is no agent of a workflow" in await told(judge, tmp_path, done=done("a0001"))


def test_what_cannot_be_asked_for_is_said(tmp_path: Path) -> None:
    around = Surroundings(start=tmp_path, environ={}, home=tmp_path)
    for order in (DoOrder(task=" ", run=RunOrder()), DoOrder(task="x", run=RunOrder(), workflows=0)):
        with pytest.raises(UsageError):
            order_of(order, around)
