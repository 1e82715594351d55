"""One agent as lines of text: what it was asked, what it does, what came of it. Pure; everything made safe here."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from datetime import datetime

from rich.cells import chop_cells

from callsheet.app.agent_page import AgentPage, Message
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue
from callsheet.tui.lines import clock, cost, doing, mark_of
from callsheet.views.board import BoardAgent
from callsheet.views.figures import duration, tokens
from callsheet.views.safe_text import one_line, visible

_MOST_CHARS = 60_000
"""Of one text; the rest is in the record."""
_MOST_TOOLS = 300
_MOST_MESSAGES = 100
_TOOL_MARKS = {"intent": ("●", "cyan"), "done": ("✓", "green"), "failed": ("✗", "red"), "denied": ("✗", "yellow")}
_FEWEST_COLUMNS = 20


@dataclass(frozen=True, slots=True)
class Row:
    """A line as it is drawn; `is_head` begins a section."""

    text: str
    style: str = ""
    is_head: bool = False


def page_rows(agent: BoardAgent, page: AgentPage | None, width: int, now: datetime) -> list[Row]:
    """The whole page, in lines of at most so many columns.

    Args:
        agent: As its run's events have it.
        page: As the record has it; None while that has not been read.
        width: Columns.
        now: For durations.
    """
    width = max(_FEWEST_COLUMNS, width)
    rows = [Row(text, style) for text, style in _facts(agent, page, now)]
    error = agent.error or (page.error if page is not None else None)
    if error:
        rows += _section("What went wrong", _wrapped(error, width, "red"))
    for sent in agent.messages:
        taken = "taken" if sent.taken else "not taken yet"
        rows += _section(f"Message · {one_line(sent.by, 60)} · {taken}", _wrapped(sent.text, width))
    if page is None:
        return rows
    rows += _section("Prompt", _wrapped(page.prompt, width))
    if page.tools:
        rows += _section(f"Tool calls · {len(page.tools):,}", list(_tools(page, width)))
    if page.result is not None:
        rows += _section("Result", _wrapped(_as_text(page.result), width))
    files = [
        *(Row(f"changed  {one_line(path)}", "green") for path in page.files_changed),
        *(Row(f"read     {one_line(path)}", "dim") for path in page.files_read),
    ]
    if agent.branch:
        files.append(Row(f"branch   {one_line(agent.branch)}"))
    if files:
        rows += _section("Files", files)
    if page.messages:
        rows += _section(f"Conversation · {len(page.messages):,}", list(_conversation(page, width)))
    return rows


def _section(title: str, rows: list[Row]) -> list[Row]:
    return [Row(""), Row(title, "bold underline", is_head=True), *rows]


def _facts(agent: BoardAgent, page: AgentPage | None, now: datetime) -> Iterator[tuple[str, str]]:
    mark, style = mark_of(agent)
    text, _ = doing(agent, now)
    state = agent.status if agent.state == "ended" else agent.state
    yield f"{mark} {one_line(agent.agent_id, 12)} {one_line(agent.label, 200)}", f"bold {style}"
    took = "reused" if agent.reused else duration(agent.elapsed_s(now)) if agent.started_at else "not started"
    facts = [one_line(state or "?"), took, f"attempt {agent.attempt}" if agent.attempt > 1 else ""]
    facts += [one_line(said, 60) for said in dict.fromkeys((agent.model, agent.backend)) if said]
    facts.append("" if agent.phase is None else f"phase {one_line(agent.phase, 60)}")
    facts.append("" if agent.workflow is None else f"workflow {one_line(agent.workflow, 60)}")
    if page is not None and page.mode == "fast":
        facts.append("fast mode")
    yield " · ".join(fact for fact in facts if fact), ""
    usage = agent.usage
    said = [f"{tokens(usage.output_tokens)} tokens out", f"{tokens(usage.input_tokens)} in"]
    if usage.cache_read_tokens or usage.cache_write_tokens:
        said.append(f"{tokens(usage.cache_read_tokens)} from the cache, {tokens(usage.cache_write_tokens)} into it")
    money = cost(usage, is_at_work=agent.state != "ended")
    said.append("cost not known" if money == "?" else money)
    yield " · ".join(each for each in said if each), ""
    if agent.state != "ended":
        yield text, "yellow" if agent.state == "waiting" else "cyan"
        if agent.reason:
            yield one_line(agent.reason, 300), "yellow"


def _tools(page: AgentPage, width: int) -> Iterator[Row]:
    if (hidden := len(page.tools) - _MOST_TOOLS) > 0:
        yield Row(f"… {hidden:,} before these", "dim italic")
    for tool in page.tools[-_MOST_TOOLS:]:
        mark, style = _TOOL_MARKS.get(tool.state, ("?", ""))
        detail = f"  → {one_line(tool.detail, 200)}" if tool.detail and tool.state != "done" else ""
        state = "" if tool.state == "done" else f" ({'under way' if tool.state == 'intent' else one_line(tool.state)})"
        line = f"{mark} {clock(tool.at)} {one_line(tool.tool, 60)}{state} {one_line(tool.input, 400)}{detail}"
        yield Row(line if len(line) <= width else f"{line[: width - 1]}…", style if tool.state != "done" else "")


def _conversation(page: AgentPage, width: int) -> Iterator[Row]:
    if (hidden := len(page.messages) - _MOST_MESSAGES) > 0:
        yield Row(f"… {hidden:,} before these", "dim italic")
    for message in page.messages[-_MOST_MESSAGES:]:
        yield from _said(message, width)


def _said(message: Message, width: int) -> Iterator[Row]:
    who = one_line(message.person or message.role, 60)
    for part in message.parts:
        match part.kind:
            case "tool_use":
                yield from _barred(f"{who} uses {part.tool or '?'}", part.text, width, "cyan")
            case "tool_result":
                yield from _barred(
                    "error" if part.failed else "it gave", part.text, width, "red" if part.failed else "dim"
                )
            case "thinking":
                yield from _barred(f"{who} thinks", part.text, width, "dim italic")
            case _:
                yield from _barred(who, part.text, width, "")


def _barred(head: str, text: str, width: int, style: str) -> Iterator[Row]:
    """A part, every line of it behind a bar, so that none looks like a line of ours."""
    yield Row(f"┌ {one_line(head, 100)}", "bold")
    for row in _wrapped(text, width - 2, style):
        yield Row(f"│ {row.text}", row.style)


def _wrapped(text: str, width: int, style: str = "") -> list[Row]:
    """A text in rows: broken between words where it can be."""
    rest = len(text) - _MOST_CHARS
    shown = visible(text[:_MOST_CHARS]).expandtabs(4)
    rows = [Row(row, style) for line in shown.split("\n") for row in _broken(line, width)]
    if rest > 0:
        rows.append(Row(f"… {rest:,} characters more: callsheet show RUN AGENT has all of it", "dim italic"))
    return rows


def _broken(line: str, width: int) -> list[str]:
    if len(line) <= width and line.isascii():
        return [line]
    if not line.isascii():
        return chop_cells(line, width) or [""]
    return textwrap.wrap(line, width, drop_whitespace=False, break_on_hyphens=False) or [""]


def _as_text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
