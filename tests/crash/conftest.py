"""What the tests of runs that are struck share."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.live_run import NewCommand
from tests.support.recorded import record_of
from tests.surfaces.command import Command


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with one commit, to be copied."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "README.md").write_text("a workspace\n", encoding="utf-8")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        subprocess.run(["git", *who, *words], cwd=folder, check=True)
    return folder


@pytest.fixture
def new_command(tmp_path: Path, bytecode: Path, repository: Path) -> NewCommand:
    """Gives the command, by a name, in a git workspace of its own."""

    def new(name: str) -> Command:
        folder = tmp_path / name / "workspace"
        shutil.copytree(repository, folder)
        (folder.parent / "home").mkdir()
        return Command(folder, bytecode=bytecode)

    return new


@pytest.fixture
def command(new_command: NewCommand) -> Command:
    """The command, in a git workspace of its own."""
    return new_command("only")


@pytest.fixture
def record(command: Command) -> Path:
    """Where the workspace's record lies."""
    return record_of(command)
