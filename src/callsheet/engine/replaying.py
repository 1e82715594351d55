"""A recorded run, run again from its record alone (CONTRACT R02, R08): nobody is asked and nothing is touched.

Everything but the desk is that of a run: the loop, the clock, the timers, and the order of deliveries of a resumed one.
The desk answers each call from the record, and stops where the script asks for something else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import anyio

from callsheet.engine.beginning import new_state
from callsheet.engine.checkpointing import Checkpointing
from callsheet.engine.comparing import Said, compared
from callsheet.engine.conductor import Conductor, SyntaxFinding
from callsheet.engine.ending import left
from callsheet.engine.listener import Listener
from callsheet.engine.nested import NestedWorkflows, asked_name
from callsheet.engine.recorded_desk import RecordedDesk, known_by_their_words
from callsheet.engine.reporter import ProgressMeter
from callsheet.engine.state import RunRequest, RunState
from callsheet.errors import NotFoundError
from callsheet.model.events import Event, Log, PhaseStarted
from callsheet.model.past import Resumption
from callsheet.model.records import Row
from callsheet.model.replayed import RecordedNested, RecordedRun, ReplayResult
from callsheet.model.run import RunSettings
from callsheet.model.sandbox import WorkflowCalled
from callsheet.model.script import Script
from callsheet.model.values import JsonValue
from callsheet.ports import EventSink, ScriptSession, Store, WorkflowLibrary

ReadNested = Callable[[RecordedNested], Script]
"""Makes a script of a recorded text."""


class NoRecord(Store):
    """Where a replay writes: nowhere."""

    @property
    def path(self) -> str:
        return ""

    async def write(self, rows: Sequence[Row], *, durable: bool) -> None:
        return

    async def aclose(self) -> None:
        return


class _Ear(EventSink):
    """Keeps what the script says."""

    def __init__(self) -> None:
        self.said = Said()

    def on_event(self, event: Event) -> None:
        match event.body:
            case Log(by="script") as log:
                self.said.logs.append((log.level, log.message, log.workflow))
            case PhaseStarted() as phase:
                self.said.phases.append((phase.title, phase.workflow))
            case _:
                return


class RecordedWorkflows(NestedWorkflows):
    """Nested scripts as they were found then.

    Attributes:
        taken_now: Names of those that an older record does not have, and that were looked up.
    """

    def __init__(
        self, state: RunState, library: WorkflowLibrary, *, recorded: RecordedRun, desk: RecordedDesk, read: ReadNested
    ) -> None:
        super().__init__(state, library)
        self._recorded = recorded
        self._found: RecordedNested | None = None
        self._desk = desk
        self._read = read
        self._place = 0
        self.taken_now: list[str] = []

    async def load(self, called: WorkflowCalled) -> Script:
        """The recorded script.

        Raises:
            CallsheetError: There was none then, or there is none on record.
        """
        asked, there_are = asked_name(called), self._recorded.nested
        self._found = None
        self._place += 1
        if not there_are:
            self.taken_now.append(asked)
            return await super().load(called)
        in_place = there_are[self._place - 1 : self._place]
        found = next((one for one in (*in_place, *there_are) if one.asked == asked), None)
        if found is None:
            self._desk.no_such_workflow(asked, line=called.line)
            raise NotFoundError(f"'{asked}' is not on record", name=asked)
        if found.text is None or (found.error is not None and found.decision is None):  # not found, or refused
            message = (found.error or "it is not on record").removeprefix("workflow(): ")
            raise NotFoundError(message, name=asked)
        self._found = found
        return self._read(found)

    @property
    def _takes_texts(self) -> bool:
        return self._recorded.takes_drafts

    async def is_admitted(self, script: Script, called: WorkflowCalled) -> bool:
        """Whether it was admitted then."""
        found = self._found
        match None if found is None else found.decision:
            case "deny":
                self._decline(called, (found and found.error) or "declined")
                return False
            case "asked" | "unanswered":
                self._desk.no_answer(asked_name(called), line=called.line)
                return False
            case _:
                return True


async def replay_run(
    recorded: RecordedRun,
    *,
    script: Script,
    is_recorded_script: bool,
    session: ScriptSession,
    library: WorkflowLibrary,
    read: ReadNested,
    syntax_finding: SyntaxFinding,
    redact_text: Callable[[str], str],
    redact_json: Callable[[JsonValue], JsonValue],
) -> ReplayResult:
    """Runs a script against a record, and says what is other than recorded. Cancelling ends it at once.

    Args:
        recorded: The record.
        script: The recorded one, or an edited one that is held against the record.
        is_recorded_script: It is the recorded one.
        session: The sandbox that it runs in.
        library: Where nested workflows of an older record, which has not their text, are found.
        read: Makes a script of a recorded text.
        syntax_finding: Words the sandbox's refusal of a body.
        redact_text: Replaces secrets in a text, as they were replaced in the record.
        redact_json: Replaces them in the result.

    Raises:
        ScriptRefusedError: The script cannot be run.
    """
    past = replace(known_by_their_words(recorded), paid={})
    request = RunRequest(
        script=script,
        settings=RunSettings(
            backend=recorded.backend,
            budget_tokens=recorded.budget_tokens,
            budget_usd=recorded.budget_usd,
            sandbox=recorded.limits,
        ),
        workspace="",
        args_json=recorded.args_json,
        resumption=Resumption(past=past, reuse="all"),
    )
    ear = _Ear()
    state = new_state(
        request, store=NoRecord(), sinks=(ear,), redact_text=redact_text, checkpointing=Checkpointing(None)
    )
    desk = RecordedDesk(state, recorded)
    nested = RecordedWorkflows(state, library, recorded=recorded, desk=desk, read=read)
    listener = Listener(state, desk=desk, nested=nested, redact_json=redact_json)
    desk.timers = listener.timers
    conductor = Conductor(
        state,
        session=session,
        desk=desk,
        nested=nested,
        listener=listener,
        meter=ProgressMeter(state),
        syntax_finding=syntax_finding,
    )
    await conductor.compile()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(conductor.conduct)
        try:
            await conductor.ended.wait()
        finally:
            state.end(left())
            with anyio.CancelScope(shield=True):
                await conductor.ended.wait()
    assert conductor.result is not None
    return compared(
        recorded,
        desk,
        conductor.result,
        said=ear.said,
        script="recorded" if is_recorded_script else script.origin,
        notes=tuple(
            f"workflow '{name}' is not in the record, which is older than that: it was run as it is now"
            for name in dict.fromkeys(nested.taken_now)
        ),
    )
