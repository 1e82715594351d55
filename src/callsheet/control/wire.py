"""What goes over a control socket, version 1: one JSON object a line, and what each may hold.

A peer begins with `{"callsheet": 1, "token": …}` and is answered with `{"hello": …}`, or with `{"error": …}` and the
end of the connection. Then it asks: `{"id": 1, "do": "pause"}`; each request has one answer, `{"id": 1, "done": …}` or
`{"id": 1, "error": …}`. After `events` come, among the answers, `{"event": …}` (FORMATS 3), `{"gap": [from, to]}` for
events that are to be read from the record, and `{"end": true}` after the run's last one.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from callsheet.errors import CallsheetError, ControlLostError, ControlRefusedError, NotFoundError, UsageError

VERSION = 1
MAX_GREETING_BYTES = 4 * 1024
MAX_REQUEST_BYTES = 2 * 1024 * 1024
"""A message of 256 KiB of which every byte is escaped fits."""
MAX_ANSWER_BYTES = 128 * 1024 * 1024
"""The last event of a run has its result, of at most 64 MiB."""

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
