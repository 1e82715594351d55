"""One pass of a rehearsal: the script runs for real in the sandbox, and nothing else is real."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING

import anyio

from callsheet.app import compose
from callsheet.app.rehearsal_doubts import Oddity, left_behind, oddities_of
from callsheet.errors import CallsheetError
from callsheet.groups import lone_error
from callsheet.model.call import AgentType
from callsheet.model.dataclass import dataclass
from callsheet.model.events import AgentQueued, Event
from callsheet.model.records import AgentRow, Row
from callsheet.model.sandbox import (
    AgentCalled,
    Clock,
    Confinement,
    Delivery,
    RejectCall,
    ResolveCall,
    Returned,
    ScriptMessage,
    SyntaxFault,
    WorkflowCalled,
)
from callsheet.ports import EventSink, ScriptSession, Store, WorkflowLibrary

if TYPE_CHECKING:
    from callsheet.app.plan import Plan
    from callsheet.app.rehearsal_cast import Company
    from callsheet.engine.run import Run
    from callsheet.model.run import RunResult, RunSettings
    from callsheet.model.script import Script

NO_COST_STOP_USD = 1e9
"""A rehearsal is not ended where a run would ask whether it may spend more: what it would spend is what it is for."""

_NO_MISUSE = frozenset({"AgentCapError", "BudgetExceededError", "SchemaError"})
"""Errors of calls that were taken as they were made."""


class NoRecord(Store):
    """A record that keeps only what of a call is not in its outcome, in memory.

    Attributes:
        calls: The rows of calls as they were accepted, by agent.
    """

    def __init__(self) -> None:
        self.calls: dict[str, AgentRow] = {}

    @property
    def path(self) -> str:
        return ""

    async def write(self, rows: Sequence[Row], *, durable: bool) -> None:
        for row in rows:
            if isinstance(row, AgentRow):
                self.calls.setdefault(row.agent_id, row)

    async def aclose(self) -> None:
        return


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A call that was refused as it was made."""

    message: str
    line: int | None
    label: str | None


@dataclass(slots=True, kw_only=True)
class _Open:
    """A call that was not answered yet."""

    line: int | None
    label: str | None


class WatchedSession(ScriptSession):
    """A sandbox session that is looked at as the script says what it wants, and hears what it gets.

    Attributes:
        lines: The lines of the run's own script that calls were made from.
        refused: Calls that were refused for what they asked.
        oddities: What is odd about calls of the run's own script.
    """

    def __init__(self, session: ScriptSession, *, known_text: str) -> None:
        self._session = session
        self._known_text = known_text
        self._open: dict[tuple[int, int], _Open] = {}
        self.lines: set[int] = set()
        self.refused: list[Refused] = []
        self.oddities: dict[Oddity, None] = {}

    async def ready(self) -> Confinement:
        return await self._session.ready()

    async def compile(self, body: str) -> SyntaxFault | None:
        return await self._session.compile(body)

    async def deliver(self, delivery: Delivery, clock: Clock, ahead: Sequence[tuple[Delivery, Clock]] = ()) -> int:
        if isinstance(delivery, ResolveCall | RejectCall):
            call = self._open.pop((delivery.context, delivery.call), None)
            if call is not None and isinstance(delivery, RejectCall) and delivery.name not in _NO_MISUSE:
                self.refused.append(Refused(message=delivery.message, line=call.line, label=call.label))
        return await self._session.deliver(delivery, clock)  # of what it is to hear next it is told in its turn

    async def receive(self) -> Sequence[ScriptMessage]:
        messages = await self._session.receive()
        for message in messages:
            if isinstance(message, AgentCalled):
                label = message.options.get("label")
                shown = label if isinstance(label, str) else None
                self._open[message.context, message.call] = _Open(line=message.line, label=shown)
                if message.context == 0:
                    self.oddities |= dict.fromkeys(oddities_of(message, known_text=self._known_text))
            elif isinstance(message, WorkflowCalled) and message.script is not None and message.context == 0:
                self._open[message.context, message.call] = _Open(line=message.line, label=None)
            if isinstance(message, Returned) and message.context == 0:
                left = [call.line for (context, _), call in self._open.items() if context == 0]
                self.oddities |= dict.fromkeys(left_behind(line) for line in left)
            if isinstance(message, AgentCalled | WorkflowCalled) and message.context == 0 and message.line is not None:
                self.lines.add(message.line)
        return messages


class WatchedLibrary(WorkflowLibrary):
    """A library that remembers which workflows scripts asked for in vain.

    Attributes:
        refused: Why they were not to be had.
    """

    def __init__(self, library: WorkflowLibrary) -> None:
        self._library = library
        self.refused: list[Refused] = []

    def workflow(self, name: str) -> Script:
        with self._noted(name):
            return self._library.workflow(name)

    def workflow_at(self, script_path: str, *, relative_to: str | None) -> Script:
        with self._noted(script_path):
            return self._library.workflow_at(script_path, relative_to=relative_to)

    def agent_type(self, name: str) -> AgentType:
        return self._library.agent_type(name)

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        try:
            yield
        except CallsheetError as fault:
            self.refused.append(Refused(message=f"workflow(): {fault.message}", line=None, label=name))
            raise


@dataclass(slots=True, kw_only=True)
class _Counting(EventSink):
    """Counts the agents that a run accepts, and may end it at some number."""

    most: int | None = None
    agents: int = 0
    is_full: anyio.Event = field(default_factory=anyio.Event)

    def on_event(self, event: Event) -> None:
        if isinstance(event.body, AgentQueued):
            self.agents += 1
            if self.most is not None and self.agents >= self.most:
                self.is_full.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """How one pass went.

    Attributes:
        result: As a run's; its times are those of the rehearsal's own clock.
        calls: What each accepted call asked, in order.
        is_whole: The script came to its end; False where it was ended after the time that it was given, or at the
            number of agents.
    """

    result: RunResult
    calls: tuple[AgentRow, ...]
    company: Company
    lines: frozenset[int]
    refused: tuple[Refused, ...]
    oddities: tuple[Oddity, ...]
    most_at_once: int
    is_whole: bool

    @property
    def plan(self) -> Counter[tuple[str | None, str | None, str, str | None, str]]:
        """What there is of each sort: what two passes are compared by."""
        return Counter((row.phase, row.workflow, agent_type_of(row), row.model, row.mode) for row in self.calls)


async def perform(
    plan: Plan,
    *,
    script: Script,
    library: WorkflowLibrary,
    settings: RunSettings,
    backends: Collection[str],
    args_json: str | None,
    company: Company,
    within_s: float,
    most_agents: int | None = None,
) -> Performance:
    """Runs the script to its end, with a company that plays its agents.

    Args:
        plan: Of the run that is rehearsed.
        script: What is run.
        library: Where it looks up names.
        settings: What holds for it.
        backends: The names that calls may use.
        args_json: Its `args`.
        company: Who plays its agents.
        within_s: After so many seconds it is ended.
        most_agents: At so many agents it is ended; None for none.

    Raises:
        ScriptRefusedError: The engine refuses the script.
        SandboxError: The sandbox does not start.
    """
    from callsheet.engine.simulation import Simulation

    counting, record, watched = _Counting(most=most_agents), NoRecord(), WatchedLibrary(library)
    simulation = Simulation(company.play)
    async with compose.script_host().open(settings.sandbox) as inner:
        session = WatchedSession(inner, known_text=f"{script.text}\n{args_json or ''}")
        request = compose.run_request(
            run_id=compose.new_run_id(),
            script=script,
            settings=settings,
            workspace=plan.workspace,
            args_json=args_json,
            notes=(),
        )
        engine = compose.engine(
            request,
            session=session,
            executor=simulation,
            simulation=simulation,
            store=record,
            library=watched,
            sinks=(counting,),
            backends=backends,
            environ=plan.around.environ,
        )
        is_whole = True
        async with engine as run:
            with anyio.move_on_after(within_s) as scope:
                await _ended_or_full(run, counting)
            is_whole = not (scope.cancelled_caught or counting.is_full.is_set())
            if not is_whole:
                await run.stop("stopped")
            result = await run.result()
    return Performance(
        result=result,
        calls=tuple(sorted(record.calls.values(), key=lambda row: row.call)),
        company=company,
        lines=frozenset(session.lines),
        refused=(*session.refused, *watched.refused),
        oddities=tuple(session.oddities),
        most_at_once=simulation.most_at_once,
        is_whole=is_whole,
    )


async def _ended_or_full(run: Run, counting: _Counting) -> None:
    """Waits for the run's end, or for so many agents that nobody wants to know of more."""
    with lone_error():
        async with anyio.create_task_group() as group:

            async def full() -> None:
                await counting.is_full.wait()
                group.cancel_scope.cancel()

            group.start_soon(full)
            await run.result()
            group.cancel_scope.cancel()


def agent_type_of(row: AgentRow) -> str:
    """The agent type that a call names, or is without naming one."""
    import json

    part = json.loads(row.parts or "{}").get("agent_type", "")
    return str(part).rpartition(" #")[0] or "general-purpose"
