"""Joining a run that goes on: whoever comes sees the same as who was there from the start."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

import callsheet
from callsheet.app.control import find_run, live_runs, open_control
from callsheet.app.records import Where
from callsheet.app.watching import open_watched
from callsheet.errors import ControlLostError, ControlRefusedError, NotFoundError
from callsheet.model.events import Event
from tests.support.controlled import runtime_folder
from tests.support.deadline import within

pytestmark = pytest.mark.anyio

META = "export const meta = { name: 'case', description: 'a case' }\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path / "work")
    with runtime_folder() as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        yield tmp_path / "work"


def answers(folder: Path, *entries: dict[str, object]) -> None:
    (folder / "answers.json").write_text(json.dumps({"answers": entries}), encoding="utf-8")


def case(folder: Path, *labels: str) -> None:
    answers(folder, {"label": "slow", "result": "x", "delay_ms": 600_000}, {"label": "*", "result": "at once"})
    calls = ", ".join(f"agent('p{at}', {{ label: '{label}' }})" for at, label in enumerate(labels))
    (folder / "case.js").write_text(META + f"log('begin')\nreturn await Promise.all([{calls}])", encoding="utf-8")


async def seen_from(run_id: str, after: int = 0) -> list[Event]:
    async with open_control(run_id) as control:
        return [event async for event in control.events(after)]


async def test_a_secret_that_the_run_does_not_know_is_hidden_from_who_follows_it_and_knows_it(folder: Path) -> None:
    answers(folder, {"label": "*", "result": "said by tok-en-9f8e7d6c5b"})
    (folder / "case.js").write_text(META + "log('tok-en-9f8e7d6c5b'); return await agent('p')", encoding="utf-8")
    where = Where(environ={**os.environ, "MY_TOKEN": "tok-en-9f8e7d6c5b"})
    with within(60):
        async with callsheet.open_run("./case.js", backend="scripted:answers.json") as run:
            async with open_control(run.run_id, where) as control:
                seen = [event async for event in control.events()]
            result = await run.result()
        async with open_watched(run.run_id, where) as watched, aclosing(watched.updates()) as updates:
            async for _ in updates:
                pass
    assert result.result == "said by tok-en-9f8e7d6c5b"
    assert watched.board.result is not None
    assert watched.board.result.result == "said by ‹secret MY_TOKEN›"
    assert "‹secret MY_TOKEN›" in str(seen)
    assert "9f8e7d6c5b" not in str(seen)


async def test_everybody_sees_the_same_wherever_they_begin_and_over_several_attempts(folder: Path) -> None:
    case(folder, "a", "b", "slow", "c")
    seen: dict[str, list[Event]] = {}

    async def follow(name: str, run_id: str, after: int = 0) -> None:
        seen[name] = await seen_from(run_id, after)

    with within(60):
        async with callsheet.open_run("./case.js", backend="scripted:answers.json") as run:
            async with open_control(run.run_id) as control:
                async with aclosing(control.events()) as events:
                    async for event in events:
                        if event.name == "agent.finished" and event.body.agent.label == "c":  # type: ignore[union-attr]
                            break
                await control.stop()
            await run.result()
            from_the_start = [event async for event in run.events()]
        answers(folder, {"label": "*", "result": "at once"})
        run_id, last = run.run_id, from_the_start[-1].seq
        async with callsheet.open_resume(run_id) as again:
            async with anyio.create_task_group() as tasks:
                for name, after in (("all", 0), ("some", 5), ("only new", last)):
                    tasks.start_soon(follow, name, run_id, after)
                await again.result()
            later = [event async for event in again.events()]
    assert later[0].seq == last + 1, "of what was before the attempt the process knows nothing"
    assert [event.seq for event in seen["all"]] == list(range(1, later[-1].seq + 1))
    assert seen["all"][last:] == [event for event in later if event.seq > last]
    assert seen["some"] == seen["all"][5:]
    assert seen["only new"] == seen["all"][last:]
    assert [event.name for event in seen["all"]].count("run.finished") == 2


async def test_runs_that_can_be_reached_are_listed_and_found_by_any_beginning_of_their_name(folder: Path) -> None:
    case(folder, "slow")
    with within(30):
        async with callsheet.open_run("./case.js", backend="scripted:answers.json") as run:
            (found,) = (reach for reach in live_runs() if reach.run_id == run.run_id)
            assert (found.workflow, found.host, found.workspace) == ("case", "program", str(folder))
            assert find_run("last") == find_run(run.run_id[:-2]) == found
            async with open_control(found) as control:
                assert control.run_id == run.run_id
                assert await control.pause(by="ada") is True
                assert await control.questions() == ()
            await run.stop()
        with pytest.raises(ControlRefusedError, match=r"is over \(cancelled\)"):
            find_run(run.run_id)
        with pytest.raises(NotFoundError, match="no run run_nobody"):
            find_run("run_nobody")
        with pytest.raises(NotFoundError, match="this folder has no record"):
            find_run("run_nobody", Where(start=folder.parent / "home"))
    assert run.run_id not in {reach.run_id for reach in live_runs()}


async def test_a_run_for_which_there_is_no_socket_goes_on_and_says_so_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("callsheet.control.server.make_folder", refuse)
    case(folder, "quick", "slow")
    with within(30):
        async with callsheet.open_run("./case.js", backend="scripted:answers.json") as run:
            async with aclosing(run.events()) as events:
                first = await anext(events)
            assert first.body.notes[-1] == "the run cannot be controlled from elsewhere: Permission denied."  # type: ignore[union-attr]
            async with aclosing(run.events()) as events:
                async for event in events:
                    if event.name == "agent.finished":  # and so on record
                        break
            with pytest.raises(ControlLostError, match="goes on, but cannot be reached"):
                find_run("last")
            await run.stop()


async def test_who_follows_a_run_that_dies_has_all_that_is_on_record_and_is_told(folder: Path) -> None:
    case(folder, "a", "slow")
    seen: list[Event] = []
    with within(30):
        async with callsheet.open_run("./case.js", backend="scripted:answers.json") as run:
            reach = find_run(run.run_id)
            async with open_control(reach) as control, aclosing(control.events()) as events:
                async for event in events:
                    seen.append(event)
                    if event.name == "agent.finished":
                        break
            await run.stop()
            last = [event async for event in run.events()][-1]
        # Nobody serves it any more; what is on record is all there is.
        async with aclosing(control.events(seen[-1].seq)) as rest:
            seen += [event async for event in rest]
        assert (seen[-1].seq, seen[-1].name) == (last.seq, "run.finished")
        with pytest.raises(ControlLostError):
            async for _ in control.events(last.seq):
                raise AssertionError
