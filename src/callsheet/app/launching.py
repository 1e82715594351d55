"""Starting a run in a process of its own, which outlives whoever asked for it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import anyio

from callsheet.app.tool_order import LaunchOrder
from callsheet.errors import LeaseHeldError, NotStartedError
from callsheet.groups import meanwhile
from callsheet.model.dataclass import dataclass

START_S = 60.0
"""How long a run may take to start. Who asked may go away meanwhile: it is waited for all the same."""
IN_USE_STATUS = 75
"""The status with which the program ends where another run holds the workspace."""
_LAST_WORDS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """A run that goes on by itself.

    Attributes:
        record: Where it is on record.
    """

    run_id: str
    record: str
    log: str | None


class Launcher:
    """Starts runs with a program that reads a `LaunchOrder` and says, as JSON, that the run has started or why not."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], *, start_s: float = START_S) -> None:
        self._command = tuple(command)
        self._environ = environ
        self._start_s = start_s

    async def launch(self, order: LaunchOrder, *, on_late: Callable[[], Awaitable[None]] | None = None) -> Launched:
        """Starts a run. Cancelling waits for it, as long as a start may take: nobody has a run they do not know of.

        Args:
            order: What is started.
            on_late: Told where that takes longer; then it is waited for until it has started, or has not. None to give
                up.

        Raises:
            NotStartedError: It did not start; says why.
            LeaseHeldError: Others work in the workspace.
        """
        said = json.dumps(order.model_dump(mode="python")).encode("ascii")
        with anyio.CancelScope(shield=True) as scope:
            async with meanwhile(partial(self._watch_clock, scope, on_late)):
                done = await self._run(order, said)
        return _started(done.returncode, done.stdout, done.stderr)

    async def _run(self, order: LaunchOrder, said: bytes) -> subprocess.CompletedProcess[bytes]:
        try:
            return await anyio.run_process(
                self._command,
                input=said,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                check=False,
                cwd=order.workspace,
                env=self._environ,
                start_new_session=True,
            )
        except OSError as fault:
            raise NotStartedError(f"no process could be started: {fault.strerror}.", kind="internal") from None

    async def _watch_clock(self, scope: anyio.CancelScope, on_late: Callable[[], Awaitable[None]] | None) -> None:
        await anyio.sleep(self._start_s)
        if on_late is None:
            raise NotStartedError(
                f"the run did not start within {self._start_s:.0f} seconds. It may yet: the list of runs has it then.",
                kind="internal",
            )
        scope.shield = False
        await on_late()


def _started(status: int, said: bytes, words: bytes) -> Launched:
    try:
        answer: Any = json.loads(said)
    except ValueError:
        answer = None
    if status == 0 and isinstance(answer, dict) and "record" in answer:
        return Launched(run_id=answer["run_id"], record=answer["record"], log=answer.get("log"))
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict) and status == IN_USE_STATUS:
        raise LeaseHeldError(str(error.get("message")), holders=())
    if isinstance(error, dict):
        raise NotStartedError(
            str(error.get("message")),
            kind=str(error.get("kind")),
            line=error.get("line"),
            column=error.get("column"),
        )
    tail = words.decode("utf-8", "replace").strip()[-_LAST_WORDS:]
    raise NotStartedError(tail or f"the run's process ended with status {status}.", kind="internal")
