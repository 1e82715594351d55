"""A run in a process of its own, that no terminal ends.

This process becomes two. The child leaves the terminal's session, keeps its streams until the run has truly started, so
that whatever is wrong is said where it was asked for, and leaves those too then. The parent waits for just that.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.cli.report import Output
from callsheet.cli.streams import quietly, say
from callsheet.model.dataclass import dataclass
from callsheet.views.safe_text import visible

if TYPE_CHECKING:
    from callsheet.app.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A run that goes on by itself, and where its record lies."""

    run_id: str
    workspace: str
    record: str


class Handover:
    """The child's word to its parent that the run has started."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def started(self, run_id: str, plan: Plan, record: str) -> None:
        """Leaves the terminal's streams, and lets the parent go."""
        from callsheet.app.detaching import open_last_words

        words, path = open_last_words(plan, run_id)
        said = {
            "run_id": run_id,
            "pid": os.getpid(),
            "status": "running",
            "workspace": str(plan.workspace.root),
            "record": record,
            "log": None if path is None else str(path),
        }
        sys.stdout.flush()
        sys.stderr.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, 1)
        os.dup2(words, 2)
        for descriptor in (nowhere, words):
            os.close(descriptor)
        with suppress(OSError):  # nobody waits any more: its terminal was closed
            os.write(self._pipe, json.dumps(said).encode("utf-8"))
        os.close(self._pipe)


def leave(*, output: Output, is_quiet: bool, show: Callable[[Started], int] | None = None) -> Handover | int:
    """Goes on in a process of its own, and gives it the handover; here the exit status, once the run has started.

    Where it does not start the child has said why, and its exit status is given. Ctrl-C meanwhile ends it.

    Args:
        output: The form in which it is said that it has started.
        is_quiet: Only its id is said.
        show: What is done here once it has started, instead of saying so; gives the exit status.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _leave_session()
        return Handover(write)
    os.close(write)
    said = _wait(read, child)
    os.close(read)
    if not said:
        return _status_of(child)
    if show is not None:
        started = json.loads(said)
        return show(Started(run_id=started["run_id"], workspace=started["workspace"], record=started["record"]))
    return _show(said, output=output, is_quiet=is_quiet)


def _leave_session() -> None:
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nowhere, 0)
    os.close(nowhere)


def _wait(pipe: int, child: int) -> bytes:
    """What the child says of the run; nothing where it ends without."""
    said = b""
    while True:
        try:
            piece = os.read(pipe, 65_536)
        except KeyboardInterrupt:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGINT)
            continue
        if not piece:
            return said
        said += piece


def _status_of(child: int) -> int:
    while True:
        try:
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        except KeyboardInterrupt:
            continue
        return status if status >= 0 else 128 - status


def _show(said: bytes, *, output: Output, is_quiet: bool) -> int:
    started = json.loads(said)
    run_id = started["run_id"]
    fault = quietly(sys.stdout, [said.decode("utf-8") if output != "text" else run_id])
    if fault is not None:
        say(f"error: it could not be written: {fault.strerror}. The run goes on: {run_id}")
        return 1
    if not is_quiet:
        say(
            f"it goes on by itself, process {started['pid']}",
            f"follow it: callsheet logs {run_id} -f",
            f"stop it:   callsheet stop {run_id}",
        )
        if started["log"] is not None:
            say(f"its log:   {visible(str(Path(started['log'])))}")
    return 0
