"""`workflow()`: scripts within a run."""

from __future__ import annotations

from typing import Any

import pytest

from callsheet.model.counts import MAX_CONTEXTS
from callsheet.model.events import AgentQueued, Log, PhaseStarted
from callsheet.model.outcome import AgentOutcome
from callsheet.model.run import PhaseSummary
from callsheet.model.sandbox import EndContext, StartScript, SyntaxFault
from callsheet.model.values import Place
from tests.support.fake_backend import FakeBackend, ok
from tests.support.fake_library import FakeLibrary, fake_script, refusal
from tests.support.fake_session import Js, ScriptError
from tests.unit.engine.stage import play, settings

pytestmark = [pytest.mark.anyio, pytest.mark.contract("W01")]


async def child(js: Js) -> Any:
    js.log("from below")
    js.phase("Inner")
    return {"kid": await js.agent("kid", label="kid"), "args": js.args}


async def parent(js: Js) -> Any:
    return await js.workflow("child", args={"x": 1})


async def caught(promise: Any) -> list[str]:
    try:
        await promise
    except ScriptError as error:
        return [error.name, error.message]
    return []


async def test_a_nested_workflow_runs_inline_with_its_own_args_and_a_group_of_its_own() -> None:
    played = await play(parent, nested={"child": child})
    assert played.result.result == {"kid": "kid", "args": {"x": 1}}
    assert played.result.status == "completed"
    (agent,) = played.result.agents
    assert (agent.workflow, agent.phase) == ("child", "Inner")
    assert played.result.phases == (PhaseSummary(title="▸ child", agents=1),)
    sink = played.stage.sink
    assert [body.workflow for body in sink.bodies(AgentQueued) if isinstance(body, AgentQueued)] == ["child"]
    assert sink.bodies(PhaseStarted) == [PhaseStarted(title="Inner", workflow="child")]
    assert sink.bodies(Log) == [Log(level="info", message="from below", workflow="child", by="script")]


async def test_contexts_are_numbered_from_1_share_the_budget_and_end_before_their_caller_goes_on() -> None:
    async def script(js: Js) -> Any:
        return [await js.workflow("child"), await js.workflow("child")]

    played = await play(script, nested={"child": child}, run_settings=settings(budget_tokens=500), seed=77)
    deliveries = [one for one, _ in played.stage.session.deliveries]
    starts = [one for one in deliveries if isinstance(one, StartScript)]
    assert [(one.context, one.budget_tokens) for one in starts] == [(0, 500), (1, 500), (2, 500)]
    assert starts[0].seed == 77
    assert len({one.seed for one in starts}) == 3
    ends = [at for at, one in enumerate(deliveries) if isinstance(one, EndContext)]
    assert all(type(deliveries[at + 1]).__name__ == "ResolveCall" for at in ends)
    assert played.stage.session.compiled == ["main", "child", "child"]


async def test_children_share_the_caps_of_the_run() -> None:
    async def busy(js: Js) -> Any:
        return await js.all(*[js.agent("x") for _ in range(4)])

    async def script(js: Js) -> Any:
        return await js.all(*[js.workflow("busy") for _ in range(3)])

    backend = FakeBackend()
    played = await play(script, nested={"busy": busy}, backend=backend, run_settings=settings(max_parallel=2))
    assert backend.peak == 2
    assert len(played.result.agents) == 12

    capped = await play(script, nested={"busy": busy}, run_settings=settings(max_agents=5))
    assert capped.result.error is not None
    assert capped.result.error.message.startswith("AgentCapError")


@pytest.mark.contract("A13")
async def test_agents_that_a_child_leaves_behind_are_cancelled_and_its_timers_dropped() -> None:
    async def leaves(js: Js) -> Any:
        js.agent("x", label="left")
        js.sleep(60_000)
        return "gone"

    async def script(js: Js) -> Any:
        first = await js.workflow("leaves")
        return [first, await js.agent("x", label="after")]

    played = await play(script, nested={"leaves": leaves}, backend=FakeBackend(held=("left",)))
    assert played.result.result == ["gone", "after"]
    assert played.result.status == "completed"
    assert played.statuses == {"left": "cancelled", "after": "ok"}


async def test_what_a_child_threw_rejects_the_call_with_that_name_and_message() -> None:
    async def throws(js: Js) -> Any:
        js.agent("x", label="left")
        raise ScriptError("RangeError", "too far")

    async def plain(js: Js) -> Any:
        raise ScriptError("", "just text")

    async def script(js: Js) -> Any:
        return [await caught(js.workflow("throws")), await caught(js.workflow("plain"))]

    played = await play(script, nested={"throws": throws, "plain": plain}, backend=FakeBackend(held=("left",)))
    assert played.result.result == [["RangeError", "too far"], ["Error", "just text"]]
    assert "workflow 'throws' failed: RangeError: too far" in played.lines


@pytest.mark.contract("W02")
async def test_there_is_one_level_only() -> None:
    async def middle(js: Js) -> Any:
        return await caught(js.workflow("child"))

    async def script(js: Js) -> Any:
        return await js.workflow("middle")

    played = await play(script, nested={"middle": middle, "child": child})
    assert isinstance(played.result.result, list)
    assert played.result.result[0] == "Error"
    assert "one level only" in str(played.result.result[1])


@pytest.mark.contract("W02")
async def test_a_workflow_that_cannot_be_started_rejects_with_place_and_never_with_text_of_the_file() -> None:
    async def script(js: Js) -> Any:
        wrong = [
            js.workflow("nope"),
            js.workflow("bad"),
            js.workflow("broken"),
            js.workflow(path="far.js"),
            js.workflow(fault="workflow() takes a name or {scriptPath}"),
        ]
        return [await caught(promise) for promise in wrong]

    library = FakeLibrary(workflows={"bad": refusal(), "broken": fake_script("broken", body="broken")})
    faults = {"broken": SyntaxFault(message="unexpected secretName", place=Place(line=2, column=7))}
    played = await play(script, library=library, faults=faults)
    assert played.result.result == [
        ["Error", "workflow(): there is no workflow 'nope'; there are: bad, broken"],
        ["Error", "workflow(): 'bad' is refused at line 1, column 4 (meta-missing): see the run's log"],
        ["Error", "workflow(): 'broken' is refused at line 2, column 7 (syntax): see the run's log"],
        ["Error", "workflow(): there is no workflow 'far'; there are: bad, broken"],
        ["TypeError", "workflow() takes a name or {scriptPath}"],
    ]
    assert played.result.status == "completed"
    assert "secretName" in played.lines[0]
    assert "secretName" in played.lines[1]
    assert library.asked == [("far.js", "/work-folder/play.js")]


async def test_at_most_32_are_alive_and_the_others_wait_for_a_place() -> None:
    alive, peak = 0, 0

    async def counted(js: Js) -> Any:
        nonlocal alive, peak
        alive += 1
        peak = max(peak, alive)
        await js.sleep(1)
        alive -= 1
        return js.context

    async def script(js: Js) -> Any:
        return await js.all(*[js.workflow("counted") for _ in range(MAX_CONTEXTS + 8)])

    played = await play(script, nested={"counted": counted})
    assert played.result.result == list(range(1, MAX_CONTEXTS + 9))
    assert peak <= MAX_CONTEXTS


async def test_a_workflow_that_was_refused_gives_its_place_back() -> None:
    async def script(js: Js) -> Any:
        for _ in range(MAX_CONTEXTS + 1):
            await caught(js.workflow("nope"))
        return await js.workflow("child")

    played = await play(script, nested={"child": child})
    assert played.result.status == "completed"


async def test_what_a_child_does_badly_counts_for_the_run() -> None:
    async def slots(js: Js) -> Any:
        return await js.parallel(lambda: js.agent("x", label="bad"))

    async def script(js: Js) -> Any:
        return await js.workflow("slots")

    backend = FakeBackend(outcomes={"bad": AgentOutcome(status="invalid", error="why")})
    played = await play(script, nested={"slots": slots}, backend=backend)
    assert played.result.status == "degraded"
    assert played.result.problems[0].where == "▸ slots: parallel 1 [0]"
    assert played.result.problems[0].agent_id == "a0001"


async def test_a_script_that_is_over_asks_in_vain_and_may_still_log() -> None:
    async def late(js: Js) -> Any:
        async def after() -> None:
            js.log("still here")
            js.agent("x", label="too late")
            js.phase("too late")
            js.sleep(5)
            js.workflow("late")

        js.spawn(after())
        return 1

    async def script(js: Js) -> Any:
        return await js.workflow("late")

    played = await play(script, nested={"late": late}, backend=FakeBackend(outcomes={"x": ok()}))
    assert played.result.status == "completed"
    assert played.result.agents == ()
    assert played.result.phases == ()
    assert played.lines == ["still here"]
