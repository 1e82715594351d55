"""Rows and lines of a run as text in columns: pure, from a board and a time. What others wrote is made safe here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from callsheet.model.events import ApprovalAsked
from callsheet.model.outcome import Usage
from callsheet.tui.cells import Cell
from callsheet.views.board import Board, BoardAgent, BoardLine, BoardPhase
from callsheet.views.figures import count, duration, money, tokens
from callsheet.views.progress import seconds_between
from callsheet.views.safe_text import one_line

NARROW = 60
"""Columns below which only the most needed cells of a row are shown."""
WIDE = 110

_TEXT_CHARS = 300
_WORK, _WAIT, _GOOD, _BAD, _STILL = "cyan", "yellow", "green", "red", "dim"
_MARKS = {"queued": ("·", _STILL), "running": ("●", _WORK), "waiting": ("◌", _WAIT)}
_ENDS = {"ok": ("✓", _GOOD), "skipped": ("»", _WAIT), "cancelled": ("■", _WAIT)}
_RUN_STYLES = {
    "running": _WORK,
    "starting": _WORK,
    "completed": _GOOD,
    "failed": _BAD,
    "cancelled": _WAIT,
    "interrupted": _BAD,
}
_LEVELS = {"warn": _WAIT, "error": _BAD, "debug": _STILL}


def run_style(status: str) -> str:
    """The colour of a run's status."""
    return _RUN_STYLES.get(status, _WAIT)


def mark_of(agent: BoardAgent) -> tuple[str, str]:
    """A sign for how an agent stands, and its style."""
    if agent.state == "ended":
        return _ENDS.get(agent.status or "", ("✗", _BAD))
    return _MARKS[agent.state]


def time_left(until: str | None, now: datetime) -> str:
    """`45 s left`; nothing where no time is known."""
    if until is None:
        return ""
    try:
        left = (datetime.fromisoformat(until) - now).total_seconds()
    except (ValueError, TypeError):
        return ""
    return f"{duration(max(0.0, left))} left"


def clock(at: str | None) -> str:
    """`14:03:27` here, of a recorded time; nothing where it is none."""
    try:
        return "" if at is None else datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return ""


def doing(agent: BoardAgent, now: datetime) -> tuple[str, str]:
    """What an agent does, waits for, or how it ended; and its style."""
    asked = f"{agent.asked_to} asked · " if agent.asked_to else ""
    match agent.state:
        case "queued":
            return f"{asked}queued", _STILL
        case "running":
            return f"{asked}{one_line(agent.doing or 'at work', _TEXT_CHARS)}", _STILL
        case "waiting":
            left = time_left(agent.until, now)
            return f"{asked}waits{f' {left}' if left else ''}: {one_line(agent.doing or '?', _TEXT_CHARS)}", _WAIT
        case _:
            return _ended(agent)


def _ended(agent: BoardAgent) -> tuple[str, str]:
    if agent.status == "ok":
        preview = one_line(agent.preview or "", _TEXT_CHARS)
        return f"{'reused · ' if agent.reused else ''}{preview}", _STILL
    why = f": {one_line(agent.error, _TEXT_CHARS)}" if agent.error else ""
    return f"{one_line(agent.status or '?')}{why}", mark_of(agent)[1]


def cost(usage: Usage, *, is_at_work: bool = False) -> str:
    """Money in few columns; `?` where it is not known."""
    if usage.cost_usd is None:
        return "" if is_at_work else "?"
    return money(usage.cost_usd)


# --- agents -----------------------------------------------------------------------------------------------------------


def agents_head(width: int) -> list[Cell]:
    """What the columns of agents are."""
    if width < NARROW:
        return [Cell("", 1), Cell("agent"), Cell("tokens", 6, is_right=True), Cell("time", 8, is_right=True)]
    cells = [Cell("", 1), Cell("id", 6), Cell("agent"), Cell("what it does")]
    if width >= WIDE:
        cells.append(Cell("model", 20))
    return [*cells, Cell("tokens", 6, is_right=True), Cell("cost", 8, is_right=True), Cell("time", 9, is_right=True)]


def agent_cells(agent: BoardAgent, width: int, now: datetime) -> list[Cell]:
    """A row of an agent."""
    mark, style = mark_of(agent)
    label = Cell(one_line(agent.label, _TEXT_CHARS), style="" if agent.state != "queued" else _STILL)
    used = Cell(tokens(agent.usage.output_tokens) if agent.started_at else "", 6, _STILL, is_right=True)
    took = "reused" if agent.reused else duration(agent.elapsed_s(now)) if agent.started_at else ""
    if width < NARROW:
        return [Cell(mark, 1, style), label, used, Cell(took, 8, _STILL, is_right=True)]
    text, text_style = doing(agent, now)
    cells = [Cell(mark, 1, style), Cell(one_line(agent.agent_id, 12), 6, _STILL), label, Cell(text, 0, text_style)]
    if width >= WIDE:
        cells.append(Cell(one_line(agent.model or "", 60), 20, _STILL))
    paid = cost(agent.usage, is_at_work=agent.state != "ended")
    return [*cells, used, Cell(paid, 8, _STILL, is_right=True), Cell(took, 9, _STILL, is_right=True)]


# --- the timeline -----------------------------------------------------------------------------------------------------


def timeline_head(board: Board, width: int, now: datetime) -> list[Cell]:
    """The axis: from the run's start to now, or to its end."""
    label, room = _timeline_room(width)
    whole = board.elapsed_s(now)
    half = duration(whole / 2)
    axis = f"0{half.rjust(room // 2 + len(half) // 2 - 1)}{duration(whole).rjust(room - room // 2 - len(half) // 2)}"
    return [Cell("", 1), Cell("agent", label), Cell(axis[:room], room), Cell("time", 9, is_right=True)]


def timeline_cells(agent: BoardAgent, board: Board, width: int, now: datetime) -> list[Cell]:
    """A row of the timeline: where an agent waited for its turn, and where it worked."""
    mark, style = mark_of(agent)
    label, room = _timeline_room(width)
    took = "reused" if agent.reused else duration(agent.elapsed_s(now)) if agent.started_at else ""
    return [
        Cell(mark, 1, style),
        Cell(one_line(agent.label, _TEXT_CHARS), label),
        Cell(_bar(agent, board, room, now), room, style),
        Cell(took, 9, _STILL, is_right=True),
    ]


def _timeline_room(width: int) -> tuple[int, int]:
    label = max(8, min(30, width // 3))
    return label, max(1, width - label - 1 - 9 - 3)


def _bar(agent: BoardAgent, board: Board, room: int, now: datetime) -> str:
    whole = board.elapsed_s(now)
    if whole <= 0 or agent.queued_at is None or agent.reused:
        return ""
    if agent.state == "ended" and agent.started_at is None:
        return ""

    def at(time: str | datetime | None) -> int:
        return min(room, int(seconds_between(board.started_at, time) / whole * room))

    queued, started = at(agent.queued_at), at(agent.started_at or now)
    ended = at(agent.ended_at or now) if agent.started_at else started
    worked = max(1, ended - started) if agent.started_at else 0
    started = min(started, room - worked)
    return " " * min(queued, started) + "┄" * max(0, started - queued) + "━" * worked


# --- phases -----------------------------------------------------------------------------------------------------------


def phases_head(width: int) -> list[Cell]:
    """What the columns of phases are."""
    cells = [Cell("", 1), Cell("phase"), Cell("agents", 11, is_right=True)]
    if width >= NARROW:
        cells += [Cell("at work", 8, is_right=True), Cell("not ok", 7, is_right=True)]
    cells.append(Cell("tokens", 6, is_right=True))
    if width >= NARROW:
        cells.append(Cell("cost", 8, is_right=True))
    return [*cells, Cell("time", 9, is_right=True)]


def phase_cells(phase: BoardPhase, width: int, now: datetime) -> list[Cell]:
    """A row of a phase."""
    nested = f"▸ {one_line(phase.workflow, 60)} " if phase.workflow else ""
    title = one_line(phase.title, _TEXT_CHARS) if phase.title is not None else "" if nested else "(no phase)"
    style = "bold" if phase.is_at_work else "" if phase.agents else _STILL
    at_work = phase.running + phase.waiting
    return _phase_row(
        mark=("●", _WORK) if phase.is_at_work else ("✓", _GOOD) if phase.agents else ("·", _STILL),
        title=Cell(f"{nested}{title}", style=style),
        ended=phase.ended,
        agents=phase.agents,
        at_work=at_work,
        badly=phase.ended_badly,
        usage=phase.usage,
        took=duration(phase.elapsed_s(now)) if phase.started_at else "",
        width=width,
    )


def all_cells(board: Board, width: int, now: datetime) -> list[Cell]:
    """The row above the phases: the whole run."""
    is_at_work = bool(board.agents) and not board.is_over
    usage = board.ended_usage + Usage(output_tokens=board.live_tokens)
    return _phase_row(
        mark=("●", _WORK) if is_at_work else ("✓", _GOOD) if board.agents else ("·", _STILL),
        title=Cell("all agents", style="bold" if is_at_work else ""),
        ended=board.finished,
        agents=len(board.agents),
        at_work=board.states["running"] + board.states["waiting"],
        badly=board.ended_badly,
        usage=usage,
        took=duration(board.elapsed_s(now)),
        width=width,
    )


def _phase_row(
    *,
    mark: tuple[str, str],
    title: Cell,
    ended: int,
    agents: int,
    at_work: int,
    badly: int,
    usage: Usage,
    took: str,
    width: int,
) -> list[Cell]:
    done = f"{ended:,}/{agents:,}" if agents else ""
    cells = [Cell(mark[0], 1, mark[1]), title, Cell(done, 11, is_right=True)]
    if width >= NARROW:
        cells += [
            Cell(f"{at_work:,}" if at_work else "", 8, _WORK, is_right=True),
            Cell(f"{badly:,}" if badly else "", 7, _BAD, is_right=True),
        ]
    cells.append(Cell(tokens(usage.output_tokens) if agents else "", 6, is_right=True))
    if width >= NARROW:
        cells.append(Cell(cost(usage) if agents else "", 8, is_right=True))
    return [*cells, Cell(took, 9, is_right=True)]


# --- the log, and what is said above all ------------------------------------------------------------------------------


def log_cells(line: BoardLine) -> list[Cell]:
    """A row of the log."""
    whose = f"{one_line(line.workflow, 40)}: " if line.workflow else ""
    text = f"{whose}{one_line(line.message, 1_000)}"
    return [Cell(clock(line.at), 8, _STILL), Cell(text, style=_LEVELS.get(line.level, ""))]


def counts(board: Board) -> str:
    """`12/40 agents · 3 at work · 25 queued · 1 not ok`."""
    parts = [f"{board.finished:,}/{count(len(board.agents), 'agent')}"]
    for state, words in (("running", "at work"), ("waiting", "waiting"), ("queued", "queued")):
        if number := board.states[state]:  # type: ignore[index]  # the keys are literals
            parts.append(f"{number:,} {words}")
    if board.ended_badly:
        parts.append(f"{board.ended_badly:,} not ok")
    if board.reused:
        parts.append(f"{board.reused:,} reused")
    return " · ".join(parts)


def spent(board: Board) -> str:
    """`34k of 200k tokens · $0.42 of $5.00`, as far as limits are known."""
    limits = board.limits
    most_tokens = f" of {tokens(limits.budget.tokens)}" if limits.budget.tokens is not None else ""
    most_usd = f" of {money(limits.budget.usd)}" if limits.budget.usd is not None else ""
    return f"{tokens(board.tokens)}{most_tokens} tokens · {money(board.ended_usage.cost_usd)}{most_usd}"


def waits(board: Board, now: datetime) -> Iterator[str]:
    """What the run waits for and until when, most first; each a line of its own."""
    if board.status != "running" and (board.reason is not None or board.until is not None):
        left = time_left(board.until, now)
        until = f" until {clock(board.until)} ({left})" if left else ""
        yield f"{one_line(board.status)}{until}{f': {one_line(board.reason, _TEXT_CHARS)}' if board.reason else ''}"
    for what, number in board.waits().most_common(2):
        ends = sorted(
            agent.until
            for agent in board.agents.values()
            if agent.state == "waiting" and (agent.doing or "?") == what and agent.until is not None
        )
        first = f", the first until {clock(ends[0])} ({time_left(ends[0], now)})" if ends else ""
        yield f"{count(number, 'agent')} {'waits' if number == 1 else 'wait'} for {one_line(what, 120)}{first}"
    for warning in board.warnings.values():
        whose = f" of phase {one_line(warning.phase, 40)}" if warning.phase else ""
        yield f"{warning.share:.0%} of the {_BUDGETS.get(warning.kind, warning.kind)}{whose} is spent"


_BUDGETS = {"tokens": "token budget", "usd": "dollar budget", "cost_stop": "cost a run without a budget may have"}


def question_line(questions: Sequence[ApprovalAsked], now: datetime) -> str:
    """What a person is asked, in one line; nothing where nothing is."""
    if not questions:
        return ""
    first = questions[0]
    more = f" · and {count(len(questions) - 1, 'more question')}" if len(questions) > 1 else ""
    left = time_left(first.until, now)
    if first.script is not None:
        what = f"run the script {one_line(first.script.name, 60)}?"
    else:
        is_cost = first.kind == "cost"
        what = "may it cost more?" if is_cost else f"{one_line(first.tool, 40)} {one_line(first.input, 100)}"
    return f"? {what}{f' · {left}' if left else ''}{more} · a answers"
