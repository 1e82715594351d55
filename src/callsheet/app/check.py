"""The use case: check scripts without running anything of them (CONTRACT C01)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from callsheet.app import compose
from callsheet.app.reading import in_order
from callsheet.app.source import STDIN, expanded, read_bytes
from callsheet.errors import SandboxError, ScriptRefusedError
from callsheet.model.dataclass import dataclass
from callsheet.model.sandbox import SandboxLimits
from callsheet.model.script import Finding, Script
from callsheet.ports import ScriptSession


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """A file and what was found in it, in order of place.

    Attributes:
        path: As given.
        workflow: `meta.name`; None where it could not be read.
    """

    path: str
    workflow: str | None
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many findings are warnings."""
        return len(self.findings) - self.errors


async def check_files(paths: Sequence[str], *, portable: bool = False) -> tuple[CheckedFile, ...]:
    """Checks files in the order given. The engine's own compile judges their syntax, as for `run` (CONTRACT S06).

    Args:
        paths: Relative to the current folder.
        portable: What the reference runtime refuses or lacks is an error.

    Raises:
        SandboxError: The sandbox does not start.
    """
    async with _Compiler() as compiler:
        return tuple([await _check(path, compiler, portable=portable) for path in paths])


class _Compiler:
    """Has syntax judged in a sandbox; in a new one where a file was the end of the last."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._session: ScriptSession | None = None

    async def __aenter__(self) -> _Compiler:
        await self._open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._stack.aclose()

    async def _open(self) -> ScriptSession:
        if self._session is None:
            self._session = await self._stack.enter_async_context(compose.script_host().open(SandboxLimits()))
        return self._session

    async def finding(self, script: Script) -> Finding | None:
        """What the engine has against a script's syntax."""
        session = await self._open()
        await session.ready()
        try:
            fault = await session.compile(script.body)
        except SandboxError as broken:
            self._session = None
            await self._stack.aclose()
            return Finding(severity="error", code="sandbox", contract="S06", message=broken.message)
        return None if fault is None else compose.syntax_finding(script, fault)


async def check_text(text: str, *, origin: str = STDIN) -> CheckedFile:
    """As `check_files`, for a script that is in no file.

    Raises:
        SandboxError: The sandbox does not start.
    """
    data = text.encode("utf-8", "surrogatepass")
    async with _Compiler() as compiler:
        return await _judged(lambda: compose.script_reader()(data, origin=origin, path=None), origin, compiler)


async def _check(path: str, compiler: _Compiler, *, portable: bool) -> CheckedFile:
    return await _judged(lambda: _read(path), path, compiler, portable=portable)


async def _judged(read: Callable[[], Script], path: str, compiler: _Compiler, *, portable: bool = False) -> CheckedFile:
    try:
        script = read()
    except ScriptRefusedError as refused:
        return CheckedFile(path=path, workflow=refused.workflow, findings=refused.findings)
    syntax = await compiler.finding(script)
    findings, _ = compose.look_at(script, portable=portable)
    if syntax is not None:
        findings = (syntax, *findings)
    return CheckedFile(path=path, workflow=script.meta.name, findings=in_order(findings))


def _read(path: str) -> Script:
    data = read_bytes(expanded(path), origin=path)
    return compose.script_reader()(data, origin=path, path=str(Path(path).absolute()))
