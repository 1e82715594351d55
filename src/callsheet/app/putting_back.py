"""What recorded agents had changed and is gone from the workspace, put back where it can be (CONTRACT R03)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from callsheet.engine.effects import PutBack
from callsheet.errors import StoreError, WorktreeError
from callsheet.model.past import Past, PastAgent

if TYPE_CHECKING:
    from callsheet.app.checkpointing import Hold
    from callsheet.workspace.patching import FileEdit


class PuttingBack:
    """Makes the edits of recorded agents once more, from their tool calls on record.

    Args:
        record: Where they are on record.
        past: The run.
        root: Where its agents work.
        hold: Keeps files from the tools of agents, of this run and of others, from the look to the deed.
    """

    def __init__(self, record: Path, past: Past, root: Path, *, hold: Hold) -> None:
        self._record = record
        self._run_id = past.run_id
        self._root = root
        self._hold = hold
        answered = sorted((agent for agent in past.agents if agent.has_answer), key=lambda agent: agent.ended_at or "")
        self._last = {path: mark for agent in answered for path, mark in agent.marks.items()}

    async def __call__(self, agent: PastAgent, paths: frozenset[str]) -> PutBack | None:
        """Sees that files are as an agent had left them; None where that cannot be, and then nothing was written.

        Cancelling ends the wait for the files; what was begun with them is brought to its end.
        """
        if any(path not in agent.marks for path in paths):
            return None
        places = await to_thread.run_sync(lambda: [(self._root / path).resolve() for path in paths])
        done: PutBack | None = None
        with suppress(WorktreeError):  # an agent of another run is at it, and does not let go
            async with self._hold(places):
                with anyio.CancelScope(shield=True):
                    done = await to_thread.run_sync(self._put_back, agent, paths)
        return done

    def _put_back(self, agent: PastAgent, paths: frozenset[str]) -> PutBack | None:
        from callsheet.workspace.patching import mark_now, put, rebuilt

        plans: dict[str, bytes] = {}
        for path in sorted(paths):
            wanted = agent.marks[path]
            if mark_now(self._root, path) == wanted:
                continue
            if path not in agent.outcome.files_changed:
                return None
            data = rebuilt(self._root, path, self._edits(agent, path), mark=wanted)
            if data is None:
                return None
            plans[path] = data
        if not all(put(self._root, path, data) for path, data in plans.items()):
            return None
        whole = frozenset(path for path in paths if mark_now(self._root, path) == self._last.get(path))
        return PutBack(written=tuple(plans), whole=whole)

    def _edits(self, agent: PastAgent, path: str) -> Iterator[FileEdit]:
        """What an agent's file tools did to a file, in order."""
        from callsheet.store.record import open_record
        from callsheet.workspace.patching import FileEdit

        folder = agent.parts.get("cwd", ".")
        try:
            with open_record(self._record, is_checked=False) as record:
                calls = record.tool_calls(self._run_id, agent.agent_id, tools=("write", "edit"))
        except StoreError:
            return
        for call in calls:
            if call.state != "done":
                continue
            try:
                said = json.loads(call.input)
                name = os.path.normpath(self._root / folder / said["file_path"])
                if os.path.relpath(name, self._root) != path:
                    continue
                if call.tool == "write":
                    yield FileEdit(text=said["content"])
                else:
                    is_everywhere = bool(said.get("replace_all"))
                    yield FileEdit(text=said["new_string"], old=said["old_string"], is_everywhere=is_everywhere)
            except (ValueError, KeyError, TypeError):
                continue  # one that was redacted, or of another version: the mark tells that it lacks
