"""What a dead host left is taken away, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path

import pytest

from callsheet.workspace.journal import FOLDER, Journal, reap
from callsheet.workspace.worktree import Worktree
from tests.support.deadline import within
from tests.unit.workspace.test_git import by_hand
from tests.unit.workspace.test_trees import branches, worktrees
from tests.unit.workspace.test_worktree import root, state, write

pytestmark = [pytest.mark.anyio, pytest.mark.contract("A07", "A16")]

__all__ = ["root"]


async def left(root: Path, name: str, *, agent_id: str | None = None) -> Path:
    """A worktree with a change, named in the journal of a process that is gone."""
    folder = root.parent / "trees"
    tree = await Worktree.make(root, folder=folder, name=f"run_1-{name}", branch=f"callsheet/run_1/{name}", environ={})
    journal = Journal.open(folder, f"run_{name}")
    journal.note("made", path=tree.path, branch=tree.branch)
    write(tree.path, "half.txt", "x")
    if agent_id is not None:
        await tree.keep()
        journal.note("kept", path=tree.path, branch=tree.branch, agent_id=agent_id)
    journal.close()
    path = folder / FOLDER / f"run_{name}.journal"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | {"process_start": "1"}), *rest, '{"cut sho']))
    return tree.path


async def reaped(root: Path, known: Collection[str] | None = ()) -> tuple[str, ...]:
    with within(60):
        return await reap(root, root.parent / "trees", os.environ, recorded=lambda run_id: known)


async def test_worktree_and_branch_of_a_dead_host_are_taken_away_and_a_persons_stay(root: Path) -> None:
    by_hand(root, "worktree", "add", "-q", "-b", "callsheet/mine", str(root.parent / "trees" / "mine"))
    before = state(root)
    path = await left(root, "one")
    (note,) = await reaped(root)
    assert "run_1-one" in note and "were taken away" in note
    assert not path.exists() and branches(root) == ["callsheet/mine"] and worktrees(root) == 2
    assert state(root) == before
    assert await reaped(root) == ()


async def test_folders_that_were_to_be_used_again_go_as_well_and_those_of_living_runs_stay(root: Path) -> None:
    await left(root, "one")
    for name in ("spare-run_one-1", "spare-run_one-2", "spare-run_two-1"):
        write(root.parent / "trees" / name, "deep/a.txt", "x")
    await reaped(root)
    assert [each.name for each in (root.parent / "trees").glob("spare-*")] == ["spare-run_two-1"]


@pytest.mark.parametrize(("known", "is_kept"), [((), False), (("a0001",), True), (None, True)])
async def test_a_branch_stays_only_where_the_end_of_an_agent_of_it_is_on_record(
    root: Path, known: Collection[str] | None, is_kept: bool
) -> None:
    path = await left(root, "one", agent_id="a0001")
    await reaped(root, known)
    assert not path.exists() and worktrees(root) == 1
    assert branches(root) == (["callsheet/run_1/one"] if is_kept else [])


async def test_what_a_living_process_or_another_machine_names_is_left_alone(root: Path) -> None:
    folder = root.parent / "trees"
    journal = Journal.open(folder, "run_alive")
    tree = await Worktree.make(root, folder=folder, name="run_alive-a", environ=os.environ)
    journal.note("made", path=tree.path, branch=tree.branch)
    path = await left(root, "far")
    far = folder / FOLDER / "run_far.journal"
    first, *rest = far.read_text().splitlines()
    far.write_text("\n".join([json.dumps(json.loads(first) | {"host": "elsewhere"}), *rest]))
    assert await reaped(root) == ()
    assert tree.path.exists() and path.exists() and far.exists()
    journal.close()


async def test_a_journal_that_names_a_place_of_somebody_elses_is_not_believed(root: Path) -> None:
    precious = root.parent / "precious"
    precious.mkdir()
    await left(root, "one")
    file = root.parent / "trees" / FOLDER / "run_one.journal"
    file.write_text(file.read_text().replace(str(root.parent / "trees" / "run_1-one"), str(precious)))
    (note,) = await reaped(root)
    assert "could not be taken away" in note and precious.exists() and file.exists()
