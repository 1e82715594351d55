"""Two processes of fifty agents each in one workspace: edits of the same files, and none is lost."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, Popen

from tests.support.editing_agents import AGENTS, EDITED, WRITTEN


def test_two_processes_of_fifty_agents_lose_no_edit(tmp_path: Path) -> None:
    for file in (*EDITED, *WRITTEN):
        (tmp_path / file).write_text("count 0\n", encoding="utf-8")
    command = [sys.executable, "-m", "tests.support.editing_agents", str(tmp_path)]
    repository = Path(__file__).parents[2]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                Popen([*command, name], cwd=repository, stdin=PIPE, stdout=PIPE, text=True, encoding="utf-8")
            )
            for name in "ab"
        ]
        for process in processes:
            stack.callback(process.kill)
        for _half in range(2):
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    for files in (EDITED, WRITTEN):
        order = ""
        for at, file in enumerate(files):
            first, *rest = (tmp_path / file).read_text(encoding="utf-8").splitlines()
            assert first == f"count {len(rest)}"
            assert sorted(rest) == [f"{name}{n:02}" for name in "ab" for n in range(at, AGENTS, len(files))]
            order += " ".join(line[0] for line in rest) + "|"
        # New lines stand first, and no second half begins before both first ones have ended.
        assert "a b" in order and "b a" in order, "each came after the other somewhere"
