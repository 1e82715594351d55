"""When checkpoints of the workspace are taken, what waits for them, and what is taken back of agents that failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio
import pytest

from callsheet.errors import CheckpointError
from callsheet.model.call import AgentTask
from callsheet.model.events import AgentFinished, CheckpointRestored, CheckpointTaken
from callsheet.model.outcome import AgentOutcome, AgentStatus
from callsheet.model.records import CheckpointRow
from callsheet.model.reports import ToolCalled
from callsheet.ports import AgentReporter, CheckpointTaker
from tests.support.deadline import within
from tests.support.fake_backend import FakeBackend, ok
from tests.support.fake_session import Js
from tests.unit.engine.stage import SECRET, on_stage, play, settings

pytestmark = pytest.mark.anyio


class Taker(CheckpointTaker):
    """Takes as many as it is told to, then no more; says in `done` what it was asked for, in order."""

    def __init__(self, most: int = 100, *, left: tuple[tuple[str, str], ...] = (), is_slow: bool = False) -> None:
        self.most = most
        self.asked = 0
        self.left = left
        self.done: list[str] = []
        self.may_go_on = anyio.Event()
        if not is_slow:
            self.may_go_on.set()

    async def take(self) -> CheckpointTaken:
        self.asked += 1
        await self.may_go_on.wait()
        if self.asked > self.most:
            raise CheckpointError("the disk is full")
        self.done.append("taken")
        return CheckpointTaken(n=self.asked - 1, commit_id=f"c{self.asked}", left_out=((f"{SECRET}.bin", "too large"),))

    async def before_change(self, task: AgentTask, call: ToolCalled) -> None:
        self.done.append(f"before {call.tool} of {task.label}")

    async def take_back(self, task: AgentTask, paths: Sequence[str]) -> CheckpointRestored:
        back = tuple(path for path in paths if path not in dict(self.left))
        return CheckpointRestored(
            n=self.asked - 1, written=back, removed=(), left=self.left, agent_id=task.agent_id
        )  # fmt: skip


def changing(status: AgentStatus = "ok", taker: Taker | None = None) -> Any:
    """An agent that writes two files."""

    async def act(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await reporter.report(ToolCalled(n=1, tool="write", input={"file_path": "a.txt"}, state="intent"))
        if taker is not None:
            taker.done.append(f"{task.label} writes")
        await reporter.report(ToolCalled(n=1, tool="write", input={"file_path": "a.txt"}, state="done"))
        done = replace(ok(), status=status, files_changed=("a.txt", "b.txt"))
        return done if status == "ok" else replace(done, value=None, error="it went wrong")

    return act


async def five(js: Js) -> Any:
    calls = [js.agent("x", label=f"a{number}") for number in range(5)]
    return [await call for call in calls]


async def one(js: Js) -> Any:
    return await js.agent("x", label="a", settle=True)


async def test_one_is_taken_before_anything_is_changed_one_after_so_many_agents_and_one_at_the_end() -> None:
    taker = Taker()
    backend = FakeBackend(acts={"a0": changing(taker=taker)})
    played = await play(five, backend=backend, checkpoints=taker, run_settings=settings(checkpoint_interval=2))
    assert taker.done[:3] == ["taken", "before write of a0", "a0 writes"]
    taken = played.stage.sink.bodies(CheckpointTaken)
    assert [body.n for body in taken] == list(range(len(taken)))  # type: ignore[union-attr]
    assert 3 <= len(taken) <= 4  # two that fall due while one is being taken are one
    rows = [row for row in played.stage.store.rows if isinstance(row, CheckpointRow)]
    assert [(row.n, row.commit_id) for row in rows] == [(n, f"c{n + 1}") for n in range(len(taken))]
    assert taken[0].left_out == (("‹secret›.bin", "too large"),)  # type: ignore[union-attr]
    assert played.result.status == "completed"


async def test_without_an_interval_there_is_one_before_anything_is_changed_and_one_at_the_end() -> None:
    taker = Taker()
    backend = FakeBackend(acts={"a1": changing(), "a3": changing()})
    played = await play(five, backend=backend, checkpoints=taker)
    assert len(played.stage.sink.bodies(CheckpointTaken)) == 2
    assert taker.done == ["taken", "before write of a1", "before write of a3", "taken"]


async def test_agents_start_beside_the_first_one_and_only_a_change_waits_for_it() -> None:
    taker = Taker(is_slow=True)
    backend = FakeBackend(acts={"a0": changing(taker=taker)})

    async def other(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await reporter.report(ToolCalled(n=1, tool="read", input={}, state="done"))
        others.set()
        return ok()

    others = anyio.Event()
    backend.acts["a1"] = other
    with within():
        async with on_stage(five, backend=backend, checkpoints=taker) as stage:
            await others.wait()
            assert taker.done == []
            taker.may_go_on.set()
            result = await stage.run.result()
    assert result.status == "completed"
    assert taker.done[:3] == ["taken", "before write of a0", "a0 writes"]


async def test_where_agents_change_nothing_none_is_taken_at_the_end() -> None:
    taker = Taker()
    await play(five, checkpoints=taker)
    assert taker.asked <= 1


async def test_where_one_fails_it_is_said_once_and_the_run_goes_on_without() -> None:
    taker = Taker(most=1)
    backend = FakeBackend(acts={"a0": changing()})
    played = await play(five, backend=backend, checkpoints=taker, run_settings=settings(checkpoint_interval=1))
    assert taker.asked == 2
    assert played.lines.count("no more checkpoints are taken: the disk is full") == 1
    assert played.result.status == "completed"


async def test_where_the_first_one_fails_agents_go_on_and_people_are_told() -> None:
    backend = FakeBackend(acts={"a": changing("failed")})
    rules = settings(rollback_on_failure=True)
    played = await play(one, backend=backend, checkpoints=Taker(most=0), run_settings=rules)
    assert "no checkpoints are taken: the disk is full" in played.lines
    assert played.result.agents[0].files_changed == ("a.txt", "b.txt")


@pytest.mark.parametrize("status", ["failed", "invalid", "timed_out"])
async def test_what_a_failed_agent_changed_is_taken_back_and_its_error_says_what_and_what_not(
    status: AgentStatus,
) -> None:
    taker = Taker(left=(("b.txt", "someone else changed it since"),))
    backend = FakeBackend(acts={"a": changing(status)})
    played = await play(one, backend=backend, checkpoints=taker, run_settings=settings(rollback_on_failure=True))
    (agent,) = played.result.agents
    assert agent.error == (
        "it went wrong; its changes were taken back (a.txt); left as they are: b.txt (someone else changed it since)"
    )
    assert agent.files_changed == ("b.txt",)
    names = [n for n in played.stage.sink.names() if n in ("checkpoint.taken", "checkpoint.restored", "agent.finished")]
    assert names == [
        "checkpoint.taken",
        "checkpoint.taken",
        "checkpoint.restored",
        "agent.finished",
        "checkpoint.taken",
    ]
    (restored,) = played.stage.sink.bodies(CheckpointRestored)
    assert isinstance(restored, CheckpointRestored)
    assert (restored.n, restored.written, restored.agent_id) == (1, ("a.txt",), "a0001")


@pytest.mark.parametrize(("status", "on_failure"), [("ok", True), ("over_budget", True), ("failed", False)])
async def test_what_others_changed_stays(status: AgentStatus, on_failure: bool) -> None:
    backend = FakeBackend(acts={"a": changing(status)})
    rules = settings(rollback_on_failure=on_failure)
    played = await play(one, backend=backend, checkpoints=Taker(), run_settings=rules)
    (finished,) = played.stage.sink.bodies(AgentFinished)
    assert isinstance(finished, AgentFinished) and finished.agent.files_changed == ("a.txt", "b.txt")
    assert not played.stage.sink.bodies(CheckpointRestored)
