"""The tools of agents on a loopback Messages service: what they do, what the model is told, what is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from callsheet.agents.tools.fence import unfenced
from callsheet.model.call import AgentType, Scope
from callsheet.model.reports import Remark, ToolCalled
from tests.support.agents import RecordingReporter, agent_task
from tests.support.messages_replies import Say, text, tool_use
from tests.support.wire import wired

pytestmark = pytest.mark.anyio


async def test_tools_really_change_files_and_the_outcome_names_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two", encoding="utf-8")
    turns = (
        Say(
            [tool_use("read", id="r", file_path="a.txt"), tool_use("write", id="w", file_path="new/b.txt", content="ü")]
        ),
        Say([tool_use("edit", id="e", file_path=str(tmp_path / "a.txt"), old_string="two", new_string="three")]),
        Say([text("done")]),
    )
    async with wired(*turns) as wire:
        outcome = await wire.run(agent_task(tmp_path))
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "one three"
    assert (tmp_path / "new" / "b.txt").read_text(encoding="utf-8") == "ü"
    assert outcome.files_read == ("a.txt",)
    assert outcome.files_changed == ("a.txt", "new/b.txt")
    assert outcome.tools_called == ("read", "write", "edit")


@pytest.mark.contract("R01")
async def test_a_change_is_on_record_before_it_is_made(tmp_path: Path) -> None:
    seen: list[bool] = []

    class Watching(RecordingReporter):
        async def report(self, report: Any) -> None:
            if isinstance(report, ToolCalled) and report.state == "intent":
                seen.append((tmp_path / "b.txt").exists())
            await super().report(report)

    reporter = Watching()
    async with wired(Say([tool_use("write", file_path="b.txt", content="x")]), Say([text("done")])) as wire:
        await wire.run(agent_task(tmp_path), reporter)
    assert seen == [False]
    assert [(call.n, call.tool, call.state) for call in reporter.of(ToolCalled)] == [
        (1, "write", "intent"),
        (1, "write", "done"),
    ]


async def test_a_write_outside_the_workspace_is_refused_and_the_model_is_told(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    workspace.mkdir()
    call = tool_use("write", file_path="../outside.txt", content="x")
    reporter = RecordingReporter()
    async with wired(Say([call]), Say([text("done")])) as wire:
        outcome = await wire.run(agent_task(workspace), reporter)
    result = wire.service.requests[1].messages[-1]["content"][0]
    assert result["is_error"] is True
    assert "outside" in result["content"]
    assert not (tmp_path / "outside.txt").exists()
    assert outcome.files_changed == ()
    assert [call.state for call in reporter.of(ToolCalled)] == ["denied"]


async def test_tools_are_narrowed_by_agent_type_and_call_and_never_widened(tmp_path: Path) -> None:
    kind = AgentType(
        name="k", description="d", tools=("Read", "Grep", "Write", "WebSearch"), disallowed_tools=("Write",)
    )
    reporter = RecordingReporter()
    async with wired(Say([text("x")]), Say([text("x")])) as wire:
        await wire.run(agent_task(tmp_path, kind=kind, tools=("read", "edit")), reporter)
        await wire.run(agent_task(tmp_path, kind=kind), reporter)
    assert [[tool["name"] for tool in request.body["tools"]] for request in wire.service.requests] == [
        ["read"],
        ["read", "grep"],
    ]
    assert len([remark for remark in reporter.of(Remark) if "WebSearch" in remark.message]) == 1


async def test_a_read_only_agent_is_shown_no_tool_that_edits(tmp_path: Path) -> None:
    kind = AgentType(name="Explore", description="d", read_only=True)
    async with wired(Say([text("x")])) as wire:
        await wire.run(agent_task(tmp_path, kind=kind))
    offered = [tool["name"] for tool in wire.service.requests[0].body["tools"]]
    assert offered == ["bash", "read", "glob", "grep", "web_fetch"]


async def test_a_tool_that_does_not_exist_is_answered_and_the_agent_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpha", encoding="utf-8")
    first = Say([tool_use("web_search", id="b", query="x"), tool_use("read", id="r", file_path="a.txt")])
    async with wired(first, Say([text("done")])) as wire:
        outcome = await wire.run(agent_task(tmp_path))
    unknown, known = wire.service.requests[1].messages[-1]["content"]
    assert unknown["is_error"] is True
    assert "read" in unknown["content"]
    assert unfenced(known["content"]) == "alpha"
    assert (outcome.status, outcome.value) == ("ok", "done")


async def test_tool_input_that_does_not_fit_is_answered_by_naming_the_field(tmp_path: Path) -> None:
    async with wired(Say([tool_use("read", path="a.txt")]), Say([text("done")])) as wire:
        await wire.run(agent_task(tmp_path))
    result = wire.service.requests[1].messages[-1]["content"][0]
    assert result["is_error"] is True
    assert "file_path" in result["content"]


async def test_scope_holds_for_tools(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "docs").mkdir()
    calls = [
        tool_use("write", id="1", file_path="src/a.txt", content="x"),
        tool_use("write", id="2", file_path="docs/a.txt", content="x"),
    ]
    async with wired(Say(calls), Say([text("done")])) as wire:
        outcome = await wire.run(agent_task(tmp_path, scope=Scope(write=("src/**",))))
    assert outcome.files_changed == ("src/a.txt",)
    assert not (tmp_path / "docs" / "a.txt").exists()


async def test_the_working_folder_is_where_relative_paths_begin(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    async with wired(Say([tool_use("write", file_path="a.txt", content="x")]), Say([text("done")])) as wire:
        outcome = await wire.run(agent_task(tmp_path, cwd="pkg"))
    assert (tmp_path / "pkg" / "a.txt").is_file()
    assert outcome.files_changed == ("pkg/a.txt",)
