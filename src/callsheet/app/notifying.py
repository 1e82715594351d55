"""`--notify`: a command of the user's own, run when a run has ended or waits for a person. It never changes the run."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

import anyio
from anyio.abc import Process

from callsheet.app.settings import NOTIFY_VARIABLES
from callsheet.groups import lone_error
from callsheet.model.dataclass import dataclass
from callsheet.model.events import ApprovalAnswered, ApprovalAsked, Event, RunFinished, RunStarted
from callsheet.model.public import usage_json
from callsheet.model.run import RunResult
from callsheet.model.values import JsonValue
from callsheet.ports import EventSink

LIMIT_S = 10.0
STOPPED_LIMIT_S = 2.0
"""For the end of a run that was told to end: whoever did waits for it."""
_LAST_S = 12.0
_MOST_WAITING = 20
_TEXT_CHARS = 2_000
_KILLED_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What the command is told.

    Attributes:
        reason: `finished`, or `waiting` for a person.
        status: Of the run: as it ended, else `waiting`.
        text: In one line, for people.
        more: What else there is to say, as JSON.
        limit_s: How long the command may take.
    """

    reason: Literal["finished", "waiting"]
    status: str
    text: str
    more: Mapping[str, JsonValue]
    limit_s: float


class Notifier(EventSink):
    """Runs the command, one notice after another.

    Of questions that are open at the same time only the first is told: whoever comes for it sees the others.
    """

    def __init__(
        self,
        command: str,
        *,
        run_id: str,
        workspace: Path,
        folder: Path,
        environ: Mapping[str, str],
        say: Callable[[str], None],
        trust: Callable[[int], AbstractContextManager[None]],
    ) -> None:
        self._command = command
        self._run_id = run_id
        self._workspace = workspace
        self._folder = folder
        self._environ = environ
        self._say = say
        self._trust = trust
        self._workflow = ""
        self._open: set[str] = set()
        self._send, self._notices = anyio.create_memory_object_stream[Notice](_MOST_WAITING)

    def on_event(self, event: Event) -> None:
        match event.body:
            case RunStarted(workflow=workflow):
                self._workflow = workflow
            case ApprovalAsked() as asked:
                if not self._open:
                    self._put(self._waits(asked))
                self._open.add(asked.id)
            case ApprovalAnswered(id=answered):
                self._open.discard(answered)
            case RunFinished(result=result):
                self._put(_ended(result))
            case _:
                pass

    def _put(self, notice: Notice) -> None:
        with suppress(anyio.WouldBlock):
            self._send.send_nowait(notice)

    def _waits(self, asked: ApprovalAsked) -> Notice:
        how = f"callsheet answer {self._run_id} {asked.id} yes|no"
        text = f"{self._workflow} waits for an answer: {asked.tool} {' '.join(asked.input.split())[:200]} ({how})"
        question: dict[str, JsonValue] = {
            "id": asked.id,
            "tool": asked.tool,
            "input": asked.input,
            "reason": asked.reason,
            "rules": list(asked.rules),
            "until": asked.until,
        }
        return Notice(reason="waiting", status="waiting", text=text, more={"question": question}, limit_s=LIMIT_S)

    async def work(self) -> None:
        """Runs the command for each notice, until there are no more to come."""
        async with self._notices:
            async for notice in self._notices:
                fault = await self._run(notice)
                if fault is not None:
                    self._say(f"--notify {self._command}: {fault}. The run is as it was.")

    def close(self) -> None:
        """No more notices are to come."""
        self._send.close()

    async def _run(self, notice: Notice) -> str | None:
        """Why the command did not do its work; None where it did."""
        said = {"reason": notice.reason, "run_id": self._run_id, "workflow": self._workflow, "status": notice.status}
        said |= {"text": notice.text, "workspace": str(self._workspace)}
        words = (self._run_id, notice.status, notice.reason, notice.text.replace("\0", "")[:_TEXT_CHARS])
        try:
            process = await anyio.open_process(
                shlex.split(self._command),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self._folder,
                env={**self._environ, **dict(zip(NOTIFY_VARIABLES, words, strict=True))},
                start_new_session=True,
            )
        except (OSError, ValueError) as fault:
            return f"it could not be started ({fault})"
        with self._trust(process.pid):
            try:
                with anyio.move_on_after(notice.limit_s) as limit:
                    await _feed(process, json.dumps({**said, **notice.more}).encode("utf-8") + b"\n")
                    await process.wait()
            finally:
                await _kill(process)
        if limit.cancelled_caught:
            return f"it had not ended after {notice.limit_s:g} s, and was killed"
        status = process.returncode
        return None if status == 0 else f"it ended with status {status}"


def _ended(result: RunResult) -> Notice:
    cause = f": {' '.join(result.error.message.split())[:300]}" if result.error is not None else ""
    more: dict[str, JsonValue] = {
        "error": None if result.error is None else {"kind": result.error.kind, "message": result.error.message},
        "problems": len(result.problems),
        "usage": usage_json(result.usage),
        "duration_ms": result.duration_ms,
    }
    is_told = result.status in ("cancelled", "interrupted")
    return Notice(
        reason="finished",
        status=result.status,
        text=f"{result.workflow} {result.status}{cause}",
        more=more,
        limit_s=STOPPED_LIMIT_S if is_told else LIMIT_S,
    )


async def _feed(process: Process, data: bytes) -> None:
    assert process.stdin is not None
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):  # it need not read
        await process.stdin.send(data)
        await process.stdin.aclose()


async def _kill(process: Process) -> None:
    """Ends what is left of the command, its children too."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with anyio.move_on_after(_KILLED_WITHIN_S, shield=True):
        await process.aclose()


@asynccontextmanager
async def open_notifier(
    command: str,
    *,
    run_id: str,
    workspace: Path,
    folder: Path,
    environ: Mapping[str, str],
    say: Callable[[str], None],
    trust: Callable[[int], AbstractContextManager[None]],
) -> AsyncGenerator[Notifier]:
    """Tells a command of what happens within the context; leaving it waits until the end was told, at most 12 s.

    Args:
        command: Its words, as a shell would part them.
        run_id: Of the run.
        workspace: Where its agents work.
        folder: Where the command is started.
        environ: The user's, which the command gets.
        say: Takes a line where the command did not do its work.
        trust: Lets the process talk to the run, within the block.

    Yields:
        What is to follow the run's events.
    """
    notifier = Notifier(
        command, run_id=run_id, workspace=workspace, folder=folder, environ=environ, say=say, trust=trust
    )
    with lone_error():
        async with anyio.create_task_group() as tasks:
            last = anyio.CancelScope(shield=True)

            async def work() -> None:
                with last:
                    await notifier.work()

            tasks.start_soon(work)
            try:
                yield notifier
            finally:
                notifier.close()
                last.deadline = anyio.current_time() + _LAST_S
