"""Command agents and mapped agent types, from settings to the script's result."""

from __future__ import annotations

import pytest

from tests.surfaces.command import Command

LINT = """\
[agents.lint]
command = ["sh", "-c", "tr a-z A-Z; echo note >&2; exit ${1:-0}", "lint"]
[agents.broken]
command = ["sh", "-c", "cat; echo oops >&2; exit 4"]
"""


def declare(command: Command, text: str = LINT) -> None:
    folder = command.folder.parent / "home" / ".config" / "callsheet"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(text, encoding="utf-8")


@pytest.mark.contract("A15", "A17")
def test_a_declared_program_is_an_agent_like_any_other(command: Command) -> None:
    declare(command)
    name = command.script(
        "return [await agent('hello', { agentType: 'lint' }), await agent('x', { agentType: 'broken' }),"
        " await agent('y', { agentType: 'broken', settle: true })]"
    )
    done = command("run", name, "--backend", "offline", "--output", "json", "--unconfined")
    assert done.status == 3, done.err
    text, null, settled = done.json["result"]
    assert (text, null) == ("HELLO", None)
    assert (settled["status"], settled["exitStatus"], settled["stdout"], settled["stderr"]) == (
        "failed",
        4,
        "y",
        "oops\n",
    )
    assert [(agent["backend"], agent["status"]) for agent in done.json["agents"]] == [
        ("command", "ok"),
        ("command", "failed"),
        ("command", "failed"),
    ]
    assert done.json["agents"][0]["usage"]["cost_usd"] == 0


def test_a_rehearsal_runs_no_program(command: Command) -> None:
    declare(command)
    name = command.script("return await agent('hello', { agentType: 'lint' })")
    backend = command.answers({"prompt": "hello", "result": "as answered"})
    done = command("run", name, "--backend", backend, "--output", "json")
    assert (done.status, done.json["result"]) == (0, "as answered")


def test_a_program_of_the_workspace_is_started_only_once_it_is_trusted(command: Command) -> None:
    (command.folder / "callsheet.toml").write_text(LINT, encoding="utf-8")
    name = command.script("return await agent('hello', { agentType: 'lint' })")
    words = ("run", name, "--backend", "offline", "--output", "json", "--unconfined")
    ignored = command(*words)
    assert ignored.status == 1
    assert 'there is no agent type "lint"' in ignored.json["error"]["message"]
    assert "agents is ignored" in ignored.err
    assert command(*words, "--trust").json["result"] == "HELLO"


@pytest.mark.contract("A07")
def test_a_model_of_the_run_that_nobody_knows_is_said_before(command: Command) -> None:
    name = command.script("return await agent('hello')")
    backend = command.answers({"prompt": "hello", "result": "done"})
    words = ("run", name, "--backend", backend)
    said = "model 'opsu' is not known: it is neither an alias (fable, opus, sonnet, haiku) nor the id of a Claude model"
    done = command(*words, "--model", "opsu")
    assert (done.status, done.out) == (0, "done\n")
    assert f"{said}. --model, or a setting, names it." in done.err
    refused = command(*words, "--model", "opsu", "--preflight", "refuse")
    assert (refused.status, refused.out) == (2, "")
    assert said in refused.err
    assert "not known" not in command(*words, "--model", "opus", "--preflight", "refuse").err


@pytest.mark.contract("A09")
def test_an_unknown_agent_type_is_said_before_and_mapped_by_a_flag(command: Command) -> None:
    name = command.script("return await agent('hello', { agentType: 'reviewer' })")
    backend = command.answers({"prompt": "hello", "result": "done"})
    words = ("run", name, "--backend", backend, "--output", "json")
    refused = command(*words, "--preflight", "refuse")
    assert refused.status == 2
    assert "--agent-type reviewer=OTHER" in refused.err
    assert command(*words, "--preflight", "refuse", "--agent-type", "reviewer=Plan").json["result"] == "done"
    wrong = command(*words, "--agent-type", "reviewer")
    assert wrong.status == 2
    assert "--agent-type: 'reviewer' is not NAME=VALUE." in wrong.err
