"""The commands and their flags. Imports nothing heavy: `--version` and `--help` answer at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import pairwise
from typing import Any

import click

from callsheet import __version__
from callsheet.cli.completing import slash_items, workflow_items
from callsheet.cli.run_options import REHEARSAL_OPTIONS, RUN_OPTIONS, with_options
from callsheet.cli.session_command import SESSION_OPTIONS, open_or_help, refuse_session_options
from callsheet.cli.status import STOPPED, USAGE

_RECORDED = (
    "apply",
    "cost",
    "diff",
    "export",
    "graph",
    "logs",
    "prune",
    "replay",
    "report",
    "rollback",
    "runs",
    "show",
)
"""Commands about recorded runs."""

_SAVED = ("completion", "init", "list", "new", "save")
"""Commands about workflows by name."""

_OTHERS = ("approvals", "author", "config", "do", "doctor", "mcp", "permissions", "serve", "trust", "watch")
_APART = (*_RECORDED, *_SAVED, *_OTHERS)
"""Commands that are each in a module of their own, loaded when it is asked for."""


_CONTROL = ("agent", "answer", "pause", "stop", "unpause")
"""Commands to runs that go on, in one module, loaded in the same way."""

_CALLED = {"list": "list_workflows"}
"""Where a function cannot have its command's name."""


class _Commands(click.Group):
    """The commands; those of `_APART` and `_CONTROL` cost a run nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_APART, *_CONTROL})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in (*_APART, *_CONTROL):
            return super().get_command(ctx, cmd_name)
        module = "control" if cmd_name in _CONTROL else cmd_name
        called = _CALLED.get(cmd_name, cmd_name)
        command: click.Command = getattr(import_module(f"callsheet.cli.{module}_command"), called)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; `/name` is `run name`, and of a name that is none it is said what may have been meant."""
        word = args[0]
        if word.startswith("/") and word != "/":
            script = word if word.count("/") > 1 else word[1:]  # a path from the root is a file
            return "run", self.get_command(ctx, "run"), [script, *args[1:]]
        if self.get_command(ctx, word) is None and not word.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(word, self.list_commands(ctx), n=1, cutoff=0.6)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise click.UsageError(
                f"there is no command {word!r}. {hint}A saved workflow is run by callsheet /{word}.", ctx
            )
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """The commands and, after a `/`, the workflows."""
        if incomplete.startswith("/"):
            return slash_items(incomplete)
        return super().shell_complete(ctx, incomplete)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Without a key: callsheet run SCRIPT --backend offline",
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="callsheet", message="%(prog)s %(version)s")
@with_options(*SESSION_OPTIONS)
@click.pass_context
def cli(ctx: click.Context, /, **flags: Any) -> int:
    """Runs agent workflow scripts: JavaScript says which agents to call, agents do the work, everything is on disk.

    Without a command, at a terminal: a session, in which to say what is to be done (docs/session.md).
    """
    if ctx.invoked_subcommand is None:
        return open_or_help(ctx, flags)
    refuse_session_options(ctx, flags)
    return 0


def _need_script(ctx: click.Context, flags: Mapping[str, Any]) -> None:
    """A script must be named, if not by itself then by the run's config."""
    if flags["script"] is None and flags["config"] is None:
        raise click.MissingParameter(ctx=ctx, param=ctx.command.params[0])


@cli.command("run", short_help="Runs a workflow script: a file, a saved name, or standard input.")
@click.argument("script", metavar="SCRIPT|NAME|-", required=False, shell_complete=workflow_items)
@click.argument("words", metavar="[WORDS]...", nargs=-1)
@with_options(
    *RUN_OPTIONS,
    click.option("--yes", "-y", is_flag=True, help="Start without asking whether the run is meant."),
    click.option("--dry-run", is_flag=True, help="Only say what the run would do: as callsheet rehearse."),
    *REHEARSAL_OPTIONS,
)
@click.pass_context
def run_script(ctx: click.Context, /, **flags: Any) -> int:
    """Runs a workflow script.

    SCRIPT is a .js or .mjs file, NAME a saved workflow (callsheet list), - reads the script from standard input.
    Without one the workflow runs that --config FILE names. callsheet /NAME is the same as callsheet run NAME.

    WORDS become the script's args: key=value words an object, else one text, parsed where it is JSON.

    The result goes to standard output, progress to standard error. At a terminal you are shown before the run what it
    would do, cost and be allowed, and asked whether it is meant; --yes, --headless, --output json and answers of a file
    ask nothing, nor does a workflow of which you said that it need not be asked about (callsheet approvals).

    Exit status: 0 completed, 1 failed, 2 wrong usage or refused script, 3 degraded (the script returned, but something
    in it went wrong), 4 over budget, 5 the run's own approval or trust was refused (you said no, or there are
    hooks, which are not run), 6 interrupted (it can be resumed), 130 stopped by a person.
    """
    if flags["dry_run"]:
        from callsheet.cli.rehearse_command import rehearse_flags

        return rehearse_flags(flags)
    for option in ("answers_from", "fail_over"):
        if flags[option]:
            name = f"--{option.replace('_', '-')}"
            raise click.UsageError(f"{name} goes with --dry-run, or with callsheet rehearse.")
    from callsheet.cli.job import Told
    from callsheet.cli.order import order_of
    from callsheet.cli.run_command import Manner, RunCommand

    _need_script(ctx, flags)
    manner = Manner(
        output=flags["output"],
        is_quiet=flags["quiet"],
        is_headless=flags["headless"],
        fail_on=flags["fail_on"],
        is_detached=flags["detach"] or flags["watch"],
        is_watched=flags["watch"],
        told=Told.by_flags(flags, os.environ),
        is_agreed=flags["yes"],
    )
    return RunCommand(partial(order_of, flags), script=flags["script"] or "", manner=manner).run()


@cli.command("rehearse", short_help="Says what a run would do and cost; runs, asks and writes nothing.")
@click.argument("script", metavar="SCRIPT|NAME|-", required=False, shell_complete=workflow_items)
@click.argument("words", metavar="[WORDS]...", nargs=-1)
@with_options(*REHEARSAL_OPTIONS, *RUN_OPTIONS)
@click.pass_context
def rehearse_script(ctx: click.Context, /, **flags: Any) -> int:
    """Rehearses a workflow script: it runs for real in the sandbox, with answers that are made up, or given.

    The report says which agents a run would call, what they may touch, and what they would cost. Options are those of
    callsheet run; those that say how a run is carried out change nothing here.

    Exit status: 0, 1 the script failed with these answers, 2 wrong usage or refused script, 4 beyond a limit of
    --fail-over.
    """
    from callsheet.cli.rehearse_command import rehearse_flags

    _need_script(ctx, flags)
    return rehearse_flags(flags)


@cli.command("check", short_help="Finds what is wrong with scripts; runs nothing.")
@click.argument("files", metavar="[FILE|NAME]...", nargs=-1, shell_complete=workflow_items)
@with_options(
    click.option(
        "--format", "form", type=click.Choice(["text", "json", "github"]), default="text", help="Of findings."
    ),
    click.option("--portable", is_flag=True, help="What the reference runtime refuses or lacks is an error."),
)
def check_scripts(files: tuple[str, ...], form: Any, portable: bool) -> int:
    """Finds what is wrong with workflow scripts, without running anything.

    NAME is a saved workflow. Without any: all that are saved, the workspace's and your own.

    Exit status: 0 no errors (there may be warnings), 1 errors, 2 wrong usage.
    """
    from callsheet.cli.check_command import check_files

    return check_files(files, form=form, portable=portable)


@cli.command("resume", short_help="Goes on with a run that ended early; answers on record are not asked again.")
@click.argument("run", metavar="[RUN]", required=False)
@with_options(
    click.option("--script", metavar="SCRIPT|NAME|-", help="The script as it is now.  [default: as recorded]"),
    click.option(
        "--reuse",
        type=click.Choice(["unchanged", "prefix", "all"]),
        default="unchanged",
        help="Which recorded answers hold: see below.  [default: unchanged]",
    ),
    click.option("--rerun", multiple=True, metavar="LABEL|AGENT", help="Run this one again; may be given again."),
    click.option("--explain", is_flag=True, help="Say for each call whether it was reused, and else what changed."),
    *RUN_OPTIONS,
)
def resume_run(**flags: Any) -> int:
    """Goes on with a run: its script runs again, and agents that have answered answer from the record.

    RUN is the name that the run's last line shows, or its beginning; without it the last run of this folder. The
    script may have been edited: a call is known again by what it asks. What failed, was cancelled or skipped runs
    again. All else is as recorded where no flag says otherwise; what flags allowed (--allow, --unconfined ...) must be
    allowed again.

    --reuse prefix takes recorded answers only up to the first call that is not as recorded; --reuse all takes them
    whatever became of the files that agents read and changed.

    Exit status: as of callsheet run.
    """
    from callsheet.cli.job import Told
    from callsheet.cli.order import resume_order_of
    from callsheet.cli.run_command import Manner, RunCommand

    manner = Manner(
        output=flags["output"],
        is_quiet=flags["quiet"],
        is_headless=flags["headless"],
        fail_on=flags["fail_on"],
        is_explained=flags["explain"],
        is_detached=flags["detach"] or flags["watch"],
        is_watched=flags["watch"],
        told=Told.by_flags(flags, os.environ),
    )
    return RunCommand(partial(resume_order_of, flags), script=flags["script"] or "", manner=manner).run()


def run_command_line(words: Sequence[str]) -> int:
    """Does what the words ask for, and gives the exit status."""
    from callsheet.cli.streams import prepare_streams

    prepare_streams()
    try:
        status = cli.main(list(words), prog_name="callsheet", standalone_mode=False)
    except click.ClickException as fault:
        return _wrong_usage(fault, words)
    except click.Abort:
        return STOPPED
    return status if isinstance(status, int) else 0


def _wrong_usage(fault: click.ClickException, words: Sequence[str]) -> int:
    """Says what is wrong with the words; where objects were asked for, in that form too."""
    from callsheet.cli.streams import say
    from callsheet.views.safe_text import visible

    if isinstance(fault, click.exceptions.NoArgsIsHelpError):
        say(fault.format_message())
        return USAGE
    if isinstance(fault, click.UsageError) and fault.ctx is not None:
        say(fault.ctx.get_usage(), f"Try '{fault.ctx.command_path} --help' for help.")
    message = visible(fault.format_message())
    say(f"error: {message}")
    if (
        words[:1]
        and (words[0] in ("run", "resume") or words[0].startswith("/"))
        and (output := _asked_output(words)) is not None
    ):
        from callsheet.cli.report import ResultPrinter
        from callsheet.cli.run_command import unbegun
        from callsheet.errors import UsageError

        ResultPrinter(output, is_quiet=True).print_refusal(unbegun(UsageError(message), script=""))
    return USAGE


def _asked_output(words: Sequence[str]) -> Any:
    """The form of output that was asked for in words that are wrong somewhere; None for text."""
    for form in ("json", "jsonl"):
        if f"--output={form}" in words or ("--output", form) in pairwise(words):
            return form
    return None


if __name__ == "__main__":
    sys.exit(run_command_line(sys.argv[1:]))
