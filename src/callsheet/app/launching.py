"""Starting a run in a process of its own, which outlives whoever asked for it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from callsheet.app.tool_order import LaunchOrder
from callsheet.errors import NotStartedError
from callsheet.model.dataclass import dataclass

START_S = 60.0
"""How long a run may take to start. Who asked may go away meanwhile: it is waited for all the same."""
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

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._command = tuple(command)
        self._environ = environ

    async def launch(self, order: LaunchOrder) -> Launched:
        """Starts a run. Cancelling waits for it: nobody has a run that they do not know of.

        Raises:
            NotStartedError: It did not start; says why.
        """
        said = json.dumps(order.model_dump(mode="python")).encode("ascii")
        with anyio.move_on_after(START_S, shield=True):
            try:
                done = await anyio.run_process(
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
            return _started(done.returncode, done.stdout, done.stderr)
        raise NotStartedError(
            f"the run did not start within {START_S:.0f} seconds. It may yet: the list of runs has it then.",
            kind="internal",
        )


def _started(status: int, said: bytes, words: bytes) -> Launched:
    try:
        answer: Any = json.loads(said)
    except ValueError:
        answer = None
    if status == 0 and isinstance(answer, dict) and "record" in answer:
        return Launched(run_id=answer["run_id"], record=answer["record"], log=answer.get("log"))
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict):
        raise NotStartedError(
            str(error.get("message")),
            kind=str(error.get("kind")),
            line=error.get("line"),
            column=error.get("column"),
        )
    tail = words.decode("utf-8", "replace").strip()[-_LAST_WORDS:]
    raise NotStartedError(tail or f"the run's process ended with status {status}.", kind="internal")
