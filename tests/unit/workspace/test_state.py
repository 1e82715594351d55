from __future__ import annotations

import os
from pathlib import Path

import pytest

from callsheet.workspace.state import git_state
from tests.unit.workspace.test_root import git

pytestmark = pytest.mark.anyio

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path.resolve() / "ws"
    tree.mkdir()
    git(tree, "init", "-q", "-b", "main")
    (tree / "a.txt").write_text("a", encoding="utf-8")
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "one")
    return tree


async def test_it_says_branch_commit_and_whether_something_is_not_committed(tree: Path) -> None:
    head = git(tree, "rev-parse", "HEAD")[:12]
    assert await git_state(tree, ENVIRON) == f"branch main, commit {head}, nothing uncommitted"
    (tree / "new.txt").write_text("x", encoding="utf-8")
    assert await git_state(tree, ENVIRON) == f"branch main, commit {head}, with uncommitted changes"
    git(tree, "checkout", "-q", "--detach")
    assert (await git_state(tree, ENVIRON) or "").startswith("no branch checked out, commit")


async def test_without_git_there_is_nothing_to_say_and_without_the_program_less(tree: Path, tmp_path: Path) -> None:
    assert await git_state(tmp_path, ENVIRON) is None
    said = await git_state(tree, {"PATH": str(tmp_path)})
    assert said is not None
    assert "uncommitted" not in said


async def test_what_a_repository_configures_to_run_is_not_run(tree: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    git(tree, "config", "core.fsmonitor", f"touch {ran}; false")
    assert "uncommitted" in (await git_state(tree, ENVIRON) or "")
    assert not ran.exists()


async def test_a_question_that_takes_too_long_is_given_up(tree: Path) -> None:
    said = await git_state(tree, ENVIRON, within_s=0)
    assert said is not None
    assert "uncommitted" not in said
