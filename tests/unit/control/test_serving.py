"""A run served over its socket, and a client of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from callsheet.control.client import Gap, open_client
from callsheet.control.server import open_server
from callsheet.errors import CallsheetError, ControlLostError, ControlRefusedError, NotFoundError
from callsheet.model.public import event_json
from tests.support.controlled import QUESTION, RUN, PlayedRun, connected, said, served
from tests.support.deadline import within

pytestmark = pytest.mark.anyio

MANY = 1_500
"""Events that fill what is held of them for one who does not read: some 20 MB."""


async def test_deeds_reach_the_run_with_who_did_them_and_what_came_of_them_comes_back(runtime: Path) -> None:
    run = PlayedRun()
    with within():
        async with connected(run, runtime) as client:
            assert client.hello["run_id"] == RUN
            assert client.hello["workflow"] == "case"
            assert [await client.ask("pause", by="ada"), await client.ask("pause", by="ada")] == [True, False]
            assert await client.ask("go_on") is True
            assert await client.ask("skip", agent_id="a0001", by="ada") is True
            await client.ask("message", agent_id="a0001", text="hello\nthere \ud800", by="ada")
            await client.ask("answer", question_id="q0001", verdict="deny", words="no")
            (question,) = await client.ask("questions")
            await client.ask("stop")
    assert question["id"] == QUESTION.id
    assert run.deeds == [
        ("pause", "ada"),
        ("pause", "ada"),
        ("go_on", "a person"),
        ("skip", "a0001", "ada"),
        ("message", "a0001", "hello\nthere ?", "ada"),
        ("answer", "q0001", "deny", "no", "a person"),
        ("stop",),
    ]


async def test_errors_come_back_as_what_they_were_and_a_fault_of_ours_ends_the_connection_alone(runtime: Path) -> None:
    run = PlayedRun()
    with within():
        async with served(run, runtime) as server:
            async with open_client(server.reach) as client:
                with pytest.raises(NotFoundError, match="no agent") as not_found:
                    await client.ask("skip", agent_id="a0009")
                with pytest.raises(ControlRefusedError, match=r"over \(ok\)") as refused:
                    await client.ask("stop_agent", agent_id="a0001")
                with pytest.raises(ControlLostError, match="RuntimeError: a fault of ours"):
                    await client.ask("restart", agent_id="a0001")
                with pytest.raises(ControlLostError):
                    await client.ask("pause")
            async with open_client(server.reach) as other:
                assert await other.ask("pause") is True
    assert not_found.value.name == "a0009"
    assert (refused.value.why, refused.value.agent_id) == ("over", "a0001")


async def test_events_come_from_any_seq_on_to_the_last_with_gaps_named(runtime: Path) -> None:
    run = PlayedRun(said(3), said(4), said(7))
    with within():
        async with connected(run, runtime) as client:
            found: list[Any] = []
            async for one in client.events():
                found.append(one)
                if len(found) == 5:
                    run.say(said(8, "late ✓ \u2028"), last=True)
    assert found == [Gap(1, 2), *(event_json(said(n)) for n in (3, 4)), Gap(5, 6), event_json(said(7)), found[-1]]
    assert found[-1] == event_json(said(8, "late ✓ \u2028"))


async def test_followers_have_the_last_event_before_the_socket_goes(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callsheet.control.server._LAST_WORDS_S", 10)
    run = PlayedRun()
    names: list[int] = []
    with within():
        async with anyio.create_task_group() as tasks, served(run, runtime) as server:
            following = anyio.Event()

            async def follow() -> None:
                async with open_client(server.reach) as client:
                    async for one in client.events():
                        assert not isinstance(one, Gap)
                        names.append(one["seq"])
                        following.set()

            tasks.start_soon(follow)
            run.say(said(1))
            await following.wait()
            run.say(*(said(n) for n in range(2, 500)), last=True)
    assert names == list(range(1, 500))
    assert not server.reach.socket.exists()
    assert not server.reach.file.exists()


async def test_one_who_does_not_read_holds_nobody_up_and_is_cut_off(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callsheet.control.server.STALLED_S", 1.0)
    run = PlayedRun()
    with within(20):
        async with served(run, runtime) as server, open_client(server.reach) as slow:
            events = slow.events()
            run.say(said(1))
            assert (await anext(events))["seq"] == 1  # type: ignore[index]
            run.say(*(said(n, "x" * 16_000) for n in range(2, MANY + 1)))
            async with open_client(server.reach) as other:
                assert await other.ask("pause") is True
                count = 0
                async for _ in other.events():
                    count += 1
                    if count == MANY:
                        break
            while run.followers:
                await anyio.lowlevel.checkpoint()
            with pytest.raises(ControlLostError):
                async for _ in events:
                    pass


async def test_events_are_sent_once_on_a_connection(runtime: Path) -> None:
    with within():
        async with connected(PlayedRun(said(1)), runtime) as client:
            await anext(client.events())
            with pytest.raises(CallsheetError, match="already"):
                await anext(client.events())


async def test_who_connects_before_there_is_a_run_waits_for_it(runtime: Path) -> None:
    run = PlayedRun()
    with within():
        async with (
            open_server(
                RUN,
                host="program",
                workspace=Path("/nowhere"),
                record=Path("/nowhere/r.db"),
                workflow="case",
                environ={"XDG_RUNTIME_DIR": str(runtime)},
            ) as server,
            anyio.create_task_group() as tasks,
        ):

            async def early() -> None:
                async with open_client(server.reach) as client:
                    await client.ask("pause")

            tasks.start_soon(early)
            while not server.peers:
                await anyio.lowlevel.checkpoint()
            server.serve(run)
    assert run.deeds == [("pause", "a person")]


async def test_at_once_is_for_the_commands_own_process_and_refused_where_it_is_a_programs(runtime: Path) -> None:
    ended: list[str] = []
    with within():
        async with connected(PlayedRun(), runtime) as client:
            with pytest.raises(ControlRefusedError, match="is run by a program, process"):
                await client.ask("stop", now=True)
        async with connected(PlayedRun(), runtime, end_at_once=lambda: ended.append("at once")) as client:
            await client.ask("stop", now=True)
    assert ended == ["at once"]


async def test_a_run_that_does_not_answer_is_said_to_be_silent(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(PlayedRun):
        async def stop(self) -> None:
            await anyio.sleep_forever()

    with within():
        async with connected(Stuck(), runtime) as client:
            with pytest.raises(ControlLostError, match=r"has not answered for 0\.1 s") as lost:
                await client.ask("stop", within_s=0.1)
    assert lost.value.why == "silent"
