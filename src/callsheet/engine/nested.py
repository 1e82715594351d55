"""`workflow()`: other scripts, run inline in contexts of their own (CONTRACT W01, W02, W03)."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from anyio import to_thread

from callsheet.engine.drafts import Drafts, args_digest
from callsheet.engine.state import NestedEnd, NestedStart, RunState
from callsheet.errors import CallsheetError, ScriptRefusedError
from callsheet.model.counts import MAX_CONTEXTS
from callsheet.model.dataclass import dataclass
from callsheet.model.records import NestedRow
from callsheet.model.sandbox import EndContext, RejectCall, ResolveCall, WorkflowCalled
from callsheet.model.script import Script
from callsheet.ports import WorkflowLibrary

DECLINED = "DeclinedError"
"""The name of the error that `workflow()` rejects with where a person does not want a script."""

TAKES_NO_TEXTS = (
    "workflow({script}): this run takes no scripts as text. Only `callsheet do` and the session do, where a person "
    "approves each; here, save the script and name it, or give its path as {scriptPath}"
)


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
    """What a call of `workflow()` names: a workflow, a path, or a text by its hash."""
    if called.script is not None:
        return f"script {text_hash(called.script).hex()[:12]}"
    return called.name if called.name is not None else called.script_path or ""


def text_hash(text: str) -> bytes:
    """The SHA-256 of a script's text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class NestedWorkflows:
    """The nested scripts of a run: those that wait for room, those alive, those that ended."""

    def __init__(
        self,
        state: RunState,
        library: WorkflowLibrary,
        *,
        drafts: Drafts | None = None,
        max_alive: int = MAX_CONTEXTS,
    ) -> None:
        """Makes it; with `drafts` texts are taken, and each script is for a person to approve before it starts."""
        self._state = state
        self._library = library
        self._drafts = drafts
        self._row: NestedRow | None = None
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
        elif called.script is not None and not self._takes_texts:
            state.reject(called.context, called.call, "TypeError", TAKES_NO_TEXTS)
        else:
            self._waiting.append(called)
            self._admit()

    @property
    def _takes_texts(self) -> bool:
        """Whether `workflow({script})` is to be had."""
        return self._drafts is not None

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
        digest = text_hash(script.text)
        first = self._texts.setdefault(digest, self._asked)
        is_first = first == self._asked
        self._row = NestedRow(
            run_id=self._state.run_id,
            attempt=self._state.attempt,
            n=self._asked,
            asked=asked_name(called),
            workflow=script.meta.name,
            script_path=script.path,
            same_as=None if is_first else first,
            script_text=script.text if is_first else None,
            decision=None if self._drafts is None else "asked",
        )
        self._state.bus.add(self._row)
        return script

    async def is_admitted(self, script: Script, called: WorkflowCalled) -> bool:
        """Whether a script that was loaded may start now; where not, its call was answered, or the run ends.

        Waits for a person's answer where one is asked. Meanwhile nothing is delivered, so that the answer has its place
        in the order of deliveries, and a resumed run finds it there (CONTRACT R08).

        Raises:
            CallsheetError: It would not run.
        """
        if self._drafts is None:
            return True
        assert self._row is not None
        decided = await self._drafts.decide(script, called.args_json)
        error = decided.declines
        self._row = replace(
            self._row,
            decision=decided.decision,
            decided_by=decided.by,
            words=decided.words,
            args_sha256=args_digest(called.args_json),
            error=error,
        )
        self._state.bus.add(self._row)
        if error is not None:
            self._decline(called, error)
        return decided.may_run

    def _decline(self, called: WorkflowCalled, error: str) -> None:
        self._state.reject(called.context, called.call, DECLINED, error)
        self.gone()

    async def _find(self, called: WorkflowCalled) -> Script:
        """Finds and reads a script, in a thread: files may be slow.

        Raises:
            CallsheetError: There is none, or it is refused.
        """
        find: Callable[[], Script]
        if called.script is not None:
            assert self._drafts is not None
            find = partial(self._drafts.read, called.script)
        elif called.name is not None:
            find = partial(self._library.workflow, called.name)
        else:
            path, above = called.script_path or "", self._state.request.script.path
            find = partial(self._library.workflow_at, path, relative_to=above)
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
            # Of a file the script gets no word of what it says; a text is its own.
            why = "see the run's log" if called.script is None else finding.message
            message = f"workflow(): '{asked}' is refused{place} ({finding.code}): {why}"
            self._state.book.log("warn", f"workflow '{asked}' is refused{place}: {finding.message}")
        row = self._row
        if row is None or row.n != self._asked:  # nothing was found that could be read
            row = NestedRow(run_id=self._state.run_id, attempt=self._state.attempt, n=self._asked, asked=asked)
        # Its text stays on record: a later call of the same text may be told by it alone.
        self._state.bus.add(replace(row, error=message, decision=None))
        self._state.reject(called.context, called.call, "Error", message)
        self.gone()

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
        """A context was dropped, or never came to be: the next that waits has its place."""
        self._places -= 1
        self._admit()
