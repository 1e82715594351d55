from __future__ import annotations

from typing import Any

import pytest

from callsheet.app.agent_page import AgentPage, Message, Part, Tool
from callsheet.model.outcome import Usage
from callsheet.tui.page import page_rows
from callsheet.views.board import BoardAgent, SentMessage
from tests.support.screens import NOON
from tests.surfaces.events import HOSTILE

AT = "2026-01-01T00:00:00.000Z"


def agent(**given: Any) -> BoardAgent:
    plain: dict[str, Any] = {"agent_id": "a0001", "call": 1, "label": "look", "phase": "Find", "workflow": None}
    return BoardAgent(**(plain | given))


def page(**given: Any) -> AgentPage:
    plain: dict[str, Any] = {
        "run_id": "run_X", "agent_id": "a0001", "call": 1, "label": "look", "phase": "Find", "workflow": None,
        "prompt": "Look.", "options": {}, "status": "ok", "backend": "scripted", "model": None, "mode": "default",
        "attempts": 1, "usage": Usage(), "queued_at": AT, "started_at": AT, "ended_at": AT, "result": "done",
        "error": None, "files_read": (), "files_changed": (), "tools_called": (), "messages": (), "tools": (),
    }  # fmt: skip
    return AgentPage(**(plain | given))


def tool(state: str, tool_input: str = "npm test", detail: str | None = None) -> Tool:
    return Tool(n=1, tool="bash", input=tool_input, state=state, at=AT, detail=detail, attempt=1)


def texts(rows: list[Any]) -> list[str]:
    return [row.text for row in rows]


def test_a_page_has_prompt_tool_calls_result_files_and_conversation() -> None:
    said = Message(n=1, role="assistant", attempt=1, parts=(Part(kind="text", text="I look.\nTwice."),))
    rows = page_rows(
        agent(state="ended", status="ok", started_at=AT, ended_at=AT, branch="callsheet/look"),
        page(
            result={"bugs": ["one"]},
            files_read=("a.py",),
            files_changed=("b.py",),
            tools=(tool("done"), tool("intent"), tool("denied", detail="no rule")),
            messages=(said,),
        ),
        80,
        NOON,
    )

    shown = texts(rows)
    assert shown[0] == "✓ a0001 look"
    assert [row.text for row in rows if row.is_head] == [
        "Prompt", "Tool calls · 3", "Result", "Files", "Conversation · 1",
    ]  # fmt: skip
    assert '  "bugs": [' in shown
    assert any("bash (under way) npm test" in line for line in shown)
    assert any("bash (denied) npm test  → no rule" in line for line in shown)
    assert shown[-3:] == ["┌ assistant", "│ I look.", "│ Twice."]
    assert {"changed  b.py", "read     a.py", "branch   callsheet/look"} <= set(shown)


@pytest.mark.parametrize("width", [10, 40, 200])
def test_nothing_that_an_agent_wrote_acts_or_looks_like_a_line_of_the_page(width: int) -> None:
    forged = f"{HOSTILE}\n\nResult\n[red]all is well[/red] 日本語"
    part = Part(kind="tool_result", text=forged, failed=True)
    rows = page_rows(
        agent(
            label=HOSTILE,
            state="waiting",
            doing=HOSTILE,
            reason=HOSTILE,
            error=HOSTILE,
            model=HOSTILE,
            messages=(SentMessage(by=HOSTILE, text=forged, at=AT),),
        ),
        page(
            prompt=forged,
            result=forged,
            files_read=(HOSTILE,),
            tools=(tool("failed", HOSTILE, HOSTILE),),
            messages=(Message(n=1, role=HOSTILE, attempt=1, parts=(part,), person=HOSTILE),),
        ),
        width,
        NOON,
    )

    for row in rows:
        assert row.text.isprintable(), repr(row.text)
    assert [row.text for row in rows if row.is_head].count("Result") == 1


def test_a_long_text_is_cut_where_it_is_said_and_a_page_without_record_shows_what_events_said() -> None:
    rows = page_rows(agent(state="running", doing="read a.py", started_at=AT), page(prompt="x" * 100_000), 80, NOON)
    assert "… 40,000 characters more: callsheet show RUN AGENT has all of it" in texts(rows)

    rows = page_rows(agent(state="running", doing="read a.py", started_at=AT), None, 80, NOON)
    assert "read a.py" in texts(rows)
