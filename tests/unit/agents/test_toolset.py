from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from callsheet.agents.toolset import select_tools
from callsheet.model.call import AgentType
from tests.support.agents import agent_task

ALL = ("bash", "read", "write", "edit", "glob", "grep", "web_fetch")


def kind(**fields: Any) -> AgentType:
    return AgentType(name="k", description="d", **fields)


@pytest.mark.contract("A14")
@pytest.mark.parametrize(
    ("of_type", "of_call", "names"),
    [
        ({}, {}, ALL),
        ({"tools": ("Read", "GREP")}, {}, ("read", "grep")),
        ({"tools": ("*",)}, {}, ALL),
        ({}, {"tools": ("grep", "read")}, ("read", "grep")),
        ({"tools": ("Read",)}, {"tools": ("read", "write")}, ("read",)),
        ({"tools": ("Read",)}, {"tools": ("*",)}, ("read",)),
        ({"tools": ()}, {}, ()),
        ({"tools": ("WebFetch", "web_fetch")}, {}, ("web_fetch",)),
        ({}, {"disallowed_tools": ("WebFetch(domain:example.com)",)}, ALL[:-1]),
        ({}, {"disallowed_tools": ("Write", "edit")}, ("bash", "read", "glob", "grep", "web_fetch")),
        ({"disallowed_tools": ("*",)}, {}, ()),
        ({"read_only": True}, {"tools": ("write", "glob")}, ("glob",)),
        ({"read_only": True}, {}, ("bash", "read", "glob", "grep", "web_fetch")),
        ({"tools": ("Bash", "Read")}, {}, ("bash", "read")),
        ({"tools": ("Bash(git log:*)",)}, {}, ()),
        ({}, {"disallowed_tools": ("Bash(rm:*)", "glob")}, ("read", "write", "edit", "grep", "web_fetch")),
        ({"disallowed_tools": ("Edit(docs/**)",)}, {}, ("bash", "read", "write", "glob", "grep", "web_fetch")),
        ({"tools": ("Read", "Edit(docs/**)")}, {}, ("read",)),
    ],
)
def test_a_call_only_narrows_what_its_type_allows(
    of_type: dict[str, Any], of_call: dict[str, Any], names: tuple[str, ...]
) -> None:
    assert select_tools(agent_task(Path("/"), kind=kind(**of_type), **of_call)).names == names


def test_names_that_are_not_to_be_had_are_told_once_each_as_written() -> None:
    task = agent_task(Path("/"), kind=kind(tools=("Task", "Read", "NotebookEdit")), tools=("Task", "read"))
    assert select_tools(task).unknown == ("Task", "NotebookEdit")


@pytest.mark.contract("A14")
@pytest.mark.parametrize(
    ("of_type", "of_call", "searches", "is_named"),
    [
        ({}, {}, True, False),
        ({"tools": ("*",)}, {}, True, False),
        ({"tools": ("Read", "WebSearch")}, {}, True, True),
        ({}, {"tools": ("web_search",)}, True, True),
        ({"tools": ("Read", "WebSearch")}, {"tools": ("read",)}, False, True),
        ({"tools": ("Read",)}, {"tools": ("web_search",)}, False, True),
        ({"tools": ("WebSearch(x)",)}, {}, False, False),
        ({}, {"disallowed_tools": ("WebSearch",)}, False, False),
        ({"disallowed_tools": ("*",)}, {}, False, False),
        ({"read_only": True}, {}, True, False),
    ],
)
def test_the_search_of_the_web_is_narrowed_like_every_tool(
    of_type: dict[str, Any], of_call: dict[str, Any], searches: bool, is_named: bool
) -> None:
    selection = select_tools(agent_task(Path("/"), kind=kind(**of_type), **of_call))
    assert (selection.searches, selection.names_search) == (searches, is_named)
