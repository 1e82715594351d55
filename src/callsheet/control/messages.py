"""What goes over a control socket, version 1: one JSON object a line, and what each may hold.

A peer begins with `{"callsheet": 1, "token": …}` and is answered with `{"hello": …}`, or with `{"error": …}` and the
end of the connection. Then it asks: `{"id": 1, "do": "pause"}`; each request has one answer, `{"id": 1, "done": …}` or
`{"id": 1, "error": …}`. After `events` come, among the answers, `{"event": …}` (FORMATS 3), `{"gap": [from, to]}` for
events that are to be read from the record, and `{"end": true}` after the run's last one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from callsheet.errors import CallsheetError, ControlLostError, ControlRefusedError, NotFoundError, UsageError

VERSION = 1
MAX_GREETING_BYTES = 4 * 1024
MAX_REQUEST_BYTES = 2 * 1024 * 1024
"""A message of 256 KiB of which every byte is escaped fits."""
MAX_ANSWER_BYTES = 128 * 1024 * 1024
"""The last event of a run has its result, of at most 64 MiB."""


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


# --- errors, there and back -------------------------------------------------------------------------------------------

_Why = Literal["over", "waiting", "takes_no_messages", "budget", "run_over"]


def error_json(fault: CallsheetError) -> dict[str, Any]:
    """An error of ours as it is sent."""
    match fault:
        case ControlRefusedError():
            return {"kind": "refused", "message": fault.message, "why": fault.why, "agent_id": fault.agent_id}
        case NotFoundError():
            return {"kind": "not_found", "message": fault.message, "name": fault.name}
        case UsageError():
            return {"kind": "usage", "message": fault.message}
        case _:
            return {"kind": "failed", "message": fault.message}


def error_of(said: Any) -> CallsheetError:
    """The error that was sent."""
    said = said if isinstance(said, dict) else {}
    message = str(said.get("message", "the run answered with an error that says nothing"))
    match said.get("kind"):
        case "refused":
            why = said.get("why")
            agent = said.get("agent_id")
            return ControlRefusedError(
                message,
                why=why if why in get_args(_Why) else "over",
                agent_id=agent if isinstance(agent, str) else None,
            )
        case "not_found":
            return NotFoundError(message, name=str(said.get("name", "")))
        case "usage":
            return UsageError(message)
        case "peer":
            return ControlLostError(message, why="refused")
        case _:
            return CallsheetError(message)
