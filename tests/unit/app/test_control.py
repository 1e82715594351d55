"""Control of a run from a program, over the real sandbox, engine, agents and record."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import callsheet
from callsheet.model.events import AgentControlled
from tests.support.deadline import within

pytestmark = pytest.mark.anyio

META = "export const meta = { name: 'case', description: 'a case' }\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.mark.contract("A05", "A17")
async def test_a_program_skips_one_agent_starts_another_over_and_the_record_says_who(folder: Path) -> None:
    answers = [
        {"label": "slow", "result": "x", "delay_ms": 600_000},
        {"label": "again", "result": "x", "delay_ms": 600_000, "times": 1},
        {"label": "again", "result": "second"},
        {"label": "quick", "result": "first"},
    ]
    (folder / "answers.json").write_text(json.dumps({"answers": answers}), encoding="utf-8")
    calls = ", ".join(f"agent('p', {{ label: '{label}' }})" for label in ("slow", "again", "quick"))
    body = f"return await Promise.all([{calls}])"
    (folder / "case.js").write_text(META + body, encoding="utf-8")

    with within(30):
        async with callsheet.open_run("./case.js", backend="scripted:answers.json") as run:
            async for event in run.events():
                if event.name == "agent.finished":  # the quick one; the others, which began before it, are at work
                    break
            with pytest.raises(callsheet.ControlRefusedError, match="do not look for any"):
                await run.message("a0001", "hello")
            assert await run.skip("a0001", by="ada")
            assert await run.restart("a0002", by="ada")
            result = await run.result()

    assert result.result == [None, "second", "first"]
    assert result.status == "degraded"
    assert [(agent.status, agent.attempts) for agent in result.agents] == [("skipped", 1), ("ok", 2), ("ok", 1)]
    with closing(sqlite3.connect(folder / ".callsheet" / "callsheet.db")) as record:
        rows = record.execute("SELECT payload FROM events WHERE event = 'agent.controlled' ORDER BY seq").fetchall()
    deeds = [json.loads(payload) for (payload,) in rows]
    assert [(deed["action"], deed["by"]) for deed in deeds] == [("skip", "ada"), ("restart", "ada")]


async def test_an_agent_that_waits_is_sent_a_message_which_its_conversation_holds(folder: Path) -> None:
    (folder / "case.js").write_text(META + "return await agent('Look at the checkout.')", encoding="utf-8")

    with within(60):
        async with callsheet.open_run("./case.js", backend="offline", wait=True) as run:
            await run.pause()
            async for event in run.events():
                if event.name == "agent.queued":
                    break
            await run.message("a0001", "Only the tests.", by="ada")
            await run.go_on()
            result = await run.result()
            deeds = [event.body.action async for event in run.events() if isinstance(event.body, AgentControlled)]

    assert "Told meanwhile: Only the tests." in str(result.result)
    assert deeds == ["message", "message_taken"]
    with closing(sqlite3.connect(folder / ".callsheet" / "callsheet.db")) as record:
        rows = record.execute("SELECT n, person FROM agent_messages WHERE person IS NOT NULL").fetchall()
    assert rows == [(2, "ada")]
