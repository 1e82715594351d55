"""The executor of this process."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import anyio
import pytest

from callsheet.agents.registered import RegisteredBackend
from callsheet.errors import BackendUnavailableError
from callsheet.executors import local
from callsheet.executors.local import LocalExecutor
from callsheet.model.approval import Answer, Question
from callsheet.model.call import AgentTask, AgentType, CallOptions, WorkspaceRef
from callsheet.model.outcome import AgentOutcome, Usage
from callsheet.model.reports import AgentReport, Progress, Remark, Touched
from callsheet.ports import AgentReporter
from tests.support.deadline import within
from tests.support.fake_backend import Act, FakeBackend, ok

pytestmark = pytest.mark.anyio


class Heard(AgentReporter):
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.reports: list[AgentReport] = []

    async def report(self, report: AgentReport) -> None:
        self.reports.append(report)

    async def ask(self, question: Question) -> Answer:
        return Answer(verdict="unanswered")


def task(label: str = "one", *, agent_id: str = "a0001", backend: str = "fake", **options: Any) -> AgentTask:
    return AgentTask(
        run_id="run_1",
        agent_id=agent_id,
        call=1,
        key="k",
        occurrence=1,
        prompt="p",
        label=label,
        phase=None,
        workflow=None,
        options=CallOptions(**options),
        agent_type=AgentType(name="general-purpose", description=""),
        model=None,
        effort=None,
        backend=backend,
        workspace=WorkspaceRef(root="/"),
        max_turns=3,
        run_date="2026-11-21T08:00:00.000Z",
    )


async def outcome_of(act: Act, heard: Heard | None = None) -> AgentOutcome:
    async with LocalExecutor({"fake": FakeBackend(acts={"one": act})}) as executor:
        handle = await executor.submit(task(), heard or Heard())
        return await handle.outcome()


async def test_a_task_goes_to_its_backend_and_its_outcome_comes_back() -> None:
    fake, other = FakeBackend(), FakeBackend("other", outcomes={"one": ok("from the other")})
    with within():
        async with LocalExecutor({"fake": fake, "other": other}) as executor:
            assert executor.backends == ("fake", "other")
            one = await executor.submit(task(), Heard())
            two = await executor.submit(task(backend="other", agent_id="a0002"), Heard())
            assert (await one.outcome()).value == "one"
            assert (await two.outcome()).value == "from the other"
            assert (await one.outcome()).value == "one", "asked again it says the same"
    assert fake.is_closed
    assert other.is_closed


async def test_a_task_submitted_twice_is_done_once_before_and_after_its_end() -> None:
    backend = FakeBackend(held=("one",))
    with within():
        async with LocalExecutor({"fake": backend}) as executor:
            first = await executor.submit(task(), Heard())
            second = await executor.submit(task(), Heard())
            backend.finish("one")
            assert await first.outcome() == await second.outcome()
            third = await executor.submit(task(), Heard())
            assert await third.outcome() == await first.outcome()
    assert len(backend.tasks) == 1


async def test_a_cancelled_task_ends_as_cancelled_with_its_reason_and_the_backend_is_told() -> None:
    backend = FakeBackend(held=("one",))
    with within():
        async with LocalExecutor({"fake": backend}) as executor:
            handle = await executor.submit(task(), Heard())
            await backend.begun("one")
            await handle.cancel("script_ended")
            await handle.cancel("person")
            outcome = await handle.outcome()
    assert (outcome.status, outcome.error) == ("cancelled", "cancelled (script_ended)")
    assert backend.cancelled == ["one"]


async def test_a_task_cancelled_before_it_began_ends_as_cancelled() -> None:
    backend = FakeBackend(held=("one",))
    with within():
        async with LocalExecutor({"fake": backend}) as executor:
            handle = await executor.submit(task(), Heard())
            await handle.cancel("person")
            assert (await handle.outcome()).status == "cancelled"


async def test_a_task_that_ended_just_before_keeps_its_outcome() -> None:
    with within():
        async with LocalExecutor({"fake": FakeBackend()}) as executor:
            handle = await executor.submit(task(), Heard())
            await handle.outcome()
            await handle.cancel("person")
            assert (await handle.outcome()).status == "ok"


async def test_cancelling_the_wait_for_an_outcome_does_not_cancel_the_agent() -> None:
    backend = FakeBackend(held=("one",))
    with within():
        async with LocalExecutor({"fake": backend}) as executor:
            handle = await executor.submit(task(), Heard())
            await backend.begun("one")
            with anyio.move_on_after(0.01):
                await handle.outcome()
            backend.finish("one")
            assert (await handle.outcome()).status == "ok"


async def test_what_a_cancelled_agent_has_used_is_booked() -> None:
    async def reports_usage(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await reporter.report(Progress(tokens=7, usage=Usage(input_tokens=5, output_tokens=7, cost_usd=0.1)))
        await reporter.report(Progress(tokens=9))
        await anyio.sleep_forever()
        raise AssertionError

    async def reports_tokens(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await reporter.report(Progress(tokens=9))
        await anyio.sleep_forever()
        raise AssertionError

    used = []
    with within():
        for act in (reports_usage, reports_tokens):
            backend = FakeBackend(acts={"one": act})
            async with LocalExecutor({"fake": backend}) as executor:
                handle = await executor.submit(task(), Heard())
                await backend.begun("one")
                await anyio.wait_all_tasks_blocked()
                await handle.cancel("person")
                used.append((await handle.outcome()).usage)
    assert used == [Usage(input_tokens=5, output_tokens=7, cost_usd=0.1), Usage(output_tokens=9, cost_usd=None)]


async def test_an_agent_that_will_not_end_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "CANCEL_WAIT_S", 0.05)
    release = anyio.Event()

    async def stubborn(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        with anyio.CancelScope(shield=True):
            await release.wait()
        return ok()

    backend = FakeBackend(acts={"one": stubborn})
    with within(3):
        async with LocalExecutor({"fake": backend}) as executor:
            handle = await executor.submit(task(), Heard())
            await backend.begun("one")
            await handle.cancel("person")
            assert (await handle.outcome()).status == "cancelled"
            release.set()


async def test_what_a_backend_raises_is_a_failed_outcome_and_its_cause_is_for_people() -> None:
    async def breaks(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        raise LookupError("inner matters")

    heard = Heard()
    with within():
        outcome = await outcome_of(breaks, heard)
    assert outcome.status == "failed"
    assert outcome.error == "the backend 'fake' failed unexpectedly; the cause is in the run's log"
    (remark,) = heard.reports
    assert isinstance(remark, Remark)
    assert remark.level == "error"
    assert "LookupError: inner matters" in remark.message
    assert "test_local.py:" in remark.message


async def test_a_group_of_errors_is_one_cause() -> None:
    async def breaks(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        async def inner() -> None:
            raise LookupError("deep inside")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(inner)
        raise AssertionError

    heard = Heard()
    with within():
        assert (await outcome_of(breaks, heard)).status == "failed"
    assert isinstance(heard.reports[0], Remark)
    assert "LookupError: deep inside" in heard.reports[0].message


@pytest.mark.parametrize("is_grouped", [False, True])
async def test_a_service_that_stays_away_is_raised_from_the_outcome_alone_or_in_a_group(is_grouped: bool) -> None:
    gone = BackendUnavailableError("no credit", cause="credit")

    async def breaks(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        if is_grouped:
            raise ExceptionGroup("several", [ExceptionGroup("inner", [LookupError(), gone])])
        raise gone

    with within(), pytest.raises(BackendUnavailableError, match="no credit"):
        await outcome_of(breaks)


async def test_a_cancelled_agent_has_in_its_outcome_what_it_had_done_by_then() -> None:
    at_work = anyio.Event()

    async def works(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        try:
            at_work.set()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await reporter.report(Touched(files_read=("a",), files_changed=("b",), tools_called=("write",)))
        raise AssertionError

    backend = FakeBackend(acts={"one": works})
    with within():
        async with LocalExecutor({"fake": backend}) as executor:
            handle = await executor.submit(task(), Heard())
            await at_work.wait()
            await handle.cancel("timeout")
            outcome = await handle.outcome()
    assert (outcome.status, outcome.files_read, outcome.files_changed) == ("cancelled", ("a",), ("b",))
    assert outcome.tools_called == ("write",)


@pytest.mark.parametrize("options", [{"isolation": "worktree"}, {"worktree": "fix"}])
async def test_worktrees_are_refused_with_a_clear_error_unless_the_backend_needs_none(options: dict[str, Any]) -> None:
    with within():
        for needs_workspace, status in ((True, "failed"), (False, "ok")):
            backend = FakeBackend(needs_workspace=needs_workspace)
            async with LocalExecutor({"fake": backend}) as executor:
                outcome = await (await executor.submit(task(**options), Heard())).outcome()
            assert outcome.status == status
            assert bool(backend.tasks) == (not needs_workspace)
            if status == "failed":
                assert "there are no worktrees here" in (outcome.error or "")


async def test_leaving_the_executor_ends_what_is_under_way() -> None:
    backend = FakeBackend(held=("one",))
    with within():
        async with LocalExecutor({"fake": backend}) as executor:
            handle = await executor.submit(task(), Heard())
            await backend.begun("one")
        assert (await handle.outcome()).status == "cancelled"
        await executor.aclose()
    assert backend.is_closed


async def test_leaving_the_executor_by_a_cancellation_lets_it_through() -> None:
    backend = FakeBackend(held=("one",))
    with within():
        with anyio.CancelScope() as scope:
            async with LocalExecutor({"fake": backend}) as executor:
                await executor.submit(task(), Heard())
                await backend.begun("one")
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
    assert backend.cancelled == ["one"]
    assert backend.is_closed


async def test_an_error_inside_comes_out_as_itself() -> None:
    with within(), pytest.raises(LookupError, match="mine"):
        async with LocalExecutor({"fake": FakeBackend()}):
            raise LookupError("mine")


async def test_an_executor_needs_no_context_and_is_closed_by_its_aclose_alone() -> None:
    backend = FakeBackend(held=("two",))
    executor = LocalExecutor({"fake": backend})
    with within():
        one = await executor.submit(task(), Heard())
        two = await executor.submit(task("two", agent_id="a0002"), Heard())
        assert (await one.outcome()).status == "ok"
        await executor.aclose()
        assert (await two.outcome()).status == "cancelled"
        with pytest.raises(RuntimeError, match="was closed"):
            await executor.submit(task("three", agent_id="a0003"), Heard())


async def test_an_agent_that_will_not_end_does_not_keep_the_executor_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "CANCEL_WAIT_S", 0.05)
    release = anyio.Event()
    ended = anyio.Event()

    async def stubborn(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        with anyio.CancelScope(shield=True):
            await release.wait()
            await reporter.report(Remark(level="info", message="too late"))
            ended.set()
        return ok()

    heard = Heard()
    backend = FakeBackend(acts={"one": stubborn})
    with within(3):
        async with LocalExecutor({"fake": backend}) as executor:
            handle = await executor.submit(task(), heard)
            await backend.begun("one")
        assert (await handle.outcome()).status == "cancelled"
        assert backend.is_closed
        release.set()
        await ended.wait()
    assert heard.reports == []


async def test_a_fault_of_a_reporter_is_raised_alone_when_the_executor_closes_and_hangs_nobody() -> None:
    class Broken(AgentReporter):
        async def report(self, report: AgentReport) -> None:
            raise LookupError("a fault of ours")

        async def ask(self, question: Question) -> Answer:
            return Answer(verdict="unanswered")

    async def breaks(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        raise ValueError

    backend = FakeBackend(acts={"one": breaks})
    with within():
        executor = LocalExecutor({"fake": backend})
        handle = await executor.submit(task(), Broken())
        assert (await handle.outcome()).status == "cancelled"
        with pytest.raises(LookupError, match="a fault of ours"):
            await executor.aclose()
    assert backend.is_closed


@pytest.mark.parametrize("first", [True, False])
async def test_a_backend_that_fails_while_it_closes_keeps_no_other_from_closing(first: bool) -> None:
    class Broken(FakeBackend):
        async def aclose(self) -> None:
            raise LookupError("a fault of a package")

    other, broken = FakeBackend(), Broken("broken")
    backends = [broken, other] if first else [other, broken]
    with within(), pytest.raises(LookupError, match="a fault of a package"):
        await LocalExecutor({backend.name: backend for backend in backends}).aclose()
    assert other.is_closed


async def test_ended_tasks_are_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MAX_ENDED", 10)

    class Tracked(Heard):
        """Can be watched going away."""

    seen: list[weakref.ref[Tracked]] = []
    backend = FakeBackend()
    with within():
        async with LocalExecutor({"fake": backend}) as executor:
            for number in range(30):
                heard = Tracked()
                seen.append(weakref.ref(heard))
                one = replace(task(), agent_id=f"a{number:04d}")
                await (await executor.submit(one, heard)).outcome()
                del heard, one
            await anyio.wait_all_tasks_blocked()
            gc.collect()
            assert len(executor._handles) == 10
            assert not any(ref() is not None for ref in seen)


@pytest.mark.contract("K05")
async def test_a_task_that_met_a_service_that_stays_away_says_what_it_used_and_is_begun_anew_when_submitted_again() -> (
    None
):
    outcomes = [ok("second")]

    async def once_away(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        if len(backend.tasks) == 1:
            await reporter.report(Progress(tokens=7, usage=Usage(input_tokens=3, output_tokens=7)))
            raise BackendUnavailableError("away", cause="outage", since="2026-11-21T08:00:00.000Z")
        return outcomes.pop()

    backend = FakeBackend(acts={"one": once_away})
    with within():
        async with LocalExecutor({"fake": backend}) as executor:
            handle = await executor.submit(task(), Heard())
            with pytest.raises(BackendUnavailableError) as raised:
                await handle.outcome()
            assert raised.value.usage == Usage(input_tokens=3, output_tokens=7)
            assert (raised.value.cause, raised.value.since) == ("outage", "2026-11-21T08:00:00.000Z")
            again = await executor.submit(task(), Heard())
            assert (await again.outcome()).value == "second"
            assert (await executor.submit(task(), Heard())) is again
    assert len(backend.tasks) == 2


@pytest.mark.parametrize("takes", [True, False])
async def test_agents_of_a_package_take_messages_as_its_backend_says_from_when_it_is_loaded(takes: bool) -> None:
    taken: list[str] = []

    async def listen(_task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        taken.extend(await reporter.take_messages())
        return ok("heard")

    inner = FakeBackend(held=("one",), acts={"one": listen}, takes_messages=takes)
    backend = RegisteredBackend("packaged", lambda: lambda: inner)
    with within():
        async with LocalExecutor({"packaged": backend}) as executor:
            handle = await executor.submit(task(backend="packaged"), Heard())
            assert await handle.message("too early") is False
            await inner.begun("one")
            assert executor.takes_messages("packaged") is takes
            assert await handle.message("Mind the tests.") is takes
            inner.finish("one")
            assert (await handle.outcome()).value == "heard"
    assert taken == (["Mind the tests."] if takes else [])
