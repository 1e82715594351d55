"""Finding a tool among many by words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from callsheet.agents.mcp.tools import McpTool

_WORD = re.compile(r"[a-z0-9]+")
_IN_NAME, _IN_DESCRIPTION, _PART_OF_NAME = 5.0, 1.0, 2.0


def find_tools(tools: Sequence[McpTool], query: str, *, most: int) -> list[McpTool]:
    """The tools that a query may mean, best first: those that it names, else those with most of its words."""
    by_name = {tool.name: tool for tool in tools}
    named = [word for word in dict.fromkeys(re.split(r"[\s,]+", query.strip())) if word in by_name]
    if named:
        return [by_name[word] for word in named][:most]
    wanted = set(_words(query))
    scored = [(_score(tool, wanted), -number, tool) for number, tool in enumerate(tools)]
    return [tool for score, _, tool in sorted(scored, key=lambda each: each[:2], reverse=True) if score > 0][:most]


def near_names(tools: Sequence[McpTool], name: str) -> list[str]:
    """Names that look like one that does not exist."""
    last = name.split("__", 2)[-1]
    by_last = {tool.name.split("__", 2)[-1]: tool.name for tool in tools}
    return [by_last[near] for near in get_close_matches(last, by_last, n=3, cutoff=0.6)]


def _score(tool: McpTool, wanted: set[str]) -> float:
    name, said = set(_words(f"{tool.server} {tool.tool}")), set(_words(tool.description[:2000]))
    score = 0.0
    for word in wanted:
        if word in name:
            score += _IN_NAME
        elif len(word) > 2 and any(word in part for part in name):
            score += _PART_OF_NAME
        if word in said:
            score += _IN_DESCRIPTION
    return score


def _words(text: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    return _WORD.findall(spaced.lower())
