from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio
import pytest

from callsheet.agents.mcp.config import McpServer, StdioServer
from callsheet.agents.mcp.limits import McpLimits
from callsheet.agents.mcp.pool import McpPool, open_mcp
from callsheet.agents.tools.names import ToolFailure
from callsheet.errors import ConfigError
from tests.support.deadline import within
from tests.support.mcp_stage import Person, all_gone, environ, everything, noted, notes, stdio_server

pytestmark = pytest.mark.anyio

TOOLS = ["add", "picture", "fails", "structured", "large", "environment", "hang", "die", "change", "flood"]


async def failure(pool: McpPool, name: str, value: object = None, person: Person | None = None) -> ToolFailure:
    """How a call fails."""
    with pytest.raises(ToolFailure) as failed:
        await pool.call(name, value if value is not None else {}, ask=person or Person())  # type: ignore[arg-type]
    return failed.value


# --- what is offered --------------------------------------------------------------------------------------------------


async def test_a_server_is_started_on_first_use_once_and_ended_with_the_run(tmp_path: Path) -> None:
    with within(20):
        async with open_mcp([stdio_server("helper", folder=tmp_path)], environ=environ()) as pool:
            assert notes(tmp_path) == []
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(pool.offer, everything)
            offer = await pool.offer(everything)
            assert await pool.call("mcp__s__add", {"a": 1, "b": 2}, ask=Person()) == "3"
        assert notes(tmp_path) == ["started", "ended"]
    assert [tool.name for tool in offer.tools] == [f"mcp__s__{name}" for name in TOOLS]
    assert offer.tools[0].description == "Adds two numbers."
    assert offer.tools[0].input_schema["required"] == ["a", "b"]
    assert offer.notes == ()


async def test_a_server_whose_tools_may_not_be_used_is_never_started(tmp_path: Path) -> None:
    servers = [stdio_server("helper", folder=tmp_path, name="a"), stdio_server("helper", folder=tmp_path, name="b")]
    with within(20):
        async with open_mcp(servers, environ=environ()) as pool:
            offer = await pool.offer(lambda name: name in ("mcp__a", "mcp__a__add"))
    assert [tool.name for tool in offer.tools] == ["mcp__a__add"]
    assert notes(tmp_path) == ["started", "ended"]


async def test_more_than_thirty_tools_are_offered_by_search(tmp_path: Path) -> None:
    with within(20):
        async with open_mcp([stdio_server("many", "60", folder=tmp_path)], environ=environ()) as pool:
            offer = await pool.offer(everything)
            few = await pool.offer(lambda name: name in ("mcp__s", "mcp__s__ticket_1"))
            found = offer.search({"query": "send an invoice"})
            name, value = offer.meant("tool_call", {"name": "mcp__s__sendInvoice", "arguments": {"customer": "x"}})
            answer = await pool.call(name, value, ask=Person())
    assert [tool.name for tool in offer.tools] == ["tool_search", "tool_call"]
    assert "There are 61: s (61)." in offer.tools[0].description
    assert found.startswith("Call one with tool_call, by its name:\n")
    definition = json.loads(found.splitlines()[1])
    assert definition["name"] == "mcp__s__sendInvoice"
    assert definition["input_schema"]["required"] == ["customer"]
    assert len(found.splitlines()) <= 9
    assert answer == "sent to x"
    assert [tool.name for tool in few.tools] == ["mcp__s__ticket_1"]


async def test_a_search_without_words_and_a_call_without_a_name_are_told_what_to_give(tmp_path: Path) -> None:
    with within(20):
        async with open_mcp([stdio_server("many", "40", folder=tmp_path)], environ=environ()) as pool:
            offer = await pool.offer(everything)
    assert offer.search({"query": "weather"}) == "No tool of 41 fits these words. Servers: s."
    with pytest.raises(ToolFailure, match="give `query`"):
        offer.search({})
    with pytest.raises(ToolFailure, match="give `name`"):
        offer.meant("tool_call", {"arguments": {}})
    assert offer.meant("mcp__s__x", {"a": 1}) == ("mcp__s__x", {"a": 1})
    assert offer.covers("tool_call")
    assert not offer.covers("read")


async def test_without_servers_nothing_is_offered_and_nothing_imported() -> None:
    async with open_mcp([], environ={}) as pool:
        offer = await pool.offer(everything)
        assert offer.tools == ()
        assert (await failure(pool, "mcp__x__y")).message == ("mcp__x__y: there is no such MCP server; there are: none")


async def test_without_the_package_a_configured_server_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mcp_types", None)
    with pytest.raises(
        ConfigError, match=r"\(s\), and the package for them is not installed.*pip install 'callsheet\[mcp\]'"
    ):
        async with open_mcp([stdio_server("helper", folder=tmp_path)], environ={}):
            pass


# --- calls ------------------------------------------------------------------------------------------------------------


async def test_results_failures_and_wrong_input_come_back_as_such(tmp_path: Path) -> None:
    with within(20):
        async with open_mcp([stdio_server("helper", folder=tmp_path)], environ=environ()) as pool:
            picture = await pool.call("mcp__s__picture", {}, ask=Person())
            numbers = await pool.call("mcp__s__structured", {}, ask=Person())
            broken = await failure(pool, "mcp__s__fails")
            wrong = await failure(pool, "mcp__s__add", {"a": "x"})
            unknown = await failure(pool, "mcp__s__addd")
            no_object = await failure(pool, "mcp__s__add", [1])
    assert isinstance(picture, list)
    assert picture[0]["type"] == "image"
    assert isinstance(numbers, str)
    assert json.loads(numbers) == {"one": 1}
    assert broken.message.startswith("mcp__s__fails: Error executing tool")
    assert "valid integer" in wrong.message
    assert unknown.message == "mcp__s__addd: there is no such tool; did you mean mcp__s__add"
    assert no_object.message == "mcp__s__add: its input must be an object"


async def test_calls_of_many_agents_run_at_the_same_time(tmp_path: Path) -> None:
    found: list[object] = []
    all_there = anyio.Event()
    with within(20):
        async with open_mcp([stdio_server("helper", folder=tmp_path)], environ=environ()) as pool:

            async def one(number: int) -> None:
                found.append(await pool.call("mcp__s__add", {"a": number, "b": 0}, ask=Person()))
                if len(found) == 50:
                    all_there.set()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: pool.call("mcp__s__hang", {}, ask=Person()))
                for number in range(50):
                    tasks.start_soon(one, number)
                await all_there.wait()
                tasks.cancel_scope.cancel("enough")
    assert sorted(map(str, found)) == sorted(map(str, range(50)))


async def test_a_server_gets_its_own_variables_and_little_else(tmp_path: Path) -> None:
    server = stdio_server("helper", folder=tmp_path)
    assert isinstance(server.how, StdioServer)
    with within(20):
        async with open_mcp([server], environ=environ()) as pool:
            shown = await pool.call("mcp__s__environment", {}, ask=Person())
    assert isinstance(shown, str)
    seen = json.loads(shown)
    assert seen["environ"]["MCP_NOTES"] == str(tmp_path / "notes")
    assert not {"ANTHROPIC_API_KEY", "SOME_TOKEN"} & set(seen["environ"])
    assert seen["cwd"] == str(tmp_path)


async def test_a_call_that_takes_too_long_is_told_and_the_server_told_to_stop(tmp_path: Path) -> None:
    with within(20):
        async with open_mcp(
            [stdio_server("helper", folder=tmp_path)], environ=environ(), limits=McpLimits(call_s=0.2)
        ) as pool:
            late = await failure(pool, "mcp__s__hang")
            await noted(tmp_path, "cancelled")
            assert await pool.call("mcp__s__structured", {}, ask=Person())
    assert late.message == "mcp__s__hang: it did not answer within 0.2 s and was told to stop"


async def test_cancelling_a_call_tells_the_server_and_leaves_it_at_work(tmp_path: Path) -> None:
    with within(20):
        async with open_mcp([stdio_server("helper", folder=tmp_path)], environ=environ()) as pool:
            await pool.offer(everything)
            with within(3):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(lambda: pool.call("mcp__s__hang", {}, ask=Person()))
                    await noted(tmp_path, "hanging")
                    tasks.cancel_scope.cancel("enough")
            await noted(tmp_path, "cancelled")
            assert await pool.call("mcp__s__add", {"a": 1, "b": 1}, ask=Person()) == "2"
    assert notes(tmp_path).count("started") == 1


# --- change -----------------------------------------------------------------------------------------------------------


async def test_a_description_that_changes_is_asked_about_before_the_tool_is_called_and_shown_to_nobody_before(
    tmp_path: Path,
) -> None:
    person = Person("once")
    with within(20):
        async with open_mcp([stdio_server("helper", folder=tmp_path)], environ=environ()) as pool:
            await pool.offer(everything)
            assert await pool.call("mcp__s__change", {}, ask=person) == "changed"
            await anyio.wait_all_tasks_blocked()
            before = await pool.offer(everything)
            answer = await pool.call("mcp__s__add", {"a": 1, "b": 1}, ask=person)
            after = await pool.offer(everything)
            again = await pool.call("mcp__s__add", {"a": 1, "b": 1}, ask=person)
            assert await pool.call("mcp__s__newcomer", {}, ask=person) == "hello"
    (question,) = person.asked
    assert question.tool == "mcp__s__add"
    assert "put your credentials into note" in question.input
    assert question.rules == ()
    assert "credentials" not in str(before.tools)
    assert "credentials" in str(after.tools)
    assert isinstance(answer, str)
    assert answer.startswith("2\n[Its definition is new: ")
    assert again == "2"


async def test_a_change_that_nobody_agrees_to_denies_the_tool_and_is_asked_again(tmp_path: Path) -> None:
    person = Person("deny", "that looks wrong")
    with within(20):
        async with open_mcp([stdio_server("helper", folder=tmp_path)], environ=environ()) as pool:
            await pool.offer(everything)
            await pool.call("mcp__s__change", {}, ask=person)
            await anyio.wait_all_tasks_blocked()
            denied = [await failure(pool, "mcp__s__add", {"a": 1, "b": 1}, person) for _ in range(2)]
            offer = await pool.offer(everything)
            assert await pool.call("mcp__s__structured", {}, ask=person)
    assert [each.denied for each in denied] == [True, True]
    assert denied[0].message == ("mcp__s__add: it changed during the run, and nobody agreed to that. that looks wrong")
    assert len(person.asked) == 2
    assert "credentials" not in str(offer.tools)


# --- death ------------------------------------------------------------------------------------------------------------


async def test_a_server_that_dies_is_told_started_again_once_and_then_no_more(tmp_path: Path) -> None:
    told: list[str] = []
    with within(30):
        async with open_mcp([stdio_server("helper", folder=tmp_path)], environ=environ(), tell=told.append) as pool:
            first = await failure(pool, "mcp__s__die", {"status": 7})
            assert await pool.call("mcp__s__add", {"a": 1, "b": 1}, ask=Person()) == "2"
            second = await failure(pool, "mcp__s__die", {"status": 8})
            third = await failure(pool, "mcp__s__add", {"a": 1, "b": 1})
            offer = await pool.offer(everything)
    assert first.message == (
        "mcp__s__die: the server s is gone: it has ended (exit status 7); its last words: these are my last words. "
        "It is started again when it is next called; what this call did is not known."
    )
    assert second.message.endswith("It is not started a third time; go another way.")
    assert "not available: it has ended (exit status 8)" in third.message
    assert len(offer.notes) == 1
    assert told == [
        f"MCP server s: it has ended (exit status {status}); its last words: these are my last words"
        for status in (7, 8)
    ]
    assert notes(tmp_path).count("started") == 2


async def test_a_server_that_cannot_start_is_noted_with_its_last_words_and_hides_no_other(tmp_path: Path) -> None:
    servers = [
        stdio_server("crashes", folder=tmp_path, name="bad"),
        stdio_server("helper", folder=tmp_path, name="good"),
    ]
    with within(20):
        async with open_mcp(servers, environ=environ()) as pool:
            offer = await pool.offer(everything)
            failed = await failure(pool, "mcp__bad__x")
    assert len(offer.tools) == len(TOOLS)
    assert offer.notes == (
        "MCP server bad is not available: it has ended (exit status 3); "
        "its last words: I cannot start: no configuration",
    )
    assert "no configuration" in failed.message


async def test_a_server_that_says_nothing_is_given_up_at_its_time(tmp_path: Path) -> None:
    with within(20):
        async with open_mcp(
            [stdio_server("silent", folder=tmp_path)], environ=environ(), limits=McpLimits(start_s=0.5)
        ) as pool:
            offer = await pool.offer(everything)
    assert offer.tools == ()
    assert offer.notes[0].startswith("MCP server s is not available: it did not start within 0.5 s")


async def test_a_run_that_ends_while_a_server_starts_does_not_wait_for_it(tmp_path: Path) -> None:
    with within(10):
        async with anyio.create_task_group() as tasks:
            async with open_mcp([stdio_server("silent", folder=tmp_path)], environ=environ()) as pool:
                tasks.start_soon(pool.offer, everything)
                (server,) = await noted(tmp_path, "started")
            await all_gone([server])


async def test_what_is_raised_within_a_run_comes_out_as_it_is(tmp_path: Path) -> None:
    with within(20), pytest.raises(ZeroDivisionError):
        async with open_mcp([stdio_server("raw", "the end", folder=tmp_path)], environ=environ()) as pool:
            await pool.offer(everything)
            raise ZeroDivisionError


async def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    how = StdioServer(command="no-such-program", arguments=(), environ={}, folder=tmp_path)
    server = McpServer(name="s", source="test", scope="user", how=how)
    async with open_mcp([server], environ=environ()) as pool:
        offer = await pool.offer(everything)
    assert offer.notes == (
        "MCP server s is not available: there is no program 'no-such-program'; install it, or correct its command",
    )
