"""Agents of others that speak the Agent Client Protocol, from settings to the script's result."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.surfaces.command import Command

AGENT = Path(__file__).parents[1] / "support" / "acp_agent.py"


def declared(command: Command, *, more: str = "") -> str:
    words = json.dumps([sys.executable, str(AGENT)])
    return f"[agents.small]\nacp = {words}\n{more}"


def declare(command: Command, *, more: str = "") -> None:
    folder = command.folder.parent / "home" / ".config" / "callsheet"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(declared(command, more=more), encoding="utf-8")


def test_an_agent_of_settings_is_had_by_call_by_type_and_for_a_run(command: Command) -> None:
    declare(command)
    name = command.script(
        """const say = what => 'DO: ' + JSON.stringify([['say', what], ['cost', 0.5, 'USD']])
        return [await agent(say('call'), { backend: 'acp:small' }), await agent(say('type'), { agentType: 'small' }),
          await agent(say('{"n": 3}'), { backend: 'acp:small', schema: { type: 'object', required: ['n'] } })]"""
    )
    done = command("run", name, "--backend", "offline", "--output", "json", "--unconfined")
    assert done.status == 0, done.err
    assert done.json["result"] == ["call", "type", {"n": 3}]
    assert [agent["backend"] for agent in done.json["agents"]] == ["acp:small"] * 3
    assert done.json["usage"]["cost_usd"] == 1.5
    plain = command.script('return await agent(\'DO: [["say", "run"]]\')')
    of_run = command("run", plain, "--backend", "acp:small", "--output", "json", "--unconfined")
    assert (of_run.status, of_run.json["result"]) == (0, "run"), of_run.err
    assert of_run.json["usage"]["cost_usd"] is None


def test_one_that_is_not_declared_is_refused_with_what_to_do(command: Command) -> None:
    name = command.script("return await agent('x')")
    refused = command("run", name, "--backend", "acp:gemini")
    assert refused.status == 2
    assert '[agents.NAME] acp = ["PROGRAM", …]' in refused.err


def test_a_rehearsal_starts_no_program(command: Command) -> None:
    declare(command)
    name = command.script("return await agent('hello', { agentType: 'small' })")
    backend = command.answers({"prompt": "hello", "result": "as answered"})
    assert command("run", name, "--backend", backend, "--output", "json").json["result"] == "as answered"
    rehearsed = command("rehearse", command.script("return await agent('x', { backend: 'acp:small' })"))
    assert rehearsed.status == 0, rehearsed.err


def test_one_of_the_workspace_is_started_only_once_it_is_trusted(command: Command) -> None:
    more = 'environment = ["SMALL_KEY"]\nhosts = ["example.com"]\nfolders = ["~/.small"]\n'
    (command.folder / "callsheet.toml").write_text(declared(command, more=more), encoding="utf-8")
    name = command.script("return await agent('DO: [[\"say\", \"it ran\"]]', { agentType: 'small' })")
    words = ("run", name, "--backend", "offline", "--output", "json", "--unconfined")
    ignored = command(*words)
    assert ignored.status == 1
    assert "agents is ignored" in ignored.err
    shown = command("trust", ".")
    assert "with your variables SMALL_KEY, reaching example.com, reading and changing ~/.small" in shown.out + shown.err
    assert command(*words, "--trust").json["result"] == "it ran"


def test_a_setting_that_cannot_hold_is_said_with_its_place(command: Command) -> None:
    name = command.script("return 1")
    for text, said in (
        ("[agents.a]\ndescription = 'x'\n", "agents.a needs `command` or `acp`"),
        ("[agents.a]\ncommand = ['x']\nhosts = ['example.com']\n", "agents.a.hosts is for programs of `acp`"),
        ("[agents.a]\nacp = ['x']\nfolders = ['relative']\n", "agents.a.folders.0 = 'relative' cannot hold"),
    ):
        declare(command)
        folder = command.folder.parent / "home" / ".config" / "callsheet"
        (folder / "config.toml").write_text(text, encoding="utf-8")
        refused = command("run", name, "--backend", "offline")
        assert refused.status == 2
        assert said in refused.err
