"""How other platforms ask for a model and answer: paths, errors, and Bedrock's framing of events."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from tests.support.messages_replies import encode_event

_BEDROCK = re.compile(r"/model/(?P<model>[^/]+)/invoke-with-response-stream")
_VERTEX = re.compile(r"/projects/[^/]+/locations/[^/]+/publishers/anthropic/models/(?P<model>[^/:]+):streamRawPredict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Who is asked for messages at a path.

    Attributes:
        model: What the path says of it; None where the body does.
    """

    kind: Literal["messages", "bedrock", "vertex"]
    model: str | None = None

    @property
    def content_type(self) -> str:
        """Of a stream of events."""
        return "application/vnd.amazon.eventstream" if self.kind == "bedrock" else "text/event-stream; charset=utf-8"

    def event(self, name: str, data: dict[str, Any]) -> bytes:
        """One event of a stream."""
        if self.kind != "bedrock":
            return encode_event(name, data)
        if name == "error":
            error = data["error"]
            return _frame({":message-type": "exception", ":exception-type": error["type"]}, error)
        inner = base64.b64encode(json.dumps({"type": name, **data}).encode()).decode()
        return _frame({":message-type": "event", ":event-type": "chunk"}, {"bytes": inner, "p": "abcdef"})

    def error(self, type: str, message: str) -> dict[str, Any]:
        """The body of a refusal."""
        match self.kind:
            case "bedrock":
                return {"message": message}
            case "vertex":
                return {"error": {"code": 0, "message": message, "status": type}}
            case "messages":
                return {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_test"}


def platform_of(path: str) -> Platform | None:
    """Who is asked at a path; None where nobody answers."""
    if path == "/v1/messages":
        return Platform(kind="messages")
    if found := _BEDROCK.fullmatch(path):
        return Platform(kind="bedrock", model=unquote(found["model"]))
    if found := _VERTEX.fullmatch(path):
        return Platform(kind="vertex", model=unquote(found["model"]))
    return None


def _frame(headers: dict[str, str], payload: dict[str, Any]) -> bytes:
    """A message of AWS's event streams: lengths, their checksum, headers, payload, the checksum of it all."""
    head = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(value)) + value.encode()
        for name, value in {**headers, ":content-type": "application/json"}.items()
    )
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(head) + len(body), len(head))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + body
    return message + struct.pack(">I", zlib.crc32(message))
