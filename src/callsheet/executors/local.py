"""Agents that work in this process."""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeAlias

import anyio
from anyio.abc import TaskGroup

from callsheet.errors import BackendUnavailableError, OverBudgetError, WorktreeError
from callsheet.model.approval import Answer, Question
from callsheet.model.call import AgentTask
from callsheet.model.outcome import AgentOutcome, CancelReason, Usage
from callsheet.model.reports import AgentReport, Progress, Remark, Touched
from callsheet.model.spending import Grant, Need
from callsheet.ports import AgentBackend, AgentHandle, AgentReporter, Executor, WorkPlace, Workspaces

CANCEL_WAIT_S = 2.25
"""How long an agent may take to end when it is cancelled; its backend has 2 s for it."""

GIVE_UP_S = 0.1
"""How long the group of tasks may take to end once each of them has been waited for."""

MAX_ENDED = 4_096
"""How many ended tasks are remembered, so that a task submitted again is not done again."""

NO_WORKTREES = (
    "there are no worktrees here: leave out `isolation`, `worktree` and `merge`, and the agent works in the workspace "
    "itself"
)


_Key: TypeAlias = tuple[str, str, int]
"""A task: run, agent id, attempt."""


class LocalExecutor(Executor):
    """Runs each task as a task of its own over one of several backends; `aclose`, or `async with`, ends them all.

    A backend may have an attribute `needs_workspace`; False says that it works without touching files, so that tasks
    that ask for a worktree need none.
    """

    def __init__(self, backends: Mapping[str, AgentBackend], *, workspaces: Workspaces | None = None) -> None:
        """Makes an executor.

        Args:
            backends: By their names in settings and options.
            workspaces: Makes worktrees for tasks that ask for one; without it such a task fails.
        """
        self._backends = backends
        self._workspaces = workspaces
        self._life: asyncio.Task[None] | None = None
        self._tasks: TaskGroup | None = None
        self._is_open = anyio.Event()
        self._closing = anyio.Event()
        self._handles: dict[_Key, _Handle] = {}
        self._ended: deque[_Key] = deque()
        self._is_closed = False

    @property
    def backends(self) -> tuple[str, ...]:
        """The names that a task may give as its backend."""
        return tuple(self._backends)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def submit(self, task: AgentTask, reporter: AgentReporter) -> AgentHandle:
        """Starts a task, or gives the handle of the one that was started under the same run, agent id and attempt.

        One that met a service that stays away is begun anew.

        Raises:
            RuntimeError: The executor was closed.
            KeyError: There is no backend of that name; whoever makes tasks checks it.
        """
        if self._is_closed:
            raise RuntimeError("the executor was closed: a task came after the end of its run")
        key = (task.run_id, task.agent_id, task.attempt)
        handle = self._handles.get(key)
        if handle is not None and handle.is_unavailable:
            self._ended.remove(key)
            handle = None
        if handle is None:
            handle = self._handles[key] = _Handle(task, self._backends[task.backend], reporter, self._workspaces)
            (await self._open()).start_soon(self._work, key, handle)
        return handle

    def takes_messages(self, backend: str) -> bool:
        return self._backends[backend].takes_messages

    async def _open(self) -> TaskGroup:
        # The tasks live in a group in a task of its own, not in the caller's: agents of one executor are started and
        # ended from many places, and one that will not end must not keep whoever closes the executor for ever.
        if self._life is None:
            self._life = asyncio.create_task(self._live())
        if self._tasks is None:
            await self._is_open.wait()
        assert self._tasks is not None
        return self._tasks

    async def _live(self) -> None:
        async with anyio.create_task_group() as self._tasks:
            self._is_open.set()
            await self._closing.wait()
            self._tasks.cancel_scope.cancel()

    async def _work(self, key: _Key, handle: _Handle) -> None:
        try:
            await handle.work()
        finally:
            self._ended.append(key)
            if len(self._ended) > MAX_ENDED:
                del self._handles[self._ended.popleft()]

    async def aclose(self) -> None:
        """Cancels what is under way and closes the backends. Idempotent; waits at most 2.25 s for either.

        An agent that will not end is left behind then: its outcome is `cancelled`, and nothing that it still does is
        taken.

        Raises:
            Exception: A fault of a reporter, alone, never in a group; the agents then ended as cancelled. A fault of a
                backend while it closes; the others are closed then too.
        """
        if self._is_closed:
            return
        self._is_closed = True
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as cancelling:
                for handle in self._handles.values():
                    if not handle.is_done:
                        cancelling.start_soon(handle.cancel, "stopped")
            self._closing.set()
            if self._life is not None:
                await asyncio.wait({self._life}, timeout=GIVE_UP_S)
            async with AsyncExitStack() as closing:  # all of them, also where one fails
                for backend in self._backends.values():
                    closing.push_async_callback(_close, backend)
        if self._life is not None and self._life.done() and not self._life.cancelled():
            fault = self._life.exception()
            if fault is not None:
                raise _innermost(fault)


async def _close(backend: AgentBackend) -> None:
    with anyio.move_on_after(CANCEL_WAIT_S):
        await backend.aclose()


class _Handle(AgentHandle):
    """One submitted task. It is settled once; the first to do so wins."""

    def __init__(
        self, task: AgentTask, backend: AgentBackend, reporter: AgentReporter, workspaces: Workspaces | None
    ) -> None:
        self._workspaces = workspaces
        self._place: WorkPlace | None = None
        self._work: tuple[AgentTask, AgentBackend] | None = (task, backend)
        self._reporter = _Watching(reporter, backend)
        self._scope = anyio.CancelScope()
        self._reason: CancelReason | None = None
        self._done = anyio.Event()
        self._result: AgentOutcome | BackendUnavailableError | None = None

    @property
    def is_done(self) -> bool:
        """Whether the outcome is known."""
        return self._done.is_set()

    @property
    def is_unavailable(self) -> bool:
        """Whether it ended because the service stays away."""
        return isinstance(self._result, BackendUnavailableError)

    async def outcome(self) -> AgentOutcome:
        await self._done.wait()
        match self._result:
            case AgentOutcome() as outcome:
                return outcome
            case BackendUnavailableError() as error:
                raise error
            case None:
                raise AssertionError("a task that is done has a result")

    async def cancel(self, reason: CancelReason) -> None:
        """Ends the agent, waiting at most 2.25 s; one that does not end by then counts as cancelled all the same."""
        if self.is_done:
            return
        self._reason = self._reason or reason
        self._scope.cancel()
        with anyio.move_on_after(CANCEL_WAIT_S):
            await self._done.wait()
        self._settle(self._cancelled())
        self._reporter.close()

    async def message(self, text: str) -> bool:
        return not self.is_done and self._reporter.post(text)

    async def work(self) -> None:
        """Does the task to its end. However that comes, the handle is settled."""
        assert self._work is not None
        task, backend = self._work
        try:
            with self._scope:
                self._settle(await self._dispatch(task, backend))
        finally:
            self._settle(self._cancelled())
            self._work = None
            self._reporter.close()

    async def _dispatch(self, task: AgentTask, backend: AgentBackend) -> AgentOutcome | BackendUnavailableError:
        """Gives the task to its backend; the one place where what a backend raises becomes an outcome.

        A script sees a fixed text; the cause goes to the run's log, for people.
        """
        task = task if backend.takes_earlier else task.told
        wants_worktree = task.options.isolation is not None or task.options.worktree is not None
        try:
            if wants_worktree and getattr(backend, "needs_workspace", True):
                return await self._elsewhere(task, backend)
            return await backend.run(task, self._reporter)
        except WorktreeError as error:
            return AgentOutcome(status="failed", error=error.message, usage=self._reporter.usage)
        except BackendUnavailableError as error:
            return self._with_usage(error)
        except Exception as error:  # noqa: BLE001 - the dispatch boundary
            unavailable = _unavailable_in(error)
            if unavailable is not None:
                return self._with_usage(unavailable)
            await self._reporter.report(Remark(level="error", message=_cause(task.backend, error)))
            text = f"the backend '{task.backend}' failed unexpectedly; the cause is in the run's log"
            return AgentOutcome(status="failed", error=text, usage=self._reporter.usage)

    def _with_usage(self, error: BackendUnavailableError) -> BackendUnavailableError:
        # Agents of one outage may share the error; each needs one that says what it used itself.
        own = BackendUnavailableError(error.message, cause=error.cause, retry_at=error.retry_at, since=error.since)
        own.usage = self._reporter.usage
        own.__cause__ = error
        return own

    async def _elsewhere(self, task: AgentTask, backend: AgentBackend) -> AgentOutcome:
        """Has the task done in a worktree."""
        if self._workspaces is None:
            raise WorktreeError(NO_WORKTREES)
        async with self._workspaces.open(task, self._reporter) as place:
            self._place = place
            outcome = await backend.run(replace(task, workspace=place.workspace), self._reporter)
            return await place.settle(outcome)

    def _settle(self, result: AgentOutcome | BackendUnavailableError) -> None:
        if not self._done.is_set():
            self._result = result
            self._done.set()

    def _cancelled(self) -> AgentOutcome:
        why = f"cancelled ({self._reason or 'stopped'})"
        kept = None if self._place is None else self._place.kept
        done = self._reporter.touched
        return AgentOutcome(
            status="cancelled",
            error=why,
            usage=self._reporter.usage,
            files_read=done.files_read,
            files_changed=done.files_changed,
            tools_called=done.tools_called,
            worktree=kept,
        )


class _Watching(AgentReporter):
    """Passes reports on and remembers what the agent has used and done: a cancelled one has no outcome to say it.

    It is also where messages to the agent lie until it takes them.
    """

    def __init__(self, inner: AgentReporter, backend: AgentBackend) -> None:
        self._inner: AgentReporter | None = inner
        self._messages: list[str] = []
        # Asked when a message comes: a package's backend is loaded with its first agent, and knows only then.
        self._taker: AgentBackend | None = backend
        self.usage = Usage()
        self.touched = Touched()

    def close(self) -> None:
        """Drops whatever comes from now on, and the task that hangs on it."""
        self._inner = self._taker = None

    def post(self, text: str) -> bool:
        """Keeps a message for the agent; False where it will take none any more."""
        if self._taker is None or not self._taker.takes_messages:
            return False
        self._messages.append(text)
        return True

    async def take_messages(self, *, at_end: bool = False) -> Sequence[str]:
        taken, self._messages = self._messages, []
        if at_end and not taken:
            self._taker = None
        return taken

    async def report(self, report: AgentReport) -> None:
        if isinstance(report, Progress):
            if report.usage is not None:
                self.usage = report.usage
            elif report.tokens > self.usage.output_tokens and self.usage.input_tokens == 0:
                self.usage = Usage(output_tokens=report.tokens, cost_usd=None)
        elif isinstance(report, Touched):
            self.touched = report
        if self._inner is not None:
            await self._inner.report(report)

    async def ask(self, question: Question) -> Answer:
        return Answer(verdict="unanswered") if self._inner is None else await self._inner.ask(question)

    async def hold(self, error: BackendUnavailableError) -> None:
        if self._inner is None:
            raise error
        await self._inner.hold(error)

    @property
    def counts_usd(self) -> bool:
        return self._inner is not None and self._inner.counts_usd

    async def reserve(self, need: Need) -> Grant:
        if self._inner is None:
            raise OverBudgetError("the agent is over")
        return await self._inner.reserve(need)

    def aside(self) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._inner is None else self._inner.aside()


def _unavailable_in(error: BaseException) -> BackendUnavailableError | None:
    """The service's failure in a group of errors, where a backend works with several tasks."""
    if isinstance(error, BackendUnavailableError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := _unavailable_in(inner)) is not None), None)
    return None


def _cause(backend: str, error: Exception) -> str:
    """What a backend raised and where, in one line for the run's log."""
    inner = _innermost(error)
    frames = traceback.extract_tb(inner.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"the backend '{backend}' raised {type(inner).__name__}: {inner}{where}"


def _innermost(error: BaseException) -> BaseException:
    """The first single error of a group, or the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
