"""What became of agents' worktrees, in the result of their run."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from callsheet.agents.tools.bounds import Bounds
from callsheet.app.settings import WorktreeChoices
from callsheet.app.trees import finishing, trees_of
from callsheet.executors.local import LocalExecutor
from callsheet.model.call import AgentTask
from callsheet.model.outcome import AgentOutcome, AgentWorktree, Usage
from callsheet.model.run import RunResult
from callsheet.ports import AgentReporter
from tests.support.agents import RecordingReporter, agent_task
from tests.support.deadline import within
from tests.support.fake_backend import FakeBackend, ok
from tests.surfaces.events import ended
from tests.unit.workspace.test_worktree import content, root

pytestmark = pytest.mark.anyio

__all__ = ["root"]

NOTHING = RunResult(
    run_id="r", workflow=None, script="-", status="completed", backend="scripted", result=None, error=None, logs=(),
    phases=(), agents=(), problems=(), denials=(), usage=Usage(), by_model={}, duration_ms=0,
)  # fmt: skip


class Ended:
    """Worktrees of which this came."""

    def __init__(self, *came: AgentWorktree) -> None:
        self._came = came

    async def end(self, *, within_s: float = 60.0) -> tuple[AgentWorktree, ...]:
        return self._came


async def worktrees_after(said: tuple[AgentWorktree, ...], *came: AgentWorktree) -> list[AgentWorktree | None]:
    agents = tuple(replace(ended(n).agent, worktree=each) for n, each in enumerate(said, 1))
    with within():
        result = await finishing(Ended(*came), None)(replace(NOTHING, agents=agents))  # type: ignore[arg-type]
    return [agent.worktree for agent in result.agents]


async def test_each_agent_whose_own_worktree_was_merged_keeps_its_own_patch() -> None:
    one, two = (AgentWorktree(name=None, base="b", patch=f"/p/{n}.patch", merged=True) for n in (1, 2))
    left = AgentWorktree(name=None, path="/trees/3", note="it could not be kept")
    assert await worktrees_after((one, two, left), one, two, left) == [one, two, left]
    assert await worktrees_after((one, two), one) == [one, two]


async def test_an_agent_has_the_last_word_on_its_worktree() -> None:
    named, branched = AgentWorktree(name="fix"), AgentWorktree(name=None, branch="callsheet/r/a0002")
    came = (replace(named, branch="callsheet/r/fix"), replace(branched, note="it could not be removed"))
    assert await worktrees_after((named, branched), *came) == list(came)


@pytest.mark.contract("A16")
async def test_a_worktree_with_many_changed_files_is_merged(root: Path) -> None:
    async def write(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        for number in range(80):
            (Path(task.workspace.root) / f"new-{number}.txt").write_text("x", encoding="utf-8")
        return ok()

    state = root.parent / "state"
    trees = trees_of(
        root, state_folder=state, run_id="run_1", is_copy=False, environ=os.environ, choices=WorktreeChoices(),
        bounds=Bounds(locks=state / "locks"),
    )  # fmt: skip
    await trees.prepare()
    backend = FakeBackend(acts={"one": write})
    with within(60):
        async with LocalExecutor({"anthropic": backend}, workspaces=trees) as executor:
            task = agent_task(root, label="one", isolation="worktree", merge=True)
            outcome = await (await executor.submit(task, RecordingReporter())).outcome()
        await trees.end()
    assert (outcome.status, outcome.error) == ("ok", None)
    assert sum(name.startswith("new-") for name in content(root)) == 80
