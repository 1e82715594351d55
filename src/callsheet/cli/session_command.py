"""`callsheet` without a command: the session at the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callsheet.cli.streams import say
from callsheet.views.safe_text import visible

if TYPE_CHECKING:
    from callsheet.app.session_model import Session, SessionOrder

SESSION_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--continue",
        "continued",
        metavar="[ID]",
        is_flag=False,
        flag_value="last",
        help="Open the last session of this folder again, or another by its id.",
    ),
    click.option("--backend", metavar="NAME", help="Of a session: who answers, as for callsheet run."),
    click.option("--service", metavar="NAME", help="Of a session: where models are had, as for callsheet run."),
    click.option("--workspace", type=click.Path(path_type=Path), help="Of a session: where it works."),
    click.option("--store", metavar="PATH", help="Of a session: where runs are on record."),
    click.option(
        "--ignore-hooks",
        is_flag=True,
        default=None,
        help="Of a session: go on without the PreToolUse hooks that are declared, which are not run.",
    ),
)
_NAMES = {"continued": "continue", "ignore_hooks": "ignore-hooks"}


def open_or_help(ctx: click.Context, flags: Mapping[str, Any]) -> int:
    """Opens the session; without a terminal says what there is, as ever.

    Raises:
        NoArgsIsHelpError: There is no terminal, and nothing was asked for.
    """
    given = [name for name, value in flags.items() if value is not None]
    if not given and not _has_terminal(os.environ):
        raise click.exceptions.NoArgsIsHelpError(ctx)
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _converse(flags))


def refuse_session_options(ctx: click.Context, flags: Mapping[str, Any]) -> None:
    """Sees that none was given before a command, where it would mean nothing.

    Raises:
        UsageError: One was.
    """
    for name, value in flags.items():
        if value is not None:
            option = f"--{_NAMES.get(name, name)}"
            given = option if value is True else f"{option} …"
            where = "" if name == "continued" else f" Behind the command: callsheet {ctx.invoked_subcommand} {given}"
            raise click.UsageError(f"{option} before a command is for the session, which takes no command.{where}", ctx)


def _has_terminal(environ: Mapping[str, str]) -> bool:
    is_one = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    return is_one and environ.get("TERM", "dumb") not in ("", "dumb")


def _converse(flags: Mapping[str, Any]) -> int:
    from callsheet.errors import UsageError

    if not _has_terminal(os.environ):
        raise UsageError(
            'a session needs a terminal that can move its cursor, and this is none. callsheet do "TASK" works without.'
        )
    from callsheet.errors import TrustRefusedError
    from callsheet.tui.session_app import converse

    try:
        said = converse(lambda: _opened(_order(flags)), store=flags["store"])
    except TrustRefusedError:
        from callsheet.app.session import asked_first
        from callsheet.cli.trust_prompt import person_at

        if (person := person_at(is_reading=False)) is None:
            raise
        order = asked_first(_order(flags), person)
        said = converse(lambda: _opened(order), store=flags["store"])
    if said:
        say(visible(said))
    return 0


def _order(flags: Mapping[str, Any]) -> SessionOrder:
    from callsheet.app.choices import Choices
    from callsheet.app.session_model import SessionOrder
    from callsheet.app.trusting import PermissionChoices

    return SessionOrder(
        resumed=flags["continued"],
        workspace=flags["workspace"],
        choices=Choices(backend=flags["backend"], service=flags["service"], store=flags["store"]),
        permissions=PermissionChoices(ignore_hooks=bool(flags["ignore_hooks"])),
    )


def _opened(order: SessionOrder) -> AbstractAsyncContextManager[Session]:
    """Opens it. Loads what that needs here, when the screen is there already."""
    from callsheet.app.launching import Launcher
    from callsheet.app.plan import Surroundings
    from callsheet.app.session import open_session

    launcher = Launcher((sys.executable, "-m", "callsheet.cli.launched"), dict(os.environ))
    return open_session(order, launcher=launcher, around=Surroundings(interactive=True))
