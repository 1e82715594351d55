"""`callsheet author`: a task becomes a script, over a Messages service on loopback and without any model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial

import pytest
from anyio import to_thread

from tests.support.deadline import within
from tests.support.messages_replies import Reply, Say, in_order, text, tool_use
from tests.support.messages_service import MessagesService, open_messages_service
from tests.surfaces.command import Command, Done

pytestmark = pytest.mark.anyio

KEY = "sk-ant-of-this-test-0123456789abcdef"
META = "export const meta = { name: 'compare-notes', description: 'Compares two notes', phases: [{ title: 'Read' }] }\n"
RIGHT = (
    META
    + """\
const NOTE = { type: 'object', properties: { says: { type: 'string' } }, required: ['says'] }
phase('Read')
const read = await parallel(['a.txt', 'b.txt'].map((file) => () =>
  agent(`What does ${file} say?`, { label: `read ${file}`, schema: NOTE })))
return read.map((note) => note?.says ?? null)
"""
)
FAULTY = RIGHT.replace("map((file) => () =>", "map((file) =>").replace("const NOTE = ", "const NOTE: object = ")
HALF_RIGHT = RIGHT.replace("map((file) => () =>", "map((file) =>")


async def author(
    command: Command, *replies: Reply, words: tuple[str, ...] = ("--json",)
) -> tuple[Done, MessagesService]:
    async with open_messages_service(in_order(*replies)) as service:
        environ: Mapping[str, str] = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": service.base_url}
        call = partial(command, "author", "compare a.txt with b.txt", *words, environ=environ)
        with within(60):
            return await to_thread.run_sync(call), service


def handed_in(script: str, n: int) -> Say:
    return Say([tool_use("answer", id=f"toolu_{n}", script=script, notes="Two readers.")], output_tokens=900)


def told(service: MessagesService, n: int) -> str:
    """What the model was told last before its n-th request."""
    return json.dumps(service.requests[n - 1].messages[-1], ensure_ascii=False)


async def test_the_checkers_words_bring_the_model_from_a_wrong_script_to_a_right_one_which_then_runs(
    command: Command,
) -> None:
    (command.folder / "a.txt").write_text("alpha", encoding="utf-8")
    done, service = await author(
        command,
        Say([tool_use("read", file_path="a.txt")]),
        handed_in(FAULTY, 1),
        handed_in(HALF_RIGHT, 2),
        handed_in(RIGHT, 3),
        words=("--json", "--save-as", "compare"),
    )
    assert done.status == 0, done.err
    assert done.json["script"] == RIGHT
    assert (done.json["rehearsal"]["agents"]["planned"], done.json["notes"]) == (2, "Two readers.")
    assert service.count == 4
    (written,) = command("show", "last", "--json").json["agents"]
    assert (written["attempts"], written["answer_attempts"]) == (3, None), "what came back had fitted its schema"
    assert "line 2, column" in told(service, 3)
    assert "TypeScript" in told(service, 3)
    assert "line 5, column" in told(service, 4)
    assert "give it a function, `() => agent" in told(service, 4)
    body = service.requests[0].body
    assert body["model"].startswith("claude-opus")
    assert {tool["name"] for tool in body["tools"]} == {"read", "glob", "grep", "answer"}
    assert (body["output_config"], body["max_tokens"]) == ({"effort": "xhigh"}, 64_000)
    first = json.dumps(body["messages"][0])
    for words in (
        "compare a.txt with b.txt",
        "declare function pipeline",
        "no silent caps",
        "at most 25 (size medium)",
        "whose call names no `model` asks `sonnet`",
        "bash, read, write, edit, glob, grep, web_fetch",
        "run commands that only read",
        "- `haiku`: $0.1 and $0.5",
        "beyond $25",
    ):
        assert words in first
    run = command("run", "compare", "--backend", "offline", "--output", "json")
    assert run.status == 0, run.err
    assert len(run.json["agents"]) == 2


async def test_a_script_that_never_holds_is_sent_back_four_times_and_none_is_written(command: Command) -> None:
    done, service = await author(command, *[handed_in(FAULTY, n) for n in range(5)], words=("-o", "x.js"))
    assert done.status == 1
    assert service.count == 5
    assert not (command.folder / "x.js").exists()
    assert "No script was written" in done.err


async def test_the_writing_keeps_to_its_budget(command: Command) -> None:
    looks = [Say([tool_use("read", id=f"toolu_{n}", file_path="a.txt")], output_tokens=400) for n in range(20)]
    done, service = await author(command, *looks, words=("--budget", "1k"))
    assert done.status in (1, 4), done.err
    assert service.count <= 4
    asked = [request.body["max_tokens"] for request in service.requests]
    assert all(tokens <= 1_000 for tokens in asked)


async def test_with_a_warning_that_is_meant_so_the_same_script_is_taken_the_second_time(command: Command) -> None:
    warned = RIGHT.replace("phases: [{ title: 'Read' }]", "phases: [{ title: 'Read' }, { title: 'Never' }]")
    done, service = await author(command, handed_in(warned, 1), handed_in(warned, 2))
    assert done.status == 0, done.err
    assert done.json["script"] == warned
    assert "Never" in told(service, 2)


async def test_a_run_config_says_who_writes(command: Command) -> None:
    (command.folder.parent / "run.yaml").write_text(
        "workflow:\n  models: {orchestrator: haiku}\n  mode_routing: {orchestrator: {effort: low}}\n", encoding="utf-8"
    )
    done, service = await author(command, handed_in(RIGHT, 1), words=("--json", "--config", "../run.yaml"))
    assert done.status == 0, done.err
    assert service.requests[0].body["model"].startswith("claude-haiku")


async def test_settings_say_who_writes_how_hard_how_long_and_how_often_it_may_mend(command: Command) -> None:
    said = "model=claude-opus-4-6,effort=low,max_output_tokens=200k,rounds=1"
    command.environ["CALLSHEET_AUTHORING"] = said
    done, service = await author(command, handed_in(FAULTY, 1), handed_in(FAULTY, 2), handed_in(RIGHT, 3))
    assert (done.status, service.count) == (1, 2)
    body = service.requests[0].body
    assert (body["model"], body["output_config"]) == ("claude-opus-4-6", {"effort": "low"})
    assert (body["thinking"], body["max_tokens"]) == ({"type": "adaptive"}, 128_000)
    assert "Attempt 1 of 2 is not taken yet" in told(service, 2)


async def test_an_agent_that_ends_without_a_script_is_a_failure(command: Command) -> None:
    done, _ = await author(command, Say([text("I cannot.")]), Say([text("No.")]))
    assert done.status == 1
    assert done.json["script"] is None


def test_without_a_key_a_script_over_the_files_that_the_task_names_is_written_and_runs(command: Command) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        (command.folder / name).write_text(f"The price of {name} is 3.\n", encoding="utf-8")
    done = command("author", "What do a.txt and b.txt say of prices?", "-o", "prices.js")
    assert done.status == 0, done.err
    assert "run it: callsheet run prices.js" in done.err
    run = command("run", "prices.js", "--output", "json")
    assert run.status == 0, run.err
    assert [agent["label"] for agent in run.json["agents"]] == ["read a.txt", "read b.txt", "merge"]
    again = command("author", "What do a.txt and b.txt say of prices?", "-o", "prices.js")
    assert again.status == 2
    assert "--force" in again.err


def test_a_script_that_is_written_to_standard_output_can_be_run_from_there(command: Command) -> None:
    (command.folder / "a.txt").write_text("alpha\n", encoding="utf-8")
    done = command("author", "-", "--size", "small", "--quiet", stdin=b"Sum up *.txt")
    assert done.status == 0, done.err
    run = command("run", "-", "--output", "json", stdin=done.out.encode())
    assert run.status == 0, run.err
    assert run.json["result"]["found"][0]["file"] == "a.txt"


def test_what_cannot_be_asked_for_is_said(command: Command) -> None:
    assert command("author").status == 2
    assert command("author", "  ").status == 2
    assert command("author", "a", "--budget", "lots").status == 2
    assert command("author", "a", "--size", "huge").status == 2
