"""Scripts as text: read, put to a person, run, declined, and not asked again (CONTRACT W03)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, cast

import anyio
import pytest

from callsheet.app.serving import Elsewhere
from callsheet.engine.drafts import args_digest
from callsheet.errors import NotFoundError, ScriptRefusedError
from callsheet.model.approval import Answer, Question
from callsheet.model.events import ApprovalAnswered, ApprovalAsked, Event, RunStatusChanged
from callsheet.model.past import Past, PastDraft, Resumption
from callsheet.model.public import event_json
from callsheet.model.recorded import recorded_event
from callsheet.model.records import NestedRow
from callsheet.model.script import Script
from callsheet.model.spending import Budget
from callsheet.ports import Approver, DraftGate
from tests.support.deadline import within
from tests.support.fake_backend import FakeBackend, ok
from tests.support.fake_library import fake_script, refusal
from tests.support.fake_session import Js, ScriptError
from tests.unit.engine.stage import SECRET, Stage, on_stage, play, settings

pytestmark = [pytest.mark.anyio, pytest.mark.contract("W03")]


class Says(Approver):
    """Answers one question after another with what it was given, and none after the last."""

    takes_scripts = True

    def __init__(self, *answers: Answer) -> None:
        self.questions: list[Question] = []
        self._answers = list(answers)
        self.asked = anyio.Event()

    async def answer(self, question: Question) -> Answer:
        self.questions.append(question)
        self.asked.set()
        if not self._answers:
            await anyio.sleep_forever()
        return self._answers.pop(0)


class Gate(DraftGate):
    """Reads a text whose whole is the name of a nested script on stage."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str | None, Budget]] = []

    def read(self, text: str) -> Script:
        if text == "bad":
            raise refusal()
        return fake_script(text, body=text)

    async def foreseen(self, script: Script, *, args_json: str | None, left: Budget) -> Sequence[str]:
        if script.meta.name == "unfit":
            raise ScriptRefusedError(refusal().findings)
        self.told.append((script.meta.name, args_json, left))
        return ("agents    1", f"cost      $1 {SECRET}")


async def draft(js: Js) -> Any:
    return await js.agent("inside", label="inside")


async def two(js: Js) -> Any:
    said = []
    for text in ("one", "two"):
        try:
            said.append(await js.workflow(script=text, args={"n": 1}))
        except ScriptError as error:
            said.append([error.name, error.message])
    return said


NESTED = {"one": draft, "two": draft}


def yes(verdict: str = "once") -> Answer:
    return Answer(verdict=cast(Any, verdict), by="Ada")


def rows(stage: Stage) -> list[tuple[int, str | None, str | None, str | None]]:
    """The last word of each nested script on record."""
    last = {row.n: row for row in stage.store.of(NestedRow)}
    return [(n, row.decision, row.decided_by, row.words) for n, row in last.items()]


async def test_a_person_sees_what_it_is_and_what_it_would_do_before_it_runs() -> None:
    person, gate = Says(yes(), yes()), Gate()
    backend = FakeBackend(outcomes={"inside": ok("done", cost_usd=1.0)})
    played = await play(
        two, nested=NESTED, gate=gate, approver=person, backend=backend, run_settings=settings(budget_usd=10.0)
    )
    assert played.result.result == ["done", "done"]
    asked = person.questions[0]
    assert asked.script is not None
    assert (asked.kind, asked.tool, asked.rules) == ("script", "workflow", ())
    assert (asked.script.name, asked.script.description) == ("one", "a play")
    assert asked.script.plan == ("agents    1", "cost      $1 ‹secret›"), "nobody is shown a secret"
    assert asked.script.text == fake_script("one", body="one").text
    assert gate.told == [("one", '{"n": 1}', Budget(usd=10.0)), ("two", '{"n": 1}', Budget(usd=9.0))]
    events = played.stage.sink.bodies(ApprovalAsked, ApprovalAnswered)
    first, answered = cast(ApprovalAsked, events[0]), cast(ApprovalAnswered, events[1])
    assert (first.id, first.kind, first.agents, first.agent_ids) == ("q0001", "script", 0, ())
    assert first.until is not None
    assert (answered.verdict, answered.by) == ("once", "Ada")
    assert rows(played.stage) == [(1, "once", "Ada", None), (2, "once", "Ada", None)]
    said = [cast(RunStatusChanged, one) for one in played.stage.sink.bodies(RunStatusChanged)]
    assert [one.status for one in said] == ["waiting", "running", "waiting", "running"]
    assert said[0].reason == "whether 'one' is to run is asked"


async def test_the_event_survives_its_way_through_the_record_and_a_long_script_is_cut_visibly() -> None:
    person, text = Says(yes()), "x" * 70_000

    async def main(js: Js) -> Any:
        return await js.workflow(script=text)

    played = await play(main, nested={text: draft}, gate=Gate(), approver=person)
    assert played.result.status == "completed"
    (event, _) = [one for one in played.stage.sink.events if one.name.startswith("approval.")]
    asked = cast(ApprovalAsked, event.body)
    assert asked.script is not None and person.questions[0].script is not None
    whole = person.questions[0].script.text
    assert whole.startswith(asked.script.text)
    assert len(asked.script.text) + asked.script.left_out == len(whole)
    assert len(asked.script.text) <= 64 * 1024
    assert recorded_event(event_json(event)) == event


@pytest.mark.parametrize("verdict", ["run", "project"])
async def test_yes_to_all_that_come_is_asked_no_more_in_this_run(verdict: str) -> None:
    person = Says(yes(verdict))
    played = await play(two, nested=NESTED, gate=Gate(), approver=person)
    assert played.result.status == "completed"
    assert len(person.questions) == 1
    assert rows(played.stage) == [(1, "run", "Ada", None), (2, "run", "an earlier answer", None)]


async def test_a_no_is_an_error_of_its_own_name_with_the_words() -> None:
    person = Says(Answer(verdict="deny", words=f" look in src first {SECRET}\ud800 ", by="Ada"), Answer(verdict="deny"))
    played = await play(two, nested=NESTED, gate=Gate(), approver=person)
    assert played.result.result == [
        ["DeclinedError", "declined: look in src first ‹secret›�"], ["DeclinedError", "declined"],
    ]  # fmt: skip
    assert played.result.status == "completed"
    assert not played.result.agents
    assert [row[1:] for row in rows(played.stage)] == [
        ("deny", "Ada", "look in src first ‹secret›�"), ("deny", "approver", None),
    ]  # fmt: skip


async def test_unanswered_in_time_the_run_ends_and_can_be_resumed_and_nothing_ran() -> None:
    person = Says()
    with within():
        async with on_stage(
            two, nested=NESTED, gate=Gate(), approver=person, run_settings=settings(approval_timeout_s=0.01)
        ) as stage:
            result = await stage.run.result()
    assert (result.status, len(result.agents)) == ("interrupted", 0)
    assert result.error is not None and result.error.kind == "limit"
    assert result.error.message == (
        "whether 'one' is to run was asked, and nobody answered within 0.01 s. "
        "Continue with `callsheet resume run_test`."
    )
    assert [row[1] for row in rows(stage)] == ["unanswered"]


async def test_a_run_that_is_stopped_takes_the_question_away() -> None:
    person = Says()
    with within():
        async with on_stage(two, nested=NESTED, gate=Gate(), approver=person) as stage:
            await person.asked.wait()
            (asked,) = stage.run.questions()
            assert asked.kind == "script"
            await stage.run.stop()
            result = await stage.run.result()
    assert result.status == "cancelled"
    assert [cast(ApprovalAnswered, one).verdict for one in stage.sink.bodies(ApprovalAnswered)] == ["unanswered"]


async def test_a_person_elsewhere_answers_it_by_its_id() -> None:
    person = Says()
    with within():
        async with on_stage(_just_one, nested=NESTED, gate=Gate(), approver=person) as stage:
            await person.asked.wait()
            await stage.run.answer("q0001", "deny", words="later", by="Bob")
            result = await stage.run.result()
    assert result.error is not None
    assert result.error.message == "DeclinedError: declined: later"


async def _just_one(js: Js) -> Any:
    return await js.workflow(script="one")


async def test_who_allows_whatever_agents_ask_approves_no_script_by_that_and_is_not_asked() -> None:
    class Lax(Approver):
        async def answer(self, question: Question) -> Answer:
            raise AssertionError(question)

    for approver in (Lax(), None):
        played = await play(two, nested=NESTED, gate=Gate(), approver=approver)
        assert played.result.status == "completed"
        assert rows(played.stage) == [(1, "unasked", "nobody is asked", None), (2, "unasked", "nobody is asked", None)]


async def test_without_a_gate_texts_are_refused_and_saved_workflows_run_unasked() -> None:
    person = Says()

    async def main(js: Js) -> Any:
        saved = await js.workflow("one")
        try:
            await js.workflow(script="two")
        except ScriptError as error:
            return [saved, error.name, error.message]
        return None

    played = await play(main, nested=NESTED, approver=person)
    saved, name, message = cast(Any, played.result.result)
    assert (saved is not None, name) == (True, "TypeError")
    assert message.startswith(
        "workflow({script}): this run takes no scripts as text. Only `callsheet do` and the session"
    )
    assert not person.questions


async def test_saved_workflows_of_such_a_run_are_asked_about_too() -> None:
    person = Says(Answer(verdict="deny", words="not that one", by="Ada"))

    async def main(js: Js) -> Any:
        return await js.workflow("one")

    played = await play(main, nested=NESTED, gate=Gate(), approver=person)
    assert played.result.error is not None
    assert played.result.error.message == "DeclinedError: declined: not that one"
    assert person.questions[0].script is not None and person.questions[0].script.name == "one"


@pytest.mark.parametrize("text", ["bad", "unfit"])
async def test_what_is_no_script_or_would_not_run_is_refused_and_nobody_is_asked(text: str) -> None:
    person = Says()

    async def main(js: Js) -> Any:
        try:
            await js.workflow(script=text)
        except ScriptError as error:
            return error.message
        return None

    played = await play(main, nested={"unfit": draft}, gate=Gate(), approver=person)
    message = cast(str, played.result.result)
    assert message.startswith("workflow(): 'script ")
    assert message.endswith("is refused at line 1, column 4 (meta-missing): `secretName` stands before `meta`")
    assert not person.questions


async def test_a_text_that_is_refused_once_stays_on_record_and_counts_for_no_answer() -> None:
    class Wavering(Gate):
        """Refuses the first time: what a script names was not there yet."""

        async def foreseen(self, script: Script, *, args_json: str | None, left: Budget) -> Sequence[str]:
            self.told.append((script.meta.name, args_json, left))
            if len(self.told) == 1:
                raise ScriptRefusedError(refusal().findings)
            return ()

    async def main(js: Js) -> Any:
        with pytest.raises(ScriptError):
            await js.workflow(script="one")
        await js.workflow(script="one")

    person = Says(yes())
    played = await play(main, nested=NESTED, gate=Wavering(), approver=person)
    assert rows(played.stage) == [(1, None, None, None), (2, "once", "Ada", None)]
    refused, ran = {row.n: row for row in played.stage.store.of(NestedRow)}.values()
    assert (refused.workflow, refused.script_text) == ("one", fake_script("one", body="one").text)
    assert refused.error is not None and ran.same_as == 1, "the second has its text from the first"


def resumption(*drafts: PastDraft) -> Resumption:
    return Resumption(past=Past(run_id="run_test", seed=1, started_ms=1, drafts=drafts))


def decided(text: str, decision: str, *, words: str | None = None, args_json: str | None = None) -> PastDraft:
    return PastDraft(
        sha256=fake_script(text, body=text).sha256,
        occurrence=1,
        decision=decision,
        by="Ada",
        words=words,
        args_sha256=args_digest(args_json),
    )


async def test_a_resumed_run_asks_again_only_what_was_not_approved_or_was_declined_without_a_word() -> None:
    async def main(js: Js) -> Any:
        said = []
        for text in ("one", "one", "two", "three", "four"):
            try:
                await js.workflow(script=text)
                said.append("ran")
            except ScriptError as error:
                said.append(error.message)
        return said

    person = Says(yes(), yes(), yes())
    before = resumption(
        decided("one", "once"),
        decided("two", "deny", words="no"),
        decided("three", "deny"),
        decided("four", "run"),
    )
    nested = dict.fromkeys(("one", "two", "three", "four"), draft)
    played = await play(main, nested=nested, gate=Gate(), approver=person, resumption=before)
    assert played.result.result == ["ran", "ran", "declined: no", "ran", "ran"]
    assert [one.script.name for one in person.questions if one.script is not None] == ["one", "three"]


async def test_that_all_may_run_is_not_taken_from_a_record() -> None:
    person = Says(yes())
    played = await play(
        two,
        nested=NESTED,
        gate=Gate(),
        approver=person,
        resumption=resumption(decided("one", "run", args_json='{"n": 1}')),
    )
    assert played.result.status == "completed"
    assert [one.script.name for one in person.questions if one.script is not None] == ["two"]


async def test_a_yes_on_record_is_to_the_args_that_were_shown_with_it() -> None:
    person, before = Says(yes(), yes()), resumption(decided("one", "once", args_json='{"n": 2}'))
    played = await play(two, nested=NESTED, gate=Gate(), approver=person, resumption=before)
    assert [one.script.name for one in person.questions if one.script is not None] == ["one", "two"]
    digests = [row.args_sha256 for row in played.stage.store.of(NestedRow) if row.decision == "once"]
    assert digests == [args_digest('{"n": 1}')] * 2


# --- beside a run that is about to end --------------------------------------------------------------------------------


async def beside(js: Js) -> Any:
    return await js.all(js.agent("x", label="first"), js.agent("x", label="second"), js.workflow(script="one"))


DEAR = {"first": ok("dear", cost_usd=15.0)}
CHEAP = settings(max_parallel=1, cost_stop_usd=10.0)


@pytest.mark.contract("L04")
async def test_a_run_that_has_cost_enough_ends_at_once_and_takes_an_open_question_back() -> None:
    person, backend = Says(), FakeBackend(outcomes=DEAR, held=("first",))
    with within():
        async with on_stage(
            beside, nested=NESTED, gate=Gate(), approver=person, backend=backend, run_settings=CHEAP
        ) as stage:
            await person.asked.wait()
            backend.finish("first")
            result = await stage.run.result()
    assert (result.status, [task.label for task in backend.tasks]) == ("interrupted", ["first"])
    assert result.error is not None and "has cost $15.00" in result.error.message
    (answered,) = [cast(ApprovalAnswered, one) for one in stage.sink.bodies(ApprovalAnswered)]
    assert (answered.verdict, answered.by) == ("unanswered", "end of the run")
    said = [cast(RunStatusChanged, one).status for one in stage.sink.bodies(RunStatusChanged)]
    assert said == ["waiting", "stopping"]
    assert rows(stage) == [(1, "unanswered", "end of the run", None)], "it is asked again when the run goes on"


@pytest.mark.contract("L04")
async def test_a_no_to_what_it_may_cost_takes_the_other_question_back_and_agents_at_work_end_first() -> None:
    backend = FakeBackend(outcomes=DEAR, held=("first", "second"))

    async def three(js: Js) -> Any:
        return await js.all(
            *(js.agent("x", label=label) for label in ("first", "second", "third")), js.workflow(script="one")
        )

    with within():
        async with on_stage(
            three,
            nested=NESTED,
            gate=Gate(),
            approver=Elsewhere(takes_scripts=True),
            backend=backend,
            run_settings=settings(max_parallel=2, cost_stop_usd=10.0),
        ) as stage:
            async with aclosing(stage.run.events()) as events:
                async for event in events:
                    if isinstance(event.body, ApprovalAsked) and event.body.kind == "script":
                        backend.finish("first")
                    elif isinstance(event.body, ApprovalAsked):
                        break
            assert [asked.kind for asked in stage.run.questions()] == ["script", "cost"]
            await stage.run.answer("q0002", "deny", by="Ada")
            assert stage.run.questions() == ()
            with pytest.raises(NotFoundError, match="'q0001' is not asked any more"):
                await stage.run.answer("q0001", "once")
            backend.finish("second")
            result = await stage.run.result()
    assert result.status == "interrupted"
    assert result.error is not None and "Ada said to stop here" in result.error.message
    assert {agent.label: agent.status for agent in result.agents} == {
        "first": "ok", "second": "ok", "third": "cancelled"
    }  # fmt: skip


async def told(events: AsyncGenerator[Event], status: str) -> None:
    """Reads on until a status is told."""
    async for event in events:
        if isinstance(event.body, RunStatusChanged) and event.body.status == status:
            return


async def test_a_run_that_waits_for_two_answers_or_is_paused_besides_goes_on_only_with_the_last() -> None:
    backend = FakeBackend(outcomes=DEAR, held=("first",))
    with within():
        async with on_stage(
            beside,
            nested=NESTED,
            gate=Gate(),
            approver=Elsewhere(takes_scripts=True),
            backend=backend,
            run_settings=CHEAP,
        ) as stage:
            async with aclosing(stage.run.events()) as events:
                async for event in events:
                    if isinstance(event.body, ApprovalAsked) and event.body.kind == "script":
                        backend.finish("first")
                    elif isinstance(event.body, ApprovalAsked):
                        break
                await stage.run.pause()
                await stage.run.go_on()
                await stage.run.pause()
                for status in ("paused", "running", "waiting", "paused"):
                    await told(events, status)
                await stage.run.answer("q0002", "run")
                await told(events, "waiting")
                await stage.run.answer("q0001", "once")
                await told(events, "paused")
            await stage.run.go_on()
            assert (await stage.run.result()).status == "completed"
    said = [cast(RunStatusChanged, one) for one in stage.sink.bodies(RunStatusChanged)]
    about_script = "whether 'one' is to run is asked"
    assert [one.reason == about_script if one.status == "waiting" else one.status for one in said] == [
        True, False, "paused", "running", False, "paused", True, "paused", "running"
    ]  # fmt: skip


async def test_a_run_that_is_about_to_end_asks_about_no_script_any_more() -> None:
    class Slow(Gate):
        """Takes long to foresee a script."""

        def __init__(self) -> None:
            super().__init__()
            self.begun, self.go_on = anyio.Event(), anyio.Event()

        async def foreseen(self, script: Script, *, args_json: str | None, left: Budget) -> Sequence[str]:
            self.begun.set()
            await self.go_on.wait()
            return await super().foreseen(script, args_json=args_json, left=left)

    person, gate, backend = Says(yes()), Slow(), FakeBackend(outcomes=DEAR, held=("first",))
    with within():
        async with on_stage(
            beside, nested=NESTED, gate=gate, approver=person, backend=backend, run_settings=CHEAP
        ) as stage:
            await gate.begun.wait()
            backend.finish("first")
            async with aclosing(stage.run.events()) as events:
                async for event in events:
                    if isinstance(event.body, RunStatusChanged) and event.body.status == "stopping":
                        break
            gate.go_on.set()
            result = await stage.run.result()
    assert (result.status, person.questions) == ("interrupted", [])
    assert rows(stage) == [(1, "unanswered", "end of the run", None)]
