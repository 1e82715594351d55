"""The command with the model's backend, over a real socket to a Messages service on loopback."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import partial

import pytest
from anyio import to_thread

from tests.support.deadline import within
from tests.support.messages_replies import Refuse, Reply, Say, in_order, search_results, text, tool_use, web_search
from tests.support.messages_service import MessagesService, open_messages_service
from tests.surfaces.command import Command, Done

pytestmark = pytest.mark.anyio

KEY = "sk-ant-of-this-test-0123456789abcdef"


async def run(
    command: Command, body: str, *replies: Reply, words: tuple[str, ...] = ()
) -> tuple[Done, MessagesService]:
    """Runs a script whose agents ask a service that gives these replies in order."""
    name = command.script(body)
    async with open_messages_service(in_order(*replies)) as service:
        environ: Mapping[str, str] = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": service.base_url}
        call = partial(command, "run", name, "--output", "json", *words, environ=environ)
        with within(60):
            return await to_thread.run_sync(call), service


async def test_with_a_credential_agents_ask_the_model_and_use_the_files_of_the_workspace(command: Command) -> None:
    (command.folder / "a.txt").write_text("alpha", encoding="utf-8")

    done, service = await run(
        command,
        "return await agent('What is in a.txt?', { label: 'reads', model: 'haiku' })",
        Say([tool_use("read", file_path="a.txt")], output_tokens=7),
        Say([text("It says alpha.")], output_tokens=5),
    )

    assert done.status == 0, done.err
    assert (done.json["status"], done.json["backend"], done.json["result"]) == (
        "completed",
        "anthropic",
        "It says alpha.",
    )
    (agent,) = done.json["agents"]
    assert (agent["backend"], agent["tools_called"], agent["files_read"]) == ("anthropic", ["read"], ["a.txt"])
    assert agent["usage"]["output_tokens"] == 12
    assert list(done.json["usage"]["by_model"]) == [agent["model"]]
    assert service.count == 2
    assert "alpha" in str(service.requests[1].messages)


MANY = "return await Promise.all(Array.from({ length: 50 }, (_, i) => agent('task ' + i)))"
NO_CREDIT = "Your credit balance is too low to access the Anthropic API."
REFUSALS = {
    "key": (Refuse(401, "authentication_error", "invalid x-api-key"), "authentication", "Check ANTHROPIC_API_KEY"),
    "credit": (Refuse(400, "invalid_request_error", NO_CREDIT), "credit", "Add credit"),
    "model": (Refuse(404, "not_found_error", "model: claude-opsu"), "model", "Name a model that this account"),
}


@pytest.mark.contract("K05")
@pytest.mark.parametrize(("refusal", "cause", "remedy"), REFUSALS.values(), ids=REFUSALS)
async def test_what_the_service_refuses_to_all_interrupts_the_run_after_few_requests_and_gives_the_script_nothing(
    command: Command, refusal: Refuse, cause: str, remedy: str
) -> None:
    done, service = await run(command, MANY, *[refusal] * 50, words=("--no-cache-warmup",))

    assert done.status == 6, done.err
    assert service.count <= 16
    error = done.json["error"]
    assert (done.json["status"], error["kind"], done.json["result"]) == ("interrupted", "backend", None)
    for words in (refusal.message.rstrip("."), f"({cause})", remedy, f"callsheet resume {done.json['run_id']}"):
        assert words in error["message"]
    assert {agent["status"] for agent in done.json["agents"]} == {"cancelled"}


WEEKLY = Refuse(429, "rate_limit_error", "weekly limit", {"retry-after": "7200"})


@pytest.mark.contract("K05")
async def test_a_limit_that_is_reset_later_than_the_longest_wait_interrupts_the_run(command: Command) -> None:
    done, service = await run(command, MANY, *[WEEKLY] * 50, words=("--max-wait", "1h", "--no-cache-warmup"))

    assert done.status == 6, done.err
    assert service.count <= 16
    error = done.json["error"]
    assert (done.json["status"], error["kind"], done.json["result"]) == ("interrupted", "backend", None)
    assert "weekly limit" in error["message"]
    assert "The service says that it may go on at" in error["message"]
    assert "at most 60 min" in error["message"]
    assert f"callsheet resume {done.json['run_id']}" in error["message"]
    assert {agent["status"] for agent in done.json["agents"]} == {"cancelled"}


@pytest.mark.contract("K05")
async def test_a_run_waits_for_a_limit_to_be_reset_says_so_and_goes_on(command: Command) -> None:
    used_up = Refuse(429, "rate_limit_error", "used up", {"x-should-retry": "false", "retry-after": "1"})

    done, service = await run(command, "return await agent('x')", used_up, Say([text("done")]))

    assert (done.status, done.json["result"]) == (0, "done"), done.err
    assert service.count == 2
    assert "waiting: the model service limits the rate: used up" in done.err
    assert "The run tries again at" in done.err


async def test_a_credential_is_never_shown(command: Command) -> None:
    done, _ = await run(
        command,
        "log(await agent('x')); return args",
        Say([text(f"the key is {KEY}")]),
        words=("--args", KEY),
    )

    assert done.status == 0, done.err
    assert KEY not in done.out + done.err
    assert "‹secret ANTHROPIC_API_KEY›" in done.json["logs"][0]["message"]


@pytest.mark.contract("R02")
async def test_memory_reaches_the_model_and_is_named_and_hashed_in_the_record(command: Command) -> None:
    (command.folder / "CLAUDE.md").write_text("Tabs, never spaces. @docs/style.md @link.md", encoding="utf-8")
    (command.folder / "docs").mkdir()
    (command.folder / "docs" / "style.md").write_text("Short names.", encoding="utf-8")
    (command.folder / "link.md").symlink_to("/etc/hostname")
    done, service = await run(command, "return await agent('x')", Say([text("done")]))
    assert done.status == 0, done.err
    shared = service.requests[0].body["system"][0]["text"]
    assert "Tabs, never spaces." in shared
    assert "Short names." in shared
    with closing(sqlite3.connect(command.folder / ".callsheet" / "callsheet.db")) as record:
        ((settings, payload),) = record.execute(
            "select settings, payload from runs join events using (run_id) where event = 'run.started'"
        )
    digest = json.loads(settings)["memory"]
    notes = json.loads(payload)["notes"]
    assert f"project memory: CLAUDE.md, docs/style.md (sha256 {digest[:12]})." in notes
    assert [note for note in notes if note.startswith("project memory: left out: @")]


@pytest.mark.contract("G04")
@pytest.mark.parametrize("words", [("--budget", "$5"), ("--phase-budget", "P=$1"), ("--agent-budget", "$1")])
async def test_a_model_without_a_price_is_refused_before_the_start_where_dollars_count(
    command: Command, words: tuple[str, ...]
) -> None:
    body = "return await agent('x', { model: 'mystery-9' })"
    done, service = await run(command, body, words=words)
    assert (done.status, service.count) == (2, 0)
    assert "what mystery-9 costs is not known" in done.err
    assert "--price mystery-9=3/15" in done.err
    priced, _ = await run(command, body, Say([text("done")]), words=(*words, "--price", "mystery-9=3/15"))
    assert priced.json["result"] == "done"
    assert priced.json["usage"]["cost_usd"] == pytest.approx((10 * 3 + 5 * 15) / 1e6)
    assert priced.status == 0


@pytest.mark.contract("G04")
async def test_a_budget_in_dollars_ends_the_agent_that_would_pass_it_and_all_of_it_is_in_the_record(
    command: Command,
) -> None:
    turn = Say([tool_use("glob", pattern="*")], input_tokens=9_000, output_tokens=9_000)
    done, service = await run(
        command, "phase('Look'); return await agent('x', { model: 'opus' })", *[turn] * 9, words=("--budget", "$0.90")
    )
    assert done.json["status"] == "failed"
    assert done.json["error"]["kind"] == "limit"
    assert "raise it with --budget '$1.8'" in done.json["error"]["message"]
    assert done.json["usage"]["cost_usd"] <= 0.9
    assert [line["message"].split(":")[0] for line in done.json["logs"]][-1].endswith("of the budget is spent")
    with closing(sqlite3.connect(command.folder / ".callsheet" / "callsheet.db")) as record:
        rows = record.execute("SELECT agent_id, model, state, output_tokens FROM spending ORDER BY n").fetchall()
    assert rows == [("a0001", "claude-opus-5-5", "settled", 9_000)] * service.count


async def test_a_search_that_a_rule_allows_is_in_record_and_cost(command: Command) -> None:
    found = [web_search("the news"), search_results("https://a.example/"), text("Nothing new.")]
    done, service = await run(
        command,
        "return await agent('What is new?', { model: 'opus', tools: ['WebSearch'] })",
        Say(found, searches=1, input_tokens=0, output_tokens=0),
        words=("--allow", "WebSearch"),
    )

    assert (done.status, done.json["result"]) == (0, "Nothing new."), done.err
    assert [tool["name"] for tool in service.requests[0].body["tools"]] == ["web_search"]
    (agent,) = done.json["agents"]
    assert (agent["tools_called"], agent["usage"]["cost_usd"]) == (["web_search"], 0.01)
    with closing(sqlite3.connect(command.folder / ".callsheet" / "callsheet.db")) as record:
        rows = record.execute("SELECT tool, input, state FROM tool_calls").fetchall()
    assert [(tool, json.loads(given), state) for tool, given, state in rows] == [
        ("web_search", {"query": "the news"}, "done")
    ]


async def test_a_search_that_nobody_allows_is_not_offered_and_the_run_says_which_rule_it_takes(
    command: Command,
) -> None:
    done, service = await run(
        command, "return await agent('What is new?', { tools: ['WebSearch', 'Read'] })", Say([text("I do not know.")])
    )

    assert done.status == 0, done.err
    assert [tool["name"] for tool in service.requests[0].body["tools"]] == ["read"]
    assert "WebSearch is not allowed; it takes a rule WebSearch" in done.err
