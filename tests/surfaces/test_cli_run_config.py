"""`--config FILE.yaml`: each key of a run's own config as it is enforced, with the real command."""

from __future__ import annotations

import json
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from tests.support.deadline import within
from tests.support.messages_replies import Reply, Say, in_order, text, tool_use
from tests.support.messages_service import MessagesService, open_messages_service
from tests.surfaces.command import META, Command, Done

pytestmark = pytest.mark.anyio

KEY = "sk-ant-of-this-test-0123456789abcdef"


def config(command: Command, workflow: object, name: str = "run.yaml") -> str:
    """Writes a config; JSON is YAML. It names a script unless told otherwise."""
    said = {"script": "case.js", **workflow} if isinstance(workflow, dict) else workflow
    (command.folder / name).parent.mkdir(parents=True, exist_ok=True)
    (command.folder / name).write_text(json.dumps({"workflow": said}), encoding="utf-8")
    return name


def run(
    command: Command, body: str, workflow: dict[str, Any], *words: str, answers: tuple[dict[str, Any], ...] = ()
) -> Done:
    """Runs a script by its config, with the scripted backend."""
    command.script(body)
    name = config(command, workflow)
    return command("run", "--config", name, "--backend", command.answers(*answers), "--output", "json", *words)


async def ask(
    command: Command, body: str, workflow: dict[str, Any], *replies: Reply, words: tuple[str, ...] = ()
) -> tuple[Done, MessagesService]:
    """Runs a script by its config; its agents ask a service that gives these replies in order."""
    command.script(body)
    name = config(command, workflow)
    async with open_messages_service(in_order(*replies)) as service:
        environ = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": service.base_url}
        call = partial(command, "run", "--config", name, "--trust", "--output", "json", *words, environ=environ)
        with within(60):
            return await to_thread.run_sync(call), service


def told(service: MessagesService, turn: int) -> str:
    """What the model was told of its tool call."""
    block: dict[str, Any] = service.requests[turn].messages[-1]["content"][0]
    return str(block["content"])


# --- the workflow, and its limits -------------------------------------------------------------------------------------


def test_a_saved_workflow_runs_by_its_config_from_any_folder(command: Command) -> None:
    saved = command.folder / ".claude/workflows/auth.js"
    saved.parent.mkdir(parents=True)
    saved.write_text("export const meta = { name: 'auth', description: 'x' }\nreturn args", encoding="utf-8")
    (command.folder / "run.yaml").write_text("workflow:\n  name: auth\n  max_agents: 7\n", encoding="utf-8")

    done = command("run", "--config", "run.yaml", "--args", "5", "--backend", command.answers(), "--output", "json")

    assert (done.status, done.json["workflow"], done.json["script"], done.json["result"]) == (0, "auth", "auth", 5)


def test_a_script_is_found_beside_its_config(command: Command) -> None:
    command.script("return 'here'", "flows/case.js")
    name = config(command, {"script": "case.js"}, "flows/run.yaml")

    done = command("run", "--config", name, "--backend", command.answers(), "--output", "json")

    assert (done.status, done.json["script"], done.json["result"]) == (0, "flows/case.js", "here"), done.err


def test_without_script_and_config_the_usage_is_said(command: Command) -> None:
    done = command("run", "--output", "json")

    assert done.status == 2
    assert "Missing argument 'SCRIPT|NAME|-'" in done.err
    assert done.json["error"]["kind"] == "config"


def test_a_rehearsal_goes_by_the_config_too_and_writes_nothing(command: Command) -> None:
    command.script("return await agent('x', { label: 'verify:1' })")
    logging = {"destination": "logs/a.json"}
    name = config(command, {"mode_routing": {"verify:*": {"model": "haiku"}}, "logging": logging})

    done = command("rehearse", "--config", name, "--trust")
    without = command("rehearse")

    assert done.status == 0, done.err
    assert "haiku" in done.out
    assert not (command.folder / "logs").exists()
    assert (without.status, "Missing argument 'SCRIPT|NAME|-'" in without.err) == (2, True)


def test_a_config_that_cannot_hold_is_refused_with_every_fault_and_its_line(command: Command) -> None:
    (command.folder / "run.yaml").write_text("workflow:\n  nam: x\n  max_agents: many\n", encoding="utf-8")

    done = command("run", "--config", "run.yaml", "--output", "json")

    assert done.status == 2
    assert done.err.splitlines()[:3] == [
        "error: run.yaml has 2 faults:",
        "  line 2: unknown key nam in workflow. Did you mean name?",
        "  line 3: max_agents is 'many'; it is a whole number.",
    ]
    assert (done.json["status"], done.json["error"]["kind"]) == ("failed", "config")


FAN_OUT = "return await parallel([1, 2, 3, 4].map(n => () => agent('task ' + n)))"


def test_so_many_agents_work_at_a_time_and_in_all(command: Command) -> None:
    command.script(FAN_OUT)
    name = config(command, {"max_parallel_agents": 1, "max_agents": 3})

    done = command("run", "--config", name, "--backend", command.answers(), "--output", "jsonl")

    order = [event["event"] for event in done.events if event["event"] in ("agent.started", "agent.finished")]
    assert order == ["agent.started", "agent.finished"] * 3
    assert [problem["cause"] for problem in done.events[-1]["problems"]] == ["cap"]
    assert done.status == 3


def test_the_budget_in_output_tokens_holds(command: Command) -> None:
    done = run(
        command,
        "await agent('a'); try { await agent('b') } catch (error) { return error.name }",
        {"budget": {"output_tokens": 50}},
    )

    assert done.json["result"] == "BudgetExceededError", done.err
    assert [problem["cause"] for problem in done.json["problems"]] == ["over_budget"]


async def test_the_budget_in_dollars_holds(command: Command) -> None:
    body = "try { return await agent('a') } catch (error) { return error.name }"

    done, service = await ask(command, body, {"budget": {"cost_usd": 0.0001}}, Say([text("x")]))

    assert (done.status, service.count) == (4, 0), done.err


# --- who serves calls -------------------------------------------------------------------------------------------------


@pytest.mark.contract("R02")
async def test_models_and_routing_decide_who_serves_each_call_and_how_fast(command: Command) -> None:
    body = """
phase('Build')
await agent('plain', { label: 'plain' })
await agent('find', { label: 'find', agentType: 'Explore', phase: 'Look' })
await agent('verify', { label: 'verify:1', model: 'opus', effort: 'max', phase: 'Look' })
await agent('named', { label: 'named', model: 'haiku', speed: 'fast', phase: 'Slow' })
"""
    workflow = {
        "models": {"default": "sonnet", "explore": "haiku"},
        "mode_routing": {
            "Build": {"speed": "fast", "model": "opus"},
            "verify:*": {"model": "sonnet", "effort": "low"},
            "Slow": "default",
        },
    }

    done, service = await ask(command, body, workflow, *[Say([text("ok")])] * 4)

    assert done.status == 0, done.err
    models = [request.body["model"] for request in service.requests]
    assert ["opus" in models[0], "haiku" in models[1], "sonnet" in models[2], "haiku" in models[3]] == [True] * 4
    assert [request.body.get("speed") for request in service.requests] == ["fast", None, None, None]
    assert service.requests[2].body["output_config"]["effort"] == "low"


# --- what agents may do -----------------------------------------------------------------------------------------------


def permitted(**permissions: object) -> dict[str, Any]:
    return {"agent_permissions": permissions}


async def test_read_only_agents_have_no_tool_that_changes_files_and_their_commands_only_read(command: Command) -> None:
    (command.folder / "a.txt").write_text("alpha", encoding="utf-8")

    done, service = await ask(
        command,
        "return await agent('x', { scope: ['**'] })",
        permitted(file_access="read-only", shell_allow=["touch *"]),
        Say([tool_use("bash", command="touch b.txt")]),
        Say([tool_use("bash", command="cat a.txt")]),
        Say([text("done")]),
    )

    assert done.status == 0, done.err
    names = {tool["name"] for tool in service.requests[0].body["tools"]}
    assert "read" in names and not {"write", "edit"} & names
    assert "may change nothing" in told(service, 1)
    assert "alpha" in told(service, 2)
    assert not (command.folder / "b.txt").exists()


async def test_scoped_agents_change_what_their_call_declares_and_nothing_without(command: Command) -> None:
    done, service = await ask(
        command,
        "await agent('x', { scope: { write: ['notes/**'] } }); return await agent('y')",
        permitted(file_access="scoped"),
        Say([tool_use("write", file_path="notes/a.md", content="a")]),
        Say([tool_use("write", file_path="b.md", content="b")]),
        Say([text("done")]),
        Say([text("done")]),
    )

    assert done.status == 0, done.err
    assert (command.folder / "notes/a.md").read_text(encoding="utf-8") == "a"
    assert not (command.folder / "b.md").exists()
    assert "scope" in told(service, 2)
    assert "write" not in {tool["name"] for tool in service.requests[3].body["tools"]}


def test_what_a_file_answers_is_held_too(command: Command) -> None:
    done = run(
        command,
        "return await agent('x', { settle: true })",
        permitted(file_access="read-only"),
        answers=({"result": "ok", "writes": {"a.md": "x"}},),
    )

    assert (done.json["result"]["status"], done.json["denials"][0]["tool"]) == ("failed", "write")
    assert not (command.folder / "a.md").exists()


async def test_no_command_runs_where_the_shell_is_denied(command: Command) -> None:
    done, service = await ask(
        command,
        "return await agent('x')",
        permitted(shell_exec="deny"),
        Say([tool_use("bash", command="ls")]),
        Say([text("done")]),
        words=("--allow", "Bash"),
    )

    assert done.status == 0, done.err
    assert "The rule 'shell_exec: deny' of run.yaml denies shell commands" in told(service, 1)
    assert done.json["denials"][0]["rule"] == "shell_exec: deny"


async def test_a_restricted_shell_runs_what_is_listed_and_nothing_else(command: Command) -> None:
    (command.folder.parent / "home/.claude").mkdir()
    rules = {"permissions": {"allow": ["Bash(./check)"]}}
    (command.folder.parent / "home/.claude/settings.json").write_text(json.dumps(rules), encoding="utf-8")
    for name in ("check", "other"):
        (command.folder / name).write_text(f"#!/bin/sh\necho {name} ran\n", encoding="utf-8")
        (command.folder / name).chmod(0o755)

    done, service = await ask(
        command,
        "return await agent('x')",
        permitted(shell_exec="restricted", shell_allow=["./other *"]),
        Say([tool_use("bash", command="./other 1")]),
        Say([tool_use("bash", command="./check")]),
        Say([text("done")]),
    )

    assert done.status == 0, done.err
    assert "other ran" in told(service, 1)
    assert "check ran" not in told(service, 2)
    (denial,) = done.json["denials"]
    assert (denial["tool"], denial["rule"]) == ("bash", "no rule")


def fetches(service_url: str) -> str:
    """A command that says whether it reaches a service."""
    return f"curl --max-time 5 -s -o out.txt {service_url} && echo reached || echo not reached"


@pytest.mark.parametrize(
    ("api", "answer"), [("allow", "reached"), ("deny", "not reached"), (["example.com"], "not reached")]
)
async def test_commands_reach_other_machines_only_where_that_is_allowed(
    command: Command, api: Any, answer: str
) -> None:
    async with open_messages_service(in_order(Say([text("hello")]))) as other:
        done, service = await ask(
            command,
            "return await agent('x')",
            permitted(external_api=api, shell_exec="allow"),
            Say([tool_use("bash", command=fetches(other.base_url))]),
            Say([text("done")]),
        )

    assert done.status == 0, done.err
    assert answer in told(service, 1).splitlines(), told(service, 1)


async def test_web_tools_are_off_where_no_other_machine_may_be_reached(command: Command) -> None:
    done, service = await ask(
        command,
        "return await agent('x')",
        permitted(external_api="deny"),
        Say([tool_use("web_fetch", url="https://example.com/", prompt="x")]),
        Say([text("done")]),
        words=("--allow", "WebFetch", "--allow", "WebSearch"),
    )

    assert done.status == 0, done.err
    assert "The rule 'external_api: deny' of run.yaml denies fetching from example.com" in told(service, 1)
    assert "web_search" not in {tool["name"] for tool in service.requests[0].body["tools"]}


# --- the log, and checkpoints -----------------------------------------------------------------------------------------


def log_of(command: Command) -> list[dict[str, Any]]:
    (file,) = (command.folder / "logs").glob("*.json")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_events_go_to_the_log_file_without_secrets(command: Command) -> None:
    command.environ["MY_API_TOKEN"] = "tok-0123456789-abcdefghij"
    logging = {"level": "verbose", "destination": "./logs/run-{timestamp}.json"}

    done = run(command, "log('it is tok-0123456789-abcdefghij'); return await agent('x')", {"logging": logging})

    events = log_of(command)
    assert done.status == 0, done.err
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["event"], events[-1]["event"]) == ("run.started", "run.finished")
    assert "agent.progress" in {event["event"] for event in events}
    (line,) = [event["message"] for event in events if event["event"] == "log"]
    assert line == "it is ‹secret MY_API_TOKEN›"
    (file,) = (command.folder / "logs").glob("*.json")
    assert (file.stat().st_mode & 0o777, file.name.startswith("run-20"), "{" in file.name) == (0o600, True, False)


@pytest.mark.parametrize(
    ("level", "left_out"),
    [("normal", {"agent.progress"}), ("quiet", {"agent.progress", "agent.queued", "agent.finished"})],
)
def test_the_level_says_how_much_goes_there(command: Command, level: str, left_out: set[str]) -> None:
    done = run(command, "return await agent('x')", {"logging": {"level": level, "destination": "logs/a.json"}})

    names = {event["event"] for event in log_of(command)}
    assert done.status == 0, done.err
    assert {"run.started", "run.finished"} <= names
    assert not left_out & names


def test_a_log_file_that_a_link_leads_out_of_the_workspace_is_refused(command: Command) -> None:
    (command.folder / "logs").symlink_to(command.folder.parent / "home")

    done = run(command, "return 1", {"logging": {"destination": "logs/a.json"}})

    assert done.status == 2
    assert "outside of the workspace. Give an absolute path." in done.err
    assert list((command.folder.parent / "home").iterdir()) == []


async def test_the_log_is_no_change_of_a_command_that_runs_meanwhile(command: Command) -> None:
    done, _ = await ask(
        command,
        "return await agent('x')",
        {"logging": {"level": "verbose", "destination": "logs/a.json"}, **permitted(shell_exec="allow")},
        Say([tool_use("bash", command="touch made.txt && sleep 0.2")]),
        Say([text("done")]),
    )

    assert done.json["agents"][0]["files_changed"] == ["made.txt"], done.err


def test_a_log_file_can_be_asked_for_with_a_flag(command: Command) -> None:
    path = command.folder.parent / "elsewhere" / "a.jsonl"

    done = command.run("return 1", "--log-file", str(path), "--log-level", "quiet")

    assert done.status == 0, done.err
    assert [json.loads(line)["event"] for line in path.read_text(encoding="utf-8").splitlines()][-1] == "run.finished"


def test_a_log_file_that_cannot_be_written_is_said_before_anything_runs(command: Command) -> None:
    (command.folder / "taken").write_text("", encoding="utf-8")

    done = command.run("return 1", "--log-file", "taken/a.jsonl")

    assert done.status == 2
    assert "taken/a.jsonl cannot be written: " in done.err


def test_the_log_does_not_stand_in_the_way_back(command: Command) -> None:
    git(command.folder, "init", "-q", "-b", "main")
    git(command.folder, "commit", "-q", "--allow-empty", "-m", "x")
    (command.folder / "a.md").write_text("before", encoding="utf-8")
    logging = {"level": "verbose", "destination": "logs/{timestamp}.json"}
    done = run(
        command,
        "return await agent('x')",
        {"logging": logging, "rollback": {"checkpoint_interval": 1}},
        answers=({"result": "ok", "writes": {"b.md": "x"}},),
    )

    back = command("rollback", done.json["run_id"])

    assert (done.status, back.status) == (0, 0), back.err
    assert not (command.folder / "b.md").exists()
    assert log_of(command)[-1]["event"] == "run.finished"
    assert "logs" not in command("diff", done.json["run_id"]).out


async def test_what_a_failed_agent_changed_is_taken_back(command: Command) -> None:
    done, _ = await ask(
        command,
        "return await agent('x', { maxTurns: 1, settle: true })",
        {"rollback": {"on_failure": "checkpoint"}},
        Say([tool_use("write", file_path="a.md", content="x")]),
        Say([tool_use("write", file_path="b.md", content="x")]),
    )

    assert done.json["result"]["status"] == "failed", done.err
    assert not (command.folder / "a.md").exists()


def test_the_format_runs_as_it_is_documented(command: Command) -> None:
    text = (Path(__file__).parents[2] / "docs/run-config.md").read_text(encoding="utf-8")
    (command.folder / "run.yaml").write_text(text.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    saved = command.folder / ".claude/workflows/auth.js"
    saved.parent.mkdir(parents=True)
    meta = "export const meta = { name: 'auth-refactor', description: 'x' }\n"
    saved.write_text(f"{meta}return await agent('x', {{ label: 'verify:x' }})", encoding="utf-8")

    words = ("run", "--config", "run.yaml", "--trust", "--backend", command.answers(), "--output", "json")
    done = command(*words)

    (agent,) = done.json["agents"]
    assert (done.status, done.json["workflow"], agent["model"]) == (0, "auth-refactor", "haiku"), done.err
    assert log_of(command)[-1]["event"] == "run.finished"


def test_checkpoints_are_taken_at_the_interval(command: Command) -> None:
    git(command.folder, "init", "-q", "-b", "main")
    command.script(FAN_OUT)
    name = config(command, {"rollback": {"checkpoint_interval": 2}, "max_parallel_agents": 1})

    writes = [{"label": f"task {n}", "result": "ok", "writes": {f"{n}.md": "x"}} for n in range(1, 5)]
    done = command("run", "--config", name, "--backend", command.answers(*writes), "--output", "jsonl")

    assert len([event for event in done.events if event["event"] == "checkpoint.taken"]) >= 3, done.err


# --- trust, resume, git refs ------------------------------------------------------------------------------------------


def git(folder: Path, *words: str) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    subprocess.run(["git", *who, *words], cwd=folder, env=environ, check=True, capture_output=True, timeout=120)


def test_a_config_in_the_workspace_restricts_and_what_it_grants_is_ignored_with_a_line_each(command: Command) -> None:
    done = run(
        command,
        "return await agent('x', { settle: true })",
        {"max_parallel_agents": 99, **permitted(file_access="read-only", shell_exec="allow")},
        answers=({"result": "ok", "writes": {"a.md": "x"}},),
    )

    assert "note: ignored until trusted: max_parallel_agents: 99 (run.yaml)" in done.err
    assert "note: ignored until trusted: agent_permissions.shell_exec: allow (run.yaml)" in done.err
    assert done.json["result"]["status"] == "failed"


def test_a_resumed_run_keeps_restrictions_and_is_told_what_was_granted(command: Command) -> None:
    writes = ({"label": "b", "result": "ok", "writes": {"a.md": "x"}},)
    body = "return [await agent('a', { label: 'a' }), await agent('b', { label: 'b', settle: true })]"
    command.script(body)
    name = config(command, {"max_agents": 9, **permitted(file_access="read-only", shell_allow=["make"])})
    first = command("run", "--config", name, "--trust", "--backend", command.answers(*writes), "--output", "json")

    again = command("resume", first.json["run_id"], "--output", "json")
    looser = config(command, permitted(file_access="workspace"), "looser.yaml")
    freed = command("resume", first.json["run_id"], "--config", looser, "--output", "json")

    assert first.json["result"][1]["status"] == "failed"
    assert again.json["result"][1]["status"] == "failed"
    assert "(shell_allow: make); what allows more is not taken from a record" in again.err
    assert freed.json["result"][1]["status"] == "ok", freed.err
    assert [agent["reused"] for agent in again.json["agents"]] == [True, False]


@pytest.mark.contract("R02")
def test_speed_is_no_part_of_what_is_asked_and_a_routed_model_is(command: Command) -> None:
    command.script("return [await agent('a', { label: 'a' }), await agent('b', { label: 'b' })]")
    name = config(command, {"mode_routing": {"a": "fast"}})
    words = ("--trust", "--output", "json")
    first = command("run", "--config", name, "--backend", command.answers({"result": "x"}), *words)

    config(command, {"mode_routing": {"a": "default", "b": {"model": "haiku"}}})
    again = command("resume", first.json["run_id"], "--config", name, *words)

    assert [agent["reused"] for agent in again.json["agents"]] == [True, False], again.err


def test_a_config_and_its_script_come_from_the_ref_that_configuration_comes_from(command: Command) -> None:
    command.answers()
    (command.folder / "flows").mkdir()
    (command.folder / "scripts").mkdir()
    (command.folder / "scripts/case.js").write_text(f"{META}return 'reviewed'", encoding="utf-8")
    config(command, {"script": "../scripts/case.js", "max_agents": 7}, "flows/run.yaml")
    for step in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "x")):
        git(command.folder, *step)
    (command.folder / "scripts/case.js").write_text(f"{META}return 'planted'", encoding="utf-8")
    config(command, {"script": "planted.js", "max_agents": 1}, "flows/run.yaml")

    words = ("run", "--config", "flows/run.yaml", "--config-from", "main", "--backend", "scripted:answers.json")
    done = command(*words, "--output", "json")
    missing = command(*words[:2], "flows/none.yaml", *words[3:])

    assert (done.status, done.json["result"], done.json["script"]) == (0, "reviewed", "scripts/case.js"), done.err
    assert (missing.status, "main has no file flows/none.yaml" in missing.err) == (2, True)


# --- what is in effect ------------------------------------------------------------------------------------------------


def test_every_setting_is_printed_with_its_source(command: Command) -> None:
    (command.folder / "callsheet.toml").write_text("max_turns = 50\nmax_parallel = 99\n", encoding="utf-8")
    name = config(command, {"max_agents": 7, "budget": {"output_tokens": 1000}})
    command.environ["CALLSHEET_MAX_WAIT"] = "1h"

    done = command("config", "--config", name, "--output", "json")
    shown = command("config", "--config", name)

    found = {each["key"]: (each["value"], each["source"]) for each in done.json["settings"]}
    assert (done.status, shown.status) == (0, 0), done.err
    assert found["max_agents"] == (7, "run.yaml")
    assert found["budget.output_tokens"] == (1000, "run.yaml")
    assert found["max_turns"] == (50, "callsheet.toml")
    assert found["max_wait"] == (3600.0, "CALLSHEET_MAX_WAIT")
    assert found["max_parallel"] == (16, "default")
    assert found["permission_mode"] == ("acceptEdits", "default")
    assert done.json["notes"] == [
        "callsheet.toml: max_parallel = 99 is ignored: a workspace's file can only lower a limit."
    ]
    assert any(line.split() == ["max_agents", "7", "run.yaml"] for line in shown.out.splitlines())
    assert "note: callsheet.toml: max_parallel = 99 is ignored" in shown.err


def test_what_is_no_setting_is_refused_with_the_nearest_name(command: Command) -> None:
    done = command("config", environ={"CALLSHEET_MAX_AGNTS": "5"})
    (command.folder / "callsheet.toml").write_text("max_agnts = 5", encoding="utf-8")
    in_file = command("config")

    assert (done.status, in_file.status) == (2, 2)
    assert "CALLSHEET_MAX_AGNTS in the environment is no setting. Did you mean CALLSHEET_MAX_AGENTS?" in done.err
    assert "unknown key max_agnts. Did you mean max_agents?" in in_file.err
