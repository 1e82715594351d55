from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from callsheet.errors import LeaseHeldError
from callsheet.workspace.lease import FOLDER, Holder, LeaseMode, holders, living, open_lease, read_holder
from tests.support.deadline import within

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def holder(
    folder: Path, run_id: str, mode: LeaseMode = "exclusive", wait_s: float = 0
) -> AsyncIterator[tuple[Process, TextReceiveStream]]:
    words = [sys.executable, "-m", "tests.support.lease_holder", str(folder), run_id, mode, str(wait_s)]
    async with await anyio.open_process(words, cwd=Path(__file__).parents[3], stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            yield process, TextReceiveStream(process.stdout)
        finally:
            if process.returncode is None:
                process.kill()


async def refused(folder: Path, mode: LeaseMode = "exclusive") -> LeaseHeldError:
    with pytest.raises(LeaseHeldError) as error:
        async with open_lease(folder, run_id="run_asking", mode=mode):
            pytest.fail("it was taken")
    return error.value


async def test_a_second_run_is_told_who_works_here(tmp_path: Path) -> None:
    with within(30):
        async with holder(tmp_path, "run_first") as (process, said):
            assert await said.receive() == "held\n"
            error = await refused(tmp_path)
            assert f"run_first on {os.uname().nodename}, process {process.pid}, since 2" in error.message
            assert "--wait" in error.message and "--worktree" in error.message and "--share" in error.message
            assert [each.run_id for each in holders(tmp_path)] == ["run_first"]
            assert process.stdin is not None
            await process.stdin.aclose()
            assert await said.receive() == "given back\n"
            async with open_lease(tmp_path, run_id="run_second"):
                assert [each.run_id for each in holders(tmp_path)] == ["run_second"]
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["gate"]


async def test_the_lease_of_a_killed_run_is_free_at_once(tmp_path: Path) -> None:
    with within(30):
        async with holder(tmp_path, "run_first") as (process, said):
            assert await said.receive() == "held\n"
            process.kill()
            await process.wait()
            async with open_lease(tmp_path, run_id="run_second"):
                assert [each.run_id for each in holders(tmp_path)] == ["run_second"]


async def test_a_process_id_that_is_used_again_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    left = {"run_id": "run_old", "host": os.uname().nodename, "pid": os.getpid(), "boot_id": "b", "process_start": "1",
            "started_at": "2026-01-01T00:00:00.000Z", "mode": "exclusive"}  # fmt: skip
    (tmp_path / FOLDER / "run_old-1.lease").write_text(json.dumps(left), encoding="utf-8")
    with within():
        async with open_lease(tmp_path, run_id="run_second"):
            assert [each.run_id for each in holders(tmp_path)] == ["run_second"]


@pytest.mark.parametrize(("age_s", "is_free"), [(10, False), (1000, True)])
async def test_a_run_on_another_machine_counts_while_its_heart_beats(tmp_path: Path, age_s: int, is_free: bool) -> None:
    (tmp_path / FOLDER).mkdir()
    file = tmp_path / FOLDER / "run_far-1.lease"
    left = {"run_id": "run_far", "host": "elsewhere", "pid": 7, "boot_id": "b", "process_start": "1",
            "started_at": "2026-01-01T00:00:00.000Z", "mode": "exclusive"}  # fmt: skip
    file.write_text(json.dumps(left), encoding="utf-8")
    os.utime(file, (time.time() - age_s,) * 2)
    with within():
        if is_free:
            async with open_lease(tmp_path, run_id="run_second"):
                assert not file.exists()
        else:
            assert "run_far on elsewhere" in (await refused(tmp_path)).message


async def test_those_who_share_work_together_and_exclude_others(tmp_path: Path) -> None:
    with within(30):
        async with holder(tmp_path, "run_first", "shared") as (_, said):
            assert await said.receive() == "held\n"
            async with open_lease(tmp_path, run_id="run_second", mode="shared"):
                assert len((await refused(tmp_path)).holders) == 2
            async with holder(tmp_path, "run_third") as (_, other):
                assert await other.receive() == "refused 1\n"
        async with open_lease(tmp_path, run_id="run_alone"):
            assert "shared" not in (await refused(tmp_path, "shared")).holders[0]


async def test_waiting_ends_with_the_lease_or_with_the_time(tmp_path: Path) -> None:
    with within(30):
        async with holder(tmp_path, "run_first") as (process, said):
            assert await said.receive() == "held\n"
            with pytest.raises(LeaseHeldError):
                async with open_lease(tmp_path, run_id="run_second", wait_s=0.3):
                    pytest.fail("it was taken")
            async with holder(tmp_path, "run_waits", wait_s=20) as (_, other):
                process.kill()
                assert await other.receive() == "held\n"


async def test_of_many_that_come_at_once_one_gets_it(tmp_path: Path) -> None:
    words: list[str] = []
    with within(60):
        async with anyio.create_task_group() as tasks:
            decided = anyio.Event()

            async def come(number: int) -> None:
                async with holder(tmp_path, f"run_{number}") as (_, said):
                    words.append(await said.receive())
                    if len(words) == 6:
                        decided.set()
                    await decided.wait()

            for number in range(6):
                tasks.start_soon(come, number)
    assert sorted(word.split()[0] for word in words) == ["held"] + ["refused"] * 5


async def test_text_that_is_no_lease_is_cleared_away_unless_somebody_holds_it(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "x.lease").write_bytes(b"\xff not json")
    os.mkfifo(tmp_path / FOLDER / "pipe.lease")
    (tmp_path / FOLDER / "link.lease").symlink_to(tmp_path / "elsewhere")
    with within():
        async with open_lease(tmp_path, run_id="run_second"):
            assert [each.run_id for each in holders(tmp_path)] == ["run_second"]


async def test_who_is_alive_is_found_by_reading_alone(tmp_path: Path) -> None:
    assert living(tmp_path) == frozenset()
    with within(30):
        async with holder(tmp_path, "run_first", "shared") as (process, said):
            assert await said.receive() == "held\n"
            assert living(tmp_path) == {"run_first"}
            process.kill()
            await process.wait()
    (path,) = (tmp_path / FOLDER).glob("*.lease")
    (tmp_path / FOLDER / "rubbish.lease").write_bytes(b"\xff[]")
    assert living(tmp_path) == frozenset()
    assert path.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"run_id": 1},
        {"pid": "12"},
        {"pid": True},
        {"pid": None},
        {"mode": "none"},
        {"mode": ["shared"]},
        {"host": None},
    ],
)
def test_text_that_names_no_holder_is_known(change: dict[str, object]) -> None:
    said = {"run_id": "run_a", "host": "h", "pid": 12, "boot_id": "b", "process_start": "1", "started_at": "s"}
    whole = said | {"mode": "shared", "newer": 1}
    left = {name: value for name, value in whole.items() if name not in change}

    assert read_holder(json.dumps(whole).encode()) == Holder(**said, mode="shared")  # type: ignore[arg-type]
    assert read_holder(json.dumps(whole | change).encode()) is None
    assert read_holder(json.dumps(left).encode()) is None


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b"[" * 4096])
def test_text_that_is_no_json_object_names_no_holder(text: bytes) -> None:
    assert read_holder(text) is None
