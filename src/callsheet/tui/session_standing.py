"""What stands below a session's transcript, as cells: runs, questions, the turn, hint, status. Pure, and made safe."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from callsheet.app.session_model import ULTRACODE, LiveRun, SessionFigures, SessionQuestion, SessionSettings
from callsheet.app.session_transcript import Turn
from callsheet.model.dataclass import dataclass
from callsheet.tui.cells import Cell
from callsheet.tui.lines import NARROW, run_style, time_left
from callsheet.views.figures import count, duration, money, tokens
from callsheet.views.progress import seconds_between
from callsheet.views.safe_text import one_line

MOST_RUNS = 4
MOST_QUESTIONS = 2
_STILL, _WAIT, _WORK = "dim", "yellow", "cyan"

Cells = list[Cell]


def standing(
    runs: Sequence[LiveRun],
    turn: Turn | None,
    queued: int,
    questions: Sequence[SessionQuestion],
    *,
    width: int,
    most: int,
    now: datetime,
) -> list[Cells]:
    """The rows, most lasting first: runs, the turn that is at work, questions; of all no more than `most`."""
    below = [] if turn is None else [turn_row(turn, queued, now)]
    below += [question_row(question, now, is_first=at == 0) for at, question in enumerate(questions[:MOST_QUESTIONS])]
    if (more := len(questions) - MOST_QUESTIONS) > 0:
        below.append([Cell("?", 1, _WAIT), Cell(f"and {count(more, 'more question')}", style=_WAIT)])
    room = max(0, min(MOST_RUNS, most - len(below)))
    shown = runs if len(runs) <= room else runs[: max(0, room - 1)]
    rows = [run_row(run, width, now) for run in shown]
    if room and (more := len(runs) - len(shown)) > 0:
        rows.append([Cell("…", 1, _STILL), Cell(f"{count(more, 'more run')}: /workflows", style=_STILL)])
    return [*rows, *below][-most:]


def run_row(run: LiveRun, width: int, now: datetime) -> Cells:
    """A run that goes on: what it is at, agents, cost, time."""
    took = Cell("" if run.started_at is None else duration(seconds_between(run.started_at, now)), 9, is_right=True)
    agents = f"{run.ended:,}/{run.agents:,}"
    name = one_line(run.workflow, 60)
    if width < NARROW:
        return [Cell("●", 1, run_style(run.status)), Cell(name), Cell(agents, 7, is_right=True), took]
    parts = [one_line(run.status) if run.status != "running" else "", one_line(run.phase or "", 60)]
    parts += [one_line(run.reason or "", 120), f"{run.running:,} at work" if run.running else ""]
    parts += [
        f"{run.waiting:,} waiting" if run.waiting else "",
        f"{run.ended_badly:,} not ok" if run.ended_badly else "",
    ]
    what = " · ".join([name, *(part for part in parts if part)])
    return [
        Cell("●", 1, run_style(run.status)),
        Cell(what),
        Cell(f"{agents} agents", 14, is_right=True),
        Cell("cost ?" if run.cost_usd is None else money(run.cost_usd), 8, _STILL, is_right=True),
        took,
    ]


def turn_row(turn: Turn, queued: int, now: datetime) -> Cells:
    """The turn that is at work, for how long, and how it is stopped."""
    parts = ["the orchestrator works", f"{tokens(turn.tokens)} tokens" if turn.tokens else ""]
    parts += [f"{queued:,} queued" if queued else "", "Ctrl-C stops it"]
    took = "" if turn.began_at is None else duration(seconds_between(turn.began_at, now))
    return [
        Cell("●", 1, _WORK),
        Cell(" · ".join(part for part in parts if part), style=_STILL),
        Cell(took, 9, is_right=True),
    ]


def question_row(question: SessionQuestion, now: datetime, *, is_first: bool) -> Cells:
    """What a person is asked, and how they answer the first."""
    asked = question.asked
    if asked.script is not None:
        what = f"run the script {one_line(asked.script.name, 60)}?"
    else:
        is_cost = asked.kind == "cost"
        what = "may it cost more?" if is_cost else f"{one_line(asked.tool, 40)} {one_line(asked.input, 200)}"
    left = time_left(asked.until, now)
    return [
        Cell("?", 1, f"bold {_WAIT}"),
        Cell(f"{one_line(question.workflow, 40)}: {what}", style=f"bold {_WAIT}"),
        *([Cell(left, len(left), _WAIT)] if left else []),
        *([Cell("Enter answers", 13, "bold")] if is_first else []),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What stands in the box, as far as the hint goes.

    Attributes:
        is_workflow: It would start one, were it not switched off.
        is_off: It is switched off.
        has_word: It has a word that starts one; else what was set does.
        choices: What the Tab key can make of it.
    """

    is_workflow: bool = False
    is_off: bool = False
    has_word: bool = False
    is_command: bool = False
    choices: Sequence[str] = ()


def hint(typed: Typed, *, is_leaving: bool, is_marked: bool, is_at_end: bool, width: int) -> Cells:
    """The row below the box: what the next key would do."""
    is_narrow = width < NARROW
    if is_leaving:
        return [Cell("Ctrl-C again leaves; runs go on", style=_WAIT)]
    if is_marked:
        return [Cell("Ctrl-C copies what is marked", style=_WAIT)]
    if typed.choices:
        return [Cell(f"Tab: {'  '.join(typed.choices)}", style=_STILL)]
    if typed.is_command:
        return [Cell("Enter does it · /help", style=_STILL)]
    if typed.is_workflow and typed.is_off:
        said = "no workflow · Alt-W: yes" if is_narrow else "this starts no workflow · Alt-W: it does after all"
        return [Cell(said, style=_STILL)]
    if typed.is_workflow:
        whose = "" if typed.has_word else "ultracode: "
        said = "starts a workflow · Alt-W: not" if is_narrow else "this starts a workflow · Alt-W: not this time"
        return [Cell(f"{whose}{said}", style="bold magenta")]
    if not is_at_end:
        return [Cell("more below · PgDn", style=_WAIT)]
    said = "Enter sends · /help" if is_narrow else "Enter sends · Ctrl-J new line · Shift-Tab to the runs · /help"
    return [Cell(said, style=_STILL)]


def status(
    orchestrator: str, settings: SessionSettings, figures: SessionFigures, runs: Sequence[LiveRun], *, width: int
) -> Cells:
    """The last row: who answers, what was set, what it has cost, what goes on; as much as there is room for."""
    budget = "" if settings.budget is None else f"budget {one_line(settings.budget, 40)}"
    if budget and figures.left is not None:
        budget += f" ({one_line(figures.left, 40)} left)"
    cost = figures.usage.cost_usd
    parts = [
        one_line(orchestrator, 60),
        ULTRACODE if settings.effort == ULTRACODE and ULTRACODE not in orchestrator else "",
        "cost unknown" if cost is None else f"{money(cost)} so far",
        f"{count(len(runs), 'run')} at work" if runs else "",
        budget,
        one_line(settings.mode or ""),
    ]
    said = ""
    for part in filter(None, parts):
        longer = f"{said} · {part}" if said else part
        if len(longer) > width:
            break
        said = longer
    return [Cell(said or one_line(orchestrator), style=_STILL)]
