"""The time of a rehearsal: what comes next comes at once, in the order in which it would."""

from __future__ import annotations

import pytest

from callsheet.engine.simulation import Played, Simulation
from callsheet.model.approval import Answer, Question
from callsheet.model.call import AgentTask, AgentType, CallOptions, WorkspaceRef
from callsheet.model.outcome import AgentOutcome
from callsheet.ports import AgentHandle, AgentReporter
from tests.support.deadline import within

pytestmark = pytest.mark.anyio

DURATIONS_S = {1: 30.0, 2: 10.0, 3: 10.0}


class Silent(AgentReporter):
    """Nobody listens."""

    async def report(self, report: object) -> None:
        return

    async def ask(self, question: Question) -> Answer:
        return Answer(verdict="unanswered")


def _task(call: int) -> AgentTask:
    return AgentTask(
        run_id="run_1", agent_id=f"a{call:04}", call=call, key="1:x", occurrence=1, prompt="p", label=f"c{call}",
        phase=None, workflow=None, options=CallOptions(), agent_type=AgentType(name="general-purpose", description=""),
        model=None, effort=None, backend="anthropic", workspace=WorkspaceRef(root="/w"), max_turns=1, run_date="",
    )  # fmt: skip


async def _play(task: AgentTask, reporter: AgentReporter) -> Played:
    return Played(outcome=AgentOutcome(status="ok", value=task.label), duration_s=DURATIONS_S[task.call])


async def _begun(simulation: Simulation) -> list[AgentHandle]:
    return [await simulation.submit(_task(call), Silent()) for call in sorted(DURATIONS_S)]


async def test_the_earliest_ends_first_and_of_equals_the_one_called_first() -> None:
    simulation = Simulation(_play)
    handles = await _begun(simulation)
    ended, begun = [], 3
    while begun:
        simulation.pass_time(begun=begun, timer_s=None)
        begun -= 1
        ended.append(simulation.elapsed_s())
        with within(1):
            await handles[[1, 2, 0][len(ended) - 1]].outcome()

    assert ended == [10, 10, 30]
    assert simulation.most_at_once == 3


async def test_nothing_ends_while_an_agent_has_not_begun() -> None:
    simulation = Simulation(_play)
    await _begun(simulation)
    assert not simulation.pass_time(begun=4, timer_s=None)
    assert simulation.elapsed_s() == 0


async def test_a_timer_that_is_due_first_comes_first() -> None:
    simulation = Simulation(_play)
    await _begun(simulation)
    assert simulation.pass_time(begun=3, timer_s=5)
    assert simulation.elapsed_s() == 5


async def test_without_agents_the_clock_jumps_to_the_timer() -> None:
    simulation = Simulation(_play)
    assert simulation.pass_time(begun=0, timer_s=86_400)
    assert simulation.elapsed_s() == 86_400


async def test_an_agent_that_is_cancelled_takes_no_time() -> None:
    simulation = Simulation(_play)
    handles = await _begun(simulation)
    await handles[1].cancel("person")
    await handles[2].cancel("person")
    with within(1):
        assert (await handles[1].outcome()).status == "cancelled"
    simulation.pass_time(begun=1, timer_s=None)
    assert simulation.elapsed_s() == 30


async def test_the_clock_never_goes_back() -> None:
    simulation = Simulation(_play)
    await simulation.submit(_task(2), Silent())
    simulation.pass_time(begun=1, timer_s=None)
    simulation.pass_time(begun=0, timer_s=-5)
    assert simulation.elapsed_s() == 10
