"""What a line does that begins with `/`: the commands of a session, and saved workflows by their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from anyio import to_thread

from callsheet.app.naming import LAST
from callsheet.app.quantities import parse_budget
from callsheet.app.records import Listed, Where, open_runs
from callsheet.app.session_desk import refused
from callsheet.app.session_lines import NoteLine, set_line
from callsheet.app.session_model import (
    ULTRACODE,
    Command,
    OpenDashboard,
    Quit,
    Refused,
    Reply,
    SessionEffort,
    SessionFigures,
    SessionSettings,
    Told,
)
from callsheet.app.session_runs import clean
from callsheet.app.session_starting import is_talk
from callsheet.app.session_transcript import RunStarted
from callsheet.app.session_words import split_command
from callsheet.app.site import MODES
from callsheet.app.stopping import stop_run
from callsheet.errors import CallsheetError, ConfigError, UsageError
from callsheet.model.call import EFFORTS
from callsheet.model.outcome import Usage
from callsheet.permissions.modes import Mode, mode_named
from callsheet.views.figures import age, count, money, tokens

if TYPE_CHECKING:
    from callsheet.app.session import OpenSession

NO_WISH = "default"
_EFFORTS: tuple[str, ...] = (*EFFORTS, ULTRACODE)
_MODES = tuple(mode.value for mode in Mode)
_RUNS_SHOWN, _RUNS_LOOKED_AT = 15, 500
_MAX_MODEL_CHARS = 200

COMMANDS = (
    Command(name="help", usage="/help [COMMAND]", said="What can be typed here."),
    Command(name="workflows", usage="/workflows [RUN]", said="The dashboard of all runs, or of one. Esc comes back."),
    Command(name="runs", usage="/runs", said="The newest runs of this folder; * marks those of this session."),
    Command(name="resume", usage="/resume RUN", said="Goes on with a run that was broken off; what answered is kept."),
    Command(name="stop", usage="/stop RUN", said="Ends a run, in order: /resume goes on with it."),
    Command(name="save", usage="/save RUN [NAME]", said="Keeps the script of a run: from then on /NAME runs it."),
    Command(name="model", usage="/model [NAME]", said="Who answers and writes workflows; default: as settings say."),
    Command(
        name="effort",
        usage="/effort [LEVEL]",
        said="How hard it thinks. ultracode: every prompt starts a workflow, too.",
        values=(*_EFFORTS, NO_WISH),
    ),
    Command(
        name="budget",
        usage="/budget [AMOUNT]",
        said="What each run started from now on may use, and all talk together: 200k, $5, or none.",
        values=("200k", "$5", "2M $20", "none"),
    ),
    Command(
        name="permissions",
        usage="/permissions [MODE]",
        said="What agents of runs may do unasked, where no rule says anything.",
        values=(*_MODES, NO_WISH),
    ),
    Command(name="cost", usage="/cost", said="What this session has cost so far."),
    Command(name="quit", usage="/quit", said="Leaves. Runs go on; callsheet --continue comes back."),
)
"""The commands that are always there, in the order in which help shows them."""

_ALSO = {"exit": "quit", "q": "quit", "?": "help", "continue": "resume"}

_TAKEN = frozenset((*(each.name for each in COMMANDS), *_ALSO))
_HELP_CHARS, _MIN_SAID = 104, 20

_MODE_MEANS = {
    Mode.ACCEPT_EDITS: "edits in the workspace and usual commands are accepted",
    Mode.ASK: "each change is asked",
    Mode.PLAN: "agents only read",
    Mode.BYPASS: "everything is accepted that no rule denies",
}


async def done(session: OpenSession, text: str) -> Reply:
    """Does what a line says; every error is a reply."""
    name, rest = split_command(text)
    try:
        return await _done(session, _ALSO.get(name, name), rest)
    except CallsheetError as fault:
        return refused(fault)


async def _done(session: OpenSession, name: str, rest: str) -> Reply:
    match name:
        case "" | "help":
            return _help(session.commands, rest)
        case "workflows":
            return await _workflows(session, rest)
        case "runs":
            return Told(text="\n".join(await to_thread.run_sync(_runs, session.where, session.own_runs)))
        case "resume":
            return await session.resume(_run_of(session, rest, "resume"))
        case "stop":
            return await _stop(session, _run_of(session, rest, "stop"))
        case "save":
            return await _save(session, rest)
        case "model" | "effort" | "budget" | "permissions":
            return await _set(session, name, rest)
        case "cost":
            return Told(text="\n".join(_cost(session.figures)))
        case "quit":
            return Quit(text="\n".join(_farewell(session)))
        case _ if name in session.workflow_names:
            return await session.run_saved(name, rest)
        case _:
            return _unknown(session.commands, name)


# --- words ------------------------------------------------------------------------------------------------------------


def _unknown(commands: Iterable[Command], name: str) -> Refused:
    names = [each.name for each in commands]
    near = tuple(f"/{each}" for each in get_close_matches(name, [*names, *_ALSO], n=3))
    hint = f" Did you mean {near[0]}?" if near else " /help lists what there is."
    return Refused(text=f"there is no command and no saved workflow /{name}.{hint}", near=near)


def _help(commands: tuple[Command, ...], asked: str) -> Reply:
    name = asked.removeprefix("/").strip()
    if name:
        found = next((each for each in commands if each.name == _ALSO.get(name, name)), None)
        if found is None:
            return _unknown(commands, name)
        values = f"\n  one of: {', '.join(found.values)}" if found.values else ""
        return Told(text=f"{found.usage}\n  {found.said}{values}")
    own = [each for each in commands if not each.is_workflow]
    saved = [each for each in commands if each.is_workflow]
    lines = [
        "Say what you want to know: the orchestrator reads this folder and answers.",
        "With the word workflow in it (Alt-W: not this time) it writes a workflow for what you say; you approve it.",
        "",
        *_columns(own),
    ]
    if saved:
        lines += ["", "Saved workflows: /NAME, then key=value words, JSON, or plain text as its args", *_columns(saved)]
    return Told(text="\n".join(lines))


def _columns(commands: list[Command]) -> Iterator[str]:
    width = max(len(each.usage) for each in commands)
    for each in commands:
        said = " ".join(each.said.split())
        left = max(_MIN_SAID, _HELP_CHARS - width)
        yield f"  {each.usage:<{width}}  {said if len(said) <= left else said[: left - 1] + '…'}"


def _farewell(session: OpenSession) -> Iterator[str]:
    going = session.runs
    if going:
        names = ", ".join(each.run_id for each in going)
        yield f"{count(len(going), 'run')} {'goes' if len(going) == 1 else 'go'} on: {names}"
    if session.entries:
        yield f"come back: callsheet --continue {session.id}"


def _cost(figures: SessionFigures) -> Iterator[str]:
    yield f"talk: {_used(figures.turns_usage)}, {count(figures.turns, 'turn')}"
    yield f"runs: {_used(figures.runs_usage)}, {count(figures.runs, 'run')}"
    yield f"all:  {_used(figures.usage)}"
    if figures.left is not None:
        yield f"left for talk: {figures.left}"


def _used(usage: Usage) -> str:
    return f"{money(usage.cost_usd)}, {tokens(usage.output_tokens)} output tokens"


# --- runs -------------------------------------------------------------------------------------------------------------


def _run_of(session: OpenSession, said: str, command: str) -> str:
    """The run that is meant; `last` is the last one that was started here.

    Raises:
        UsageError: None is named, or more than one word.
    """
    words = said.split()
    if not session.where.record.is_file():
        raise UsageError("no run has been in this folder yet: say what you want done, with the word workflow in it.")
    if len(words) != 1:
        raise UsageError(f"say which run: /{command} RUN, an id as /runs has it, the beginning of one, or {LAST}.")
    if words[0] != LAST:
        return words[0]
    started = [each for each in session.entries if isinstance(each, RunStarted)]
    if not started:  # the newest of the record may be talk
        raise UsageError("no run was started in this session: /runs lists those of this folder.")
    return started[-1].run_id


def _runs(where: Where, own: frozenset[str]) -> list[str]:
    if not where.record.is_file():
        return ["No run yet in this folder."]
    with open_runs(where, is_checked=False) as runs:
        listed = [each for each in runs.listed(limit=_RUNS_LOOKED_AT) if not is_talk(each)]
    if not listed:
        return ["No run yet in this folder, but for talk."]
    rows = [_row(each, own) for each in listed[:_RUNS_SHOWN]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(run: Listed, own: frozenset[str]) -> tuple[str, ...]:
    line = run.line
    return (
        "*" if run.run_id in own else " ",
        run.run_id,
        run.status,
        " ".join((line.workflow or line.script_path or "?").split())[:40],
        count(line.agents, "agent"),
        money(None if line.unpriced else line.cost_usd),
        age(line.started_at),
    )


async def _workflows(session: OpenSession, said: str) -> Reply:
    if not said:
        return OpenDashboard()
    name = _run_of(session, said, "workflows")

    def find() -> str:
        with open_runs(session.where, is_checked=False) as runs:
            return runs.find(name).run_id

    going = [each.run_id for each in session.runs if each.run_id.startswith(name)]
    return OpenDashboard(run_id=going[0] if len(going) == 1 else await to_thread.run_sync(find))


async def _stop(session: OpenSession, name: str) -> Reply:
    stopped = await stop_run(name, session.where)
    if stopped.was != "running":
        return Told(text=f"{stopped.run_id} had ended before: {stopped.status}.")
    text = f"{stopped.run_id} was stopped: {stopped.status}."
    if stopped.run_id in session.own_runs:
        return Told(text=text)  # the transcript has its end
    return await _noted(session, f"{text} Go on with it: /resume {stopped.run_id}")


async def _save(session: OpenSession, said: str) -> Reply:
    from callsheet.app.shelving import Target, saved

    run, _, words = said.partition(" ")
    run_name, name = _run_of(session, run, "save"), words.strip() or None
    if name is not None and (len(name.split()) > 1 or name in _TAKEN):
        raise UsageError(f"{name!r} cannot be typed as /NAME: a name is one word, and no command here.")
    target = Target(
        start=session.around.start, home=session.around.home, environ=session.around.environ, workspace=session.root
    )

    def work() -> str:
        with open_runs(session.where, is_checked=False, as_written=True) as runs:
            run = runs.find(run_name)
            if is_talk(run):
                raise UsageError(f"{run.run_id} is talk, one answer of a session, and has no script to keep.")
            shelved = saved(runs, run, target, name=name)
        verb = "saved" if shelved.is_new else "there already"
        return "\n".join([f"{verb}: {shelved.path}", *shelved.notes, f"run it: /{shelved.name}"])

    text = await to_thread.run_sync(work)
    await session.look_up_workflows()
    return await _noted(session, text)


async def _noted(session: OpenSession, text: str) -> Told:
    """Says what a command has changed as an entry of the transcript: it is there when the session is continued."""
    await session.book.write(NoteLine(text=clean(text)))
    return Told()


# --- settings ---------------------------------------------------------------------------------------------------------


async def _set(session: OpenSession, name: str, said: str) -> Reply:
    before = session.settings
    if not said:
        return Told(text=_standing(session, name))
    after, text = _changed(session, before, name, said)
    if after.mode is not before.mode:
        await to_thread.run_sync(session.check_mode, after.mode)
    await session.book.write(set_line(after, text=text, is_budget_new=name == "budget"))
    return Told()


def _standing(session: OpenSession, name: str) -> str:
    """How a setting stands, and how it is set."""
    settings, usage = session.settings, next(each for each in COMMANDS if each.name == name)
    model, effort = session.orchestrator_now
    mode = settings.mode or session.plan.permissions.mode
    stands = {
        "model": f"the orchestrator is {model}",
        "effort": f"effort is {settings.effort or effort}",
        "budget": _budget_stands(session),
        "permissions": f"mode {mode.value}: {_MODE_MEANS[mode]}. Rules: callsheet permissions",
    }
    values = usage.values or session.model_names
    return f"{stands[name]}\n{usage.usage}: {', '.join(values) or usage.said}"


def _budget_stands(session: OpenSession) -> str:
    budget, left = session.settings.budget, session.figures.left
    if budget is None:
        return "no budget is set here: what settings say holds, and a run without one asks at a cost"
    return f"each run may use {budget}; for talk {left} of it is left"


def _changed(session: OpenSession, before: SessionSettings, name: str, said: str) -> tuple[SessionSettings, str]:
    """The settings with one of them changed, and what there is to say of it.

    Raises:
        UsageError: It cannot hold.
    """
    match name:
        case "model":
            model = None if said == NO_WISH else _model(said, session.model_names)
            after = replace(before, model=model)
            return after, f"The orchestrator is {model or 'what settings say'} from now on, in talk and in tasks."
        case "effort":
            effort = None if said == NO_WISH else _effort(said)
            always = "every prompt starts a workflow, until /effort sets another level"
            what = always if effort == ULTRACODE else "from now on"
            return replace(before, effort=effort), f"Effort {effort or 'as settings say'}: {what}."
        case "budget":
            budget = None if said in ("none", NO_WISH) else _budget(said)
            what = "No budget of this session holds from now on; those of settings do."
            if budget is not None:
                what = f"Each run started from now on may use {budget}, and so may all talk from now on together."
            return replace(before, budget=budget), what
        case _:
            mode = None if said == NO_WISH else _mode(said)
            shown = mode or session.plan.permissions.mode
            what = f"Runs started from now on have mode {shown.value}: {_MODE_MEANS[shown]}."
            return replace(before, mode=mode), what


def _model(said: str, known: tuple[str, ...]) -> str:
    if len(said.split()) != 1 or len(said) > _MAX_MODEL_CHARS or not said.isprintable():
        raise UsageError("a model's name is one word, such as opus or claude-opus-4-8.")
    near = get_close_matches(said, known, n=1)
    if said not in known and near and "-" not in said:
        raise UsageError(f"there is no model {said!r}. Did you mean {near[0]}?")
    return said


def _effort(said: str) -> SessionEffort:
    found = next((effort for effort in (*EFFORTS, ULTRACODE) if effort == said.casefold()), None)
    if found is None:
        raise UsageError(f"there is no effort {said!r}. {_near(said, (*_EFFORTS, NO_WISH))}")
    return found


def _budget(said: str) -> str:
    try:
        parse_budget(said)
    except ConfigError:
        raise UsageError(f"{said!r} is no budget. Write output tokens (200k, 2M), dollars ($5), or none.") from None
    return " ".join(said.split())


def _mode(said: str) -> Mode:
    found = mode_named(said) or mode_named(next((each for each in MODES if each.casefold() == said.casefold()), ""))
    if found is None:
        raise UsageError(f"there is no mode {said!r}. {_near(said, (*_MODES, NO_WISH))}")
    return found


def _near(said: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(said, known, n=1)
    return f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}."
