"""`callsheet mcp`: the workflow tools for any MCP host."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callsheet.cli.permission_options import PERMISSION_OPTIONS
from callsheet.cli.reading import json_line, printed
from callsheet.cli.run_options import with_options
from callsheet.cli.streams import say
from callsheet.views.safe_text import one_line

if TYPE_CHECKING:
    from callsheet.app.tool_order import Grants
    from callsheet.app.workflow_tools import WorkflowTools
    from callsheet.web.access import Access

_COMMAND = "callsheet mcp --http"
_TOKEN_BYTES = 4_096


@click.command(name="mcp", short_help="Serves workflows to MCP hosts: Claude Code, Zed, any other.")
@with_options(
    click.option("--workspace", type=click.Path(path_type=Path), help="Where runs work.  [default: the git root]"),
    click.option("--max-budget", multiple=True, metavar="AMOUNT", help="What one run may use at most ('2M', '$5')."),
    click.option("--max-agents", type=click.IntRange(min=1), metavar="N", help="Agents that one run may start."),
    click.option(
        "--backend", metavar="NAME", help="Who answers: anthropic, claude_code, acp:NAME, offline, or scripted:FILE."
    ),
    click.option("--service", metavar="NAME", help="Where models are had, as for callsheet run."),
    click.option("--model", metavar="MODEL", help="Alias or id, for calls that name none."),
    click.option("--store", metavar="PATH", help="Where the record goes.  [default: .callsheet/callsheet.db]"),
    click.option("--share", is_flag=True, help="Runs work beside others that share the workspace too."),
    click.option("--worktree", is_flag=True, help="Each run works in a git worktree of its own, kept on a branch."),
    click.option("--headless", is_flag=True, help="What agents ask is denied at once; nobody can answer it."),
    *PERMISSION_OPTIONS,
    click.option("--http", is_flag=True, help="Serve streamable HTTP on loopback, with a token, instead of stdio."),
    click.option("--port", type=click.IntRange(0, 65535), help="0 for any that is free.  [default: 8450, else any]"),
    click.option("--token-file", type=click.Path(path_type=Path), help="Keep the token there; made where missing."),
    click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen."),
    click.option("--expose", is_flag=True, help="Listen where other machines can reach it, without encryption."),
    click.option(
        "--allow-host", "allowed", multiple=True, metavar="NAME[:PORT]", help="A further name that it answers to."
    ),
)
def mcp(**flags: Any) -> int:
    """Serves workflows over the Model Context Protocol: a host's model writes scripts, starts and stops runs, and reads
    what came of them. A host starts it by itself; see docs/mcp.md for what to tell it.

    Runs go on in processes of their own when the host ends. Flags say the most that a run may use and do; a call can
    only ask for less. With --http the address and the token are printed.

    Exit status: 0 the host closed the connection, 1 it broke, 2 wrong usage.
    """  # noqa: D205 - one sentence, as click shows it
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _serve_http(flags) if flags["http"] else _serve_stdio(flags))


def _serve_stdio(flags: dict[str, Any]) -> int:
    import signal

    import anyio

    from callsheet.errors import UsageError

    for name in ("port", "token_file", "expose", "allowed"):
        if flags[name]:
            raise UsageError(f"--{'allow-host' if name == 'allowed' else name.replace('_', '-')} goes with --http.")
    _check_extra()
    from callsheet.mcp_server.server import create_server
    from callsheet.mcp_server.serving import serve_stdio

    tools = _tools(flags)
    if sys.stdin.isatty():
        say(
            "This is an MCP server: a host such as Claude Code starts it and talks to it here. To add it there:",
            f"  claude mcp add callsheet -- callsheet mcp --workspace {one_line(str(tools.root))}",
            "Ctrl-C ends it.",
        )
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a thread waits for input, and nothing else would wake it
    anyio.run(serve_stdio, create_server(tools))
    return 0


def _serve_http(flags: dict[str, Any]) -> int:
    import signal

    import anyio

    from callsheet.errors import UsageError
    from callsheet.web.access import access_for, authority, is_loopback
    from callsheet.web.bearer import BearerGuard
    from callsheet.web.server import listen, serving

    host = flags["host"]
    if not is_loopback(host) and not flags["expose"]:
        raise UsageError(
            f"--host {one_line(host)} lets other machines reach this server, without encryption: whoever can listen on "
            "the way has the token, and can run agents here. Better: ssh -L 8450:127.0.0.1:8450 HOST. If you mean it, "
            "say --expose as well."
        )
    _check_extra()
    from callsheet.mcp_server.server import create_server
    from callsheet.mcp_server.serving import PATH, http_app

    tools = _tools(flags)
    token = None if flags["token_file"] is None else _kept_token(flags["token_file"])
    listener = listen(host, flags["port"])
    port = listener.getsockname()[1]
    access = access_for(token=token, address=host, port=port, allowed=flags["allowed"])
    app = BearerGuard(http_app(create_server(tools)), access=access, command=_COMMAND)
    address = "127.0.0.1" if host in ("0.0.0.0", "::") else host

    async def work() -> int:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
            async with serving(app, listener, at_end=_nothing):
                status = _tell(f"http://{authority(address, port)}{PATH}", access, tools)
                async for _ in received:
                    break
        return status

    with listener:
        return anyio.run(work)


def _nothing() -> None:
    """Ends what needs no word to end."""


def _tell(url: str, access: Access, tools: WorkflowTools) -> int:
    status = printed([json_line({"url": url, "token": access.token})], is_json=True)
    say(
        f"MCP over HTTP for {one_line(str(tools.root))}. Clients send Authorization: Bearer TOKEN; whoever has it can "
        "run agents here.",
        "Ctrl-C ends this; runs go on.",
    )
    return status


def _check_extra() -> None:
    """Sees that the protocol's SDK is there.

    Raises:
        UsageError: It is not.
    """
    from importlib.util import find_spec

    from callsheet.errors import UsageError

    if find_spec("mcp") is None:
        raise UsageError("callsheet mcp needs the extra mcp: pip install 'callsheet[mcp]'.")


def _tools(flags: dict[str, Any]) -> WorkflowTools:
    from callsheet.app.launching import Launcher
    from callsheet.app.plan import Surroundings
    from callsheet.app.workflow_tools import WorkflowTools

    launcher = Launcher((sys.executable, "-m", "callsheet.cli.launched"), dict(os.environ))
    return WorkflowTools(grants=_grants(flags), launcher=launcher, around=Surroundings(), workspace=flags["workspace"])


def _grants(flags: dict[str, Any]) -> Grants:
    """What the flags allow.

    Raises:
        UsageError: One cannot hold.
    """
    from dataclasses import replace

    from callsheet.app.choices import Choices, check_ranges
    from callsheet.app.ground import terms_of
    from callsheet.app.quantities import parse_budget
    from callsheet.app.tool_order import Grants
    from callsheet.cli.order import permission_choices
    from callsheet.errors import ConfigError, UsageError
    from callsheet.model.spending import Budget

    try:
        budget = parse_budget(" ".join(flags["max_budget"])) if flags["max_budget"] else Budget()
    except ConfigError as fault:
        raise UsageError(f"--max-budget: {fault.message}") from None
    choices = Choices(
        backend=_whole(flags["backend"]),
        service=flags["service"],
        model=flags["model"],
        store=_absolute(flags["store"]),
    )
    check_ranges(choices, source="")
    said = permission_choices(flags)
    return Grants(
        permissions=replace(said, folders=tuple(folder.expanduser().absolute() for folder in said.folders)),
        choices=choices,
        max_budget=budget,
        max_agents=flags["max_agents"],
        use=terms_of(share=flags["share"], wait=None, worktree=flags["worktree"]).use,
        is_headless=flags["headless"],
    )


def _whole(backend: str | None) -> str | None:
    """A backend whose file is found from everywhere: runs begin in the workspace, not here."""
    name, colon, file = (backend or "").partition(":")
    return f"{name}:{Path(file).expanduser().absolute()}" if colon and file else backend


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().absolute())


def _kept_token(path: Path) -> str:
    """The token that a file holds, which only its user can read; makes both where there is no file.

    Raises:
        UsageError: Others can read it, or it holds no token.
    """
    from callsheet.errors import UsageError
    from callsheet.web.access import SHORTEST_TOKEN, new_token

    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as made:
            token = new_token()
            made.write(f"{token}\n".encode("ascii"))
            return token
    except FileExistsError:
        pass
    except OSError as fault:
        raise UsageError(f"--token-file {one_line(str(path))} cannot be made: {fault.strerror}.") from None
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            token = file.read(_TOKEN_BYTES).decode("ascii", "replace").strip()
    except OSError as fault:
        raise UsageError(f"--token-file {one_line(str(path))} cannot be read: {fault.strerror}.") from None
    if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o077:
        raise UsageError(f"--token-file {one_line(str(path))} can be read by others. Make it yours: chmod 600.")
    if len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable()):
        raise UsageError(
            f"--token-file {one_line(str(path))} holds no token of {SHORTEST_TOKEN} characters or more. Remove it: "
            "a new one is made."
        )
    return token
