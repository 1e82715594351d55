"""The MCP servers of a run: which take effect, settled before it, and what holds their programs."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from anyio import to_thread

from callsheet.app.claims import LOOKED_AT, SERVERS
from callsheet.app.trusting import Site, one_line
from callsheet.errors import ConfigError, ConfinementError
from callsheet.model.dataclass import dataclass

if TYPE_CHECKING:
    from callsheet.agents.mcp.config import McpServer
    from callsheet.agents.mcp.launch import Launch, Launcher, ServerProgram
    from callsheet.agents.mcp.pool import McpPool
    from callsheet.agents.tools.bounds import Bounds
    from callsheet.model.confinement import CommandProfile

USER_FILE = ".claude.json"
MAX_NOTES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ServersFound:
    """What takes effect, as it was read when it was trusted; later changes of the files are nothing to the run.

    Attributes:
        notes: What cannot be used, one line each.
    """

    servers: tuple[McpServer, ...] = ()
    notes: tuple[str, ...] = ()


def find(site: Site, *, is_trusted: bool) -> ServersFound:
    """The servers of the user, and where it is trusted those of the workspace. Starts nothing.

    Args:
        site: Where the run takes place.
        is_trusted: A person trusts what the workspace's files ask for.
    """
    project = site.project.folder
    named = site.environ.get("CLAUDE_CONFIG_DIR")
    user = Path(named) if named else site.home
    if not any(os.path.lexists(path) for path in (project / SERVERS, user / USER_FILE)):
        return ServersFound()
    from callsheet.agents.mcp.config import find_servers

    notes = []
    if (user / USER_FILE).resolve().is_relative_to(site.root.resolve()):
        if os.path.lexists(user / USER_FILE):
            notes.append(f"ignored: {user / USER_FILE} lies in the workspace, where agents may write it")
        user = Path("/nonexistent")
    is_listed = is_trusted and _was_shown(project)
    found = find_servers(
        workspace=site.root, project=project, home=site.home, environ=site.environ, trusted=is_listed, config_dir=user
    )
    if is_trusted and not is_listed and found.untrusted:
        notes.append(
            f"ignored: {site.project.name(SERVERS)} is a link out of the workspace, or too large to be trusted"
        )
    notes += [f"MCP servers: {fault}" for fault in found.faults]
    if len(notes) > MAX_NOTES:
        notes = [*notes[:MAX_NOTES], f"… and {len(notes) - MAX_NOTES} more lines about MCP servers"]
    return ServersFound(servers=found.servers, notes=tuple(map(one_line, notes)))


def reachable(found: ServersFound, hosts: tuple[str, ...] | None) -> tuple[ServersFound, tuple[str, ...]]:
    """The servers that are left where `external_api` bounds what is reached, and a line about the others.

    A server that is a program may reach whatever it likes, so that only those at listed hosts are left.

    Args:
        found: What would take effect.
        hosts: What may be reached; None for no bound.
    """
    if hosts is None or not found.servers:
        return found, ()
    left = tuple(server for server in found.servers if _is_at(server, hosts))
    gone = [server.name for server in found.servers if server not in left]
    if not gone:
        return found, ()
    note = one_line(f"external_api: MCP servers that reach other machines are left out: {', '.join(gone)}.")
    return replace(found, servers=left), (note,)


def _is_at(server: McpServer, hosts: tuple[str, ...]) -> bool:
    from callsheet.agents.mcp.config import HttpServer

    if not isinstance(server.how, HttpServer):
        return False
    parts = urlsplit(server.how.url)
    host = (parts.hostname or "").casefold()
    places = {host, f"{host}:{parts.port}"} if parts.port is not None else {host}
    return any(place in places or (place.startswith("*.") and host.endswith(place[1:])) for place in hosts)


def _was_shown(folder: Path) -> bool:
    """Whether the file of a workspace is one that a person who trusted it was shown in full."""
    path = Path(os.path.realpath(folder / SERVERS))
    try:
        return path.is_relative_to(os.path.realpath(folder)) and path.stat().st_size < LOOKED_AT
    except OSError:
        return False


@asynccontextmanager
async def open_servers(found: ServersFound, bounds: Bounds, site: Site, *, root: Path) -> AsyncGenerator[str | None]:
    """Offers servers to the run's agents; the first that may use one starts it. Leaving ends them, in bounded time.

    Args:
        found: What takes effect.
        bounds: Of the agents.
        site: Where the run takes place.
        root: Where its agents work.

    Yields:
        A line for the run's notes, where they are not to be had.
    """
    if not found.servers:
        yield None
        return
    async with AsyncExitStack() as stack:
        note = None
        said: list[str] = []
        opened = await to_thread.run_sync(_import_pool)
        try:
            pool = await stack.enter_async_context(
                opened(
                    [_moved(server, site.root, root) for server in found.servers],
                    environ=site.environ,
                    workspace=root,
                    launcher_of=partial(_launcher, bounds=bounds, root=root),
                    tell=said.append,
                )
            )
        except ConfigError as error:
            note = f"{error.message}; the run goes on without them"
        else:
            from callsheet.agents.tools.servers import Servers

            bounds.servers = Servers(pool, said)
        yield note


def _import_pool() -> Callable[..., AbstractAsyncContextManager[McpPool]]:
    from callsheet.agents.mcp.pool import open_mcp

    return open_mcp


def _moved(server: McpServer, root: Path, ground: Path) -> McpServer:
    """A server that would run in the workspace, in the worktree that stands for it."""
    from callsheet.agents.mcp.config import StdioServer

    if isinstance(server.how, StdioServer) and server.how.folder == root:
        return replace(server, how=replace(server.how, folder=ground))
    return server


def _launcher(server: McpServer, *, bounds: Bounds, root: Path) -> Launcher:
    """How a server's program is started: the user's own as it is; one that a workspace brings held like a command."""
    from callsheet.agents.mcp.faults import ServerFailure
    from callsheet.agents.mcp.launch import as_it_is, confined_by

    if server.scope != "project":
        return as_it_is

    @asynccontextmanager
    async def launch(program: ServerProgram, stdin_fd: int) -> AsyncIterator[Launch]:
        async with AsyncExitStack() as stack:
            try:
                held = await bounds.held()
                scratch = await stack.enter_async_context(bounds.scratch(f"mcp-{server.name}"))
                profile = await _profile(program, bounds, root=root, scratch=scratch)
                start = confined_by(held.confinement, lambda _: profile)
                launched = await stack.enter_async_context(start(program, stdin_fd))
            except (ConfinementError, OSError) as error:
                raise ServerFailure(f"it cannot be held: {error}") from None
            yield launched

    return launch


async def _profile(program: ServerProgram, bounds: Bounds, *, root: Path, scratch: Path) -> CommandProfile:
    """What the program of a workspace's server may touch: the workspace, and the network."""
    from callsheet.agents.tools.profile import program_places
    from callsheet.model.confinement import CommandProfile, NetworkOpen

    home = bounds.home.resolve()
    return CommandProfile(
        scratch=scratch,
        writable=(root,),
        visible=(
            *bounds.visible,
            *program_places(program.environ.get("PATH", ""), home),
            *_program_places(Path(program.argv[0])),
        ),
        protected=await bounds.protected(root),
        hidden=(*bounds.hidden, root / ".callsheet"),
        home=home,
        network=NetworkOpen(),
        limits=bounds.limits,
    )


def _program_places(program: Path) -> tuple[Path, ...]:
    """Where a program lies, and of the Python of a virtual environment also that environment and its base."""
    environment = program.parent.parent
    if not (environment / "pyvenv.cfg").is_file():
        return (program.parent,)
    return environment, program.resolve().parent.parent
