"""Scripts of many shapes, as models write them, are taken as they are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.deadline import within
from tests.unit.authoring.stage import Stage

pytestmark = [pytest.mark.anyio, pytest.mark.contract("C01")]

FOLDER = Path(__file__).resolve().parents[2] / "authored"
AUTHORED = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.js"))}


def repository(folder: Path) -> None:
    """A repository with a commit, which worktrees need."""
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    for words in (("init", "-q"), (*author, "commit", "-q", "--allow-empty", "-m", "first")):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, timeout=30)


def test_there_are_thirty_and_more() -> None:
    assert len(AUTHORED) >= 30


@pytest.mark.parametrize("script", AUTHORED.values(), ids=AUTHORED)
async def test_an_authored_script_passes_check_and_rehearsal(tmp_path: Path, script: str) -> None:
    if "isolation" in script:
        repository(tmp_path)
    with within(60):
        assert await Stage(tmp_path, size="large").told(script) == ()
