"""One reducer for each run that is watched, whoever reads, over the real server, engine and record."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

import callsheet
from callsheet.app.watching import Watched
from callsheet.web.catalogue import Catalogue, Found
from tests.support.controlled import RUN, PlayedRun, runtime_folder, served
from tests.support.dashboard import TOKEN, Door, dashboard
from tests.support.deadline import within
from tests.support.runtime import runtime_of

pytestmark = pytest.mark.anyio

META = "export const meta = { name: 'case', description: 'a case' }\n"
ANSWERS = {"answers": [{"label": "held", "result": "x", "delay_ms": 600_000}], "otherwise": {"result": "done"}}
READERS = 50
LOUD = "for (let n = 0; n < 900; n++) log(n + 'x'.repeat(3000))\nreturn await agent('p', { label: 'last' })"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_of(tmp_path)))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work" / "answers.json").write_text(json.dumps(ANSWERS), encoding="utf-8")
    return tmp_path / "work"


@asynccontextmanager
async def held_run(folder: Path, after: str = "return null") -> AsyncGenerator[callsheet.Run]:
    """A run that goes on when its first agent is skipped."""
    body = f"await agent('Hold on.', {{ label: 'held' }})\n{after}"
    (folder / "case.js").write_text(META + body, encoding="utf-8")
    async with callsheet.open_run("./case.js", backend="scripted:answers.json") as run:
        async for event in run.events():
            if event.name == "agent.started":
                break
        yield run


async def test_fifty_readers_share_one_reducer_which_ends_when_the_last_has_gone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callsheet.web.watching.LINGER_S", 0)
    made: list[str] = []
    whole = Watched.__init__

    def counted(self: Watched, *words: object) -> None:
        made.append(str(words[1]))
        whole(self, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(Watched, "__init__", counted)
    ends: list[tuple[str, int]] = []

    async def read(door: Door, run_id: str, begun: list[int]) -> None:
        async with door.stream(f"/api/runs/{run_id}/stream") as events:
            seq = 0
            async for event in events:
                if event.name == "board":
                    assert event.data["seq"] >= seq
                    seq = event.data["seq"]
                    begun.append(seq)
                else:
                    ends.append((event.name, seq))

    with within(60):
        async with held_run(folder) as run, dashboard() as door:
            begun: list[int] = []
            async with anyio.create_task_group() as tasks:
                for _ in range(READERS):
                    tasks.start_soon(read, door, run.run_id, begun)
                while len(begun) < READERS:
                    await anyio.lowlevel.checkpoint()
                assert door.app.hub.watched == {run.run_id}
                await run.skip("a0001")
            last = (await run.result()).run_id and [event.seq async for event in run.events()][-1]
            while door.app.hub.watched:
                await anyio.lowlevel.checkpoint()
    assert made == [run.run_id]
    assert ends == [("end", last)] * READERS


async def test_a_reader_that_reads_nothing_holds_up_nobody_and_later_gets_what_the_board_has_become(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = f"Authorization: Bearer {TOKEN}\r\n\r\n"
    with within(60):
        async with held_run(folder, LOUD) as run, dashboard() as door:
            path = f"/api/runs/{run.run_id}/stream"
            async with await anyio.connect_tcp("127.0.0.1", door.port) as slow:
                await slow.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\n{head}".encode())
                async with door.stream(path) as events:
                    assert (await anext(events)).name == "board"
                    await run.skip("a0001")
                    assert [event.name async for event in events][-1] == "end"
                said = b""
                while b"event: end" not in said:
                    said += await slow.receive()
    patches = [json.loads(line[6:]) for line in said.splitlines() if line.startswith(b'data: {"seq"')]
    lines = [line["message"] for patch in patches for line in patch["log"]]
    assert len([line for line in lines if line.endswith("xxx")]) == 900
    assert patches[-1]["states"]["ended"] == 2


async def test_what_a_run_refuses_has_a_status_of_its_own_and_its_reason(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = PlayedRun()
    with runtime_folder() as runtime, within(30):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        async with served(run, runtime), dashboard(control=True) as door:
            path = f"/api/runs/{RUN}"
            gone = await door.post(f"{path}/agents/a0009/skip")
            over = await door.post(f"{path}/agents/a0001/stop")
            assert (gone.status_code, gone.json()["error"]["kind"]) == (404, "not_found")
            assert (over.status_code, over.json()["error"]["why"]) == (409, "over")
            await door.post(f"{path}/agents/a0001/message", {"text": "Mind the tests."})
            await door.post(f"{path}/questions/q0001/answer", {"verdict": "deny", "words": "not now"})
            other = await door.post("/api/runs/run_01OTHER/pause")
            assert other.status_code == 404
    by = "a person in the browser"
    assert run.deeds == [("message", "a0001", "Mind the tests.", by), ("answer", "q0001", "deny", "not now", by)]


async def test_an_application_needs_its_lifespan_and_a_place_to_look_at(folder: Path) -> None:
    from callsheet.errors import UsageError
    from callsheet.web.app import create_app

    with pytest.raises(RuntimeError, match="lifespan"):
        create_app(port=1).hub  # noqa: B018
    with pytest.raises(UsageError, match="nowhere"):
        create_app(port=1, workspace=folder / "nowhere")


async def test_the_page_is_served_and_a_browser_that_has_it_is_told_so(folder: Path) -> None:
    (folder / "page").mkdir()
    (folder / "page" / "index.html").write_text("<!doctype html><title>x</title>", encoding="utf-8")
    (folder / "page" / "app.js").write_text("'use strict'", encoding="utf-8")
    (folder / "page" / "notes.txt").write_text("not served", encoding="utf-8")
    with within(30):
        async with dashboard(page=folder / "page") as door:
            index = await door.get("/", headers={})
            assert index.headers["content-type"] == "text/html; charset=utf-8"
            script = await door.get("/assets/app.js", headers={})
            assert (script.text, script.headers["content-type"]) == ("'use strict'", "text/javascript; charset=utf-8")
            again = await door.get("/assets/app.js", headers={"If-None-Match": script.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert (await door.get("/assets/notes.txt", headers={})).status_code == 404
            head = await door.client.head("/api/runs/stream", headers=door.headers)
            assert (head.status_code, head.content) == (200, b"")


async def test_a_fault_of_ours_ends_no_other_answer_and_is_told_only_where_the_server_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: Catalogue, run_id: str) -> Found:
        raise RuntimeError("inside \x1b[31m")

    with within(30):
        async with dashboard() as door:
            monkeypatch.setattr(Catalogue, "find", broken)
            for path in (f"/api/runs/{RUN}", f"/api/runs/{RUN}/stream", f"/api/runs/{RUN}/result"):
                answer = await door.get(path)
                assert answer.status_code == 500
                assert answer.json()["error"]["kind"] == "internal"
                assert "inside" not in answer.text
                assert answer.headers["x-content-type-options"] == "nosniff"
            assert (await door.get("/api/runs")).status_code == 200
    err = capsys.readouterr().err
    assert "RuntimeError: inside ␛[31m" in err
