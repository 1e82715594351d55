"""What a peer may say, checked. Apart, because loading Pydantic takes time that only a run with peers should spend."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Greeting(_Said):
    """A peer's first line."""

    callsheet: int
    token: Annotated[str, Field(max_length=200)]


_Id = Annotated[int, Field(ge=0, lt=2**53)]
_By = Annotated[str, Field(min_length=1, max_length=1_000)]
_Name = Annotated[str, Field(max_length=1_000)]


class _Request(_Said):
    id: _Id


class _Deed(_Request):
    by: _By = "a person"


class Events(_Request):
    """Have events with a greater `seq` sent, once on each connection."""

    do: Literal["events"]
    after: Annotated[int, Field(ge=0, lt=2**53)] = 0


class Questions(_Request):
    """Ask for the questions that wait for a person."""

    do: Literal["questions"]


class Stop(_Request):
    """End the run as Ctrl-C does; `now` as a second one does."""

    do: Literal["stop"]
    now: bool = False


class OfRun(_Deed):
    """Pause, or go on."""

    do: Literal["pause", "go_on"]


class OfAgent(_Deed):
    """Skip, stop or start over an agent."""

    do: Literal["skip", "stop_agent", "restart"]
    agent_id: _Name


class Message(_Deed):
    """Send a message to an agent."""

    do: Literal["message"]
    agent_id: _Name
    text: str


class Answer(_Deed):
    """Answer a question."""

    do: Literal["answer"]
    question_id: _Name
    verdict: Literal["once", "run", "project", "deny"]
    words: str | None = None
    more_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


Request: TypeAlias = Events | Questions | Stop | OfRun | OfAgent | Message | Answer

_GREETING = TypeAdapter(Greeting)
_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="do")])


class MalformedError(Exception):
    """A line that is none of ours."""


def greeting_of(line: bytes) -> Greeting:
    """A peer's first line.

    Raises:
        MalformedError: It is none.
    """
    try:
        return _GREETING.validate_json(line)
    except ValidationError as fault:
        raise MalformedError(_first(fault)) from None


def request_of(line: bytes) -> Request:
    """A request.

    Raises:
        MalformedError: It is none.
    """
    try:
        return _REQUEST.validate_json(line)
    except ValidationError as fault:
        raise MalformedError(_first(fault)) from None


def _first(fault: ValidationError) -> str:
    first = fault.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
