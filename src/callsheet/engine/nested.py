"""`workflow()`: other scripts, run inline in contexts of their own (CONTRACT W01, W02)."""

from __future__ import annotations

import hashlib
from collections import deque
from functools import partial

from anyio import to_thread

from callsheet.engine.state import NestedEnd, NestedStart, RunState
from callsheet.errors import CallsheetError, ScriptRefusedError
from callsheet.model.counts import MAX_CONTEXTS
from callsheet.model.dataclass import dataclass
from callsheet.model.records import NestedRow
from callsheet.model.sandbox import EndContext, RejectCall, ResolveCall, WorkflowCalled
from callsheet.model.script import Script
from callsheet.ports import WorkflowLibrary


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    """A nested script that is alive.

    Attributes:
        workflow: Its name.
        call: Of the run's own script, which it answers.
        phase: Of the run's own script when it made that call.
    """

    workflow: str
    call: int
    phase: str | None


def asked_name(called: WorkflowCalled) -> str:
    """What a call of `workflow()` names: a workflow, or a path."""
    return called.name if called.name is not None else called.script_path or ""


class NestedWorkflows:
    """The nested scripts of a run: those that wait for room, those alive, those that ended."""

    def __init__(self, state: RunState, library: WorkflowLibrary, *, max_alive: int = MAX_CONTEXTS) -> None:
        self._state = state
        self._library = library
        self._max_alive = max_alive
        self._waiting: deque[WorkflowCalled] = deque()
        self._asked = 0
        self._texts: dict[bytes, int] = {}
        self._names: list[str] = []
        self._places = 0
        self.alive: dict[int, Nested] = {}

    def name(self, context: int) -> str | None:
        """The workflow's name of a context, also of one that is over; None for the run's own script."""
        return self._names[context - 1] if 1 <= context <= len(self._names) else None

    def phase_above(self, context: int) -> str | None:
        """The phase that the caller of a nested script was in; None for the run's own script."""
        nested = self.alive.get(context)
        return None if nested is None else nested.phase

    def called(self, called: WorkflowCalled) -> None:
        """Takes one call: it is rejected at once, or started when it has a place among at most 32."""
        state = self._state
        if called.fault is not None:
            state.reject(called.context, called.call, "TypeError", called.fault)
        elif called.context != 0:
            message = (
                "workflow(): a workflow that workflow() started cannot start another, there is one level only: "
                "call it from the run's own script"
            )
            state.reject(called.context, called.call, "Error", message)
        else:
            self._waiting.append(called)
            self._admit()

    def _admit(self) -> None:
        while self._waiting and self._places < self._max_alive:
            self._places += 1
            self._state.put_own(NestedStart(called=self._waiting.popleft()))

    async def load(self, called: WorkflowCalled) -> Script:
        """Finds the script, and puts it on record.

        Raises:
            CallsheetError: There is none, or it is refused.
        """
        self._asked += 1
        script = await self._find(called)
        digest = hashlib.sha256(script.text.encode("utf-8", "surrogatepass")).digest()
        first = self._texts.setdefault(digest, self._asked)
        is_first = first == self._asked
        self._state.bus.add(
            NestedRow(
                run_id=self._state.run_id,
                attempt=self._state.attempt,
                n=self._asked,
                asked=asked_name(called),
                workflow=script.meta.name,
                script_path=script.path,
                same_as=None if is_first else first,
                script_text=script.text if is_first else None,
            )
        )
        return script

    async def _find(self, called: WorkflowCalled) -> Script:
        """Finds and reads a script, in a thread: files may be slow.

        Raises:
            CallsheetError: There is none, or it is refused.
        """
        find = (
            partial(self._library.workflow, called.name)
            if called.name is not None
            else partial(
                self._library.workflow_at,
                called.script_path or "",
                relative_to=self._state.request.script.path,
            )
        )
        return await to_thread.run_sync(find, abandon_on_cancel=True)

    def open(self, script: Script, called: WorkflowCalled) -> int:
        """Gives a script that is about to start its context's number, from 1."""
        name = self._state.bus.text(script.meta.name)
        self._names.append(name)
        self.alive[len(self._names)] = Nested(workflow=name, call=called.call, phase=called.phase)
        return len(self._names)

    def refused(self, called: WorkflowCalled, error: CallsheetError) -> None:
        """Rejects a call whose script cannot be started.

        The script gets message and place, never text of the file; the log has the whole reason for people.
        """
        asked = asked_name(called)
        message = f"workflow(): {error.message}"
        if isinstance(error, ScriptRefusedError):
            finding = error.findings[0]
            place = f" at line {finding.place.line}" if finding.place is not None else ""
            if finding.place is not None and finding.place.column is not None:
                place += f", column {finding.place.column}"
            message = f"workflow(): '{asked}' is refused{place} ({finding.code}): see the run's log"
            self._state.book.log("warn", f"workflow '{asked}' is refused{place}: {finding.message}")
        self._state.bus.add(
            NestedRow(run_id=self._state.run_id, attempt=self._state.attempt, n=self._asked, asked=asked, error=message)
        )
        self._state.reject(called.context, called.call, "Error", message)
        self._places -= 1
        self._admit()

    def returned(self, context: int, value_json: str) -> None:
        """A nested script returned: its context goes, then its caller goes on."""
        nested = self._end(context)
        self._state.answer(ResolveCall(context=0, call=nested.call, value_json=value_json))

    def threw(self, context: int, name: str, message: str) -> None:
        """A nested script threw: its caller gets an error of that name and message."""
        nested = self._end(context)
        self._state.book.log("warn", f"workflow '{nested.workflow}' failed: {name}: {message}")
        self._state.answer(RejectCall(context=0, call=nested.call, name=name, message=message))

    def _end(self, context: int) -> Nested:
        self._state.put_own(NestedEnd(delivery=EndContext(context=context)))
        return self.alive.pop(context)

    def gone(self) -> None:
        """A context was dropped: the next that waits has its place."""
        self._places -= 1
        self._admit()
