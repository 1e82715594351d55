"""Agents' reports, listened to on their way to the engine: it knows nothing of this, and gets each as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from callsheet.errors import BackendUnavailableError
from callsheet.model.approval import Answer, Question
from callsheet.model.call import AgentTask
from callsheet.model.reports import AgentReport, MessageAdded, Progress, ToolCalled
from callsheet.model.spending import Grant, Need, Paid
from callsheet.ports import AgentHandle, AgentReporter, Executor
from callsheet.telemetry.work import AgentWork


class ObservedExecutor(Executor):
    """An executor whose agents' reports are listened to."""

    def __init__(self, executor: Executor, work_of: Callable[[AgentTask], AgentWork]) -> None:
        """Makes it.

        Args:
            executor: Does the work, and is its owner's to close.
            work_of: Where it is told what the agent of a task does.
        """
        self._executor = executor
        self._work_of = work_of

    async def submit(self, task: AgentTask, reporter: AgentReporter) -> AgentHandle:
        return await self._executor.submit(task, _Listening(reporter, self._work_of(task)))

    def takes_messages(self, backend: str) -> bool:
        return self._executor.takes_messages(backend)

    async def aclose(self) -> None:
        await self._executor.aclose()


class _Listening(AgentReporter):
    """A reporter that is listened to."""

    def __init__(self, reporter: AgentReporter, work: AgentWork) -> None:
        self._reporter = reporter
        self._work = work

    async def report(self, report: AgentReport) -> None:
        """Passes it on; a tool's time begins when its intent is on record, and any other's ends before that."""
        work = self._work
        match report:
            case ToolCalled(state="intent"):
                await self._reporter.report(report)
                work.called(report)
                return
            case ToolCalled():
                work.called(report)
            case Progress(tool=str(tool)):
                work.begun(tool)
            case MessageAdded():
                work.said(report)
            case Paid():
                work.paid(report)
            case _:
                pass
        await self._reporter.report(report)

    async def ask(self, question: Question) -> Answer:
        return await self._reporter.ask(question)

    async def hold(self, error: BackendUnavailableError) -> None:
        await self._reporter.hold(error)

    async def take_messages(self, *, at_end: bool = False) -> Sequence[str]:
        return await self._reporter.take_messages(at_end=at_end)

    @property
    def counts_usd(self) -> bool:
        return self._reporter.counts_usd

    async def reserve(self, need: Need) -> Grant:
        grant = await self._reporter.reserve(need)
        self._work.requested(grant, need)
        return grant

    def aside(self) -> AbstractAsyncContextManager[None]:
        return self._reporter.aside()
