"""Agent types: those that come with Callsheet, and the files that define others (FORMATS 6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from callsheet.library.files import UnreadableError, read_text
from callsheet.library.front import FrontMatterError, read_front
from callsheet.model.call import EFFORTS, AgentType, Effort

MAX_FILE_BYTES = 1024 * 1024
_ONLY_READS = ("read", "glob", "grep")

GENERAL_PURPOSE = AgentType(
    name="general-purpose", description="Does any task: reads, searches, changes and writes files of the workspace."
)

EXPLORE = AgentType(
    name="Explore",
    description="Finds things in the workspace and reports them. Reads only.",
    system_prompt="""\
You search a workspace and report what you found. You read; you change nothing.

Start wide: list files by pattern and search for words before you read. Ask for several things at once where they do
not depend on each other. Read the parts of files that matter, not whole files.

Answer what was asked and nothing else. Name files by their paths in the workspace, with line numbers, and quote only
the lines that carry the answer. Say what you looked for and did not find, and keep what you saw apart from what you
conclude.""",
    tools=_ONLY_READS,
    read_only=True,
)

PLAN = AgentType(
    name="Plan",
    description="Reads the workspace and plans a change step by step. Changes nothing.",
    system_prompt="""\
You plan a change to a workspace. You read; you change nothing.

First read what the change touches: the code itself, who uses it, its tests, and how the project does such things
elsewhere. Follow its conventions; add no structure that the task does not ask for.

Then give the plan: what is to be achieved, the steps in order, and for each step the files with their paths, what
changes in them and how one sees that it works. Name what could go wrong and what remains open. Where there are two
good ways, recommend one and say why.""",
    tools=_ONLY_READS,
    read_only=True,
)

BUILT_IN = (GENERAL_PURPOSE, EXPLORE, PLAN)


class AgentTypeError(Exception):
    """A file that defines no usable agent type. `str()` says why, and where in it."""


def read_agent_type(path: Path) -> AgentType:
    """The agent type that a file defines; its name is the file's stem where it gives none.

    Raises:
        AgentTypeError: It cannot be read, or has no front matter that can be used.
    """
    try:
        text = read_text(path, limit_bytes=MAX_FILE_BYTES)
        values, body = read_front(text)
    except UnreadableError as error:
        raise AgentTypeError(error.reason) from None
    except FrontMatterError as error:
        raise AgentTypeError(str(error)) from None
    model = _text(values, "model")
    return AgentType(
        name=_text(values, "name") or path.stem,
        description=_text(values, "description") or "",
        system_prompt=body.strip(),
        tools=_names(values, "tools"),
        disallowed_tools=_names(values, "disallowedTools") or (),
        model=None if model is None or model.lower() == "inherit" else model,
        effort=_effort(values),
        source=str(path),
    )


def narrowed(found: AgentType, behind: AgentType) -> AgentType:
    """A type from a workspace that is not trusted, in the place of one of the same name: with no more than that has."""
    tools = found.tools
    if behind.tools is not None and "*" not in behind.tools:
        known = {name.lower() for name in behind.tools}
        wanted = behind.tools if tools is None or "*" in tools else tools
        tools = tuple(name for name in wanted if name.strip().lower() in known)
    return replace(
        found,
        tools=tools,
        disallowed_tools=(*found.disallowed_tools, *behind.disallowed_tools),
        read_only=found.read_only or behind.read_only,
        model=behind.model,
        effort=behind.effort,
    )


def widens(found: AgentType, behind: AgentType) -> bool:
    """Whether a type has, or costs, more than the one of the same name behind it."""
    held = narrowed(found, behind)
    same_tools = set(held.tools or ("*",)) == set(found.tools or ("*",))
    is_same = (held.read_only, held.model, held.effort) == (found.read_only, found.model, found.effort)
    return not (same_tools and is_same and set(behind.disallowed_tools) <= set(found.disallowed_tools))


def _text(values: Mapping[str, Any], key: str) -> str | None:
    value = values.get(key)
    if value is None or value in ("", "~", "null"):
        return None
    if not isinstance(value, str):
        raise AgentTypeError(f"has `{key}` that is not text")
    return value.strip()


def _names(values: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    """Tool names, as a list or as text with commas between; None where the key is not given."""
    value = values.get(key)
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return tuple(name.strip() for name in value if name.strip())
    text = _text(values, key)
    if text is None:
        return None
    # A condition may hold commas: `Bash(git diff:*, git log:*), Read`.
    return tuple(name.strip() for name in re.split(r",(?![^()]*\))", text) if name.strip())


def _effort(values: Mapping[str, Any]) -> Effort | None:
    text = _text(values, "effort")
    if text is None:
        return None
    for effort in EFFORTS:
        if effort == text.lower():
            return effort
    raise AgentTypeError(f"has the effort {text!r}; it is one of {', '.join(EFFORTS)}")
