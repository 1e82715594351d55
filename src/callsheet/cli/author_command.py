"""`callsheet author`: a model writes a script for a task."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callsheet.authoring.briefing import SIZES
from callsheet.cli.run_options import with_options
from callsheet.cli.status import COMPLETED, FAILED
from callsheet.cli.streams import say
from callsheet.model.call import EFFORTS
from callsheet.views.safe_text import one_line, visible

if TYPE_CHECKING:
    from callsheet.app.authoring import AuthorOrder, Written
    from callsheet.app.shelving import Shelved
    from callsheet.model.run import RunResult

MAX_STDIN_BYTES = 512 * 1024


@click.command(name="author", short_help="A model writes a workflow script for a task in plain words.")
@click.argument("words", metavar="TASK|-", nargs=-1, required=True)
@with_options(
    click.option(
        "--size",
        type=click.Choice(list(SIZES)),
        help="Agents that the script may have: 5, 25, 150, or any number.  [default: medium]",
    ),
    click.option("--run-budget", metavar="AMOUNT", help="What a run of the script is to get along with: '$5', 200k."),
    click.option("--budget", multiple=True, metavar="AMOUNT", help="What the writing may cost: '$2', 50k."),
    click.option("--model", metavar="MODEL", help="Who writes: alias or id.  [default: opus]"),
    click.option(
        "--effort",
        type=click.Choice(EFFORTS, case_sensitive=False),
        help="How hard it thinks, where the model has it.  [default: xhigh]",
    ),
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A run config (YAML): its models.orchestrator and mode_routing.orchestrator say who writes.",
    ),
    click.option("--output", "-o", metavar="FILE", help="Write the script there.  [default: standard output]"),
    click.option("--save-as", metavar="NAME", help="Keep it in .claude/workflows, to be run as callsheet /NAME."),
    click.option("--user", "is_user", is_flag=True, help="With --save-as: in your own ~/.claude/workflows."),
    click.option("--force", is_flag=True, help="Replace a file that is there."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output."),
    click.option(
        "--backend", metavar="NAME", help="Who answers: anthropic, claude_code, acp:NAME, offline, or scripted:FILE."
    ),
    click.option("--service", metavar="NAME", help="Where models are had.  [default: anthropic]"),
    click.option("--workspace", type=click.Path(path_type=Path), help="What it is about.  [default: the git root]"),
    click.option("--store", metavar="PATH", help="Where the record goes.  [default: .callsheet/callsheet.db]"),
    click.option("--ignore-hooks", is_flag=True, help="Write although PreToolUse hooks are declared; none is run."),
    click.option("--quiet", "-q", is_flag=True, help="No progress and no plan."),
)
def author(**flags: Any) -> int:
    """A model reads the workspace and writes a workflow script for TASK; - reads the task from standard input.

    The script is checked and rehearsed; what is wrong goes back to the model, at most four times. What you get has
    passed, and has not run: read it, then callsheet run it. The plan, with agents and cost, goes to standard error.
    Other defaults than these are set as [authoring] in your config.toml.

    The writing is a run as any other: callsheet show last, callsheet resume, callsheet cost know it. Its agent reads
    and changes nothing. Without a key the offline agent writes: one agent for each file that the task is about, and one
    that puts their answers together.

    Exit status: 0, 1 no script was written, 2 wrong usage, 4 over budget, 5 there are hooks, which are not run, and you
    did not agree to that, 6 interrupted (callsheet resume goes on with the writing; the script is then the run's
    result), 130 stopped by a person.
    """
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _author(flags))


def _author(flags: Mapping[str, Any]) -> int:
    import anyio

    from callsheet.app.authoring import order_of, written
    from callsheet.app.plan import Surroundings
    from callsheet.cli.author_result import KeptResult
    from callsheet.cli.job import Told
    from callsheet.cli.run_command import Manner, RunCommand
    from callsheet.errors import UsageError

    around = Surroundings()
    if flags["output"] is not None and not flags["force"] and (around.start / flags["output"]).exists():
        raise UsageError(f"{flags['output']} is there already. Name another file with -o, or replace it with --force.")
    order = _order(flags)
    run = order_of(order, around)
    printer = KeptResult(is_quiet=True)
    manner = Manner(is_quiet=flags["quiet"], is_agreed=True, told=Told())
    status = RunCommand(lambda: run, script="author", manner=manner, printer=printer).run()
    result = printer.result
    if result is None or result.status != "completed":
        if flags["as_json"] and result is not None:
            _print_json({"status": result.status, "run_id": result.run_id, "script": None})
        return status or FAILED
    found = anyio.run(written, result.result, order, around)
    return _show(found, result, flags)


def _order(flags: Mapping[str, Any]) -> AuthorOrder:
    from callsheet.app.authoring import AuthorOrder
    from callsheet.app.choices import Choices
    from callsheet.app.quantities import parse_budget
    from callsheet.app.shelving import checked_name
    from callsheet.errors import ConfigError, UsageError

    if flags["save_as"] is not None:
        checked_name(flags["save_as"])
    try:
        budget = parse_budget(" ".join(flags["budget"])) if flags["budget"] else None
        if flags["run_budget"] is not None:
            parse_budget(flags["run_budget"])
    except ConfigError as fault:
        raise UsageError(f"--budget, --run-budget: {fault.message}") from None
    return AuthorOrder(
        task=task_of(flags["words"]),
        size=flags["size"],
        model=flags["model"],
        effort=flags["effort"],
        run_budget=flags["run_budget"],
        choices=Choices(budget=budget, backend=flags["backend"], service=flags["service"], store=flags["store"]),
        workspace=flags["workspace"],
        config=flags["config"],
        ignore_hooks=flags["ignore_hooks"],
    )


def task_of(words: tuple[str, ...]) -> str:
    """The task that the words are; `-` reads it from standard input."""
    if words != ("-",):
        return " ".join(words)
    if sys.stdin.isatty():
        say("reading the task from standard input; end it with Ctrl-D")
    return sys.stdin.buffer.read(MAX_STDIN_BYTES).decode("utf-8", "replace")


def _show(found: Written, result: RunResult, flags: Mapping[str, Any]) -> int:
    """Puts the script where it was asked to go, and says what it would do."""
    path, shelved = _put(found, flags)
    if flags["as_json"]:
        return _print_json(_object(found, result, path=path, shelved=shelved))
    status = COMPLETED
    if path is None and shelved is None:
        from callsheet.cli.reading import printed

        status = printed([visible(found.script.text.rstrip("\n"))])
    if not flags["quiet"]:
        say("", *_plan_lines(found))
    say(*_next_lines(found, path, shelved))
    return status


def _put(found: Written, flags: Mapping[str, Any]) -> tuple[Path | None, Shelved | None]:
    from callsheet.app.shelving import kept
    from callsheet.cli.save_command import target

    path = None if flags["output"] is None else Path(flags["output"])
    if path is not None:
        from callsheet.app.exporting import private_file

        with private_file(path, replaces=flags["force"]) as stream:
            stream.write(found.script.text)
    if flags["save_as"] is None:
        return path, None
    place = target(flags["workspace"], is_user=flags["is_user"], is_forced=flags["force"])
    return path, kept(found.script.text, place, name=flags["save_as"], what="the task")


def _plan_lines(found: Written) -> Iterator[str]:
    from callsheet.cli.rehearsal_lines import rehearsal_lines

    yield from rehearsal_lines(found.told)
    if found.notes.strip():
        yield ""
        yield "its author says:"
        for line in found.notes.strip().splitlines():
            yield f"  {visible(line)}"


def _next_lines(found: Written, path: Path | None, shelved: Shelved | None) -> Iterator[str]:
    yield ""
    if shelved is not None:
        for note in shelved.notes:
            yield f"note: {one_line(note)}"
        yield f"saved: {one_line(str(shelved.path))}"
        yield f"run it: callsheet /{one_line(shelved.name)}"
    elif path is not None:
        yield f"written: {one_line(str(path))}"
        yield f"run it: callsheet run {one_line(str(path))}"
    else:
        yield "keep it: -o FILE, or --save-as NAME; callsheet show last has it too"


def _object(found: Written, result: RunResult, *, path: Path | None, shelved: Shelved | None) -> dict[str, Any]:
    from callsheet.app.rehearsal_json import rehearsal_json

    return {
        "status": result.status,
        "run_id": result.run_id,
        "name": found.script.meta.name if shelved is None else shelved.name,
        "description": found.script.meta.description,
        "script": found.script.text,
        "notes": found.notes,
        "path": str(path) if path is not None else None if shelved is None else str(shelved.path),
        "cost_usd": result.usage.cost_usd,
        "rehearsal": rehearsal_json(found.told),
    }


def _print_json(value: dict[str, Any]) -> int:
    from callsheet.cli.reading import json_line, printed

    return printed([json_line(value)], is_json=True)
