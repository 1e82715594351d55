"""Entries of a session's transcript as rows of text: pure. What others wrote is made safe here.

Two columns at the left of every row are ours, and hold a sign where an entry begins: what a person, a model or a run
wrote stands to the right of them, so that none of it looks like an entry of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, assert_never

from callsheet.app.session_model import Refused, Told
from callsheet.app.session_transcript import Entry, Note, Problem, RunEnded, RunStarted, Said, Turn
from callsheet.model.outcome import Usage
from callsheet.tui.lines import run_style
from callsheet.tui.wrapping import wrapped
from callsheet.views.figures import count, duration, money, tokens
from callsheet.views.safe_text import one_line

GUTTER = 2
_MOST_ROWS = 2_000
_MOST_RESULT_ROWS = 200
_MOST_CHARS = 200_000
_STILL, _WAIT, _BAD, _WORK, _OURS = "dim", "yellow", "red", "cyan", "bold"
_HEADING = re.compile(r" {0,3}#{1,6} ")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_ENDS = {
    "failed": ("✗", _BAD, "no answer"),
    "over_budget": ("✗", _BAD, "no answer: no budget is left for it"),
    "stopped": ("■", _WAIT, "stopped"),
    "interrupted": ("■", _WAIT, "the session ended before it was answered"),
}


class Row(NamedTuple):
    """A row as it is drawn: a sign of one column, or none, and a text."""

    text: str
    style: str = ""
    mark: str = ""
    mark_style: str = ""


def entry_rows(entry: Entry, width: int) -> list[Row]:
    """An entry, in rows of so many columns with the gutter; a blank one above what begins something new."""
    room = width - GUTTER
    match entry:
        case Said():
            return [Row(""), *_marked("›", "bold cyan", _plain(entry.text, room, _OURS))]
        case Turn():
            return [Row(""), *_turn(entry, room)]
        case RunStarted():
            return list(_started(entry, room))
        case RunEnded():
            return [Row(""), *_ended(entry, room)]
        case Note():
            return list(_marked("·", _STILL, _plain(entry.text, room, _STILL)))
        case Problem():
            return [Row(""), *_problem(entry.text, entry.remedy, room)]
        case _:
            assert_never(entry)


def command_rows(line: str, reply: Told | Refused | None, width: int) -> list[Row]:
    """A command, and below it what it said; None where that is not known yet."""
    room = width - GUTTER
    rows = [Row(""), *_marked("›", _STILL, _plain(line, room, _STILL))]
    match reply:
        case None:
            return [*rows, Row("…", _STILL)]
        case Told():
            return [*rows, *(Row(row) for row in wrapped(reply.text, room, is_table=True) if reply.text)]
        case Refused():
            is_said = any(name in reply.text for name in reply.near)
            near = f"Did you mean {' or '.join(reply.near)}?" if reply.near and not is_said else None
            return [*rows, *_problem(reply.text, near, room)]
        case _:
            assert_never(reply)


def greeting_rows(lines: Sequence[str], width: int) -> list[Row]:
    """What is said before anything else."""
    room = width - GUTTER
    first, *rest = lines
    return [
        *_marked("▪", _WORK, _plain(first, room, _OURS)),
        *(row for line in rest for row in _plain(line, room, _STILL)),
    ]


def run_of(entry: Entry) -> str | None:
    """The run that an entry is about; None for none, or where it has not begun."""
    return entry.run_id if isinstance(entry, Turn | RunStarted | RunEnded) else None


def size_of(entry: Entry) -> tuple[int, int]:
    """How many characters an entry has, and how many rows it has at least: enough to guess its height."""
    text = entry.text if not isinstance(entry, RunStarted) else ""
    return len(text), text.count("\n") + 2


def _marked(mark: str, style: str, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, with a sign before the first."""
    for at, row in enumerate(rows):
        yield row if at else row._replace(mark=mark, mark_style=style)


def _plain(text: str, room: int, style: str = "") -> list[Row]:
    return [Row(row, style) for row in wrapped(text[:_MOST_CHARS], room)]


def _problem(text: str, remedy: str | None, room: int) -> Iterator[Row]:
    yield from _marked("!", "bold red", _plain(text, room, _BAD))
    if remedy:
        yield from _plain(remedy, room, _WAIT)


# --- turns ------------------------------------------------------------------------------------------------------------


def _turn(turn: Turn, room: int) -> Iterator[Row]:
    match turn.state:
        case "queued":
            yield from _marked("◌", _STILL, _plain("waits for the answer before it", room, _STILL))
        case "working":
            doing = one_line(turn.doing, 200) if turn.doing else "thinking"
            yield from _marked("●", _WORK, _plain(f"{doing} …", room, _STILL))
        case "done":
            yield from _marked("●", _WORK, _prose(turn.text, room, _MOST_ROWS))
            yield from _plain(_turn_figures(turn), room, _STILL)
        case "failed" | "over_budget" | "stopped" | "interrupted":
            mark, style, words = _ENDS[turn.state]
            said = words if turn.error is None else f"{words}: {turn.error}"
            yield from _marked(mark, style, _plain(said, room, style))
            if turn.remedy:
                yield from _plain(turn.remedy, room, _WAIT)
        case _:
            assert_never(turn.state)


def _turn_figures(turn: Turn) -> str:
    took = seconds_between(turn.began_at, turn.ended_at)
    parts = ["" if took is None else duration(took), f"{tokens(turn.tokens)} tokens" if turn.tokens else ""]
    parts.append("cost unknown" if turn.cost_usd is None else money(turn.cost_usd))
    return " · ".join(part for part in parts if part)


def seconds_between(began: str | None, ended: str | None) -> float | None:
    """Seconds from one recorded time to another; None where one is not known."""
    try:
        return (datetime.fromisoformat(ended or "") - datetime.fromisoformat(began or "")).total_seconds()
    except (ValueError, TypeError):
        return None


# --- runs -------------------------------------------------------------------------------------------------------------


def _started(run: RunStarted, room: int) -> Iterator[Row]:
    what = {"task": "works on it", "saved": "started", "resumed": "goes on"}[run.kind]
    words = f"{one_line(run.workflow, 60)} {what} · {one_line(run.run_id, 60)}"
    yield from _marked("▸", _WORK, _plain(words, room))
    for note in run.notes:
        yield from _plain(one_line(note, 300), room, _STILL)


def _ended(run: RunEnded, room: int) -> Iterator[Row]:
    style = run_style(run.status)
    agents = count(run.agents, "agent") + (f", {run.ended_badly:,} not ok" if run.ended_badly else "")
    figures = f"{agents} · {spent(run.usage)} · {duration(run.duration_ms / 1000)}"
    head = f"{one_line(run.workflow, 60)} {one_line(run.status)} · {figures} · {one_line(run.run_id, 60)}"
    mark = "✓" if run.status == "completed" else "✗"
    yield from _marked(mark, style, _plain(head, room, _OURS))
    if run.error:
        yield from _plain(run.error, room, _BAD)
    if run.text:
        yield from (_prose if run.is_markdown else _as_is)(run.text, room, _MOST_RESULT_ROWS)
    more = [f"all of it: {one_line(run.where, 200)}"] if run.where and (run.is_cut or run.text) else []
    if run.problems:
        more.append(f"{count(run.problems, 'problem')}: {one_line(run.where or run.run_id, 200)} tells of them")
        more = more[-1:]
    if run.next:
        more.append(f"go on: {one_line(run.next, 200)}")
    for line in more:
        yield from _plain(line, room, _WAIT if line.startswith("go on") else _STILL)


def spent(usage: Usage) -> str:
    """`1.2k tokens · $0.42`."""
    return f"{tokens(usage.output_tokens)} tokens · {money(usage.cost_usd)}"


def _prose(text: str, room: int, most: int) -> Iterator[Row]:
    """Markdown as it was written: headings stand out, and code."""
    return _cut(_prose_rows(text[:_MOST_CHARS], room), most)


def _prose_rows(text: str, room: int) -> Iterator[Row]:
    fence = ""
    for line in text.strip("\n").split("\n"):
        found = _FENCE.match(line)
        style = _WORK if fence or found else "bold" if _HEADING.match(line) else ""
        if found is not None and (not fence or found[1] == fence):
            fence = "" if fence else found[1]
        for row in wrapped(line, room):
            yield Row(row, style)


def _as_is(text: str, room: int, most: int) -> Iterator[Row]:
    return _cut(iter(_plain(text, room)), most)


def _cut(rows: Iterator[Row], most: int) -> Iterator[Row]:
    left_out = 0
    for at, row in enumerate(rows):
        if at < most:
            yield row
        else:
            left_out += 1
    if left_out:
        yield Row(f"… {count(left_out, 'more row')}", "dim italic")
