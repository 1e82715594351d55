"""What went wrong, as an answer: the only place that knows which error has which status."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from callsheet.errors import (
    CallsheetError,
    ControlLostError,
    ControlRefusedError,
    NotFoundError,
    StoreError,
    UsageError,
)

NO_STORE = {"Cache-Control": "no-store"}


class RequestRefusedError(CallsheetError):
    """A request that is not served. Raised by this room.

    Attributes:
        status: The HTTP status.
        kind: One word for programs.
    """

    def __init__(self, message: str, *, status: int, kind: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


def refusal(status: int, kind: str, message: str, **more: Any) -> JSONResponse:
    """An answer that says why there is no other."""
    said = {"kind": kind, "message": message, **more}
    return JSONResponse({"error": said}, status_code=status, headers=NO_STORE)


def fault_json(fault: CallsheetError) -> tuple[int, dict[str, Any]]:
    """An error of ours: its status, and what is said of it."""
    match fault:
        case RequestRefusedError():
            return fault.status, {"kind": fault.kind, "message": fault.message}
        case NotFoundError():
            return 404, {"kind": "not_found", "message": fault.message}
        case ControlRefusedError():
            return 409, {"kind": "refused", "message": fault.message, "why": fault.why}
        case ControlLostError():
            status = 504 if fault.why == "silent" else 409
            return status, {"kind": "lost", "message": fault.message, "why": fault.why}
        case UsageError():
            return 400, {"kind": "usage", "message": fault.message}
        case StoreError():
            return 503, {"kind": "record", "message": fault.message}
        case _:
            return 500, {"kind": "failed", "message": fault.message}


async def on_fault(request: Request, fault: Exception) -> Response:
    """The answer to an error of ours."""
    assert isinstance(fault, CallsheetError)
    status, said = fault_json(fault)
    return JSONResponse({"error": said}, status_code=status, headers=NO_STORE)


async def on_http(request: Request, fault: Exception) -> Response:
    """The answer where there is no such address, or it does not take that method."""
    assert isinstance(fault, HTTPException)
    kinds = {404: ("not_found", "There is nothing at this address."), 405: ("method", "Not with this method.")}
    kind, message = kinds.get(fault.status_code, ("failed", fault.detail))
    answer = refusal(fault.status_code, kind, message)
    if fault.headers:
        answer.headers.update(fault.headers)
    return answer


async def on_bug(request: Request, fault: Exception) -> Response:
    """The answer to a fault of ours; what it was is said where the server runs, not to whoever asked."""
    return refusal(500, "internal", "callsheet serve itself broke; its terminal says how.")
