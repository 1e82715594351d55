"""A record that came with a repository: nobody goes on from it, and nothing is undone by it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.surfaces.command import LIMIT_S, Command

BODY = "await agent('one', { label: 'one' })\nreturn await agent('two', { label: 'two' })"
_AUTHOR = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *_AUTHOR, *words], cwd=folder, check=True, capture_output=True, timeout=LIMIT_S)


@pytest.fixture
def command(tmp_path: Path, bytecode: Path) -> Command:
    folder = tmp_path / "workspace"
    folder.mkdir()
    (tmp_path / "home").mkdir()
    return Command(folder, bytecode=bytecode)


@pytest.fixture
def brought(command: Command) -> tuple[Command, str]:
    """A clone of a repository that has the record of a degraded run in it, and that run."""
    git(command.folder, "init", "-q")
    answers = ({"label": "one", "result": "1", "writes": {"a.txt": "1\n"}}, {"label": "two", "error": "no"})
    run = str(command.run(BODY, "--output", "json", answers=answers).json["run_id"])
    (command.folder / ".callsheet" / ".gitignore").unlink()
    git(command.folder, "add", "--force", "-A")
    git(command.folder, "commit", "-q", "-m", "with its record")
    clone = command.folder.parent / "clone"
    git(command.folder.parent, "clone", "-q", os.fspath(command.folder), os.fspath(clone))
    there = Command(clone, bytecode=Path(command.environ["PYTHONPYCACHEPREFIX"]))
    return there, run


@pytest.mark.parametrize("words", [("resume",), ("rollback",)])
def test_it_is_refused_with_what_git_tracks_and_the_remedy(
    brought: tuple[Command, str], words: tuple[str, ...]
) -> None:
    command, run = brought

    done = command(*words, run)

    assert done.status == 2
    assert "came with the repository: git tracks .callsheet/" in done.err
    assert "git rm -r --cached .callsheet" in done.err


def test_reading_it_and_a_new_run_are_as_ever(brought: tuple[Command, str]) -> None:
    command, run = brought

    assert run in command("runs").out
    assert command("show", run).status == 0
    assert command.run("return 'new'").out.strip() == "new"


def test_ones_own_that_was_taken_out_of_git_goes_on(brought: tuple[Command, str]) -> None:
    command, run = brought
    git(command.folder, "rm", "-r", "-q", "--cached", ".callsheet")

    done = command("resume", run, "--backend", command.answers())

    assert done.status == 0, done.err
    assert "synthetic answer to: two" in done.out
