"""No git: a folder that is no repository, and a machine without the program. What needs it says so, and what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.surfaces.command import Command
from tests.unit.workspace.test_git import by_hand

PLAIN = "return await agent('p', { label: 'it' })"
ISOLATED = "return await agent('p', { label: 'it', isolation: 'worktree', settle: true })"
WRITES = {"label": "it", "result": "done", "writes": {"a.txt": "x"}}
NO_REPOSITORY = "is not the root of a git working tree. `git init` there and a first commit make it one"
NO_PROGRAM = "git is not installed, or not on PATH. Install it (apt install git"


@pytest.fixture
def no_program(command: Command, tmp_path: Path) -> Command:
    """The command in a git repository, on a machine that has the usual programs, but no git."""
    by_hand(command.folder, "init", "-q")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "bwrap", "cat", "ls", "python3", "sh", "uname"):
        if found := shutil.which(name, path="/usr/bin:/bin"):
            (programs / name).symlink_to(found)
    command.environ["PATH"] = str(programs)
    return command


def test_what_needs_no_git_works_without_a_repository_and_without_the_program(no_program: Command) -> None:
    for _ in range(2):
        done = no_program.run(PLAIN, "--output", "json", answers=({"label": "it", "result": "done"},))
        assert (done.status, done.json["result"]) == (0, "done"), done.err
        shutil.rmtree(no_program.folder / ".git", ignore_errors=True)


def test_a_worktree_without_a_repository_is_refused_with_what_makes_one(command: Command) -> None:
    agent = command.run(ISOLATED, "--output", "json", answers=(WRITES,))
    assert agent.json["result"]["status"] == "failed"
    assert NO_REPOSITORY in agent.json["result"]["error"]
    whole = command.run(PLAIN, "--worktree")
    assert (whole.status, whole.out) == (2, "")
    assert NO_REPOSITORY in whole.err


def test_a_worktree_without_the_program_is_refused_with_how_to_get_it(no_program: Command) -> None:
    agent = no_program.run(ISOLATED, "--output", "json", answers=(WRITES,))
    assert agent.json["result"]["status"] == "failed"
    assert NO_PROGRAM in agent.json["result"]["error"]
    whole = no_program.run(PLAIN, "--worktree")
    assert (whole.status, whole.out) == (2, "")
    assert NO_PROGRAM in whole.err
