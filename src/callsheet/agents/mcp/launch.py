"""How the program of a server is started: the hook for confinement."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from callsheet.agents.mcp.config import StdioServer
from callsheet.agents.mcp.faults import ServerFailure
from callsheet.model.confinement import CommandLine, CommandProfile
from callsheet.model.dataclass import dataclass
from callsheet.ports import CommandConfinement
from callsheet.programs import host_path
from callsheet.shell.environment import command_environment, mark_of

_USUAL = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProgram:
    """The program of one server, as it would be run by itself.

    Attributes:
        argv: The program by absolute path, and its arguments.
        environ: Its whole environment.
        folder: Where it runs.
    """

    argv: tuple[str, ...]
    environ: dict[str, str]
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to start instead.

    Attributes:
        pass_fds: Descriptors that it inherits.
        is_supervised: What is started is a supervisor: it ends the server and everything under it once its own standard
            input is closed. Otherwise standard input is the server's own.
    """

    argv: tuple[str, ...]
    environ: dict[str, str]
    folder: Path
    pass_fds: tuple[int, ...] = ()
    is_supervised: bool = False


Launcher: TypeAlias = Callable[[ServerProgram, int], AbstractAsyncContextManager[Launch]]
"""Makes ready what a server needs, and takes it away when the server has ended.

Its second argument is the descriptor from which the server is to read its standard input; a launch that is not
supervised may ignore it.
"""


@asynccontextmanager
async def as_it_is(program: ServerProgram, stdin_fd: int) -> AsyncIterator[Launch]:
    """Starts the program by itself, in a process group of its own."""
    yield Launch(argv=program.argv, environ=program.environ, folder=program.folder)


def confined_by(confinement: CommandConfinement, profile: Callable[[ServerProgram], CommandProfile]) -> Launcher:
    """Starts programs under a confinement, whose supervisor leaves nothing of them behind, however this process ends.

    Args:
        confinement: What holds them; one without any limits still supervises.
        profile: What a program may touch.
    """

    @asynccontextmanager
    async def launch(program: ServerProgram, stdin_fd: int) -> AsyncIterator[Launch]:
        # The supervisor's standard input is the hold on it, and the command's is empty: the server gets its own.
        word = f'exec "$@" <&{stdin_fd} {stdin_fd}<&-'
        line = CommandLine(
            argv=("/bin/bash", "--noprofile", "--norc", "-c", word, "bash", *program.argv),
            environ=program.environ,
            cwd=program.folder,
            pass_fds=(stdin_fd,),
        )
        async with confinement.open(line, profile(program)) as confined:
            yield Launch(
                argv=confined.argv,
                environ=confined.environ,
                folder=Path("/"),
                pass_fds=confined.pass_fds,
                is_supervised=True,
            )

    return launch


def server_program(server: StdioServer, environ: Mapping[str, str], *, workspace: Path | None) -> ServerProgram:
    """The program of a server; its environment is what commands of agents get, and what its configuration gives it.

    Args:
        server: As configured.
        environ: The host's environment.
        workspace: No program in it is found by its name alone, since agents may put one there; None for none.

    Raises:
        ServerFailure: There is no such program.
    """
    usual = {name: environ[name] for name in _USUAL if name in environ}
    given = {**command_environment(environ, workspace=workspace), **usual, **server.environ, **mark_of(environ)}
    if "/" in server.command:
        path = Path(server.command).expanduser() if server.command.startswith("~/") else server.folder / server.command
        found = shutil.which(str(path))
    else:
        found = shutil.which(server.command, path=host_path(given["PATH"], outside=[workspace] if workspace else []))
    if found is None:
        raise ServerFailure(f"there is no program {server.command!r}; install it, or correct its command")
    return ServerProgram(argv=(found, *server.arguments), environ=given, folder=server.folder)
