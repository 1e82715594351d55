"""One tree of errors. Each says who raises it and what the user can do; fields carry the facts, nobody matches text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from callsheet.model.outcome import Usage
    from callsheet.model.sandbox import ErrorKind
    from callsheet.model.script import Finding
    from callsheet.model.values import Place


class CallsheetError(Exception):
    """Anything that this package raises on purpose.

    Attributes:
        message: For people: what is wrong, where, and what to do.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UsageError(CallsheetError):
    """The caller's words are off: a flag, a path, a value. Raised by app and surfaces; exit status 2."""


class NotFoundError(UsageError):
    """A name or path that does not exist. Raised by library, app and, for agents of a run, engine.

    Attributes:
        name: What was asked for.
        near: Names that exist and look alike, best first.
    """

    def __init__(self, message: str, *, name: str, near: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.name = name
        self.near = near


class ScriptRefusedError(CallsheetError):
    """A script that cannot be run (CONTRACT S). Raised by script and by the sandbox's compile; exit status 2.

    Attributes:
        findings: All errors found, at least one, in order of place.
        workflow: `meta.name` where it could be read.
    """

    def __init__(self, findings: tuple[Finding, ...], *, workflow: str | None = None) -> None:
        super().__init__(findings[0].message)
        self.findings = findings
        self.workflow = workflow

    @property
    def place(self) -> Place | None:
        """Where the first error stands."""
        return self.findings[0].place


class SandboxError(CallsheetError):
    """The child ended the run: over a limit, dead, silent, flooding or sending rubbish. Raised by sandbox sessions.

    Attributes:
        kind: `limit` where a limit of CONTRACT D07 was passed, else `sandbox`; `config` where required confinement is
            not to be had.
    """

    def __init__(self, message: str, *, kind: ErrorKind) -> None:
        super().__init__(message)
        self.kind = kind


class SandboxClosedError(CallsheetError):
    """A session was used after it was closed: a fault of ours, never of the child."""


class StoreError(CallsheetError):
    """The record cannot be opened, read or written. Raised by store; names the path and the remedy.

    Attributes:
        kind: `config` where the place that was named or found is not one for a record; `internal` where the machine
            failed: a full disk, a lock that is never given back, damage. The same command may work another time.
    """

    def __init__(self, message: str, *, kind: Literal["config", "internal"] = "internal") -> None:
        super().__init__(message)
        self.kind = kind


class StoreClosedError(CallsheetError):
    """A record was written to after it was closed: a fault of ours, never of the disk."""


class SchemaUnusableError(CallsheetError):
    """A schema that can never be met, or must not be used (CONTRACT A04). Raised by answers."""


class BackendUnavailableError(CallsheetError):
    """A failure of the model service that the next agent would meet too (CONTRACT K05). Raised by agents.

    The run starts no further agent, and delivers nothing to the script. It waits where that can help, then tries again,
    and ends `interrupted` where it does not.

    Attributes:
        cause: `authentication`, `credit`, `model`, `address`, `outage`, `rate_limit`; `program`, where what
            asks the model does not start.
        retry_at: When the service says that it may go on, ISO 8601 UTC; None where it did not say.
        since: When the first failure in a row was, ISO 8601 UTC; None where that is not known.
        usage: What the agent that met it had used; set by the executor, None where it is not known.
    """

    def __init__(self, message: str, *, cause: str, retry_at: str | None = None, since: str | None = None) -> None:
        super().__init__(message)
        self.cause = cause
        self.retry_at = retry_at
        self.since = since
        self.usage: Usage | None = None

    @property
    def is_passing(self) -> bool:
        """Whether it may pass by itself; a key, credit or model that is wrong stays so."""
        return self.cause in ("outage", "rate_limit")


class OverBudgetError(CallsheetError):
    """A request to a model may not be sent: what it may cost does not fit (CONTRACT G04). Raised by engine to agents.

    Attributes:
        status: How the agent ends, its conversation kept: `over_budget`, or `failed` where no price is known.
    """

    def __init__(self, message: str, *, status: Literal["over_budget", "failed"] = "over_budget") -> None:
        super().__init__(message)
        self.status: Literal["over_budget", "failed"] = status


class ControlRefusedError(UsageError):
    """What was asked of a run, or of one of its agents, cannot be done (any more). Raised by engine; nothing changed.

    Attributes:
        agent_id: Whose; None where it was asked of the run.
        why: `over`, the agent is, or is ending, or the question is answered; `waiting`, it has not started;
            `takes_no_messages`, its backend; `budget`, the run may start no more agents; `run_over`, the run is, or is
            ending.
    """

    def __init__(
        self,
        message: str,
        *,
        why: Literal["over", "waiting", "takes_no_messages", "budget", "run_over"],
        agent_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.why = why
        self.agent_id = agent_id


class ControlLostError(CallsheetError):
    """A run cannot be reached, or no longer, over its control socket. Raised by control; the run is as it was.

    Attributes:
        why: `gone`, nobody listens there: its process is gone, or it serves no socket; `refused`, it does not take us
            for one who may; `lost`, the connection ended; `silent`, no answer came in time.
    """

    def __init__(self, message: str, *, why: Literal["gone", "refused", "lost", "silent"]) -> None:
        super().__init__(message)
        self.why = why


class RunGoingError(UsageError):
    """A run is asked for that goes on already, in another process. Raised by app; says which (CONTRACT R06)."""


class InsideRunError(UsageError):
    """What an agent has started asks for agents of its own, which no budget of its run would count. Raised by app.

    Attributes:
        run_id: The run whose agent it was.
    """

    def __init__(self, message: str, *, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class ConfigError(UsageError):
    """Settings that cannot hold: an unknown key, a value out of range, a missing credential. Raised by app."""


class BypassRefusedError(UsageError):
    """The mode `bypass` was asked for, and cannot be had. Raised by permissions; nothing was started.

    Attributes:
        why: A clause that names what is in its way, and no flag.
    """

    def __init__(self, message: str, *, why: str) -> None:
        super().__init__(message)
        self.why = why


class TrustRefusedError(CallsheetError):
    """The run's own approval or trust was refused: nothing was started. Raised by app; exit status 5."""


class ConfinementError(CallsheetError):
    """A command cannot be held as its profile asks, and is not run. Raised by confinement and shell."""


class LeaseHeldError(CallsheetError):
    """Another run works in this workspace. Raised by workspace; says who, and which flags help.

    Attributes:
        holders: One line for each run that holds it: host, process, start time.
    """

    def __init__(self, message: str, *, holders: tuple[str, ...]) -> None:
        super().__init__(message)
        self.holders = holders


class WorktreeError(CallsheetError):
    """An agent cannot have the worktree that its call asks for. Raised by workspace; the call fails (CONTRACT A07)."""


class CheckpointError(CallsheetError):
    """A checkpoint cannot be read or restored. Raised by workspace.

    Attributes:
        paths: The files that it is about, where it is about files: those that someone changed since.
    """

    def __init__(self, message: str, *, paths: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.paths = paths


class GitRefusedError(CallsheetError):
    """Git is not used, or no longer: its configuration or layout changed since the run began. Raised by workspace."""


class NotStartedError(CallsheetError):
    """A run that was to go on in a process of its own did not start. Raised by app; nothing was done.

    Attributes:
        kind: As in a result's `error`: `refused`, `config`, `backend`, `sandbox`, `internal`.
        line: In the script, where it is about that.
        column: As `line`.
    """

    def __init__(self, message: str, *, kind: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.line = line
        self.column = column
