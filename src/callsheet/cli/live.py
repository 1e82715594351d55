"""Progress on a terminal: a tree of phases and agents that is drawn anew in place, log lines above it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from callsheet.cli.follower import View
from callsheet.cli.plain import LABEL_CHARS, answered_line, log_line, started_lines
from callsheet.model.events import AgentWaiting, ApprovalAnswered, ApprovalAsked, Event, Log, RunStarted
from callsheet.views.figures import count, duration, money, tokens
from callsheet.views.progress import AgentView, PhaseView, RunView, seconds_between
from callsheet.views.safe_text import one_line

_LAST_ENDED = 3
"""Ended agents shown for each phase at most."""
_MARGIN_ROWS = 3
"""Header, footer, and the row the cursor stands in."""
_FEWEST_ROWS = 4
_SHOWN_QUESTIONS = 2
"""Open questions with a line of their own."""
_MOST_REASONS = 5
"""So many reasons for waiting are told in full."""
_BADLY_STYLE = "red"


class LiveTree(View):
    """Draws the run as it stands. Costs a frame of at most a screenful, however many agents there are."""

    frame_s = 0.2

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._live = self._new_live()
        self._view = RunView()
        self._is_drawn = False
        self._reasons: set[str] = set()

    def _new_live(self) -> Live:
        return Live(
            console=self._console,
            auto_refresh=False,
            transient=False,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def show(self, events: list[Event], remarks: list[str]) -> None:
        """Prints what is to stay (the log, which also says what went wrong), then draws the tree."""
        above: list[Text] = []
        for event in events:
            body = event.body
            asked = self._view.questions.get(body.id) if isinstance(body, ApprovalAnswered) else None
            self._view.apply(event)
            above += _lasting(event, asked)
            if isinstance(body, AgentWaiting) and body.reason is not None:
                above += self._news(body.why, body.reason)
        above += [Text(line) for line in remarks]
        if above:
            self._console.print(Text("\n").join(above))
        self._draw()

    def _news(self, why: str, reason: str) -> Iterator[Text]:
        """What agents wait for, once for each reason; a service that fails in ever new words is not quoted for ever."""
        if reason not in self._reasons and len(self._reasons) < _MOST_REASONS:
            self._reasons.add(reason)
            yield Text(f"{one_line(why)}: {one_line(reason)}", "yellow")

    def tick(self) -> None:
        """Draws the tree again: time has passed."""
        self._draw()

    def pause(self) -> None:
        """Takes the tree off the screen, and gives the cursor back, until there is something new to show."""
        if self._is_drawn:
            self._live.transient = True
            self._live.stop()
            self._live = self._new_live()
            self._is_drawn = False

    def close(self) -> None:
        """Leaves the tree as it stands at the end, phases only, and gives the cursor back."""
        if self._is_drawn:
            self._live.update(Group(*self._final()), refresh=True)
        self._live.stop()

    def _draw(self) -> None:
        if self._view.started_at is None or self._view.result is not None:
            return
        if not self._is_drawn:
            self._live.start()
            self._is_drawn = True
        rows = max(_FEWEST_ROWS, self._console.size.height - _MARGIN_ROWS)
        now = datetime.now(UTC)
        self._live.update(Group(*self._frame(rows, now)), refresh=True)

    def _frame(self, rows: int, now: datetime) -> Iterator[Text]:
        yield self._header(now)
        questions = list(question_lines(self._view, now))
        room = max(1, rows - len(questions))
        yield from islice(tree_lines(self._view, room, now), room)
        yield from questions
        yield self._footer()

    def _final(self) -> Iterator[Text]:
        for phase in self._view.phases.values():
            if phase.agents:
                yield _phase_line(phase)

    def _header(self, now: datetime) -> Text:
        view = self._view
        doing = view.status if view.reason is None else f"{view.status}: {one_line(view.reason)}"
        line = _line(f"{one_line(view.workflow, LABEL_CHARS)} ", "bold")
        return line.append(f"· {doing} · {duration(view.elapsed_s(now))} · backend: {view.backend}", "dim")

    def _footer(self) -> Text:
        view = self._view
        parts = [f"{view.finished:,} done", f"{len(view.at_work):,} at work", f"{len(view.queue):,} waiting"]
        line = _line(" · ".join(parts))
        if view.ended_badly:
            line.append(f" · {view.ended_badly:,} not ok", _BADLY_STYLE)
        return line.append(f" · {tokens(view.tokens)} tokens · {money(view.usage.cost_usd)} · Ctrl-C stops", "dim")


def question_lines(view: RunView, now: datetime) -> Iterator[Text]:
    """The questions that a person has not answered, the oldest first, in at most three lines."""
    for asked in islice(view.questions.values(), _SHOWN_QUESTIONS):
        what = f"{one_line(asked.tool)} {one_line(asked.input, 80)}"
        if asked.script is not None:
            what = f"run the script {one_line(asked.script.name, LABEL_CHARS)}?"
        who = "" if asked.script is not None else f"{count(asked.agents, 'agent')} waiting · "
        yield _line("  ? ", "bold yellow").append(what, "yellow").append(f"  {who}{_time_left(asked, now)}", "dim")
    if (more := len(view.questions) - _SHOWN_QUESTIONS) > 0:
        yield _line(f"  ? {count(more, 'more question')}", "dim")


def _time_left(asked: ApprovalAsked, now: datetime) -> str:
    if asked.until is None:
        return "asked after those before it"
    return f"{'denied' if asked.kind == 'permission' else 'the run stops'} in{_left(asked.until, now)}"


def _left(until: str | None, now: datetime) -> str:
    """How long it is until then, with a space before it; nothing where no time is known."""
    return "" if until is None else f" {duration(max(0.0, (datetime.fromisoformat(until) - now).total_seconds()))}"


def tree_lines(view: RunView, rows: int, now: datetime) -> Iterator[Text]:
    """The tree in at most `rows` lines: every phase that fits, below it agents at work, then the last that ended."""
    phases = _shown_phases(view, rows)
    if (hidden := len(view.phases) - len(phases)) > 0:
        yield _line(f"  … {count(hidden, 'more phase')}", "dim")
    room = rows - len(phases) - (1 if hidden > 0 else 0)
    working, ended = _shown_agents(view, {(phase.workflow, phase.title) for phase in phases}, room)
    for phase in phases:
        key = (phase.workflow, phase.title)
        yield _phase_line(phase)
        for agent in working[key]:
            yield _working_line(agent, now)
        for agent in ended[key]:
            yield _ended_line(agent)


_Key = tuple[str | None, str | None]
_ByPhase = defaultdict[_Key, list[AgentView]]


def _shown_phases(view: RunView, rows: int) -> list[PhaseView]:
    """All phases where they fit in half the rows, else those where something is going on, then the latest."""
    phases = list(view.phases.values())
    most = max(1, rows // 2)
    if len(phases) <= most:
        return phases
    busy = [phase for phase in phases if _is_busy(phase)]
    chosen = {id(phase) for phase in islice(chain(busy, reversed(phases)), most + len(busy))}
    return [phase for phase in phases if id(phase) in chosen][:most]


def _shown_agents(view: RunView, shown: set[_Key], room: int) -> tuple[_ByPhase, _ByPhase]:
    """Which agents have a line of their own: those at work, then the last that ended in a phase that goes on."""
    working: _ByPhase = defaultdict(list)
    ended: _ByPhase = defaultdict(list)
    for agent in view.at_work.values():
        if room <= 0:
            break
        key = (agent.workflow, agent.phase)
        if key in shown:
            working[key].append(agent)
            room -= 1
    for agent in reversed(view.ended):
        if room <= 0:
            break
        key = (agent.workflow, agent.phase)
        if key in shown and _is_busy(view.phases[key]) and len(ended[key]) < _LAST_ENDED:
            ended[key].insert(0, agent)
            room -= 1
    return working, ended


def _is_busy(phase: PhaseView) -> bool:
    return bool(phase.running or phase.queued)


def _phase_line(phase: PhaseView) -> Text:
    nested = f"▸ {one_line(phase.workflow, LABEL_CHARS)} " if phase.workflow else ""
    title = one_line(phase.title, LABEL_CHARS) if phase.title is not None else ("" if nested else "(no phase)")
    is_busy = _is_busy(phase)
    line = _line(f"  {nested}{title}", "bold" if is_busy else "" if phase.agents else "dim")
    if not phase.agents:
        return line
    line.append(f"  {phase.ended:,}/{phase.agents:,}", "cyan" if is_busy else "green")
    if phase.running:
        line.append(f" · {phase.running:,} at work", "cyan")
    if phase.ended_badly:
        line.append(f" · {phase.ended_badly:,} not ok", _BADLY_STYLE)
    return line.append(f" · {tokens(phase.tokens)} tokens", "dim") if phase.tokens else line


def _working_line(agent: AgentView, now: datetime) -> Text:
    line = _line(f"    {'◌' if agent.state == 'waiting' else '●'} ", "yellow" if agent.state == "waiting" else "cyan")
    line.append(one_line(agent.label, LABEL_CHARS))
    line.append(f"  {duration(seconds_between(agent.started_at, now))}", "dim")
    if agent.tokens:
        line.append(f" · {tokens(agent.tokens)} tokens", "dim")
    if agent.doing is not None:
        waits = f"waits{_left(agent.until, now)}: " if agent.state == "waiting" else ""
        line.append(f" · {waits}{one_line(agent.doing, 80)}", "dim")
    return line


def _ended_line(agent: AgentView) -> Text:
    is_ok = agent.status == "ok"
    line = _line(f"    {'✓' if is_ok else '✗'} ", "green" if is_ok else _BADLY_STYLE)
    line.append(one_line(agent.label, LABEL_CHARS), "" if is_ok else _BADLY_STYLE)
    took = "reused" if agent.reused else duration(seconds_between(agent.started_at, agent.ended_at))
    status = "" if is_ok else f" · {agent.status}"
    return line.append(f"  {took} · {tokens(agent.tokens)} tokens{status}", "dim")


def _lasting(event: Event, asked: ApprovalAsked | None) -> Iterator[Text]:
    """The lines of an event that stay above the tree."""
    body = event.body
    match body:
        case RunStarted():
            yield from (Text(line, "dim") for line in started_lines(body, event.run_id))
        case Log():
            yield Text(log_line(body), {"warn": "yellow", "error": "red", "debug": "dim"}.get(body.level, ""))
        case ApprovalAnswered():
            yield Text(answered_line(body, asked), "green" if body.verdict in {"once", "run", "project"} else "yellow")
        case _:
            return


def _line(text: str, style: str = "") -> Text:
    return Text(no_wrap=True, overflow="ellipsis").append(text, style)
