"""Agents that changed files outside of what they declared to write."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from callsheet.model.events import Log
from tests.support.fake_backend import FakeBackend, ok
from tests.support.fake_session import Js
from tests.unit.engine.stage import play

pytestmark = pytest.mark.anyio


async def scoped(js: Js) -> Any:
    return await js.agent("x", label="writer", scope={"write": ["src/**"]})


def changing(*files: str) -> FakeBackend:
    return FakeBackend(outcomes={"writer": replace(ok(), files_changed=files)})


@pytest.mark.contract("A14", "O01")
async def test_a_change_outside_of_the_declared_scope_is_an_error_line_and_degrades_the_run() -> None:
    played = await play(scoped, backend=changing("docs/b.md", "src/a.py"))

    said = 'agent "writer" (a0001): it changed files outside of its declared scope: docs/b.md'
    assert played.result.status == "degraded"
    assert [body.message for body in played.stage.sink.bodies(Log) if body.level == "error"] == [said]  # type: ignore[union-attr]
    (problem,) = played.result.problems
    assert (problem.cause, problem.agent_id, problem.next) == ("denied", "a0001", "callsheet diff run_test")
    assert problem.message.endswith("scope: docs/b.md")


async def test_changes_inside_of_the_scope_are_nothing_to_speak_of() -> None:
    played = await play(scoped, backend=changing("src/a.py"))

    assert (played.result.status, played.result.problems) == ("completed", ())


async def test_of_many_files_some_are_named_and_the_rest_counted() -> None:
    played = await play(scoped, backend=changing(*(f"docs/{n:02}.md" for n in range(25))))

    assert played.result.problems[0].message.endswith("docs/09.md and 15 more")
