"""One agent whole, from the record: what it was asked, what it said and did, what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from callsheet.app.records import agent_of
from callsheet.model.dataclass import dataclass
from callsheet.model.opening import without_words
from callsheet.model.outcome import Usage
from callsheet.model.public import usage_json
from callsheet.model.records import MessageRow, ToolCallRow
from callsheet.model.values import JsonValue
from callsheet.store.record import Record, json_list

PartKind = Literal["text", "thinking", "tool_use", "tool_result", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a message.

    Attributes:
        text: What it says; of a tool's use its input as JSON.
        tool: Of `tool_use` its name.
        failed: Of `tool_result`: it is an error.
    """

    kind: PartKind
    text: str
    tool: str | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message of its conversation. `n` counts from 1 over all attempts; `person` sent it, where one did."""

    n: int
    role: str
    attempt: int
    parts: tuple[Part, ...]
    person: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool call. `state`: `intent` while it is under way (or was cut off), `done`, `failed`, `denied`."""

    n: int
    tool: str
    input: str
    state: str
    at: str
    detail: str | None
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPage:
    """An agent as recorded so far. Times are ISO 8601 UTC.

    Attributes:
        status: An `AgentStatus`, or `queued`, `running`, `reverted`.
        options: As its call gave them.
        result: Its answer; None while there is none.
        messages, tools: In order. Of an agent at work those that are recorded by now; after 30 days a conversation is
            pruned and `messages` is empty.
    """

    run_id: str
    agent_id: str
    call: int
    label: str
    phase: str | None
    workflow: str | None
    prompt: str
    options: JsonValue
    status: str
    backend: str
    model: str | None
    mode: str
    attempts: int
    usage: Usage
    queued_at: str
    started_at: str | None
    ended_at: str | None
    result: JsonValue
    error: str | None
    files_read: tuple[str, ...]
    files_changed: tuple[str, ...]
    tools_called: tuple[str, ...]
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]


def agent_page(record: Record, run_id: str, agent_id: str) -> AgentPage:
    """Everything of one agent.

    Raises:
        NotFoundError: The run has no such agent (yet).
        StoreError: The record cannot be read.
    """
    row = agent_of(record, run_id, agent_id).agent
    return AgentPage(
        run_id=run_id,
        agent_id=agent_id,
        call=row.call,
        label=row.label,
        phase=row.phase,
        workflow=row.workflow,
        prompt=row.task_description,
        options=_json(row.options),
        status=row.status,
        backend=row.backend,
        model=row.model,
        mode=row.mode,
        attempts=row.attempts,
        usage=Usage(
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cache_read_tokens=row.cache_read_tokens,
            cache_write_tokens=row.cache_write_tokens,
            cost_usd=row.cost_usd,
        ),
        queued_at=row.timestamp_queued,
        started_at=row.timestamp_start,
        ended_at=row.timestamp_end,
        result=_json(row.result),
        error=row.error,
        files_read=json_list(row.files_accessed),
        files_changed=json_list(row.files_changed),
        tools_called=json_list(row.tools_called),
        messages=tuple(map(_message, record.messages(run_id, agent_id))),
        tools=tuple(map(_tool, record.tool_calls(run_id, agent_id))),
    )


def agent_page_json(page: AgentPage) -> dict[str, Any]:
    """The page as a browser and a report are given it."""
    return {
        "run_id": page.run_id,
        "agent_id": page.agent_id,
        "call": page.call,
        "label": page.label,
        "phase": page.phase,
        "workflow": page.workflow,
        "prompt": page.prompt,
        "options": page.options,
        "status": page.status,
        "backend": page.backend,
        "model": page.model,
        "mode": page.mode,
        "attempts": page.attempts,
        "usage": usage_json(page.usage),
        "queued_at": page.queued_at,
        "started_at": page.started_at,
        "ended_at": page.ended_at,
        "result": page.result,
        "error": page.error,
        "files_read": list(page.files_read),
        "files_changed": list(page.files_changed),
        "tools_called": list(page.tools_called),
        "messages": [
            {
                "n": message.n,
                "role": message.role,
                "attempt": message.attempt,
                "person": message.person,
                "parts": [
                    {"kind": part.kind, "text": part.text, "tool": part.tool, "failed": part.failed}
                    for part in message.parts
                ],
            }
            for message in page.messages
        ],
        "tools": [
            {
                "n": tool.n,
                "tool": tool.tool,
                "input": tool.input,
                "state": tool.state,
                "at": tool.at,
                "detail": tool.detail,
                "attempt": tool.attempt,
            }
            for tool in page.tools
        ],
    }


def _message(row: MessageRow) -> Message:
    said = _json(without_words(row.payload))
    whole: dict[str, Any] = said if isinstance(said, dict) else {"content": said}
    content = whole.get("content")
    role = whole.get("role")
    return Message(
        n=row.n,
        role=role if isinstance(role, str) else "?",
        attempt=row.attempt,
        parts=tuple(part for each in _listed(content) for part in _parts(each)),
        person=row.person,
    )


def _parts(part: Any) -> Iterator[Part]:
    if not isinstance(part, dict):
        yield Part(kind="text", text=_text(part))
        return
    match part.get("type"):
        case "text":
            yield Part(kind="text", text=_text(part.get("text")))
        case "thinking":
            yield Part(kind="thinking", text=_text(part.get("thinking")))
        case "tool_use":
            yield Part(kind="tool_use", text=_compact(part.get("input")), tool=_text(part.get("name")))
        case "tool_result":
            inner = part.get("content")
            said = (
                [_text(each.get("text")) for each in inner if isinstance(each, dict)] if isinstance(inner, list) else []
            )
            text = "\n".join(said) if isinstance(inner, list) else _text(inner)
            yield Part(kind="tool_result", text=text, failed=bool(part.get("is_error")))
        case _:
            yield Part(kind="other", text=_compact(part))


def _tool(row: ToolCallRow) -> Tool:
    said = _json(row.input)
    return Tool(
        n=row.n,
        tool=row.tool,
        input=said if isinstance(said, str) else _compact(said),
        state=row.state,
        at=row.at,
        detail=row.detail,
        attempt=row.attempt,
    )


def _json(text: str | None) -> JsonValue:
    """What a JSON column holds; the text itself where it is damaged."""
    if text is None:
        return None
    try:
        found: JsonValue = json.loads(text)
    except ValueError:
        return text
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else _compact(value)
