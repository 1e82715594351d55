"""Whatever an agent left in a folder, and whatever changed meanwhile, the next worktree is the workspace as it is."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callsheet.workspace import copying
from callsheet.workspace.spares import SPARE, Spares
from callsheet.workspace.worktree import Worktree
from tests.property.test_checkpoints import Act, act, do
from tests.support.deadline import within
from tests.support.examples import times
from tests.unit.workspace.test_git import by_hand
from tests.unit.workspace.test_worktree import content


async def tried(base: Path, start: list[Act], agents: list[Act], users: list[Act]) -> None:
    root = base / "root"
    root.mkdir()
    by_hand(root, "init", "-q")
    by_hand(root, "commit", "-q", "--allow-empty", "-m", "first")
    for each in start:
        do(root, *each)
    spares = Spares(SPARE)
    with within(60):
        for number in range(3):
            name = f"n{number}"
            tree = await Worktree.make(root, folder=base / "trees", name=name, environ=os.environ, spares=spares)
            assert content(tree.path) == content(root)
            for each in agents:
                do(tree.path, *each)
            await tree.close()
            assert not tree.path.exists()
            for each in users[number::2]:
                do(root, *each)


@settings(max_examples=times(10), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(start=st.lists(act, max_size=8), agents=st.lists(act, max_size=6), users=st.lists(act, max_size=4))
def test_each_begins_with_the_workspace_as_it_is(start: list[Act], agents: list[Act], users: list[Act]) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(copying, "_FRESH_NS", 0)
        anyio.run(tried, Path(folder).resolve(), start, agents, users)
