"""What is done to a run that goes on in another process: stop, pause, unpause, answer, and one of its agents."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from callsheet.cli.reading import RUN_HELP, json_line, json_option, printed, record_options, where
from callsheet.cli.streams import say
from callsheet.views.safe_text import one_line, visible

if TYPE_CHECKING:
    from callsheet.app.control import RunControl
    from callsheet.app.records import Where
    from callsheet.model.approval import PersonsVerdict
    from callsheet.model.events import ApprovalAsked

_T = TypeVar("_T")

BY = "a person at the command line"

_VERDICTS: dict[str, PersonsVerdict] = {"yes": "once", "always": "run", "project": "project", "no": "deny"}

_NUMBERS = ("$", *"0123456789")
"""What no question's id begins with."""

_ONE_ROW = 100_000

_run = click.argument("run", metavar="RUN")


def _in(place: Where, run: str, deed: Callable[[RunControl], Awaitable[_T]]) -> _T:
    """Does something to a run."""
    import anyio

    from callsheet.app.control import open_control

    async def do() -> _T:
        async with open_control(run, place) as control:
            return await deed(control)

    return anyio.run(do)


def _guarded(work: Callable[[], int]) -> int:
    from callsheet.cli.boundary import guarded

    return guarded(work)


# --- the run ----------------------------------------------------------------------------------------------------------


@click.command(name="stop", short_help="Ends a run that goes on, as Ctrl-C does.", epilog=RUN_HELP)
@_run
@click.option("--now", is_flag=True, help="At once, as a second Ctrl-C does; it can be resumed all the same.")
@json_option
@record_options
def stop(run: str, *, now: bool, as_json: bool, store: str | None, workspace: Path | None) -> int:
    """Ends a run that goes on in another process: its agents are cancelled, its record is closed, it can be resumed.

    Waits until it has ended. Exit status: 0 it goes on no more (also where it was over before), 1 it could not be
    stopped, 2 there is no such run.
    """
    return _guarded(lambda: _stop(where(store, workspace), run, now=now, as_json=as_json))


def _stop(place: Where, run: str, *, now: bool, as_json: bool) -> int:
    from functools import partial

    import anyio

    from callsheet.app.stopping import WITHIN_S, stop_run

    done = anyio.run(partial(stop_run, run, place, now=now))
    status = 0 if done.is_ended else 1
    if as_json:
        return printed([json_line(done.public)], is_json=True) or status
    name, is_resumable = done.run_id, done.status in ("cancelled", "interrupted")
    match done.was:
        case "gone":
            text = f"{name} had no process any more, and was not stopped"
        case "over":
            text = f"{name} was over already: {one_line(done.status)}"
        case _ if done.is_ended:
            text = f"{name} has ended: {one_line(done.status)}"
        case _:
            text = f"{name} has not ended within {WITHIN_S:g} s; callsheet stop {name} --now ends it at once"
    lines = [text]
    if done.words is not None:
        lines.append(visible(done.words))
    if is_resumable:
        lines.append(f"go on with it: callsheet resume {name}")
    return printed(lines) or status


@click.command(name="pause", short_help="Lets a run start no further agent for now.", epilog=RUN_HELP)
@_run
@record_options
def pause(run: str, *, store: str | None, workspace: Path | None) -> int:
    """Lets a run start no further agent until callsheet unpause; those at work go on.

    Exit status: 0, 1 where the run cannot be reached, 2 where there is no such run, or it is over.
    """
    return _guarded(lambda: _paused(where(store, workspace), run, is_paused=True))


@click.command(name="unpause", short_help="Lets a paused run go on.", epilog=RUN_HELP)
@_run
@record_options
def unpause(run: str, *, store: str | None, workspace: Path | None) -> int:
    """Lets a paused run start agents again.

    Exit status: as of callsheet pause.
    """
    return _guarded(lambda: _paused(where(store, workspace), run, is_paused=False))


def _paused(place: Where, run: str, *, is_paused: bool) -> int:
    async def deed(control: RunControl) -> tuple[str, bool]:
        return control.run_id, await (control.pause(by=BY) if is_paused else control.go_on(by=BY))

    name, is_changed = _in(place, run, deed)
    state = "paused" if is_paused else "going on"
    return printed([f"{name} is {state}{'' if is_changed else ' already'}"])


# --- its questions ----------------------------------------------------------------------------------------------------


@click.command(name="answer", short_help="Answers what a run asks a person.", epilog=RUN_HELP)
@_run
@click.argument("words", metavar="[ID] [yes|no|always|project|AMOUNT]", nargs=-1)
@click.option("--say", "said", metavar="TEXT", help="With no: for the agent, or a script's author: why, or what to do.")
@click.option("--view", is_flag=True, help="Shows the script that is asked about, and answers nothing.")
@json_option
@record_options
def answer(
    run: str,
    words: tuple[str, ...],
    *,
    said: str | None,
    view: bool,
    as_json: bool,
    store: str | None,
    workspace: Path | None,
) -> int:
    """Answers a question of a run in another process; without an answer, shows its questions.

    yes allows it this once, always for the rest of the run, project for this project from now on (in your own
    settings), no does not allow it. Asked whether a run may cost more: yes for so much more as it says, an amount for
    so many dollars more (5, 2.50, '$10'), always without a limit, no ends it, resumable. Asked whether a script runs:
    yes runs it, always runs it and asks no more in this run, no declines it; --view shows it. ID names the question
    (q0001; in a run that was resumed q2-0001); it may be left out where only one is open.

    Exit status: 0, 1 where the run cannot be reached, 2 where there is no such run or question.
    """
    return _guarded(lambda: _answer(where(store, workspace), run, words, said, is_viewed=view, as_json=as_json))


def _answer(place: Where, run: str, words: tuple[str, ...], said: str | None, *, is_viewed: bool, as_json: bool) -> int:
    from callsheet.errors import UsageError

    named, word = _parted(words)
    if said is not None and word != "no":
        raise UsageError("--say goes with no: it tells the agent why.")
    if is_viewed and word is not None:
        raise UsageError("--view shows the script and answers nothing: look first, then answer without it.")
    if is_viewed:
        return _show_scripts(place, run, named)
    if word is None:
        return _show_questions(place, run, named, as_json=as_json)

    verdict, more_usd = _meant(word)

    async def deed(control: RunControl) -> tuple[str, str]:
        question_id = named or _only(control.run_id, await control.questions())
        await control.answer(question_id, verdict, words=said, more_usd=more_usd, by=BY)
        return control.run_id, question_id

    run_id, question_id = _in(place, run, deed)
    return printed([f"{question_id} of {run_id} is answered: {_told(word, more_usd)}"])


def _meant(word: str) -> tuple[PersonsVerdict, float | None]:
    """What an answer means, and the dollars that it names."""
    from callsheet.app.quantities import parse_more_usd

    return _VERDICTS.get(word, "once"), parse_more_usd(word)


def _told(word: str, more_usd: float | None) -> str:
    from callsheet.views.figures import money

    return word if more_usd is None else f"{money(more_usd)} more"


def _is_answer(word: str) -> bool:
    from callsheet.app.quantities import parse_more_usd

    return word in _VERDICTS or parse_more_usd(word) is not None


def _parted(words: tuple[str, ...]) -> tuple[str | None, str | None]:
    """The question's id and the answer, as far as they were said."""
    from callsheet.errors import UsageError

    match words:
        case ():
            return None, None
        case (word,) if _is_answer(word):
            return None, word
        case (named,) if not named.startswith(_NUMBERS):
            return named, None
        case (named, word) if _is_answer(word):
            return named, word
        case _:
            said = " ".join(words)
            raise UsageError(
                f"{said!r} is no answer. It is yes, no, always or project, the question's id before it; whether a run "
                "may cost more is also answered with dollars, such as 5 or 2.50."
            )


def _only(run_id: str, questions: Sequence[ApprovalAsked]) -> str:
    """The id of the one question that is open.

    Raises:
        UsageError: There is none, or more than one.
    """
    from callsheet.errors import UsageError

    if len(questions) == 1:
        return questions[0].id
    if not questions:
        raise UsageError(f"{run_id} asks nothing now.")
    ids = ", ".join(one.id for one in questions)
    raise UsageError(
        f"{run_id} has {len(questions)} open questions: {ids}. Say which: callsheet answer {run_id} ID yes"
    )


def _show_questions(place: Where, run: str, named: str | None, *, as_json: bool) -> int:
    async def deed(control: RunControl) -> tuple[str, list[ApprovalAsked]]:
        return control.run_id, [one for one in await control.questions() if named in (None, one.id)]

    run_id, questions = _in(place, run, deed)
    if as_json:
        value = {"run_id": run_id, "questions": [_question_json(one) for one in questions]}
        return printed([json_line(value)], is_json=True)
    if not questions:
        say(f"{run_id} asks nothing now." if named is None else f"{run_id} has no open question {one_line(named)}.")
        return 0
    return printed([line for one in questions for line in _question_lines(run_id, one)])


def _show_scripts(place: Where, run: str, named: str | None) -> int:
    """Prints the scripts that are asked about, or the one that is named."""
    from callsheet.cli.question import script_text_lines

    async def deed(control: RunControl) -> tuple[str, list[ApprovalAsked]]:
        return control.run_id, [one for one in await control.questions() if named in (None, one.id)]

    run_id, questions = _in(place, run, deed)
    scripts = [one.script for one in questions if one.script is not None]
    if not scripts:
        say(f"{run_id} asks about no script now." if named is None else f"{one_line(named)} is about no script.")
        return 0
    return printed([line for script in scripts for line in script_text_lines(script)])


def _question_json(question: ApprovalAsked) -> Any:
    from dataclasses import asdict

    return json.loads(json.dumps(asdict(question)))


def _question_lines(run_id: str, question: ApprovalAsked) -> list[str]:
    from shutil import get_terminal_size

    from callsheet.cli.question import question_lines
    from callsheet.model.approval import Question

    asked = Question(
        tool=question.tool,
        input=question.input,
        reason=question.reason,
        rules=question.rules,
        id=question.id,
        kind=question.kind,
        more_usd=question.more_usd,
        script=question.script,
    )
    is_of_run = question.kind != "permission"
    # What can be typed at a terminal is the last row, and of what the run asks one row only where there is room.
    width = _ONE_ROW if is_of_run else get_terminal_size().columns if sys.stdout.isatty() else 120
    lines = [line.text for line in question_lines(asked, agents=question.agents, more=0, width=width)]
    longer = "|always" if is_of_run else "|always|project" if question.rules else ""
    longer += "|AMOUNT" if question.kind == "cost" else ""
    until = f" until {question.until}" if question.until else ""
    look = [f"  callsheet answer {run_id} {question.id} --view"] if question.script is not None else []
    return [*lines[1:-1], *look, f"  callsheet answer {run_id} {question.id} yes|no{longer}{until}"]


# --- one agent --------------------------------------------------------------------------------------------------------


@click.group(name="agent", short_help="Skips, stops, restarts or messages one agent of a run that goes on.")
def agent() -> None:
    """Steps in on one agent of a run that goes on in another process. AGENT is its id (a0007) or its number.

    Exit status: 0, 1 where the run cannot be reached, 2 where there is no such run or agent, or it is over.
    """


_agent = click.argument("agent_id", metavar="AGENT")


def _deed(name: str, method: str, past: str, again: str, text: str) -> click.Command:
    @record_options
    def command(run: str, agent_id: str, store: str | None, workspace: Path | None) -> int:
        async def deed(control: RunControl) -> tuple[str, bool]:
            return control.run_id, await getattr(control, method)(_id(agent_id), by=BY)

        def work() -> int:
            run_id, is_new = _in(where(store, workspace), run, deed)
            return printed([f"{_id(agent_id)} of {run_id} {past if is_new else again}"])

        return _guarded(work)

    command.__doc__ = text
    return click.command(name=name, short_help=text, epilog=RUN_HELP)(_run(_agent(command)))


agent.add_command(_deed("skip", "skip", "is skipped", "was skipped already", "Ends an agent: its call gives null."))
agent.add_command(
    _deed("stop", "stop_agent", "is stopped", "was stopped already", "Ends an agent as cancelled: its call gives null.")
)
agent.add_command(
    _deed("restart", "restart", "starts over", "starts over already", "Has an agent at work start its call over.")
)


@agent.command(name="message", short_help="Sends an agent a message.", epilog=RUN_HELP)
@_run
@_agent
@click.argument("text", metavar="TEXT|-")
@record_options
def message(run: str, agent_id: str, text: str, *, store: str | None, workspace: Path | None) -> int:
    """Sends an agent a message, which it takes with its next turn; - reads it from standard input."""

    async def deed(control: RunControl) -> str:
        await control.message(_id(agent_id), text, by=BY)
        return control.run_id

    def work() -> int:
        nonlocal text
        text = sys.stdin.read() if text == "-" else text
        return printed([f"{_id(agent_id)} of {_in(where(store, workspace), run, deed)} has your message"])

    return _guarded(work)


def _id(name: str) -> str:
    return f"a{int(name):04}" if name.isascii() and name.isdigit() and len(name) < 9 else name
