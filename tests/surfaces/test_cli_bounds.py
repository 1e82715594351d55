"""Whole runs whose agents try things: what the command's rules, its files and the machine let through."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from tests.support.deadline import within
from tests.support.messages_service import open_messages_service
from tests.support.planned import plan, planned
from tests.surfaces.command import Command, Done

pytestmark = pytest.mark.anyio


async def run(
    command: Command, *calls: tuple[str, dict[str, Any]], words: tuple[str, ...] = (), options: str = ""
) -> Done:
    """A run of one agent that makes these tool calls."""
    name = command.script(f"return await agent({json.dumps(plan(*calls))}, {{ label: 'tries' {options} }})")
    async with open_messages_service(planned) as service:
        environ: Mapping[str, str] = {"ANTHROPIC_API_KEY": "k" * 30, "ANTHROPIC_BASE_URL": service.base_url}
        call = partial(command, "run", name, "--output", "json", *words, environ=environ)
        with within(90):
            return await to_thread.run_sync(call)


def bash(line: str) -> tuple[str, dict[str, Any]]:
    return ("bash", {"command": line})


async def test_commands_that_only_read_and_file_commands_work_without_any_rule(command: Command) -> None:
    (command.folder / "a.txt").write_text("alpha\n", encoding="utf-8")

    done = await run(command, bash("mkdir -p out && cp a.txt out/b.txt"), bash("cat out/b.txt | wc -l"))

    assert done.status == 0, done.err
    assert "1" in done.json["result"]
    (agent,) = done.json["agents"]
    assert agent["files_changed"] == ["out/b.txt"]
    assert agent["tools_called"] == ["bash"]
    assert done.json["denials"] == []


async def test_a_command_without_a_rule_is_denied_and_the_end_names_the_rule_that_allows_it(command: Command) -> None:
    done = await run(command, bash('python3 -c \'open("made", "w")\''), bash("ls"))

    assert done.status == 0, done.err
    assert not (command.folder / "made").exists()
    (denial,) = done.json["denials"]
    assert (denial["tool"], denial["agents"]) == ("bash", 1)
    assert "python3" in denial["input"]
    assert denial["would_allow"]
    again = await run(command, bash('python3 -c \'open("made", "w")\''), words=("--allow", denial["would_allow"][0]))
    assert again.json["denials"] == [], again.err
    assert (command.folder / "made").exists()
    assert again.json["agents"][0]["files_changed"] == ["made"]


async def test_plan_mode_changes_nothing(command: Command) -> None:
    done = await run(
        command,
        bash("touch a"),
        ("write", {"file_path": "b", "content": "x"}),
        bash("ls"),
        words=("--permission-mode", "plan"),
    )

    assert done.status == 0, done.err
    assert not (command.folder / "a").exists() and not (command.folder / "b").exists()
    assert len(done.json["denials"]) == 2


async def test_a_protected_file_made_by_an_allowed_program_is_moved_away_and_told(command: Command) -> None:
    program = "import os; os.makedirs('.husky'); open('.husky/pre-commit', 'w').write('evil')"

    done = await run(command, bash(f'python3 -c "{program}"'), words=("--allow", "Bash(python3 *)"))

    assert done.status == 0, done.err
    assert not (command.folder / ".husky").exists()
    assert "protected" in done.json["result"]
    kept = list((command.folder / ".callsheet" / "quarantine").rglob("*.quarantined"))
    assert [path.name for path in kept] == [".husky.quarantined"]


async def test_the_record_and_the_users_files_are_out_of_an_allowed_programs_sight(command: Command) -> None:
    home = Path(command.environ["HOME"])
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id").write_text("PRIVATE", encoding="utf-8")
    look = f"import os; print(os.listdir('.callsheet'), os.path.exists('{home}/.ssh'), os.path.exists('/root/.ssh'))"

    done = await run(command, bash(f'python3 -c "{look}"'), words=("--allow", "Bash(python3 *)"))

    assert done.status == 0, done.err
    assert "[] False False" in done.json["result"]


async def test_every_tool_call_is_on_record_with_what_came_of_it(command: Command) -> None:
    await run(command, bash("touch a"), bash("curl http://127.0.0.1:1/"))

    with closing(sqlite3.connect(command.folder / ".callsheet" / "callsheet.db")) as record:
        rows = record.execute("SELECT n, tool, state FROM tool_calls ORDER BY rowid").fetchall()
    assert [(n, tool) for n, tool, _ in rows[:1]] == [(1, "bash")]
    assert {(n, state) for n, _, state in rows} >= {(1, "done"), (2, "denied")}


async def test_where_landlock_is_all_there_is_the_record_lies_outside_and_commands_are_held(
    command: Command, tmp_path: Path
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("git", "touch", "cat", "ls", "python3"):
        found = shutil.which(name, path="/usr/bin:/bin")
        assert found is not None
        (programs / name).symlink_to(found)
    command.environ["PATH"] = str(programs)
    look = "import os; print(os.path.exists('.callsheet')); open('made', 'w'); open('/var/made', 'w')"

    done = await run(command, bash(f'python3 -c "{look}"'), words=("--allow", "Bash(python3 *)"))

    assert done.status == 0, done.err
    result = done.json["result"]
    assert "False" in result and "Permission" in result, result
    assert (command.folder / "made").exists() and not (command.folder / ".callsheet").exists()
    assert "Landlock is all that holds them" in done.err
    assert done.json["agents"][0]["files_changed"] == ["made"]
    assert list((Path(command.environ["HOME"]) / ".local" / "state" / "callsheet").rglob("callsheet.db"))
