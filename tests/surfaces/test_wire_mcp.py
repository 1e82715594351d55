"""Agents that call tools of MCP servers: a real server over stdio, a loopback Messages service, and whole runs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from anyio import to_thread

from callsheet.agents.mcp.pool import open_mcp
from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.fence import unfenced
from callsheet.agents.tools.servers import Servers
from callsheet.agents.toolset import may_use_server_tool
from callsheet.model.approval import Answer
from callsheet.model.call import AgentType
from callsheet.model.reports import Remark, ToolCalled
from tests.support.agents import RecordingReporter, agent_task
from tests.support.deadline import within
from tests.support.mcp_stage import SERVER, environ, noted, notes, stdio_server
from tests.support.messages_replies import Received, Reply, Say, text, tool_use
from tests.support.messages_service import open_messages_service
from tests.support.planned import plan, planned
from tests.support.wire import Wire, wired
from tests.support.workbench import READ_ONLY, settings
from tests.surfaces.command import Command, Done

pytestmark = pytest.mark.anyio

DONE = Say([text("done")])


@asynccontextmanager
async def served(
    folder: Path, *replies: Reply, mode: tuple[str, ...] = ("helper",), **flags: Any
) -> AsyncIterator[Wire]:
    """A backend with one MCP server, `s`, by flags of rules."""
    bounds = Bounds(settings=settings(folder, **flags), home=folder / "home")
    said: list[str] = []
    async with open_mcp([stdio_server(*mode, folder=folder)], environ=environ(), tell=said.append) as pool:
        bounds.servers = Servers(pool, said)
        async with wired(*replies, bounds=bounds) as wire:
            yield wire


def call(tool: str, /, id: str = "m", **given: Any) -> Say:
    return Say([tool_use(tool, id=id, **given)])


def told(wire: Wire, turn: int) -> dict[str, Any]:
    block: dict[str, Any] = wire.service.requests[turn].messages[-1]["content"][0]
    return block


def offered(wire: Wire, turn: int = 0) -> list[str]:
    return [tool["name"] for tool in wire.service.requests[turn].body["tools"]]


def states(reporter: RecordingReporter) -> list[tuple[str, str]]:
    return [(each.tool, each.state) for each in reporter.of(ToolCalled)]


async def test_a_tool_that_a_rule_allows_is_called_recorded_and_its_result_marked_as_data(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    with within(60):
        async with served(tmp_path, call("mcp__s__add", a=1, b=2), DONE, allow=("mcp__s__add",)) as wire:
            outcome = await wire.run(agent_task(tmp_path), reporter)
    assert "mcp__s__add" in offered(wire)
    assert told(wire, 1)["content"].startswith("<data-")
    assert unfenced(told(wire, 1)["content"]) == "3"
    assert states(reporter) == [("mcp__s__add", "intent"), ("mcp__s__add", "done")]
    assert outcome.tools_called == ("mcp__s__add",)
    assert notes(tmp_path) == ["started", "ended"]


async def test_a_tool_without_a_rule_is_asked_about_and_without_a_person_denied(tmp_path: Path) -> None:
    reporter = RecordingReporter(Answer(verdict="once"))
    turns = (call("mcp__s__add", "1", a=1, b=2), call("mcp__s__add", "2", a=1, b=2), DONE)
    with within(60):
        async with served(tmp_path, *turns) as wire:
            await wire.run(agent_task(tmp_path), reporter)
    assert [json.loads(question.input) for question in reporter.questions] == [{"a": 1, "b": 2}] * 2
    assert unfenced(told(wire, 1)["content"]) == "3"
    assert told(wire, 2)["is_error"] is True
    assert reporter.of(ToolCalled)[-1].would_allow == ("mcp__s__add",)


async def test_a_denied_server_is_neither_started_nor_offered(tmp_path: Path) -> None:
    with within(60):
        async with served(tmp_path, DONE, deny=("mcp__s",)) as wire:
            await wire.run(agent_task(tmp_path))
    assert [name for name in offered(wire) if name.startswith("mcp")] == []
    assert notes(tmp_path) == []


async def test_agents_without_such_tools_start_nothing(tmp_path: Path) -> None:
    kind = AgentType(name="k", description="d", tools=("Read",))
    with within(60):
        async with served(tmp_path, DONE, DONE, allow=("mcp__s",)) as wire:
            await wire.run(agent_task(tmp_path, kind=kind))
            await wire.run(agent_task(tmp_path, kind=READ_ONLY))
    assert offered(wire) == ["read"]
    assert notes(tmp_path) == []


async def test_many_tools_are_found_by_search_and_each_call_is_decided_by_its_own_name(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    turns = (
        call("tool_search", "1", query="send an invoice"),
        call("tool_call", "2", name="mcp__s__sendInvoice", arguments={"customer": "x"}),
        call("tool_call", "3", name="mcp__s__ticket_1", arguments={}),
        call("tool_call", "4", arguments={}),
        DONE,
    )
    with within(60):
        async with served(tmp_path, *turns, mode=("many", "60"), allow=("mcp__s__sendInvoice",)) as wire:
            await wire.run(agent_task(tmp_path), reporter)
    assert offered(wire)[-2:] == ["tool_search", "tool_call"]
    assert "mcp__s__sendInvoice" in told(wire, 1)["content"]
    assert unfenced(told(wire, 2)["content"]) == "sent to x"
    assert [(tool, state) for tool, state in states(reporter) if state != "intent"] == [
        ("tool_search", "done"),
        ("mcp__s__sendInvoice", "done"),
        ("mcp__s__ticket_1", "denied"),
        ("tool_call", "failed"),
    ]


async def test_by_search_an_agent_reaches_no_tool_that_it_was_not_given(tmp_path: Path) -> None:
    reporter = RecordingReporter(Answer(verdict="once"))
    turns = (call("tool_call", name="mcp__s__sendInvoice", arguments={"customer": "x"}), DONE)
    task = agent_task(tmp_path, disallowed_tools=("mcp__s__sendInvoice",))
    with within(60):
        async with served(tmp_path, *turns, mode=("many", "60"), allow=("mcp__s",)) as wire:
            await wire.run(task, reporter)
    assert told(wire, 1)["is_error"] is True
    assert states(reporter) == [("mcp__s__sendInvoice", "denied")]


async def test_a_tool_that_changed_is_asked_about_again_although_a_rule_allows_it(tmp_path: Path) -> None:
    reporter = RecordingReporter(Answer(verdict="deny"))
    turns = (call("mcp__s__change", "1"), call("mcp__s__add", "2", a=1, b=2), DONE)
    with within(60):
        async with served(tmp_path, *turns, allow=("mcp__s",)) as wire:
            await wire.run(agent_task(tmp_path), reporter)
    assert len(reporter.questions) == 1
    assert reporter.questions[0].input.startswith("before: ")
    assert states(reporter)[-1] == ("mcp__s__add", "denied")


async def test_what_a_failing_tool_says_is_marked_as_data(tmp_path: Path) -> None:
    with within(60):
        async with served(tmp_path, call("mcp__s__fails"), DONE, allow=("mcp__s",)) as wire:
            await wire.run(agent_task(tmp_path))
    assert told(wire, 1)["is_error"] is True
    assert unfenced(told(wire, 1)["content"]).startswith("mcp__s__fails: ")


async def test_a_server_that_dies_is_noted_once_and_the_agent_goes_on(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    with within(60):
        async with served(tmp_path, call("mcp__s__die", status=7), DONE, allow=("mcp__s",)) as wire:
            outcome = await wire.run(agent_task(tmp_path), reporter)
    assert outcome.status == "ok"
    assert [remark.level for remark in reporter.of(Remark) if "exit status 7" in remark.message] == ["warn"]


async def test_cancelling_an_agent_tells_the_server_and_the_server_stays_for_others(tmp_path: Path) -> None:
    with within(60):
        async with served(
            tmp_path, call("mcp__s__hang"), call("mcp__s__add", a=1, b=2), DONE, allow=("mcp__s",)
        ) as wire:
            async with anyio.create_task_group() as tasks:

                async def work() -> None:
                    await wire.backend.run(agent_task(tmp_path), RecordingReporter())

                tasks.start_soon(work)
                await noted(tmp_path, "hanging")
                tasks.cancel_scope.cancel()
            await noted(tmp_path, "cancelled")
            await wire.run(agent_task(tmp_path))
    assert unfenced(told(wire, 2)["content"]) == "3"
    assert notes(tmp_path).count("started") == 1


@pytest.mark.contract("A14")
@pytest.mark.parametrize(
    ("of_type", "of_call", "name", "may"),
    [
        ({}, {}, "mcp__s__add", True),
        ({"tools": ("*",)}, {}, "mcp__s__add", True),
        ({"tools": ("Read",)}, {}, "mcp__s__add", False),
        ({"tools": ("mcp__s",)}, {}, "mcp__s__add", True),
        ({"tools": ("mcp__s__*",)}, {}, "mcp__s__add", True),
        ({"tools": ("mcp__s__add",)}, {}, "mcp__s", True),
        ({"tools": ("mcp__s__add",)}, {}, "mcp__s__die", False),
        ({"tools": ("mcp__s__add",)}, {"tools": ("mcp__s__die",)}, "mcp__s__add", False),
        ({"tools": ("mcp__s",)}, {}, "mcp__s2__add", False),
        ({}, {"disallowed_tools": ("mcp__s",)}, "mcp__s__add", False),
        ({}, {"disallowed_tools": ("mcp__s__add",)}, "mcp__s__die", True),
        ({"disallowed_tools": ("*",)}, {}, "mcp__s__add", False),
        ({"read_only": True}, {}, "mcp__s__add", False),
    ],
)
def test_agent_type_and_call_only_narrow_the_tools_of_servers(
    of_type: dict[str, Any], of_call: dict[str, Any], name: str, may: bool
) -> None:
    kind = AgentType(name="k", description="d", **of_type)
    assert may_use_server_tool(agent_task(Path("/"), kind=kind, **of_call), name) is may


# --- whole runs -------------------------------------------------------------------------------------------------------


def configured(folder: Path) -> str:
    """A server as `.mcp.json` has it; it keeps its notes in the folder."""
    shutil.copy(SERVER, folder / "server.py")
    # The place of its notes stands in its command line too, by which a test finds it among all processes.
    arguments = ["server.py", "helper", str(folder / "notes")]
    server = {"command": sys.executable, "args": arguments, "env": {"MCP_NOTES": str(folder / "notes")}}
    return json.dumps({"mcpServers": {"helper": server}})


def command_lines() -> list[str]:
    """Those of all processes."""
    return [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]


async def run(command: Command, *calls: tuple[str, dict[str, Any]], words: tuple[str, ...] = ()) -> tuple[Done, str]:
    """A run of one agent that makes these calls, and the names of the tools that it was offered."""
    name = command.script(f"return await agent({json.dumps(plan(*calls))}, {{ label: 'tries' }})")
    asked: list[Received] = []

    def respond(request: Received) -> Reply:
        asked.append(request)
        return planned(request)

    async with open_messages_service(respond) as service:
        given: Mapping[str, str] = {"ANTHROPIC_API_KEY": "k" * 30, "ANTHROPIC_BASE_URL": service.base_url}
        with within(120):
            done = await to_thread.run_sync(partial(command, "run", name, "--output", "json", *words, environ=given))
    return done, " ".join(tool["name"] for tool in asked[0].body["tools"])


async def test_a_trusted_workspace_s_server_works_for_agents_and_ends_with_the_run(command: Command) -> None:
    (command.folder / ".mcp.json").write_text(configured(command.folder), encoding="utf-8")
    add = ("mcp__helper__add", {"a": 20, "b": 22})
    done, names = await run(command, add, words=("--trust", "--allow", "mcp__helper"))
    assert done.status == 0, done.err
    assert "mcp__helper__add" in names, done.err
    assert "42" in done.json["result"], done.json
    assert done.json["agents"][0]["tools_called"] == ["mcp__helper__add"]
    assert notes(command.folder).count("started") == 1
    assert [line for line in command_lines() if str(command.folder / "notes") in line] == []


async def test_an_untrusted_workspace_s_server_is_not_started_whatever_rules_say(command: Command) -> None:
    (command.folder / ".mcp.json").write_text(configured(command.folder), encoding="utf-8")
    done, names = await run(command, ("mcp__helper__add", {"a": 1, "b": 2}), words=("--allow", "mcp__helper"))
    assert "mcp__" not in names
    assert notes(command.folder) == []
    assert "MCP server helper" in done.err


async def test_the_user_s_own_server_needs_no_trust(command: Command) -> None:
    home = command.folder.parent / "home"
    home.mkdir(exist_ok=True)
    (home / ".claude.json").write_text(configured(home), encoding="utf-8")
    done, _ = await run(command, ("mcp__helper__add", {"a": 20, "b": 22}), words=("--allow", "mcp__helper__add"))
    assert "42" in done.json["result"], done.err
    assert notes(home) == ["started", "ended"]
