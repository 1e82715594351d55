"""What is foreseen of a run, what was said of it before, and where an edited script goes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from callsheet.app import approving
from callsheet.app.approving import (
    Standing,
    approved,
    candidate,
    edited,
    foresee,
    is_asked_about,
    remember,
    save,
    script_in,
    standing,
    why_not_saved,
)
from callsheet.app.choices import Choices
from callsheet.app.granted import granted
from callsheet.app.plan import Plan, RunOrder, Surroundings, plan_run
from callsheet.app.trusting import PermissionChoices
from callsheet.errors import ConfigError, ScriptRefusedError, UsageError
from callsheet.permissions.modes import Mode
from tests.support.deadline import within

pytestmark = pytest.mark.anyio

META = "export const meta = { name: 'case', description: 'a case' }\n"


class House:
    """A workspace and a user."""

    def __init__(self, tmp_path: Path) -> None:
        self.home, self.root = tmp_path / "home", tmp_path / "work"
        self.home.mkdir()
        self.root.mkdir()

    def write(self, body: str) -> Path:
        (self.root / "case.js").write_text(META + body, encoding="utf-8")
        return self.root / "case.js"

    def plan(self, body: str | None = None, *, backend: str = "offline", mode: Mode | None = None) -> Plan:
        if body is not None:
            self.write(body)
        order = RunOrder(script="case.js", choices=Choices(backend=backend), permissions=PermissionChoices(mode=mode))
        around = Surroundings(start=self.root, environ={"PATH": "/usr/bin:/bin"}, home=self.home)
        return plan_run(order, around)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_yes_holds_until_the_script_or_who_answers_or_the_mode_is_another(house: House) -> None:
    plan = candidate(house.plan("return 1"))
    assert standing(plan) == Standing()
    remember(plan)

    assert standing(candidate(house.plan())).holds
    assert standing(candidate(house.plan(mode=Mode.BYPASS))).changes == ("new: mode bypass",)
    assert standing(candidate(house.plan(backend="anthropic"))).changes == ("new: agents by anthropic",)
    assert standing(candidate(house.plan("return 2"))).changes == ("the script changed",)


def test_a_yes_holds_until_a_workflow_that_the_script_runs_is_another(house: House) -> None:
    helper = house.root / ".claude" / "workflows" / "helper.js"
    helper.parent.mkdir(parents=True)
    helper.write_text(META.replace("'case'", "'helper'") + "return 1", encoding="utf-8")
    plan = candidate(house.plan("await workflow('helper'); return await workflow('helper')"))
    remember(plan)

    assert standing(candidate(house.plan())).holds
    helper.write_text(META.replace("'case'", "'helper'") + "return 2", encoding="utf-8")
    (change,) = standing(candidate(house.plan())).changes
    assert change.startswith("new: workflow helper ")


@pytest.mark.parametrize(
    "body",
    [
        "return await workflow(args.name)",
        "return await workflow({ scriptPath: './b.js' })",
        "const other = workflow\nreturn await other('helper')",
        "return await globalThis['work' + 'flow']('helper')",
        "return await Promise.all([args.name].map(workflow))",
    ],
)
def test_where_it_is_not_known_which_workflows_a_script_runs_no_yes_is_remembered(house: House, body: str) -> None:
    plan = candidate(house.plan(body))

    assert "does not name" in str(standing(plan).why_not_kept)
    with pytest.raises(ConfigError, match="does not name"):
        remember(plan)


def test_the_word_alone_names_no_workflow(house: House) -> None:
    plan = candidate(house.plan("// workflow(name) is not called\nreturn 'workflow(x)' + args.workflow"))
    remember(plan)

    assert standing(plan).holds


def test_a_file_that_cannot_be_used_is_no_yes_and_keeps_none(house: House) -> None:
    plan = candidate(house.plan("return 1"))
    remember(plan)
    (house.home / ".config/callsheet/approvals.json").chmod(0o666)

    found = standing(plan)
    assert not found.holds
    assert "others may write it" in str(found.why_not_kept)


def test_answers_of_a_file_are_not_asked_about(house: House) -> None:
    (house.root / "a.json").write_text('{"answers": []}', encoding="utf-8")

    assert is_asked_about(house.plan("return 1"))
    assert not is_asked_about(house.plan(backend="scripted:a.json"))


async def test_agents_are_foreseen_and_what_depends_on_answers_has_a_range(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approving, "ENDS_WITHIN_S", 60)
    monkeypatch.setattr(approving, "SECOND_PASS_WITHIN_S", 60)  # a busy machine has time for both
    items = "{ type: 'object', required: ['all'], properties: { all: { type: 'array', items: { type: 'string' } } } }"
    body = f"const found = await agent('find', {{ schema: {items} }}); for (const one of found.all) await agent(one)"
    with within(30):
        seen = await foresee(candidate(house.plan(body)))

    assert seen.fault is None
    assert seen.told is not None
    assert (seen.told.agents, seen.told.agents_low, seen.told.agents_high) == (3, 1, 3)


async def test_a_script_that_never_ends_does_not_hold_the_question_up(house: House) -> None:
    began_s = time.monotonic()
    with within(30):
        seen = await foresee(candidate(house.plan("await agent('one'); for (;;) {}")))

    assert time.monotonic() - began_s < 20
    assert seen.fault == "the script had not come to its end when the rehearsal was ended"
    assert seen.told is not None
    assert seen.told.agents == 1


async def test_where_even_that_takes_too_long_nothing_is_told(house: House) -> None:
    with within(30):
        seen = await foresee(candidate(house.plan("for (;;) {}")), within_s=0.01)

    assert seen.told is None
    assert "did not come to an end within 0.01 seconds" in str(seen.fault)


async def test_what_the_engine_refuses_is_refused_before_anybody_is_asked(house: House) -> None:
    with within(30), pytest.raises(ScriptRefusedError):
        await foresee(candidate(house.plan("let = (")))


def test_what_was_shown_is_what_runs_and_an_edited_one_says_so(house: House) -> None:
    plan = candidate(house.plan("return 1"))
    house.write("return 'another'")

    assert script_in(approved(plan, "run")).text == META + "return 1"
    changed = approved(edited(plan, META + "return 3"), "run edited")
    assert script_in(changed).text == META + "return 3"
    assert script_in(changed).path == str(house.root / "case.js")
    assert changed.notes[-1] == "the script was edited before the run: what runs is not what case.js holds."


def test_an_edited_script_is_saved_only_over_what_it_was_made_of(house: House) -> None:
    plan = candidate(house.plan("return 1"))
    original = script_in(plan)
    changed = edited(plan, META + "return 3")
    assert why_not_saved(changed) is None

    path = save(changed, original)
    assert path.read_text(encoding="utf-8") == META + "return 3"

    with pytest.raises(UsageError, match="changed by somebody else"):
        save(edited(plan, META + "return 4"), original)
    path.unlink()
    path.symlink_to(house.home / "elsewhere.js")
    (house.home / "elsewhere.js").write_text(original.text, encoding="utf-8")
    with pytest.raises(UsageError, match="nothing was saved"):
        save(changed, original)
    assert (house.home / "elsewhere.js").read_text(encoding="utf-8") == original.text


def test_what_agents_may_is_told_in_a_line_each(house: House) -> None:
    plan = house.plan("return 1", mode=Mode.PLAN)

    told = {grant.about: grant.words for grant in granted(plan)}
    assert told["files"] == "read here, and not changed"
    assert told["commands"] == "none but those that a rule allows"
    assert told["mode"].startswith("plan (")
    assert {"answered", "web"} <= set(told)
