from __future__ import annotations

from pathlib import Path

import pytest

from callsheet.agents.mcp.selection import usable_tools
from callsheet.model.call import AgentType
from tests.support.agents import agent_task

NAMES = ("mcp__db", "mcp__db__get_row", "mcp__db__put_row", "mcp__web", "mcp__web__get")


def given(
    *,
    tools: tuple[str, ...] | None = None,
    call: tuple[str, ...] | None = None,
    without: tuple[str, ...] = (),
    denied: tuple[str, ...] = (),
    read_only: bool = False,
) -> set[str]:
    kind = AgentType(name="k", description="", tools=tools, disallowed_tools=without, read_only=read_only)
    task = agent_task(Path("/"), kind=kind, tools=call)
    may_use = usable_tools(task, is_denied=lambda name: name in denied)
    return {name for name in NAMES if may_use(name)}


@pytest.mark.contract("A14")
@pytest.mark.parametrize("tools", [None, ("*",), ("Read", "*")])
def test_an_agent_whose_type_names_no_tools_is_given_all(tools: tuple[str, ...] | None) -> None:
    assert given(tools=tools) == set(NAMES)


@pytest.mark.contract("A14")
def test_a_list_names_tools_servers_or_beginnings() -> None:
    assert given(tools=("Read",)) == set()
    assert given(tools=("mcp__db",)) == {"mcp__db", "mcp__db__get_row", "mcp__db__put_row"}
    assert given(tools=("mcp__db__get_row",)) == {"mcp__db", "mcp__db__get_row"}
    assert given(tools=("mcp__db__get*",)) == {"mcp__db", "mcp__db__get_row"}
    assert given(tools=("mcp__db__*",)) == {"mcp__db", "mcp__db__get_row", "mcp__db__put_row"}
    assert given(tools=("mcp__d",)) == set()


@pytest.mark.contract("A14")
def test_a_call_can_only_narrow_what_its_type_has() -> None:
    assert given(tools=("mcp__db",), call=("mcp__db__get_row", "mcp__web")) == {"mcp__db", "mcp__db__get_row"}


@pytest.mark.contract("A14")
def test_what_is_taken_away_or_denied_is_not_given() -> None:
    assert given(without=("mcp__db",)) == {"mcp__web", "mcp__web__get"}
    assert given(without=("mcp__db__put_row(x)", "mcp__web")) == {"mcp__db", "mcp__db__get_row"}
    assert given(without=("mcp__db__*",)) == {"mcp__web", "mcp__web__get"}
    assert given(without=("*",)) == set()
    assert given(denied=("mcp__db", "mcp__db__get_row", "mcp__db__put_row")) == {"mcp__web", "mcp__web__get"}


def test_an_agent_that_may_change_nothing_is_given_none() -> None:
    assert given(read_only=True) == set()
