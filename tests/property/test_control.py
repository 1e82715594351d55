"""Whatever people do to a run, in whatever order: each call is answered once, and the cap on agents at work holds."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, TypeAlias

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.errors import ControlRefusedError, NotFoundError
from callsheet.model.approval import Answer, Question
from callsheet.model.call import AgentTask
from callsheet.model.events import AgentControlled, AgentFinished, AgentStarted
from callsheet.model.outcome import AgentOutcome
from callsheet.model.run import RunResult
from callsheet.ports import AgentReporter, Approver
from tests.support.deadline import within
from tests.support.fake_backend import FakeBackend, ok
from tests.support.fake_session import Js
from tests.unit.engine.stage import Stage, on_stage
from tests.unit.engine.stage import settings as run_settings

AGENTS = 6
CAP = 2

Deed: TypeAlias = tuple[Literal["skip", "stop_agent", "restart", "message", "pause", "go_on", "finish", "answer"], int]

DEEDS = st.lists(
    st.tuples(
        st.sampled_from(
            ["skip", "stop_agent", "restart", "restart", "message", "pause", "go_on", "finish", "finish", "answer"]
        ),
        st.integers(0, AGENTS),
    ),
    max_size=25,
)
STEPS = st.lists(st.integers(0, 12), min_size=25, max_size=25)


class Crowd(Approver):
    """Agents, some of which ask before they work, each at work until it is let go; and the person whom they ask."""

    def __init__(self, asking: frozenset[int]) -> None:
        self._asking = asking
        self._free = [anyio.Event() for _ in range(AGENTS)]
        self._answered = [anyio.Event() for _ in range(AGENTS)]
        self.at_work = 0
        self.peak = 0
        self.backend = FakeBackend(acts={str(n): self._act for n in range(AGENTS)}, takes_messages=True)

    async def _act(self, task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        number = int(task.label)
        if number in self._asking:
            await reporter.ask(Question(tool="bash", input=str(number), reason="r"))
        self.at_work += 1
        self.peak = max(self.peak, self.at_work)
        try:
            await self._free[number].wait()
        finally:
            self.at_work -= 1
        return ok(task.label, tokens=1)

    async def answer(self, question: Question) -> Answer:
        await self._answered[int(question.input)].wait()
        return Answer(verdict="once")

    def finish(self, number: int) -> None:
        self._free[number].set()

    def say(self, number: int) -> None:
        self._answered[number].set()


async def do(stage: Stage, crowd: Crowd, deed: Deed) -> bool:
    """Does one thing; whether it was accepted, and changed something."""
    what, number = deed
    run, agent_id = stage.run, f"a{number + 1:04}"
    try:
        match what:
            case "finish" | "answer":
                if number < AGENTS:
                    (crowd.finish if what == "finish" else crowd.say)(number)
                return False
            case "pause" | "go_on":
                return bool(await getattr(run, what)())
            case "message":
                await run.message(agent_id, "hello")
                return True
            case _:
                return bool(await getattr(run, what)(agent_id))
    except (ControlRefusedError, NotFoundError):
        return False


Played: TypeAlias = tuple[Stage, RunResult, Counter[Deed], Crowd]


async def play(deeds: list[Deed], steps: list[int], asking: frozenset[int]) -> Played:
    crowd = Crowd(asking)
    done: Counter[Deed] = Counter()

    async def script(js: Js) -> Any:
        return await js.all(*[js.agent("x", label=str(number)) for number in range(AGENTS)])

    with within():
        async with on_stage(
            script, backend=crowd.backend, approver=crowd, run_settings=run_settings(max_parallel=CAP)
        ) as stage:
            for deed, turns in zip(deeds, steps, strict=False):
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                done[deed] += await do(stage, crowd, deed)
            await do(stage, crowd, ("go_on", 0))
            for number in range(AGENTS):
                crowd.say(number)
                crowd.finish(number)
            return stage, await stage.run.result(), done, crowd


@pytest.mark.contract("A12", "A17", "L01")
@settings(max_examples=60, deadline=None)
@given(deeds=DEEDS, steps=STEPS, asking=st.frozensets(st.integers(0, AGENTS - 1), max_size=3))
def test_each_call_is_answered_once_and_as_was_done_to_it(
    deeds: list[Deed], steps: list[int], asking: frozenset[int]
) -> None:
    stage, result, done, crowd = anyio.run(play, deeds, steps, asking)
    assert crowd.peak <= CAP
    assert len(result.agents) == AGENTS
    assert isinstance(result.result, list)
    ended = Counter(body.agent.agent_id for body in stage.sink.bodies(AgentFinished) if isinstance(body, AgentFinished))
    assert set(ended.values()) == {1}
    started = [body.agent_id for body in stage.sink.bodies(AgentStarted) if isinstance(body, AgentStarted)]
    assert len(started) == len(set(started))
    for number, (agent, value) in enumerate(zip(result.agents, result.result, strict=True)):
        ends = ["skipped"] if done["skip", number] else []
        ends += ["cancelled"] if done["stop_agent", number] else []
        assert len(ends) <= 1, "the first that was accepted holds"
        assert agent.status == (ends[0] if ends else "ok")
        assert value == (None if ends else str(number))
        if not ends:
            assert agent.attempts == 1 + done["restart", number]
            assert agent.usage.output_tokens == 1
    assert result.status == ("completed" if all(agent.status == "ok" for agent in result.agents) else "degraded")
    deeds_said = Counter(
        (body.action, body.agent_id) for body in stage.sink.bodies(AgentControlled) if isinstance(body, AgentControlled)
    )
    for number in range(AGENTS):
        agent_id = f"a{number + 1:04}"
        assert deeds_said["restart", agent_id] == done["restart", number]
        assert deeds_said["message", agent_id] == done["message", number]
