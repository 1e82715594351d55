"""The tool calls that an agent tells us of: on record when they begin, and when they have ended."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Literal

from callsheet.agents.acp.asking import READING
from callsheet.agents.acp.connection import Object
from callsheet.agents.tools.calls import ToolCalls
from callsheet.agents.tools.names import ToolFailure
from callsheet.model.dataclass import dataclass
from callsheet.model.reports import ToolCalled
from callsheet.model.values import JsonValue
from callsheet.ports import AgentReporter

MOST_OPEN = 1000
_KEPT = ("title", "kind", "locations", "content", "rawInput")
_INPUT_CHARS = 64_000
_DETAIL_CHARS = 2000


@dataclass(slots=True, kw_only=True)
class _Deed:
    n: int
    tool: str
    said: Object
    is_on_record: bool = False


class Deeds:
    """Those of one agent. What it does by itself we are told, and can do no more than keep."""

    def __init__(self, calls: ToolCalls, reporter: AgentReporter) -> None:
        self._calls = calls
        self._reporter = reporter
        self._open: dict[str, _Deed] = {}

    async def told(self, update: Object) -> None:
        """Something was said of a tool call."""
        call_id = update.get("toolCallId")
        if not isinstance(call_id, str):
            return
        is_new = call_id not in self._open
        if is_new and (update.get("sessionUpdate") != "tool_call" or len(self._open) >= MOST_OPEN):
            return
        deed = self._merged(call_id, update)
        if is_new:
            await self._calls.begun(deed.tool, str(deed.said.get("title") or ""))
            if deed.said.get("kind") not in READING:
                await self._intend(deed)
        if (status := update.get("status")) in ("completed", "failed"):
            del self._open[call_id]
            await self._report(deed, "done" if status == "completed" else "failed", detail=_outcome(deed.said, update))

    async def asked(self, call: Object) -> Object:
        """All that was said of a tool call that the agent asks leave for; from now on its intent is on record."""
        call_id = str(call.get("toolCallId"))
        deed = self._merged(call_id, call)
        await self._intend(deed)
        return deed.said

    async def refused(self, call: Object, failure: ToolFailure) -> None:
        """It may not go ahead."""
        deed = self._open.pop(str(call.get("toolCallId")), None)
        if deed is not None:
            await self._reporter.report(
                ToolCalled(
                    n=deed.n,
                    tool=deed.tool,
                    input=_shown(deed.said),
                    state="denied",
                    detail=failure.message,
                    rule=failure.rule,
                    would_allow=failure.would_allow,
                )
            )

    def _merged(self, call_id: str, update: Object) -> _Deed:
        deed = self._open.get(call_id)
        if deed is None:
            tool = f"acp_{_kind(update)}"
            deed = self._open[call_id] = _Deed(n=self._calls.number(tool), tool=tool, said={})
        deed.said |= {key: update[key] for key in _KEPT if update.get(key) is not None}
        return deed

    async def _intend(self, deed: _Deed) -> None:
        if not deed.is_on_record:
            deed.is_on_record = True
            await self._calls.intended(deed.n, deed.tool, _shown(deed.said))

    async def _report(self, deed: _Deed, state: Literal["done", "failed"], *, detail: str | None) -> None:
        await self._reporter.report(
            ToolCalled(n=deed.n, tool=deed.tool, input=_shown(deed.said), state=state, detail=detail)
        )


def _kind(update: Object) -> str:
    kind = update.get("kind")
    return kind if isinstance(kind, str) and kind.isidentifier() and len(kind) <= 40 else "other"


def _shown(said: Object) -> JsonValue:
    shown: Object = {key: said[key] for key in _KEPT if key in said and key != "content"}
    if len(json.dumps(shown, ensure_ascii=False)) <= _INPUT_CHARS:
        return shown
    return {"title": str(said.get("title", ""))[:_DETAIL_CHARS], "kind": said.get("kind")}


def _outcome(said: Object, update: Object) -> str | None:
    """What came of it, as text."""
    content = update.get("content") or said.get("content")
    words = list(_texts(content if isinstance(content, list) else []))
    return "\n".join(words)[:_DETAIL_CHARS] or None


def _texts(content: Iterable[JsonValue]) -> Iterable[str]:
    for entry in content:
        match entry:
            case {"type": "content", "content": {"type": "text", "text": str(text)}}:
                yield text
            case {"type": "diff", "path": str(path)}:
                yield f"changed {path}"
            case _:
                pass
