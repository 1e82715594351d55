"""Answering a run's questions from outside, beside whoever was asked."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import anyio
import pytest

from callsheet.app.serving import Elsewhere
from callsheet.errors import ControlRefusedError, NotFoundError, UsageError
from callsheet.model.events import ApprovalAnswered, ApprovalAsked, EventBody
from callsheet.model.past import Past, Resumption
from callsheet.model.records import EventRow
from tests.support.deadline import within
from tests.support.fake_approver import FakeApprover, quiet
from tests.support.fake_backend import FakeBackend, ok
from tests.support.fake_session import Js
from tests.support.memory_store import MemoryStore
from tests.unit.engine.stage import SECRET, Stage, on_stage, play, settings
from tests.unit.engine.test_asking import asks

pytestmark = pytest.mark.anyio


async def one(js: Js) -> Any:
    return await js.agent("x", label="asker")


def bodies(stage: Stage, kind: type[EventBody]) -> list[Any]:
    return list(stage.sink.bodies(kind))


async def test_a_question_is_answered_from_outside_and_taken_away_from_who_was_asked() -> None:
    person = FakeApprover()
    with within():
        async with on_stage(one, backend=FakeBackend(acts={"asker": asks()}), approver=person) as stage:
            await person.asked(1)
            (asked,) = stage.run.questions()
            assert asked == bodies(stage, ApprovalAsked)[-1]
            with pytest.raises(NotFoundError, match="open now: q0001"):
                await stage.run.answer("q0002", "once")
            await stage.run.answer("q0001", "deny", words=f"not today {SECRET}", by="ada")
            result = await stage.run.result()
            assert stage.run.questions() == ()
    assert str(result.result).startswith("deny: not today")
    assert person.taken_back == ["npm test"]
    (answered,) = bodies(stage, ApprovalAnswered)
    assert (answered.verdict, answered.by, answered.agents) == ("deny", "ada", 1)


async def test_what_is_granted_from_outside_holds_for_the_run_and_is_not_asked_again() -> None:
    async def twice(js: Js) -> Any:
        return [await js.agent("x", label="first"), await js.agent("x", label="second")]

    granted: list[tuple[tuple[str, ...], str]] = []

    async def on_grant(rules: tuple[str, ...], verdict: str) -> str | None:
        granted.append((rules, verdict))
        return None

    person = FakeApprover()
    backend = FakeBackend(acts={"first": asks(), "second": asks()})
    with within():
        async with on_stage(twice, backend=backend, approver=person, on_grant=on_grant) as stage:
            await person.asked(1)
            await stage.run.answer("q0001", "run")
            result = await stage.run.result()
    assert result.result == ["run: None", "run: None"]
    assert granted == [(("Bash(npm test:*)",), "run")]
    assert len(person.questions) == 1


@pytest.mark.parametrize("attempts", [1, 41])
async def test_a_name_stands_for_one_question_of_the_run_for_good(attempts: int) -> None:
    resumed = Resumption(past=Past(run_id="run_test", seed=1, started_ms=1, attempts=attempts))
    here, person = f"q{attempts + 1}-0001", FakeApprover()
    with within():
        backend = FakeBackend(acts={"asker": asks()})
        async with on_stage(one, backend=backend, approver=person, resumption=resumed) as stage:
            await person.asked(1)
            assert [asked.id for asked in stage.run.questions()] == [here]
            for stale, why in [
                ("q0001", "'q0001' was asked before this run was resumed, and is not asked any more"),
                (f"q{attempts + 2}-0001", "There is no open question"),
                (f"q{attempts + 1}-0002", "There is no open question"),
                (f"q{attempts + 1}-{'9' * 5000}", "There is no open question"),
            ]:
                with pytest.raises(NotFoundError, match=why) as refused:
                    await stage.run.answer(stale, "once")
                assert f"open now: {here} (bash: npm test)" in str(refused.value)
            await stage.run.answer(here, "deny")
            result = await stage.run.result()
    assert result.result == "deny: None", "nobody but the last one was heard"


async def test_what_was_answered_is_told_from_what_never_was_asked() -> None:
    async def twice(js: Js) -> Any:
        return [await js.agent("x", label="first"), await js.agent("x", label="second")]

    person = FakeApprover()
    backend = FakeBackend(acts={"first": asks(), "second": asks()})
    with within():
        async with on_stage(twice, backend=backend, approver=person) as stage:
            await person.asked(1)
            await stage.run.answer("q0001", "once")
            await person.asked(2)
            with pytest.raises(
                NotFoundError, match=r"'q0001' is not asked any more.*open now: q0002 \(bash: npm test\)"
            ):
                await stage.run.answer("q0001", "once")
            await stage.run.answer("q0002", "once")
            assert (await stage.run.result()).result == ["once: None", "once: None"]


async def test_nobody_sees_a_question_before_its_name_is_on_disk() -> None:
    """Else a host that is killed in that moment gives the name to another question when it is resumed."""
    person, store = FakeApprover(), MemoryStore()
    with within():
        backend = FakeBackend(acts={"asker": asks()}, held=("asker",))
        async with on_stage(one, backend=backend, approver=person, store=store) as stage:
            await backend.begun("asker")
            store.disk = anyio.Event()
            backend.finish("asker")
            await quiet()
            assert (person.questions, stage.run.questions(), bodies(stage, ApprovalAsked)) == ([], (), [])
            with pytest.raises(NotFoundError, match="none is open now"):
                await stage.run.answer("q0001", "once")
            store.disk.set()
            await person.asked(1)
            assert "approval.asked" in [row.event for row in store.of(EventRow)]
            await stage.run.answer("q0001", "once")
            assert (await stage.run.result()).result == "once: None"


async def test_of_two_answers_the_first_holds_and_the_second_is_told_so() -> None:
    person = FakeApprover()

    async def on_grant(rules: tuple[str, ...], verdict: str) -> str | None:
        person.say("npm test", "deny")
        await quiet()  # the other answer comes while rules are put into force
        return None

    with within():
        backend = FakeBackend(acts={"asker": asks()})
        async with on_stage(one, backend=backend, approver=person, on_grant=on_grant) as stage:
            await person.asked(1)
            with pytest.raises(ControlRefusedError, match="answered a moment ago"):
                await stage.run.answer("q0001", "run")
            result = await stage.run.result()
            with pytest.raises(ControlRefusedError) as over:
                await stage.run.answer("q0001", "run")
    assert result.result == "deny: None"
    assert over.value.why == "run_over"


async def test_a_run_that_asks_nobody_has_no_question_to_answer() -> None:
    played = await play(one, backend=FakeBackend(acts={"asker": asks()}))
    assert played.result.result == "unanswered: nobody is there to be asked"


async def test_a_follower_that_joins_after_an_event_has_the_rest_and_no_other() -> None:
    with within():
        async with on_stage(one, backend=FakeBackend()) as stage:
            await stage.run.result()
            every = [event.seq async for event in stage.run.events()]
            assert [event.seq async for event in stage.run.events(after=3)] == every[3:]
            assert [event.seq async for event in stage.run.events(after=every[-1])] == []


@pytest.mark.contract("L04")
async def test_what_a_run_may_cost_is_said_from_elsewhere_too() -> None:
    async def three(js: Js) -> Any:
        return await js.all(*[js.agent("x", label=f"{i}") for i in range(3)])

    backend = FakeBackend(outcomes={f"{i}": ok(f"v{i}", cost_usd=15.0) for i in range(3)})
    with within():
        async with on_stage(
            three, backend=backend, approver=Elsewhere(), run_settings=settings(max_parallel=1, cost_stop_usd=10)
        ) as stage:
            async with aclosing(stage.run.events()) as events:
                async for event in events:
                    if isinstance(event.body, ApprovalAsked):
                        break
            (asked,) = stage.run.questions()
            assert (asked.kind, asked.rules) == ("cost", ())
            await stage.run.answer(asked.id, "run", by="ada")
            result = await stage.run.result()
    assert (result.status, result.result) == ("completed", ["v0", "v1", "v2"])


@pytest.mark.contract("L04")
async def test_dollars_go_with_a_yes_to_what_a_run_may_cost_and_with_nothing_else() -> None:
    async def two(js: Js) -> Any:
        return await js.all(js.agent("x", label="0"), js.agent("x", label="1"))

    backend = FakeBackend(outcomes={f"{i}": ok(f"v{i}", cost_usd=15.0) for i in range(2)})
    with within():
        async with on_stage(
            two, backend=backend, approver=Elsewhere(), run_settings=settings(max_parallel=1, cost_stop_usd=10)
        ) as stage:
            async with aclosing(stage.run.events()) as events:
                async for event in events:
                    if isinstance(event.body, ApprovalAsked):
                        break
            for wrong in (0.0, -1.0, float("inf"), float("nan")):
                with pytest.raises(UsageError, match="a number of dollars above 0"):
                    await stage.run.answer("q0001", "once", more_usd=wrong)
            with pytest.raises(UsageError, match="q0001 is not answered by it"):
                await stage.run.answer("q0001", "run", more_usd=5.0)
            await stage.run.answer("q0001", "once", more_usd=5.0, by="ada")
            result = await stage.run.result()
    assert result.status == "completed"
    assert "the run goes on: ada lets it cost up to $20.00 without a budget" in [log.message for log in result.logs]
