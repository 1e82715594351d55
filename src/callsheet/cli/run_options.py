"""The flags of commands that run a workflow, or rehearse one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from callsheet.cli.permission_options import PERMISSION_OPTIONS

_Command = TypeVar("_Command", bound=Callable[..., Any])


def with_options(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Gives a command options, which its help shows in this order."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def without(options: tuple[Callable[[Any], Any], ...], *names: str) -> tuple[Callable[[Any], Any], ...]:
    """Options but for some, which are named as the command's arguments are."""
    return tuple(option for option in options if _name_of(option) not in names)


def _name_of(option: Callable[[Any], Any]) -> str | None:
    def command() -> None:
        """Takes the option, so that its name can be read."""

    parameters: list[click.Parameter] = option(command).__click_params__
    return parameters[0].name


RUN_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The run's own config (YAML): its workflow, limits, models, permissions, log, rollback.",
    ),
    click.option(
        "--args", "args_text", metavar="JSON|TEXT", help="The script's args: JSON where it is JSON, else text."
    ),
    click.option("--arg", "pairs", metavar="KEY=VALUE", multiple=True, help="One key of args; may be given again."),
    click.option(
        "--backend",
        metavar="NAME",
        help="Who answers: anthropic, claude_code, acp:NAME, offline, or scripted:FILE.",
    ),
    click.option(
        "--service",
        metavar="NAME",
        help="Where models are had: anthropic, bedrock, bedrock-mantle, vertex, foundry.  [default: anthropic]",
    ),
    click.option("--model", metavar="MODEL", help="Alias or id, for calls that name none."),
    click.option(
        "--agent-type", multiple=True, metavar="NAME=OTHER", help="Where a script says agent type NAME, take OTHER."
    ),
    click.option("--max-parallel", type=int, metavar="N", help="Agents at work at a time, 1 to 256.  [default: 16]"),
    click.option("--max-agents", type=int, metavar="N", help="Agents the run may start.  [default: 1000]"),
    click.option("--max-turns", type=int, metavar="N", help="Model turns of one agent.  [default: 200]"),
    click.option("--budget", multiple=True, metavar="AMOUNT", help="Output tokens (200, 1.5k, 2M) or dollars ('$40')."),
    click.option(
        "--phase-budget",
        multiple=True,
        metavar="TITLE=AMOUNT",
        help="A phase's own budget: 'Plan=200k', 'Plan=$5'.",
    ),
    click.option("--agent-budget", multiple=True, metavar="AMOUNT", help="What each agent may use at most."),
    click.option(
        "--cost-stop",
        metavar="AMOUNT",
        help="Where a run without a budget asks whether it goes on, headless stops ('$50', none).  [default: $25]",
    ),
    click.option(
        "--price",
        multiple=True,
        metavar="MODEL=IN/OUT",
        help="What a model costs: dollars for a million tokens of input and output.",
    ),
    click.option("--cpu-limit", metavar="SECONDS", help="CPU of the script between two answers.  [default: 10]"),
    click.option("--cpu-total", metavar="SECONDS", help="CPU of the whole script.  [default: 60]"),
    click.option("--memory-limit", metavar="SIZE", help="The script's heap.  [default: 256M]"),
    click.option("--strict", is_flag=True, default=None, help="Clock and random numbers throw in the script."),
    click.option("--require-confinement", is_flag=True, default=None, help="Refuse to run without a kernel filter."),
    click.option(
        "--preflight",
        type=click.Choice(["warn", "refuse"]),
        help="What to do where a name or schema of the script cannot be had.  [default: warn]",
    ),
    click.option(
        "--approval-timeout",
        metavar="SECONDS",
        help="How long agents wait for your answer to a question.  [default: 600]",
    ),
    click.option(
        "--max-wait",
        metavar="SECONDS",
        help="How long to wait for a service that stays away (2h; 0: not at all).  [default: 6h]",
    ),
    click.option(
        "--checkpoint-interval",
        type=int,
        metavar="N",
        help="Keep the workspace's state every N agents too, not only before the run and at the end.",
    ),
    click.option(
        "--rollback-on-failure",
        is_flag=True,
        default=None,
        help="Take back what an agent changed that failed.",
    ),
    click.option(
        "--no-cache-warmup",
        "cache_warmup",
        is_flag=True,
        flag_value=False,
        default=None,
        help="Calls that share a prompt prefix do not wait for the first of them.",
    ),
    click.option("--headless", is_flag=True, help="Ask nobody: what would be asked is denied."),
    click.option("--workspace", type=click.Path(path_type=Path), help="Where agents work.  [default: the git root]"),
    *PERMISSION_OPTIONS,
    click.option("--share", is_flag=True, help="Work beside other runs that share the workspace too."),
    click.option(
        "--wait",
        metavar="[SECONDS]",
        is_flag=False,
        flag_value="forever",
        help="Wait for other runs in the workspace to end.",
    ),
    click.option("--worktree", is_flag=True, help="Work in a git worktree of the run's own, kept on a branch."),
    click.option("--store", metavar="PATH", help="Where the record goes.  [default: .callsheet/callsheet.db]"),
    click.option(
        "--log-file", metavar="PATH", help="Write the run's events to this file too; {timestamp} in it is the start."
    ),
    click.option(
        "--log-level",
        type=click.Choice(["quiet", "normal", "verbose"]),
        help="How much goes there: what went wrong, all but progress, or all.  [default: normal]",
    ),
    click.option(
        "--fail-on",
        type=click.Choice(["degraded", "failed"]),
        default="degraded",
        help="Whether a degraded run exits with 3 or 0.  [default: degraded]",
    ),
    click.option("--output", type=click.Choice(["text", "json", "jsonl"]), default="text", help="What is printed."),
    click.option(
        "--step-summary",
        metavar="FILE",
        help="Add a page on how the run ended to this file, in Markdown; none for no page.  "
        "[default: $GITHUB_STEP_SUMMARY in a GitHub job]",
    ),
    click.option(
        "--annotations",
        type=click.Choice(["auto", "github", "none"]),
        default="auto",
        help="Print problems and a refused script as annotations of a GitHub job.  [default: in such a job]",
    ),
    click.option("--quiet", "-q", is_flag=True, help="No progress, no summary."),
    click.option("--notify", metavar="CMD", help="A command that is run when the run has ended or waits for a person."),
    click.option("--detach", "-d", is_flag=True, help="Run in a process of its own; print its id once it has started."),
    click.option("--watch", is_flag=True, help="As --detach, and opens the dashboard on it, which may be closed."),
)


REHEARSAL_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--answers-from",
        metavar="FILE|RUN",
        help="What agents answer in a rehearsal: an answers file, or a recorded run.  [default: made up]",
    ),
    click.option(
        "--fail-over",
        multiple=True,
        metavar="NAME=AMOUNT,...",
        help="Exit with 4 where a rehearsal may go beyond: cost=20,agents=200,tokens=1.5M,violations=0.",
    ),
)
