"""The lines of a session's file (`session_file`), as they are written and read back.

What this version does not know of a line is passed over, so that a session of a newer one can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from callsheet.app.quantities import parse_budget
from callsheet.app.session_model import SessionEffort, SessionSettings
from callsheet.errors import ConfigError
from callsheet.model.outcome import Usage
from callsheet.model.run import RunStatus
from callsheet.permissions.modes import Mode

VERSION = 1


class _Line(BaseModel):
    """What every line has: when it was written, and the number that the next entry of the transcript had then."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    at: str = ""
    n: int = 0


class UsageLine(BaseModel):
    """Tokens and money."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = 0.0
    estimated_usd: float = 0.0

    @classmethod
    def of(cls, usage: Usage) -> UsageLine:
        """As it is written."""
        return cls(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            cost_usd=usage.cost_usd,
            estimated_usd=usage.estimated_usd,
        )

    @property
    def usage(self) -> Usage:
        """As it was."""
        return Usage(**self.model_dump())


class OpenedLine(_Line):
    """First of every session. `record` is where its runs are on record; again where that is another from now on."""

    kind: Literal["opened"] = "opened"
    version: int = VERSION
    id: str
    workspace: str
    record: str


class ContinuedLine(_Line):
    """The session was opened again. What was under way before has come to nothing."""

    kind: Literal["continued"] = "continued"


class SaidLine(_Line):
    """The person said something."""

    kind: Literal["said"] = "said"
    text: str
    is_workflow: bool = False


class TurnBegunLine(_Line):
    """A talk turn is at work: which run it is, and which results (numbers of `RunEnded`) its prompt holds."""

    kind: Literal["turn.begun"] = "turn.begun"
    number: int
    run_id: str
    heard: tuple[int, ...] = ()


class TurnEndedLine(_Line):
    """A talk turn is over. `agent_id` is where the next turn goes on, of one that is `done`."""

    kind: Literal["turn.ended"] = "turn.ended"
    number: int
    state: Literal["done", "failed", "over_budget", "stopped", "interrupted"]
    text: str = ""
    agent_id: str | None = None
    model: str | None = None
    usage: UsageLine = UsageLine()
    error: str | None = None
    remedy: str | None = None


class RunStartingLine(_Line):
    """A run is about to be started: `RunStartedLine` or a problem with the same `start` follows.

    It has the run's name already, so that a session that ends in between finds it again.
    """

    kind: Literal["run.starting"] = "run.starting"
    start: int
    run_id: str
    of: Literal["task", "saved", "resumed"]
    workflow: str
    task: str | None = None
    notes: tuple[str, ...] = ()
    said: int | None = None

    @property
    def started(self) -> RunStartedLine:
        """The line that follows where it has started."""
        return RunStartedLine(**self.model_dump(exclude={"kind", "at", "n"}))


class RunStartedLine(_Line):
    """A run goes on by itself."""

    kind: Literal["run.started"] = "run.started"
    start: int | None = None
    run_id: str
    of: Literal["task", "saved", "resumed"]
    workflow: str
    task: str | None = None
    notes: tuple[str, ...] = ()
    said: int | None = None


class RunEndedLine(_Line):
    """A run that was started here has ended; its result is shown, and given to the orchestrator with a later turn."""

    kind: Literal["run.ended"] = "run.ended"
    run_id: str
    workflow: str
    status: RunStatus
    text: str = ""
    is_markdown: bool = False
    is_cut: bool = False
    where: str = ""
    error: str | None = None
    next: str | None = None
    agents: int = 0
    ended_badly: int = 0
    problems: int = 0
    usage: UsageLine = UsageLine()
    duration_ms: int = 0


class SetLine(_Line):
    """Settings from now on, all of them; `text` says what is new. `is_budget_new`: what it bounds counts from here."""

    kind: Literal["set"] = "set"
    model: str | None = None
    effort: SessionEffort | None = None
    budget: str | None = None
    mode: Mode | None = None
    is_budget_new: bool = False
    text: str

    @field_validator("budget")
    @classmethod
    def _is_a_budget(cls, said: str | None) -> str | None:
        """Sees that it can be read: what talk may still use is counted from it."""
        try:
            return said if said is None or parse_budget(said) else None
        except ConfigError as fault:
            raise ValueError(fault.message) from None


class NoteLine(_Line):
    """A fact. `forgets`: the conversation is not on record any more, and begins anew."""

    kind: Literal["note"] = "note"
    text: str
    forgets: bool = False


class ProblemLine(_Line):
    """Something that did not work."""

    kind: Literal["problem"] = "problem"
    text: str
    remedy: str | None = None
    start: int | None = None


Line: TypeAlias = (
    OpenedLine
    | ContinuedLine
    | SaidLine
    | TurnBegunLine
    | TurnEndedLine
    | RunStartingLine
    | RunStartedLine
    | RunEndedLine
    | SetLine
    | NoteLine
    | ProblemLine
)

_LINES: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])


def line_of(said: Mapping[str, Any]) -> Line | None:
    """A line as it was read; None for one that this version does not know."""
    try:
        return _LINES.validate_python(dict(said))
    except ValidationError:
        return None


def set_line(settings: SessionSettings, *, text: str, is_budget_new: bool = False) -> SetLine:
    """The line that has these settings hold."""
    return SetLine(
        model=settings.model,
        effort=settings.effort,
        budget=settings.budget,
        mode=settings.mode,
        is_budget_new=is_budget_new,
        text=text,
    )
