"""What working agents report: messages and tool calls to the record, signs of life to whoever looks on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import assert_never

import anyio

from callsheet.engine.approvals import HEADLESS, Approvals
from callsheet.engine.call import Call
from callsheet.engine.outage import Outage
from callsheet.engine.pauses import Pauses
from callsheet.engine.reserving import Reservations
from callsheet.engine.state import RunState
from callsheet.engine.text import clean, cut, to_json
from callsheet.errors import BackendUnavailableError, OverBudgetError
from callsheet.model.approval import Answer, Question
from callsheet.model.events import AgentControlled, AgentProgress, AgentWaiting
from callsheet.model.records import MessageRow, ToolCallRow
from callsheet.model.reports import AgentReport, MessageAdded, Progress, Remark, ToolCalled, Touched, Waiting
from callsheet.model.spending import Grant, Need, Paid
from callsheet.ports import AgentReporter

PROGRESS_INTERVAL_S = 0.5
MAX_DENIAL_CHARS = 200


class ProgressMeter:
    """Thins `agent.progress` to about two a second for each agent, so that streams and stores stay small.

    The first after a quiet while is sent at once; what comes sooner is sent, the newest of it, when its time has come.
    """

    def __init__(
        self,
        state: RunState,
        *,
        interval_s: float = PROGRESS_INTERVAL_S,
        now_s: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._state = state
        self._interval_s = interval_s
        self._now_s = now_s
        self._sent_s: dict[str, float] = {}
        self._held: dict[str, AgentProgress] = {}
        self._has_held = anyio.Event()

    def note(self, progress: AgentProgress) -> None:
        """Takes one sign of life. A tool's name is kept until a newer one comes."""
        agent = progress.agent_id
        now = self._now_s()
        if now - self._sent_s.get(agent, float("-inf")) >= self._interval_s:
            self._sent_s[agent] = now
            self._state.bus.emit(progress)
            return
        held = self._held.get(agent)
        if held is not None and progress.tool is None:
            progress = AgentProgress(
                agent_id=agent, tool=held.tool, tool_summary=held.tool_summary, tokens=progress.tokens
            )
        self._held[agent] = progress
        self._has_held.set()

    def send(self, agent_id: str) -> None:
        """Sends what is held of an agent now: what is said of it next must not be overtaken."""
        if (held := self._held.pop(agent_id, None)) is not None:
            self._sent_s[agent_id] = self._now_s()
            self._state.bus.emit(held)

    def forget(self, agent_id: str) -> None:
        """The agent ended: nothing of it is sent any more."""
        self._sent_s.pop(agent_id, None)
        self._held.pop(agent_id, None)

    async def run(self) -> None:
        """Sends what is held, until cancelled."""
        while True:
            await self._has_held.wait()
            await anyio.sleep(self._interval_s)
            self._has_held = anyio.Event()
            now = self._now_s()
            for agent, progress in self._held.items():
                self._sent_s[agent] = now
                self._state.bus.emit(progress)
            self._held.clear()
            await self._state.bus.flush()


class CallReporter(AgentReporter):
    """Where one agent reports to. What comes after the agent's end is dropped."""

    def __init__(
        self,
        call: Call,
        state: RunState,
        meter: ProgressMeter,
        *,
        approvals: Approvals,
        pauses: Pauses,
        outage: Outage,
        reservations: Reservations,
    ) -> None:
        self._call = call
        self._state = state
        self._meter = meter
        self._approvals = approvals
        self._pauses = pauses
        self._outage = outage
        self._reservations = reservations
        self._attempt = call.task.attempt
        self._calls_before = call.tool_calls
        self._tokens_before = 0 if call.before is None else call.before.usage.output_tokens
        self._progress = AgentProgress(agent_id=call.task.agent_id, tool=None, tool_summary=None, tokens=0)

    async def report(self, report: AgentReport) -> None:
        """Takes one report.

        Raises:
            StoreError: An intent could not be recorded: the tool must not run (CONTRACT R01).
        """
        call, bus = self._call, self._state.bus
        if call.is_concluded:
            return
        agent_id = call.task.agent_id
        match report:
            case Progress():
                self._progress = AgentProgress(
                    agent_id=agent_id,
                    tool=report.tool,
                    tool_summary=report.tool_summary,
                    tokens=self._tokens_before + report.tokens,
                )
                self._meter.note(self._progress)
            case Waiting():
                waiting = AgentWaiting(agent_id=agent_id, why=report.why, until=report.until, reason=report.reason)
                bus.emit(waiting)
            case MessageAdded():
                self._message_added(report)
            case ToolCalled():
                await self._tool_called(report)
            case Paid():
                self._reservations.settle(call, report)
            case Remark():
                self._state.book.log(report.level, f"{call.named}: {report.message}", workflow=call.task.workflow)
            case Touched():
                return  # part of the outcome, which the executor puts together
            case _:
                assert_never(report)
        await bus.flush()

    async def ask(self, question: Question) -> Answer:
        """Asks, unless the answer is known; the agent gives its place to another while it waits.

        Cancelling takes the agent out of those that wait.
        """
        call, agent_id = self._call, self._call.task.agent_id
        if call.is_concluded:
            return HEADLESS
        if (known := self._approvals.known(agent_id, question)) is not None:
            return known
        self._meter.send(agent_id)
        async with self._pauses.aside(call):
            answer = await self._approvals.ask(agent_id, question)
        self._meter.note(self._progress)
        return answer

    async def hold(self, error: BackendUnavailableError) -> None:
        """Waits with the run, where it waits.

        Raises:
            BackendUnavailableError: It does not.
        """
        if self._call.is_concluded:
            raise error
        self._meter.send(self._call.task.agent_id)
        await self._outage.hold(self._call, error)
        self._meter.note(self._progress)

    @property
    def counts_usd(self) -> bool:
        return any(scope.usd is not None for scope in self._call.account.scopes)

    async def reserve(self, need: Need) -> Grant:
        """Sets aside what a request may cost, once it may be sent.

        Raises:
            OverBudgetError: It does not fit, or comes too late.
            StoreError: It could not be recorded.
        """
        call = self._call
        if call.is_concluded:
            raise OverBudgetError("the agent is over")
        has_waited = False

        def before_wait() -> None:
            nonlocal has_waited
            has_waited = True
            self._meter.send(call.task.agent_id)

        grant = await self._reservations.reserve(call, need, before_wait=before_wait)
        if has_waited:
            self._meter.note(self._progress)
        return grant

    def _message_added(self, report: MessageAdded) -> None:
        call, bus = self._call, self._state.bus
        if report.paid is not None:
            self._reservations.settle(call, report.paid)
        call.messages += 1
        if call.turn is not None:
            call.turn.said.append(report.payload)
            call.turn.opening = report.opening or call.turn.opening
        task, person = call.task, None
        if report.from_person and call.letters:
            person = call.letters.pop(0).by
            bus.emit(AgentControlled(agent_id=task.agent_id, action="message_taken", by=person, attempt=self._attempt))
        bus.add(
            MessageRow(
                run_id=task.run_id,
                agent_id=task.agent_id,
                n=call.messages,
                payload=to_json(report.payload),
                attempt=self._attempt,
                person=person,
                opening=None if report.opening is None else report.opening.text,
            )
        )

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """The agent gives its place to another while it waits for something that is not its own work."""
        if self._call.is_concluded:
            yield
            return
        async with self._pauses.aside(self._call):
            yield

    async def _tool_called(self, report: ToolCalled) -> None:
        bus, task, checkpointing = self._state.bus, self._call.task, self._state.checkpointing
        if report.state == "intent":
            await checkpointing.before_change(self._state, self._call, report)
        elif report.state != "denied":
            await checkpointing.after_change(self._state, self._call, report)
        n = self._calls_before + report.n
        self._call.tool_calls = max(self._call.tool_calls, n)
        tool_input = bus.text(to_json(report.input))
        detail = None if report.detail is None else bus.text(report.detail)
        row = ToolCallRow(
            run_id=task.run_id,
            agent_id=task.agent_id,
            n=n,
            tool=clean(report.tool),
            input=tool_input,
            state=report.state,
            at=self._state.clock.stamp(),
            detail=detail,
            attempt=self._attempt,
        )
        if report.state == "denied":
            self._state.book.denials.add(
                tool=report.tool,
                tool_input=cut(tool_input, MAX_DENIAL_CHARS),
                rule=detail or "" if report.rule is None else bus.text(report.rule),
                agent_id=task.agent_id,
                would_allow=tuple(bus.text(rule) for rule in report.would_allow),
            )
        if report.state == "intent":
            await bus.commit((row,))
        else:
            bus.add(row)
