"""What agents are told of project and machine, seen at the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from callsheet.agents.anthropic import AnthropicBackend
from callsheet.agents.prompt import Background
from callsheet.errors import BackendUnavailableError
from callsheet.library.memory import Memory
from callsheet.model.call import AgentType
from callsheet.model.reports import Remark, Waiting
from tests.support.agents import RecordingReporter, agent_task
from tests.support.messages_replies import Refuse, Say, text
from tests.support.wire import wired

pytestmark = pytest.mark.anyio


def one_dollar(_model: str, **_counts: int) -> float:
    return 1.0


def background(root: Path, git: list[str]) -> Background:
    async def ask() -> str:
        git.append("asked")
        return "branch main, commit 0123456789ab, nothing uncommitted"

    return Background(memory=Memory(folder=root, shown=root, user=None, home=root), git=ask)


@pytest.mark.contract("R02")
async def test_every_agent_is_told_the_memory_in_the_shared_part_and_the_place_after_it(tmp_path: Path) -> None:
    (tmp_path / "CLAUDE.md").write_text("Tabs, never spaces.", encoding="utf-8")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "AGENTS.md").write_text("In web: spaces.", encoding="utf-8")
    explore = AgentType(name="Explore", description="Looks.", system_prompt="You look.", read_only=True)
    asked: list[str] = []
    replies = [Say([text("x")])] * 4
    async with wired(*replies, background=background(tmp_path, asked)) as wire:
        await wire.run(agent_task(tmp_path))
        (tmp_path / "CLAUDE.md").write_text("Changed by an agent.", encoding="utf-8")
        await wire.run(agent_task(tmp_path))
        await wire.run(agent_task(tmp_path, kind=explore))
        await wire.run(agent_task(tmp_path, cwd="web"))
    systems = [[block["text"] for block in request.body["system"]] for request in wire.service.requests]
    (shared, place), second, (of_explore, _), (of_web, web_place) = systems
    assert second == [shared, place]
    assert all("Tabs, never spaces." in each for each in (shared, of_explore, of_web))
    assert "Changed" not in str(systems)
    assert "You look." in of_explore
    assert of_web.index("In web: spaces.") < of_web.index("Tabs, never spaces.")
    assert "In web" not in shared
    assert "Git when the run started: branch main, commit 0123456789ab, nothing uncommitted" in place
    assert f"Working folder: {tmp_path}/web" in web_place
    assert asked == ["asked"]


async def test_without_a_background_nothing_is_said_of_memory(tmp_path: Path) -> None:
    (tmp_path / "CLAUDE.md").write_text("Tabs, never spaces.", encoding="utf-8")
    async with wired(Say([text("x")])) as wire:
        await wire.run(agent_task(tmp_path))
    shared, place = (block["text"] for block in wire.service.requests[0].body["system"])
    assert "emory" not in shared
    assert "Git when the run started: none" in place


async def test_what_is_read_while_the_client_is_opened_does_not_hide_that_there_is_no_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ANTHROPIC_CONFIG_DIR", str(tmp_path / "none"))
    from callsheet.errors import BackendUnavailableError

    backend = AnthropicBackend(background=background(tmp_path, []))
    with pytest.raises(BackendUnavailableError):
        await backend.warm()
    await backend.aclose()


# --- what requests ask for


@pytest.mark.contract("A14")
async def test_fast_mode_is_asked_for_where_the_model_has_it_and_said_to_be_left_out_elsewhere(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    async with wired(*[Say([text("x")], speed="fast")] * 2, *[Say([text("x")])] * 3, price=one_dollar) as wire:
        fast = await wire.run(agent_task(tmp_path, model="opus", speed="fast"))
        old = await wire.run(agent_task(tmp_path, model="claude-opus-4-8", speed="fast"))
        plain = await wire.run(agent_task(tmp_path, model="opus", speed="standard"))
        for _ in range(2):
            await wire.run(agent_task(tmp_path, model="haiku", speed="fast"), reporter)
    requests = wire.service.requests
    assert [request.body.get("speed") for request in requests] == ["fast", "fast", None, None, None]
    betas = ["fast-mode" in request.headers.get("anthropic-beta", "") for request in requests]
    assert betas == [False, True, False, False, False]
    assert [outcome.mode for outcome in (fast, old, plain)] == ["fast", "fast", "default"]
    assert [outcome.usage.cost_usd for outcome in (fast, old, plain)] == [2.0, 2.0, 1.0]
    assert [remark.message for remark in reporter.of(Remark)] == [
        "`speed` is left out: claude-haiku-5-5 has no fast mode"
    ]


@pytest.mark.contract("A07")
async def test_thinking_is_asked_for_only_where_the_model_would_not_think_by_itself(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    async with wired(*[Say([text("x")])] * 3) as wire:
        await wire.run(agent_task(tmp_path, model="opus"))
        await wire.run(agent_task(tmp_path, model="claude-sonnet-4-6", effort="low"))
        await wire.run(agent_task(tmp_path, model="claude-haiku-4-5", effort="low"), reporter)
    bodies = [request.body for request in wire.service.requests]
    assert [body.get("thinking") for body in bodies] == [None, {"type": "adaptive"}, None]
    assert [body.get("output_config") for body in bodies] == [None, {"effort": "low"}, None]
    assert [remark.message for remark in reporter.of(Remark)] == ["`effort` is left out: claude-haiku-4-5 takes none"]


def listed(id: str, line: str, created: str, lifecycle: str = "active") -> dict[str, Any]:
    times = {"created_at": created, "lifecycle": lifecycle, "display_name": id}
    return {"type": "model", "id": id, "line": line, **times}


@pytest.mark.contract("A07")
async def test_a_name_that_only_the_service_knows_is_its_newest_model_and_asked_for_once(tmp_path: Path) -> None:
    async with wired(*[Say([text("x")])] * 4) as wire:
        wire.service.models = [
            listed("claude-mythos-5-2", "mythos", "2026-10-01T00:00:00Z"),
            listed("claude-mythos-6", "mythos", "2026-12-01T00:00:00Z"),
            listed("claude-mythos-9", "mythos", "2027-12-01T00:00:00Z", "retired"),
        ]
        await wire.run(agent_task(tmp_path, model="opus"))
        assert wire.service.listings == 0
        for model in ("Mythos", "mythos", "unheard"):
            await wire.run(agent_task(tmp_path, model=model))
        assert wire.service.listings == 1
    models = [request.body["model"] for request in wire.service.requests]
    assert models == ["claude-opus-5-5", "claude-mythos-6", "claude-mythos-6", "unheard"]


@pytest.mark.contract("K01")
async def test_a_list_of_models_that_cannot_be_had_just_now_is_waited_for_and_not_taken_for_empty(
    tmp_path: Path,
) -> None:
    busy = Refuse(529, "overloaded_error", "Overloaded", {"retry-after": "7"})
    reporter = RecordingReporter()
    async with wired(Say([text("x")])) as wire:
        wire.service.models = [listed("claude-mythos-6", "mythos", "2026-12-01T00:00:00Z")]
        wire.service.listing_faults = [busy, busy]
        await wire.run(agent_task(tmp_path, model="mythos"), reporter)
    assert wire.service.requests[0].body["model"] == "claude-mythos-6"
    assert wire.service.listings == 3
    assert [waiting.why for waiting in reporter.of(Waiting)] == ["service", "service"]


async def test_a_list_of_models_that_stays_away_is_an_outage_for_all_and_no_unknown_model(tmp_path: Path) -> None:
    async with wired() as wire:
        wire.service.models = []
        wire.service.listing_faults = [Refuse(503, "api_error", "no")] * 11
        with pytest.raises(BackendUnavailableError) as raised:
            await wire.run(agent_task(tmp_path, model="mythos"))
    assert raised.value.cause == "outage"
    assert wire.service.count == 0


async def test_a_service_without_a_list_of_models_is_given_the_name_as_it_is(tmp_path: Path) -> None:
    async with wired(Say([text("x")])) as wire:
        assert (await wire.run(agent_task(tmp_path, model="llama"))).status == "ok"
    assert wire.service.requests[0].body["model"] == "llama"
