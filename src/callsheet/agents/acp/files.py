"""The files that an agent asks for: read and written by us, decided, locked and recorded as with any other agent."""

from __future__ import annotations

from pathlib import Path

from callsheet.agents.acp.connection import Object
from callsheet.agents.tools import files
from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.calls import ToolCalls
from callsheet.agents.tools.gate import Gate, Passed
from callsheet.agents.tools.inputs import ReadInput, WriteInput
from callsheet.agents.tools.names import ToolContent, ToolFailure
from callsheet.model.values import JsonValue


class Files:
    """Those of one agent.

    Attributes:
        read, changed: By us for the agent; relative to the workspace, absolute outside it.
    """

    def __init__(self, *, gate: Gate, bounds: Bounds, calls: ToolCalls, agent_id: str) -> None:
        self._gate = gate
        self._bounds = bounds
        self._calls = calls
        self._agent_id = agent_id
        self._stamps: dict[Path, bytes] = {}
        self.read: set[str] = set()
        self.changed: set[str] = set()

    async def read_text(self, params: Object) -> Object:
        """Text of a file, as `fs/read_text_file` asks for it.

        Raises:
            ToolFailure: It may not be read, or is no text.
        """
        name, line, limit = _path(params), _whole(params, "line"), _whole(params, "limit")
        given: dict[str, JsonValue] = {"file_path": name}
        arguments = ReadInput(file_path=name)
        if line is not None or limit is not None:
            first = max(1, line or 1)
            last = first + limit - 1 if limit else -1
            given["view_range"] = [first, last]
            arguments = ReadInput(file_path=name, view_range=(first, last))

        async def work(_n: int) -> tuple[ToolContent, str | None]:
            await self._calls.begun("read", name)
            path = _where(await self._gate.admit("read", {"file_path": name}, shown=name))
            done = await files.read(self._gate.place(path), arguments)
            if done.stamp is not None:
                self._stamps[path] = done.stamp
            self.read.add(self._gate.name(path))
            return done.content, None

        content = await self._calls.recorded("read", given, work)
        if not isinstance(content, str):
            raise ToolFailure(f"read: {name} is not UTF-8 text")
        return {"content": content}

    async def write_text(self, params: Object) -> Object:
        """Writes a whole file, as `fs/write_text_file` asks for it.

        A file that the agent has read through us must not have changed since; of others we know nothing.

        Raises:
            ToolFailure: It may not be written, or has changed.
        """
        name, text = _path(params), params.get("content")
        if not isinstance(text, str):
            raise ToolFailure("write: `content` must be text")
        given: dict[str, JsonValue] = {"file_path": name, "content": text}

        async def work(n: int) -> tuple[ToolContent, str | None]:
            await self._calls.begun("write", name)
            path = _where(await self._gate.admit("write", {"file_path": name}, shown=name))
            await self._calls.intended(n, "write", given)
            place = self._gate.place(path)
            async with self._bounds.locks.hold(path):
                known = self._stamps.get(path) or await files.stamp_at(place)
                done = await files.write(place, WriteInput(file_path=name, content=text), known=known)
            if done.stamp is not None:
                self._stamps[path] = done.stamp
            self.changed.add(self._gate.name(path))
            self._bounds.note_edit(path, self._agent_id)
            return done.content, None

        await self._calls.recorded("write", given, work)
        return {}


def _path(params: Object) -> str:
    path = params.get("path")
    if not isinstance(path, str) or not path:
        raise ToolFailure("`path` must be text")
    return path


def _whole(params: Object, key: str) -> int | None:
    value = params.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _where(passed: Passed) -> Path:
    assert passed.decision.path is not None, "what a file tool may touch leads somewhere"
    return passed.decision.path
