"""Two processes of fifty agents each in one workspace: edits of the same files, and none is lost."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.editing_agents import AGENTS, EDITED, WRITTEN


def test_two_processes_of_fifty_agents_lose_no_edit(tmp_path: Path) -> None:
    for file in (*EDITED, *WRITTEN):
        (tmp_path / file).write_text("count 0\n", encoding="utf-8")
    command = [sys.executable, "-m", "tests.support.editing_agents", str(tmp_path)]
    repository = Path(__file__).parents[2]
    processes = [subprocess.Popen([*command, name], cwd=repository) for name in "ab"]
    try:
        _wait(lambda: all((tmp_path / f"ready-{name}").exists() for name in "ab"))
        (tmp_path / "go").touch()
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for files in (EDITED, WRITTEN):
        order = ""
        for at, file in enumerate(files):
            first, *rest = (tmp_path / file).read_text(encoding="utf-8").splitlines()
            assert first == f"count {len(rest)}"
            assert sorted(rest) == [f"{name}{n:02}" for name in "ab" for n in range(at, AGENTS, len(files))]
            order += " ".join(line[0] for line in rest) + "|"
        assert "a b" in order, "both worked at the same time"
        assert "b a" in order, "both worked at the same time"


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
