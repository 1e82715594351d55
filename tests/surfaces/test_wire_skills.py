"""Skills: listed to agents on a line each, read on demand, by whole runs over a loopback Messages service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from callsheet.agents.tools.bounds import Bounds, Shelf
from callsheet.model.call import AgentType
from callsheet.model.reports import ToolCalled
from tests.support.agents import RecordingReporter, agent_task
from tests.support.deadline import within
from tests.support.messages_replies import Received, Say, text, tool_use
from tests.support.messages_service import open_messages_service
from tests.support.planned import plan, planned
from tests.support.wire import wired
from tests.support.workbench import settings
from tests.surfaces.command import Command, Done

pytestmark = pytest.mark.anyio


def save(folder: Path, name: str, *, description: str = "Ships it.", body: str = "Run go.sh.") -> Path:
    path = folder / ".claude" / "skills" / name / "SKILL.md"
    path.parent.mkdir(parents=True)
    path.write_text(f"---\nname: {name}\ndescription: {description}\n---\n{body}", encoding="utf-8")
    return path


async def run(command: Command, *calls: tuple[str, dict[str, Any]], words: tuple[str, ...] = ()) -> tuple[Done, str]:
    """A run of one agent that makes these calls, and the system prompt that it got."""
    name = command.script(f"return await agent({json.dumps(plan(*calls))}, {{ label: 'tries' }})")
    asked: list[Received] = []

    def respond(request: Received) -> Any:
        asked.append(request)
        return planned(request)

    async with open_messages_service(respond) as service:
        environ: Mapping[str, str] = {"ANTHROPIC_API_KEY": "k" * 30, "ANTHROPIC_BASE_URL": service.base_url}
        call = partial(command, "run", name, "--output", "jsonl", *words, environ=environ)
        with within(90):
            done = await to_thread.run_sync(call)
    return done, "".join(block["text"] for block in asked[0].body["system"])


def ended(done: Done) -> dict[str, Any]:
    found: dict[str, Any] = done.events[-1]
    return found


async def test_skills_of_project_and_user_are_listed_and_read_with_their_files(command: Command) -> None:
    save(command.folder, "deploy", body="Run `go.sh` first.")
    own = save(command.folder.parent / "home", "mine", description="Mine.", body="See more.md.")
    (own.parent / "more.md").write_text("more of it", encoding="utf-8")

    done, system = await run(
        command,
        ("skill", {"name": "deploy"}),
        ("read", {"file_path": str(own.parent / "more.md")}),
        ("skill", {"name": "mine"}),
    )

    assert done.status == 0, done.err
    assert "- deploy: Ships it.\n- mine: Mine." in system
    assert "denied" not in done.out
    assert f"Folder of this skill: {own.parent}" in json.dumps(ended(done))
    assert "See more.md." in json.dumps(ended(done))


async def test_a_hostile_skill_is_noted_with_its_reason_and_hides_no_other(command: Command) -> None:
    outside = command.folder.parent / "outside"
    outside.mkdir()
    (outside / "SKILL.md").write_text("---\ndescription: x\n---\nSECRET", encoding="utf-8")
    save(command.folder, "good")
    (command.folder / ".claude" / "skills" / "bad").symlink_to(outside)
    save(command.folder, "odd").write_text("no front matter", encoding="utf-8")

    done, system = await run(command, ("skill", {"name": "bad"}))

    notes: list[str] = done.events[0]["notes"]
    assert any("the skill bad is left out" in note and "link out of the workspace" in note for note in notes), notes
    assert any("the skill odd is left out" in note and "front matter" in note for note in notes)
    assert "- good: Ships it." in system
    assert "SECRET" not in done.out


async def test_without_skills_nothing_is_said_of_them(command: Command) -> None:
    done, system = await run(command, ("glob", {"pattern": "*"}))
    assert done.status == 0, done.err
    assert "Skills are" not in system


async def test_an_agent_without_the_tool_is_not_shown_the_list(tmp_path: Path) -> None:
    bounds = Bounds(settings=settings(tmp_path), home=tmp_path / "home")
    bounds.offer_skills(Shelf(listing="- deploy: Ships it.", read=lambda _: ""), folders=(), root=tmp_path)
    kind = AgentType(name="k", description="d", tools=("Read",))
    async with wired(Say([text("x")]), Say([text("x")]), bounds=bounds) as wire:
        await wire.run(agent_task(tmp_path, kind=kind))
        await wire.run(agent_task(tmp_path))
    without, having = (request.body for request in wire.service.requests)
    assert ["deploy" in str(body["system"]) for body in (without, having)] == [False, True]
    assert ["skill" in [tool["name"] for tool in body["tools"]] for body in (without, having)] == [False, True]


async def test_a_deny_rule_keeps_a_skill_from_being_read(tmp_path: Path) -> None:
    bounds = Bounds(settings=settings(tmp_path, deny=("Skill(deploy)",)), home=tmp_path / "home")
    bounds.offer_skills(
        Shelf(listing="- deploy: x\n- other: y", read=lambda name: f"text of {name}"), folders=(), root=tmp_path
    )
    turns = [Say([tool_use("skill", id=name, name=name)]) for name in ("deploy", "other")]
    reporter = RecordingReporter()
    async with wired(*turns, Say([text("x")]), bounds=bounds) as wire:
        await wire.run(agent_task(tmp_path), reporter)
    assert [(call.state, call.rule) for call in reporter.of(ToolCalled)] == [
        ("denied", "Skill(deploy)"),
        ("done", None),
    ]
    assert wire.service.requests[2].messages[-1]["content"][0]["content"] == "text of other"
