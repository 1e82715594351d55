"""What became of agents' worktrees, in the result of their run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from callsheet.app.trees import finishing
from callsheet.model.outcome import AgentWorktree, Usage
from callsheet.model.run import RunResult
from tests.support.deadline import within
from tests.surfaces.events import ended

pytestmark = pytest.mark.anyio

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
