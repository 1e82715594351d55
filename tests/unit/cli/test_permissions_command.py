"""`callsheet permissions explain`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from callsheet.cli.permissions_command import permissions


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work = tmp_path / "work"
    (work / ".git").mkdir(parents=True)
    (work / ".claude").mkdir()
    rules = {"permissions": {"allow": ["Bash(curl:*)"], "deny": ["Bash(rm:*)"]}}
    (work / ".claude/settings.json").write_text(json.dumps(rules), encoding="utf-8")
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    return work


def _explain(*words: str, given: str | None = None) -> Result:
    return CliRunner().invoke(permissions, ["explain", *words], input=given)


def test_it_tells_decision_reason_rule_and_file(folder: Path) -> None:
    found = _explain("bash", '{"command": "rm x"}', "--output", "json")

    answer = json.loads(found.stdout)
    assert (answer["decision"], answer["rule"]) == ("deny", "Bash(rm:*)")
    assert answer["source"] == str(folder / ".claude/settings.json")


def test_people_are_told_what_is_ignored_and_which_rule_would_allow(folder: Path) -> None:
    found = _explain("bash", '{"command": "curl x"}')

    assert found.stdout.startswith("ask: ")
    assert "would be allowed by: Bash(curl x:*)" in found.stdout
    assert "ignored until trusted: allow Bash(curl:*)" in found.stderr


def test_with_trust_the_workspaces_rules_allow(folder: Path) -> None:
    found = _explain("bash", '{"command": "curl x"}', "--trust")

    assert found.stdout.startswith("allow: ")
    assert "only confined" in found.stdout


def test_lines_are_answered_one_by_one_also_the_bad_ones(folder: Path) -> None:
    lines = [
        '{"tool": "bash", "input": {"command": "ls"}}',
        "rubbish",
        '{"tool": "read", "input": {"file_path": "/etc/x"}}',
    ]

    found = _explain("--stdin", "--output", "jsonl", given="\n".join(lines))

    answers = [json.loads(line) for line in found.stdout.splitlines()]
    assert [answer["decision"] for answer in answers] == ["allow", "deny", "ask"]
    assert all({"decision", "reason", "rule", "source"} <= answer.keys() for answer in answers)


@pytest.mark.parametrize(
    "words", [["bash", "{"], ["bash", "[]"], [], ["bash", "{}", "--stdin"], ["bash", "{}", "--deny", "Bash("]]
)
def test_wrong_usage_is_told(folder: Path, words: list[str]) -> None:
    assert _explain(*words).exit_code == 2
