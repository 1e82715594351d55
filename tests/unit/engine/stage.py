"""A whole run on a stage: real engine and executor, fakes for sandbox, record, agents and library."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from callsheet.engine.effects import Restore, cannot_restore
from callsheet.engine.run import Run, RunRequest, open_run
from callsheet.errors import SchemaUnusableError
from callsheet.executors.local import LocalExecutor
from callsheet.model.approval import OnGrant, cannot_keep
from callsheet.model.conversation import SpokenTurn
from callsheet.model.events import Event, EventBody
from callsheet.model.past import Resumption
from callsheet.model.run import RunResult, RunSettings
from callsheet.model.sandbox import RejectCall, ResolveCall, SyntaxFault
from callsheet.model.script import Finding, Script
from callsheet.model.values import JsonValue
from callsheet.ports import AgentBackend, Approver, CheckpointTaker, DraftGate, EventSink, WorkflowLibrary
from tests.support.deadline import within
from tests.support.fake_backend import FakeBackend
from tests.support.fake_library import FakeLibrary, fake_script
from tests.support.fake_session import FakeSession, ScriptFn
from tests.support.memory_store import MemoryStore

SECRET = "hunter2"


class SinkSpy(EventSink):
    """A surface that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def bodies(self, *kinds: type[EventBody]) -> list[EventBody]:
        return [event.body for event in self.events if isinstance(event.body, kinds)]

    def names(self) -> list[str]:
        return [event.name for event in self.events]


def check_schema(schema: JsonValue) -> None:
    if isinstance(schema, dict) and schema.get("type") != "object":
        raise SchemaUnusableError("the root must have type 'object'")


def syntax_finding(script: Script, fault: SyntaxFault) -> Finding:
    return Finding(severity="error", code="syntax", contract="S06", message=fault.message, place=fault.place)


def redact_text(text: str) -> str:
    return text.replace(SECRET, "‹secret›")


def redact_json(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, list):
        return [redact_json(one) for one in value]
    if isinstance(value, dict):
        return {name: redact_json(one) for name, one in value.items()}
    return value


def settings(**changes: object) -> RunSettings:
    return RunSettings(backend="fake", **changes)  # type: ignore[arg-type]


@dataclass
class Stage:
    """All that takes part in a run under way."""

    run: Run
    session: FakeSession
    backend: FakeBackend
    store: MemoryStore
    sink: SinkSpy
    results: list[RunResult] = field(default_factory=list)

    def resolved(self) -> list[str]:
        return [one.value_json for one, _ in self.session.deliveries if isinstance(one, ResolveCall)]

    def rejected(self) -> list[tuple[str, str]]:
        return [(one.name, one.message) for one, _ in self.session.deliveries if isinstance(one, RejectCall)]


@asynccontextmanager
async def _closing(session: FakeSession) -> AsyncIterator[None]:
    try:
        yield
    finally:
        session.close()


@asynccontextmanager
async def on_stage(
    main: ScriptFn,
    *,
    nested: Mapping[str, ScriptFn] | None = None,
    faults: Mapping[str, SyntaxFault] | None = None,
    run_settings: RunSettings | None = None,
    backend: FakeBackend | None = None,
    more_backends: Mapping[str, AgentBackend] | None = None,
    store: MemoryStore | None = None,
    library: WorkflowLibrary | None = None,
    session: FakeSession | None = None,
    sinks: Sequence[EventSink] = (),
    workspace: str = "/work-folder",
    args_json: str | None = None,
    started_ms: int | None = None,
    seed: int | None = None,
    approver: Approver | None = None,
    on_grant: OnGrant = cannot_keep,
    resumption: Resumption | None = None,
    heard: Mapping[str, tuple[SpokenTurn, ...]] | None = None,
    notices: tuple[str, ...] = (),
    checkpoints: CheckpointTaker | None = None,
    restore: Restore = cannot_restore,
    gate: DraftGate | None = None,
) -> AsyncIterator[Stage]:
    """Opens a run; nested scripts are workflows of the same name, compiled by that name as their body."""
    session = session or FakeSession(main, nested=nested, faults=faults)
    backend = backend or FakeBackend()
    store = store or MemoryStore()
    library = library or FakeLibrary(
        workflows={name: fake_script(name, body=name) for name in {*(nested or {}), *(faults or {})}}
    )
    sink = SinkSpy()
    request = RunRequest(
        script=fake_script(),
        settings=run_settings or settings(),
        workspace=workspace,
        head="abc123",
        args_json=args_json,
        run_id="run_test",
        started_ms=started_ms,
        seed=seed,
        notes=("a note",),
        resumption=resumption,
        heard=heard or {},
        notices=notices,
    )
    backends = {"fake": backend, **(more_backends or {})}
    async with (
        _closing(session),
        LocalExecutor(backends) as executor,
        open_run(
            request,
            session=session,
            executor=executor,
            store=store,
            library=library,
            backends=executor.backends,
            check_schema=check_schema,
            syntax_finding=syntax_finding,
            redact_text=redact_text,
            redact_json=redact_json,
            sinks=(sink, *sinks),
            approver=approver,
            on_grant=on_grant,
            checkpoints=checkpoints,
            restore=restore,
            gate=gate,
        ) as run,
    ):
        yield Stage(run=run, session=session, backend=backend, store=store, sink=sink)


@dataclass
class Played:
    """A run that is over."""

    result: RunResult
    stage: Stage

    @property
    def statuses(self) -> dict[str, str]:
        return {agent.label: agent.status for agent in self.result.agents}

    @property
    def lines(self) -> list[str]:
        return [line.message for line in self.result.logs]


async def play(main: ScriptFn, **how: object) -> Played:
    """Plays a script to its end."""
    with within():
        async with on_stage(main, **how) as stage:  # type: ignore[arg-type]
            return Played(result=await stage.run.result(), stage=stage)
