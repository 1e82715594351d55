"""What is typed behind `/` in a session: done, or refused with what to do instead."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from callsheet.app.session import OpenSession
from callsheet.app.session_model import OpenDashboard, Quit, Refused, SessionEffort, Told
from callsheet.app.session_starting import typed_args
from callsheet.app.session_transcript import Note, RunEnded, RunStarted
from callsheet.errors import UsageError
from callsheet.permissions.modes import Mode
from tests.support.sessions import SessionStage, answered, of, until

pytestmark = pytest.mark.anyio

ANSWERS = ({"label": "orchestrator", "result": "Yes."}, {"label": "found", "result": "a fault"})


@pytest.fixture
async def session(tmp_path: Path) -> AsyncGenerator[OpenSession]:
    stage = SessionStage(tmp_path)
    stage.answers(*ANSWERS)
    stage.workflow("return { found: await agent('look', { label: 'found' }), args }")
    async with stage.open() as opened:
        yield opened


REFUSED = (
    ("/modle", "Did you mean /model?", "/model"),
    ("/revew", "Did you mean /review?", "/review"),
    ("/zzzzzz", "/help lists", None),
    ("/model opsu", "Did you mean opus?", None),
    ("/model two words", "one word", None),
    ("/effort hihg", "Did you mean high?", None),
    ("/effort zzz", "There are low, medium", None),
    ("/budget lots", "200k, 2M", None),
    ("/budget $0", "200k, 2M", None),
    ("/permissions acceptEdit", "Did you mean acceptEdits?", None),
    ("/resume", "no run has been", None),
    ("/resume run_x", "no run has been", None),
    ("/stop run_x", "no run has been", None),
    ("/save last", "no run has been", None),
    ("/workflows run_x", "no run has been", None),
    ("/help modle", "Did you mean /model?", "/model"),
    ('/review {"a": ', "begins as JSON and is none", None),
    ("/review a=1 a=2", "twice", None),
)


async def test_what_cannot_be_done_is_refused_with_what_can(session: OpenSession) -> None:
    for typed, says, near in REFUSED:
        reply = await session.command(typed)
        assert isinstance(reply, Refused), typed
        assert says in reply.text
        assert near is None or near in reply.near
    assert session.entries == ()


async def test_settings_hold_from_now_on_and_say_so(session: OpenSession) -> None:
    for typed in ("/model sonnet", "/effort Ultracode", "/budget 200k $5", "/permissions ASK"):
        assert await session.command(typed) == Told()
    settings = session.settings
    effort: SessionEffort | None = settings.effort
    assert (settings.model, effort, settings.budget, settings.mode) == ("sonnet", "ultracode", "200k $5", Mode.ASK)
    assert session.starts_workflow("just talk")
    assert session.orchestrator_now == ("sonnet", "xhigh")
    assert session.figures.left == "$5.00 and 200k tokens"
    assert len(of(session, Note)) == 4

    for typed in ("/model default", "/effort high", "/budget none", "/permissions default"):
        await session.command(typed)
    assert (session.settings.model, session.settings.budget, session.settings.mode) == (None, None, None)
    assert not session.starts_workflow("just talk")
    assert session.starts_workflow("write a Workflow")
    assert session.figures.left is None


async def test_a_mode_that_settings_forbid_is_refused_at_once_and_the_old_one_stays(session: OpenSession) -> None:
    await session.command("/permissions plan")
    settings = session.root / ".claude" / "settings.json"
    settings.write_text('{"permissions": {"disableBypassPermissionsMode": "disable"}}', encoding="utf-8")
    reply = await session.command("/permissions bypass")
    assert isinstance(reply, Refused)
    assert "switched off by" in reply.text
    assert "--" not in reply.text
    assert (session.settings.mode, len(of(session, Note))) == (Mode.PLAN, 1)


async def test_talk_is_no_run_to_go_on_with_or_to_keep(session: OpenSession) -> None:
    run_id = (await answered(session, "How is this built?")).run_id
    for typed in (f"/resume {run_id}", f"/save {run_id} kept"):
        reply = await session.command(typed)
        assert isinstance(reply, Refused)
        assert "is talk" in reply.text
    assert of(session, RunStarted) == []
    assert await session.command("/runs") == Told(text="No run yet in this folder, but for talk.")


async def test_a_setting_without_a_value_is_told(session: OpenSession) -> None:
    told = {name: await session.command(f"/{name}") for name in ("model", "effort", "budget", "permissions")}
    texts = {name: reply.text for name, reply in told.items() if isinstance(reply, Told)}
    assert "opus" in texts["model"]
    assert "ultracode" in texts["effort"]
    assert "no budget is set" in texts["budget"]
    assert "acceptEdits" in texts["permissions"]
    assert session.entries == ()


async def test_a_budget_bounds_each_run_and_what_is_left_of_it_talk(session: OpenSession) -> None:
    await session.command("/budget 120")
    await session.command("/review")
    await until(session, lambda: of(session, RunEnded))
    assert "120 output tokens at most" in of(session, RunStarted)[0].notes[0]

    assert (await answered(session, "Once.")).state == "done"
    assert session.figures.left == "70 tokens"
    assert (await answered(session, "Twice.")).state == "done"
    assert (await answered(session, "Three times.")).state == "done"
    assert session.figures.left == "0 tokens"
    spent = await answered(session, "Four times.")
    assert (spent.state, spent.run_id) == ("over_budget", None)
    assert "/budget" in (spent.remedy or "")

    await session.command("/budget 200")
    assert (await answered(session, "Four times.")).state == "done"
    assert session.figures.turns == 4


async def test_a_run_is_kept_as_a_workflow_and_run_by_its_new_name(session: OpenSession) -> None:
    await session.command("/review path=src deep=true")
    await until(session, lambda: of(session, RunEnded))
    assert '"deep": true' in of(session, RunEnded)[0].text

    for typed, says in (
        ("/save last second look", "one word"),
        ("/save last help", "no command here"),
        ("/save", "say which run"),
        ("/resume run_nope", "run_nope"),
        ("/stop run_nope", "run_nope"),
        ("/workflows run_nope", "run_nope"),
    ):
        refused = await session.command(typed)
        assert isinstance(refused, Refused)
        assert says in refused.text
    assert await session.command("/save last second-look") == Told()
    assert "run it: /second-look" in of(session, Note)[0].text
    assert "second-look" in session.workflow_names
    assert any(each.name == "second-look" and each.is_workflow for each in session.commands)

    await session.command("/second-look plain words")
    await until(session, lambda: len(of(session, RunEnded)) == 2)
    assert '"args": "plain words"' in of(session, RunEnded)[1].text
    runs = await session.command("/runs")
    assert isinstance(runs, Told)
    assert [line.split()[0] for line in runs.text.splitlines()] == ["*", "*"]
    cost = await session.command("/cost")
    assert isinstance(cost, Told)
    assert "2 runs" in cost.text


async def test_help_names_every_command_and_workflow(session: OpenSession) -> None:
    told = await session.command("/help")
    assert isinstance(told, Told)
    for command in session.commands:
        assert command.usage in told.text
    assert max(map(len, told.text.splitlines())) <= 110
    one = await session.command("/help effort")
    assert isinstance(one, Told)
    assert "ultracode" in one.text


async def test_the_dashboard_and_the_way_out_are_for_the_screen(session: OpenSession) -> None:
    assert await session.command("/workflows") == OpenDashboard()
    left = await session.command("/exit")
    assert left == Quit(text="")
    await session.command("/budget $5")
    left = await session.command("/quit")
    assert isinstance(left, Quit)
    assert f"--continue {session.id}" in left.text


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("", (False, None)),
        ("plain words", (True, "plain words")),
        ('path=src note="two words" n=3', (True, {"path": "src", "note": "two words", "n": 3})),
        ('{"a": [1]}', (True, {"a": [1]})),
        ("[1, 2]", (True, [1, 2])),
        ("[WIP] fix it", (True, "[WIP] fix it")),
        ("it's a=b", (True, "it's a=b")),
        ("7", (True, 7)),
    ],
)
def test_args_are_json_pairs_or_a_text(words: str, value: object) -> None:
    assert typed_args(words) == value


def test_args_that_begin_as_json_and_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="column 2"):
        typed_args("{path: 1}")
