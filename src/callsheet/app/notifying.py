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
from callsheet.model.public import script_json, usage_json
from callsheet.model.run import RunResult
from callsheet.model.values import JsonValue
from callsheet.ports import EventSink

LIMIT_S = 10.0
STOPPED_LIMIT_S = 2.0
"""For the end of a run that was told to end: whoever did waits for it."""
LAST_S = 12.0
"""For all that is to be told when the run is over."""
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
    """Runs the command, one notice after another; of those that came while it ran only the last, the end before all.

    Of questions that are open at the same time only the first is told: whoever comes for it sees the others. One that
    came and went while the command was still telling of an earlier one need not be told any more.

    Args:
        command: Its words, as a shell would part them.
        run_id: Of the run.
        workspace: Where its agents work.
        folder: Where the command is started.
        environ: The user's, which the command gets.
        say: Takes a line where the command did not do its work.
        trust: Lets the process talk to the run, within the block.
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
        self._next: Notice | None = None
        self._is_closed = False
        self._news = anyio.Event()

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
        self._next = notice
        self._news.set()

    def _waits(self, asked: ApprovalAsked) -> Notice:
        how = f"callsheet answer {self._run_id} {asked.id} yes|no"
        what = f"{asked.tool} {' '.join(asked.input.split())[:200]}"
        if asked.script is not None:
            what = f"run the script {asked.script.name[:200]}?"
        text = f"{self._workflow} waits for an answer: {what} ({how})"
        question: dict[str, JsonValue] = {
            "id": asked.id,
            "tool": asked.tool,
            "input": asked.input,
            "reason": asked.reason,
            "rules": list(asked.rules),
            "until": asked.until,
            "kind": asked.kind,
            "script": script_json(asked.script),
        }
        return Notice(reason="waiting", status="waiting", text=text, more={"question": question}, limit_s=LIMIT_S)

    async def work(self) -> None:
        """Runs the command for what there is to tell, until no more is to come; cancelling kills it, and is said."""
        while self._next is not None or not self._is_closed:
            notice, self._next = self._next, None
            if notice is None:
                self._news = anyio.Event()
                await self._news.wait()
                continue
            is_told = False
            try:
                fault = await self._run(notice)
                is_told = True
            finally:
                if not is_told and (notice.reason == "finished" or self._is_end_waiting()):
                    self._tell("the end of the run could not be told in time")
            if fault is not None:
                self._tell(fault)

    def close(self) -> None:
        """No more notices are to come."""
        self._is_closed = True
        self._news.set()

    def _is_end_waiting(self) -> bool:
        return self._next is not None and self._next.reason == "finished"

    def _tell(self, fault: str) -> None:
        self._say(f"--notify {self._command}: {fault}. The run is as it was.")

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
async def telling(notifier: Notifier) -> AsyncGenerator[None]:
    """Tells of what happens within the context; leaving it waits until the end was told, at most `LAST_S`."""
    with lone_error():
        async with anyio.create_task_group() as tasks:
            last = anyio.CancelScope(shield=True)

            async def work() -> None:
                with last:
                    await notifier.work()

            tasks.start_soon(work)
            try:
                yield
            finally:
                notifier.close()
                last.deadline = anyio.current_time() + LAST_S
