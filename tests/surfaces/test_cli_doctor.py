"""`callsheet doctor`: what this machine has, in words and as JSON."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from callsheet.agents.claude_code.installed import is_installed
from callsheet.app.doctor import AREAS, coverage_table
from tests.surfaces.command import Command

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
SECRET = "sk-ant-not-to-be-shown-1234567890"


def test_the_security_page_says_what_the_confinements_say_that_they_cover() -> None:
    assert coverage_table() in SECURITY.read_text(encoding="utf-8")


def test_everything_is_looked_at_and_nothing_is_left_behind(command: Command) -> None:
    before = list(command.folder.iterdir())

    done = command("doctor", "--output", "json", environ={"ANTHROPIC_API_KEY": SECRET})

    names = {check["name"] for check in done.json["checks"]}
    wanted = {"python", "sqlite", "sandbox", "confinement", "git", "ripgrep", "credentials", "workspace", "settings"}
    assert wanted | {"trust", "record"} <= names
    assert done.status == 0
    assert done.json["ok"] is True
    assert list(command.folder.iterdir()) == before


def test_each_confinement_has_its_coverage_or_the_reason_and_the_remedy(command: Command) -> None:
    tried = command("doctor", "--output", "json").json["confinements"]

    assert [each["name"] for each in tried] == ["bubblewrap", "landlock", "none"]
    for each in tried:
        if each["works"]:
            assert [row["area"] for row in each["coverage"]] == list(AREAS)
        else:
            assert each["failure"] and each["remedy"] and each["coverage"] == []


def test_credentials_are_named_and_never_shown(command: Command) -> None:
    done = command("doctor", environ={"ANTHROPIC_API_KEY": SECRET})

    assert "ANTHROPIC_API_KEY" in done.out
    assert SECRET not in done.out + done.err


def test_claude_code_is_looked_at_only_where_it_is_installed(command: Command) -> None:
    checks = {check["name"]: check for check in command("doctor", "--output", "json").json["checks"]}

    assert ("claude_code" in checks) == is_installed()
    assert not is_installed() or "claude" in checks["claude_code"]["detail"]


def test_without_bubblewrap_the_reason_and_the_remedy_are_said(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    done = command("doctor", environ={"PATH": str(tmp_path / "empty")})

    assert "bubblewrap: does not work here: bwrap is not installed" in done.out
    assert "→ install bubblewrap" in done.out
    assert "warning git" in done.out


def test_settings_that_cannot_be_read_are_an_error_with_a_status(command: Command) -> None:
    (command.folder / ".claude").mkdir()
    (command.folder / ".claude/settings.json").write_text("{", encoding="utf-8")

    done = command("doctor")

    assert done.status == 1
    assert "ERROR   settings" in done.out


def test_trust_and_hooks_of_the_folder_are_said(command: Command) -> None:
    (command.folder / ".claude").mkdir()
    settings = {"permissions": {"allow": ["Bash"]}, "hooks": {"PreToolUse": [{}]}}
    (command.folder / ".claude/settings.json").write_text(json.dumps(settings), encoding="utf-8")

    done = command("doctor")

    assert "not trusted: what its files ask for is ignored (1)" in done.out
    assert "PreToolUse hooks are declared and not run" in done.out


def test_the_coverage_stands_in_run_started_and_a_scripted_run_tries_nothing(command: Command) -> None:
    script = command.script("return await agent('find hello')")

    offline = command("run", script, "--backend", "offline", "--output", "jsonl", "-q", "--unconfined").events[0]
    scripted = command("run", script, "--backend", command.answers(), "--output", "jsonl", "-q").events[0]

    assert offline["commands"]["unconfined"] is True
    assert list(offline["commands"]["held"]) == list(AREAS)
    assert scripted["commands"] is None


def test_a_scripted_run_loads_neither_confinement_nor_pydantic(command: Command) -> None:
    code = (
        "import sys; from callsheet.cli.commands import run_command_line as run\n"
        f"status = run(['run', {command.script('return 1')!r}, '--backend', {command.answers()!r}, '-q'])\n"
        "print(status, [name for name in ('callsheet.confinement.probe', 'pydantic_core') if name in sys.modules])"
    )
    done = subprocess.run(
        [command.line()[0], "-c", code],
        cwd=command.folder,
        env=command.environ | {"PATH": os.environ["PATH"]},
        capture_output=True,
        timeout=120,
        check=True,
    )

    assert done.stdout.decode().splitlines()[-1] == "0 []"
