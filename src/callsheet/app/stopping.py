"""The use case behind `callsheet stop`: ending a run of another process, in order or at once."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import anyio
from anyio import to_thread

from callsheet.app.control import find_run, open_control
from callsheet.app.records import RUNNING, Where, open_runs
from callsheet.control.places import Reach
from callsheet.errors import ControlLostError, ControlRefusedError, StoreError
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

WITHIN_S = 15.0
"""How long ending may take: five seconds in order, and what follows it."""
_AT_ONCE_S = 3.0
_LOOK_AGAIN_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """What became of it.

    Attributes:
        was: `running`, and was stopped; `over`, it had ended before; `gone`, its process had.
        status: As `callsheet runs` has it now.
        is_ended: False where it still goes on.
        words: What there is to say besides; None where there is nothing.
    """

    run_id: str
    was: str
    status: str
    is_ended: bool = True
    words: str | None = None

    @property
    def public(self) -> dict[str, JsonValue]:
        """As public JSON."""
        return {"run_id": self.run_id, "was": self.was, "status": self.status, "ended": self.is_ended}


async def stop_run(name: str, where: Where, *, now: bool = False) -> Stopped:
    """Ends a run as Ctrl-C does, and waits until it has; a run that is over or whose process is gone is left as it is.

    Args:
        name: As `find_run` takes it.
        where: Whose record names are looked up in.
        now: As a second Ctrl-C: without a farewell. A process that does not answer is killed.

    Raises:
        NotFoundError: There is no such run.
        ControlRefusedError: `now`, of a run in a program of somebody else's.
        ControlLostError: It cannot be reached and goes on all the same; or it does not answer.
    """
    try:
        reach = await to_thread.run_sync(find_run, name, where)
    except (ControlRefusedError, ControlLostError):
        return await to_thread.run_sync(_left_alone, name, where)
    words = None
    try:
        if now:
            await _end_at_once(reach)
        else:
            async with open_control(reach) as control:
                await control.stop()
    except ControlLostError as fault:
        if fault.why not in ("lost", "gone"):  # it ended before it could answer
            hint = f" callsheet stop {reach.run_id} --now ends it at once." if fault.why == "silent" and not now else ""
            raise ControlLostError(f"{fault.message}{hint}", why=fault.why) from None
    except ControlRefusedError as fault:
        if now:
            raise
        words = fault.message
    is_ended = await _has_ended(reach)
    status = await to_thread.run_sync(_status, reach)
    return Stopped(run_id=reach.run_id, was="running", status=status, is_ended=is_ended, words=words)


def _left_alone(name: str, where: Where) -> Stopped:
    """A run that needs no stopping.

    Raises:
        ControlLostError: It does, and cannot be reached.
    """
    with open_runs(where, is_checked=False) as runs:
        listed = runs.find(name)
    if listed.status == RUNNING:
        find_run(name, where)  # says why
    was = "gone" if listed.line.status == RUNNING else "over"
    return Stopped(run_id=listed.run_id, was=was, status=listed.status)


async def _end_at_once(reach: Reach) -> None:
    """Ends the run's process without a farewell; one that does not answer is killed.

    Raises:
        ControlRefusedError: It is a program of somebody else's.
        ControlLostError: It does not take us in, or is one and does not answer.
    """
    try:
        with anyio.fail_after(_AT_ONCE_S):
            async with open_control(reach) as control:
                await control.stop(now=True)
    except TimeoutError:
        if reach.host != "command":
            raise ControlLostError(
                f"{reach.run_id} does not answer; it is run by a program, process {reach.pid}, that is not ended here.",
                why="silent",
            ) from None
        _kill(reach)


def _kill(reach: Reach) -> None:
    """Kills the process of a run, and no other that has its number by now."""
    with suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):
            os.kill(reach.pid, signal.SIGKILL)
            return
        handle = os.pidfd_open(reach.pid)
        try:
            if reach.is_same_process():
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


async def _has_ended(reach: Reach) -> bool:
    """Waits until nobody serves the run any more; of the command's own process, until that has ended."""
    with anyio.move_on_after(WITHIN_S):
        while _goes_on(reach):  # noqa: ASYNC110 - another process: nothing tells, wherever it is, but looking
            await anyio.sleep(_LOOK_AGAIN_S)
        return True
    return False


def _goes_on(reach: Reach) -> bool:
    return reach.is_alive() or (reach.host == "command" and reach.is_same_process())


def _status(reach: Reach) -> str:
    try:
        with open_runs(Where(store=reach.record, workspace=Path(reach.workspace)), is_checked=False) as runs:
            return runs.find(reach.run_id).status
    except StoreError:
        return "unknown"
