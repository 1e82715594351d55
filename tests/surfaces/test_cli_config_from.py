"""`--config-from REF`: a pull request cannot change what judges it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.surfaces.command import META, Command

REVIEWED = "return { workflow: 'reviewed', helper: await workflow({ scriptPath: './lib/helper.js' }) }"
HELPER = "export const meta = { name: 'helper', description: 'x' }\nreturn 'reviewed helper'"


def _git(folder: Path, *words: str) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    subprocess.run(["git", *who, *words], cwd=folder, env=environ, check=True, capture_output=True, timeout=120)


@pytest.fixture
def pull_request(command: Command) -> Command:
    """`main` as it was reviewed, and a branch, checked out, that changed everything of it for its own ends."""
    folder = command.folder
    command.environ["TMPDIR"] = str(folder.parent / "tmp")
    (folder.parent / "tmp").mkdir()
    files = {
        ".claude/settings.json": json.dumps({"permissions": {"allow": ["Bash(npm test:*)"], "deny": ["WebSearch"]}}),
        ".claude/workflows/review.js": "export const meta = { name: 'review', description: 'x' }\nreturn 'reviewed'",
        ".claude/agents/checker.md": "---\nname: checker\ndescription: reviewed\ntools: Read\n---\nCheck.\n",
        "flows/case.js": META + REVIEWED,
        "flows/lib/helper.js": HELPER,
        "callsheet.toml": "max_agents = 7\n",
        "linked/real.md": "x",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "CLAUDE.md").symlink_to("/etc/passwd")
    _git(folder, "init", "-q", "-b", "main")
    _git(folder, "add", "-A")
    _git(folder, "commit", "-q", "-m", "reviewed")
    _git(folder, "checkout", "-q", "-b", "other")
    for name in files:
        text = (folder / name).read_text(encoding="utf-8").replace("reviewed", "planted")
        (folder / name).write_text(text.replace("npm test", "curl").replace("max_agents = 7", ""), encoding="utf-8")
    (folder / ".claude/settings.json").write_text('{"permissions": {"allow": ["Bash"]}}', encoding="utf-8")
    _git(folder, "commit", "-q", "-a", "-m", "planted")
    command.answers()
    return command


def _run(command: Command, script: str, *words: str) -> list[dict[str, object]]:
    done = command("run", script, "--backend", "scripted:answers.json", "--output", "jsonl", "-q", *words)
    assert done.status == 0, done.err
    assert list((command.folder.parent / "tmp").iterdir()) == []
    return done.events


def test_settings_and_the_workflow_are_those_of_the_ref(pull_request: Command) -> None:
    events = _run(pull_request, "review", "--config-from", "main", "--trust")
    planted = _run(pull_request, "review", "--trust")

    assert (events[-1]["result"], planted[-1]["result"]) == ("reviewed", "planted")
    notes = str(events[0]["notes"])
    assert "configuration, memory and workflow are those of main (" in notes
    assert "CLAUDE.md is a link in main and is not followed." in notes


def test_a_script_named_by_its_path_and_what_it_calls_are_those_of_the_ref(pull_request: Command) -> None:
    ended = _run(pull_request, "flows/case.js", "--config-from", "main")[-1]

    assert ended["result"] == {"workflow": "reviewed", "helper": "reviewed helper"}
    assert ended["script"] == "flows/case.js"


def test_rules_explained_are_those_of_the_ref(pull_request: Command) -> None:
    def decision(text: str, *words: str) -> str:
        asked = ("permissions", "explain", "bash", json.dumps({"command": text}), "--output", "json", "--trust")
        return str(pull_request(*asked, *words).json["decision"])

    assert decision("curl x") == "allow"
    assert decision("curl x", "--config-from", "main") == "ask"
    assert decision("npm test", "--config-from", "main") == "allow"


def test_without_trust_the_ref_grants_no_more_than_the_working_tree(pull_request: Command) -> None:
    notes = str(_run(pull_request, "review", "--config-from", "main")[0]["notes"])

    assert "ignored until trusted: allow Bash(npm test:*) (main (" in notes


@pytest.mark.parametrize(
    ("script", "ref", "told"),
    [
        ("review", "nowhere", "this repository has no such branch, tag or commit"),
        ("review", "--all", "that is not the name of a branch, tag or commit"),
        ("review", "main\nx", "that is not the name of a branch, tag or commit"),
        ("review", "main:callsheet.toml", "this repository has no such branch, tag or commit"),
        ("flows/new.js", "main", "main has no file flows/new.js"),
        ("../outside.js", "main", "lies outside of"),
        ("CLAUDE.md/x.js", "main", "main has no file"),
    ],
)
def test_a_ref_or_a_script_that_is_not_there_is_said(pull_request: Command, script: str, ref: str, told: str) -> None:
    (pull_request.folder / "flows/new.js").write_text(META, encoding="utf-8")

    done = pull_request("run", script, "--backend", "offline", f"--config-from={ref}")

    assert done.status == 2
    assert told in done.err
