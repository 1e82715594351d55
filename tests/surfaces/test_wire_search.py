"""Agents whose service searches the web for them, driven through a loopback Messages service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from callsheet.agents.models import model_table
from callsheet.agents.tools.bounds import Bounds
from callsheet.model.approval import Answer
from callsheet.model.call import AgentType
from callsheet.model.reports import MessageAdded, Progress, Remark, ToolCalled
from tests.support.agents import RecordingReporter, agent_task
from tests.support.messages_replies import Refuse, Say, search_results, text, tool_use, web_search
from tests.support.wire import Wire, wired
from tests.support.workbench import settings

pytestmark = pytest.mark.anyio

DONE = Say([text("done")])
SEARCHER = AgentType(name="searcher", description="d", tools=("Read", "WebSearch"))
URLS = ("https://a.example/", "https://b.example/")
FOUND = (web_search("news of today"), search_results(*URLS), text("It is so."))


def bounds_of(root: Path, **flags: Any) -> Bounds:
    return Bounds(settings=settings(root, **flags), home=root / "home")


def offered(wire: Wire, request: int = 0) -> list[dict[str, Any]]:
    """What of the service's own tools a request offered."""
    return [tool for tool in wire.service.requests[request].body["tools"] if "type" in tool]


async def test_what_the_service_searches_is_recorded_and_paid_for_like_every_call(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    reply = Say(FOUND, searches=2, output_tokens=0, input_tokens=0, model="claude-opus-5-5")
    async with wired(reply, bounds=bounds_of(tmp_path, allow=("WebSearch",))) as wire:
        outcome = await wire.run(agent_task(tmp_path, kind=SEARCHER), reporter)

    assert offered(wire) == [{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}]
    assert (outcome.status, outcome.value, outcome.tools_called) == ("ok", "It is so.", ("web_search",))
    (call,) = reporter.of(ToolCalled)
    assert (call.n, call.tool, call.input, call.state) == (1, "web_search", {"query": "news of today"}, "done")
    assert call.detail == f"2 results: {URLS[0]} {URLS[1]}"
    assert "news of today" in [report.tool_summary for report in reporter.of(Progress)]
    assert outcome.usage.cost_usd == pytest.approx(0.02)
    assert "encrypted_content" in str(reporter.of(MessageAdded)[-1].payload)


async def test_what_was_found_goes_back_to_the_service_as_it_came(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpha", encoding="utf-8")
    first = Say([web_search("x"), search_results(*URLS), tool_use("read", file_path="a.txt")], searches=1)
    async with wired(first, DONE, bounds=bounds_of(tmp_path, allow=("WebSearch",))) as wire:
        outcome = await wire.run(agent_task(tmp_path))

    kept = wire.service.requests[1].messages[1]["content"]
    assert [block["type"] for block in kept] == ["server_tool_use", "web_search_tool_result", "tool_use"]
    assert kept[0]["input"] == {"query": "x"}
    assert [(each["url"], each["encrypted_content"]) for each in kept[1]["content"]] == [
        (url, "sealed") for url in URLS
    ]
    assert outcome.tools_called == ("web_search", "read")


async def test_a_search_that_a_pause_parts_from_its_result_is_one_call(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    paused = Say([text("I look."), web_search("x")], stop_reason="pause_turn")
    resumed = Say([search_results(URLS[0]), text("Found.")], searches=1)
    async with wired(paused, resumed, bounds=bounds_of(tmp_path, allow=("WebSearch",))) as wire:
        outcome = await wire.run(agent_task(tmp_path, kind=SEARCHER), reporter)

    assert (outcome.status, outcome.value) == ("ok", "Found.")
    assert [(call.input, call.state) for call in reporter.of(ToolCalled)] == [({"query": "x"}, "done")]
    assert wire.service.requests[1].messages[-1]["role"] == "assistant", "the paused turn goes back to be continued"
    assert offered(wire, 1) == offered(wire, 0)


@pytest.mark.parametrize(
    ("blocks", "detail"),
    [
        ((web_search("x"), search_results(error="max_uses_exceeded")), "max_uses_exceeded"),
        ((web_search("x"),), "no result came"),
    ],
)
async def test_a_search_that_failed_is_recorded_so(tmp_path: Path, blocks: tuple[Any, ...], detail: str) -> None:
    reporter = RecordingReporter()
    reply = Say([*blocks, text("Nothing.")], searches=0)
    async with wired(reply, bounds=bounds_of(tmp_path, allow=("WebSearch",))) as wire:
        await wire.run(agent_task(tmp_path, kind=SEARCHER), reporter)

    assert [(call.state, call.detail) for call in reporter.of(ToolCalled)] == [("failed", detail)]


async def test_without_a_rule_nothing_is_searched_and_only_who_names_it_is_told(tmp_path: Path) -> None:
    plain, named = RecordingReporter(), RecordingReporter()
    async with wired(DONE, DONE, DONE, bounds=bounds_of(tmp_path)) as wire:
        await wire.run(agent_task(tmp_path), plain)
        await wire.run(agent_task(tmp_path, kind=SEARCHER), named)
        await wire.run(agent_task(tmp_path, kind=SEARCHER), named)

    assert [offered(wire, n) for n in range(3)] == [[], [], []]
    assert (plain.questions, plain.of(Remark)) == ([], [])
    (remark,) = named.of(Remark)
    assert "it takes a rule WebSearch (agent type searcher)" in remark.message


async def test_a_person_may_allow_it_before_an_agent_begins_that_names_it(tmp_path: Path) -> None:
    reporter = RecordingReporter(Answer(verdict="run"))
    async with wired(DONE, DONE, bounds=bounds_of(tmp_path)) as wire:
        await wire.run(agent_task(tmp_path, kind=SEARCHER), reporter)
        await wire.run(agent_task(tmp_path), reporter)

    (question,) = reporter.questions
    assert (question.tool, question.rules) == ("web_search", ("WebSearch",))
    assert [len(offered(wire, n)) for n in range(2)] == [1, 1], "for the run: also those that do not name it"


async def test_a_denied_search_is_not_asked_about(tmp_path: Path) -> None:
    reporter = RecordingReporter(Answer(verdict="once"))
    async with wired(DONE, bounds=bounds_of(tmp_path, deny=("WebSearch",))) as wire:
        await wire.run(agent_task(tmp_path, kind=SEARCHER), reporter)

    assert (reporter.questions, offered(wire)) == ([], [])


async def test_hosts_that_may_not_be_fetched_from_unasked_give_no_results(tmp_path: Path) -> None:
    bounds = bounds_of(
        tmp_path,
        allow=("WebSearch", "WebFetch(domain:good.example)"),
        deny=("WebFetch(domain:*.bad.example)", "WebFetch(domain:127.0.0.1:8080)", "WebFetch(domain:localhost)"),
        ask=("WebFetch(domain:odd.example)",),
    )
    async with wired(DONE, bounds=bounds) as wire:
        await wire.run(agent_task(tmp_path))

    assert offered(wire)[0]["blocked_domains"] == ["bad.example", "odd.example"]


async def test_where_the_service_does_not_know_the_tool_the_agent_works_without_it(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    unknown = Refuse(400, "invalid_request_error", "tools.0.type: unknown")
    async with wired(unknown, DONE, bounds=bounds_of(tmp_path, allow=("WebSearch",))) as wire:
        outcome = await wire.run(agent_task(tmp_path), reporter)

    assert (outcome.status, outcome.value) == ("ok", "done")
    assert [len(offered(wire, n)) for n in range(2)] == [1, 0]
    assert "`web_search` is left out: " in reporter.of(Remark)[0].message


async def test_a_request_that_is_refused_without_the_tool_too_is_told_as_what_it_is(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    bad = Refuse(400, "invalid_request_error", "prompt is too long")
    async with wired(bad, bad, bounds=bounds_of(tmp_path, allow=("WebSearch",))) as wire:
        outcome = await wire.run(agent_task(tmp_path), reporter)

    assert outcome.status == "failed" and "prompt is too long" in (outcome.error or "")
    assert reporter.of(Remark) == []


async def test_a_platform_without_a_search_says_so_to_who_names_it(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    models, bounds = model_table("bedrock"), bounds_of(tmp_path, allow=("WebSearch",))
    async with wired(DONE, models=models, bounds=bounds) as wire:
        await wire.run(agent_task(tmp_path, kind=SEARCHER), reporter)

    assert offered(wire) == []
    assert "Amazon Bedrock has none" in reporter.of(Remark)[0].message


async def test_a_fee_that_is_not_known_makes_the_cost_unknown(tmp_path: Path) -> None:
    models, bounds = model_table("vertex"), bounds_of(tmp_path, allow=("WebSearch",))
    async with wired(Say(FOUND, searches=1, model="claude-opus-5-5"), models=models, bounds=bounds) as wire:
        outcome = await wire.run(agent_task(tmp_path))

    assert outcome.usage.cost_usd is None


async def test_searches_of_a_reply_that_breaks_off_are_booked_as_an_estimate(tmp_path: Path) -> None:
    reply = Say(FOUND, cut_after=8, cut="close", model="claude-opus-5-5", input_tokens=0)
    whole = Say([text("done")], model="claude-opus-5-5", input_tokens=0, output_tokens=0)
    async with wired(reply, whole, bounds=bounds_of(tmp_path, allow=("WebSearch",))) as wire:
        outcome = await wire.run(agent_task(tmp_path))

    assert outcome.value == "done"
    assert outcome.usage.cost_usd == pytest.approx(outcome.usage.estimated_usd)
    assert outcome.usage.estimated_usd >= 0.01
