"""Every way in which a run can end, and what is then said (CONTRACT O01–O05, K05, L04)."""

from __future__ import annotations

from typing import Literal

from callsheet.engine.text import error_text
from callsheet.errors import BackendUnavailableError, SandboxError, StoreError
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import CancelReason
from callsheet.model.run import RunError
from callsheet.model.sandbox import Threw
from callsheet.model.values import JsonValue

StopReason = Literal["person", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a run is over. The first one stands.

    Attributes:
        status: `returned` becomes completed or degraded.
        reason: What the agents under way are cancelled with.
        says: For people, where the run is being ended from outside its script; None where there is nothing to add.
        value: What the script returned.
    """

    status: Literal["returned", "failed", "cancelled", "interrupted"]
    reason: CancelReason
    error: RunError | None = None
    says: str | None = None
    value: JsonValue = None
    by_person: bool = False


LACKS_ARGS = "\n`args` is undefined: none were given. Give them with --arg NAME=VALUE, or --args JSON"
"""What is added to the error of a script that threw for want of `args`."""


def _resume(run_id: str) -> str:
    return f"Continue with `callsheet resume {run_id}`."


def returned(value: JsonValue) -> Ending:
    """The script returned."""
    return Ending(status="returned", reason="script_ended", value=value)


def threw(threw: Threw, *, lacks_args: bool = False) -> Ending:
    """The script threw, or what it returned cannot be JSON; shown as its author knows it (CONTRACT O03).

    With `lacks_args` it is said that no `args` were given, and how they are.
    """
    place = threw.place
    error = RunError(
        kind=threw.kind,
        message=error_text(threw.name, threw.message) + (LACKS_ARGS if lacks_args else ""),
        line=place.line if place is not None else None,
        column=place.column if place is not None else None,
    )
    return Ending(status="failed", reason="run_failed", error=error)


def unusable_result(why: str) -> Ending:
    """What the sandbox gave as the script's result is not JSON."""
    return Ending(status="failed", reason="run_failed", error=RunError(kind="sandbox", message=why))


def sandbox_failed(error: SandboxError) -> Ending:
    """The child died, passed a limit, or cannot be believed."""
    failure = RunError(kind=error.kind, message=error.message)
    return Ending(status="failed", reason="run_failed", error=failure, says=error.message)


def stalled() -> Ending:
    """The script waits, and nothing is left that could wake it (CONTRACT O05)."""
    message = (
        "the script waits for something that will never come: no call is under way and no timer is set. "
        "Look for an `await` of a promise that nothing settles"
    )
    return Ending(status="failed", reason="run_failed", error=RunError(kind="stalled", message=message))


def cost_stop(why: str, run_id: str, more: str) -> Ending:
    """A run without a budget has cost as much as one may (CONTRACT L04); `more` is the flag that gives it one."""
    message = f"{why}. Give it a budget: `callsheet resume {run_id} {more}`."
    return Ending(status="interrupted", reason="budget", error=RunError(kind="limit", message=message), says=message)


def not_approved(name: str, why: str, run_id: str) -> Ending:
    """Nobody said whether a nested script is to run (CONTRACT W03): it is asked again when the run goes on."""
    message = f"whether '{name}' is to run was asked, and {why}. {_resume(run_id)}"
    return Ending(status="interrupted", reason="stopped", error=RunError(kind="limit", message=message), says=message)


def service_gone(error: BackendUnavailableError, run_id: str, *, max_wait_s: float) -> Ending:
    """A failure of the service that every further agent would meet too, and that is not waited for (CONTRACT K05)."""
    when = f" The service says that it may go on at {error.retry_at}." if error.retry_at is not None else ""
    if error.is_passing:
        when += f" The run waits at most {max_wait_s / 60:g} min for it (--max-wait)."
    message = f"{error.message.rstrip('.')} ({error.cause}).{when} {_resume(run_id)}"
    return Ending(
        status="interrupted", reason="run_failed", error=RunError(kind="backend", message=message), says=message
    )


def store_failed(error: StoreError, run_id: str) -> Ending:
    """The record cannot be written: nothing more is done that could not be found again (DESIGN 8)."""
    message = f"{error.message.rstrip('.')}. What was recorded before is safe. {_resume(run_id)}"
    return Ending(
        status="interrupted", reason="run_failed", error=RunError(kind="internal", message=message), says=message
    )


def stopped(reason: StopReason, run_id: str) -> Ending:
    """A person, or the system, asked the run to end."""
    if reason == "person":
        return Ending(status="cancelled", reason="person", says=f"stopped. {_resume(run_id)}", by_person=True)
    return Ending(status="interrupted", reason="stopped", says=f"told to end. {_resume(run_id)}")


def left() -> Ending:
    """Whoever opened the run left it before its end."""
    return Ending(status="cancelled", reason="stopped", says="the run was left before its end")
