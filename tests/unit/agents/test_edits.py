"""Two agents and one file: nothing that an agent has not seen is overwritten, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.files import IN_LOOP_BYTES
from callsheet.agents.tools.locks import FileLocks
from callsheet.agents.tools.names import ToolFailure
from callsheet.model.reports import ToolCalled
from tests.support.deadline import within
from tests.support.workbench import Bench

pytestmark = pytest.mark.anyio


@pytest.fixture
def bounds() -> Bounds:
    return Bounds()


@pytest.fixture
def one(tmp_path: Path, bounds: Bounds) -> Bench:
    return Bench(tmp_path, bounds=bounds)


@pytest.fixture
def other(tmp_path: Path, bounds: Bounds) -> Bench:
    return Bench(tmp_path, bounds=bounds)


async def test_a_file_that_was_never_read_is_not_written_over(one: Bench) -> None:
    one.put("a.txt", "precious")
    assert "read it first" in await one.refusal("write", file_path="a.txt", content="new")
    assert one.text("a.txt") == "precious"
    assert one.reporter.of(ToolCalled)[-1].state == "failed"


@pytest.mark.parametrize("seen", ["read", "lines", "edited", "written"])
async def test_a_file_that_was_seen_may_be_written_over(one: Bench, seen: str) -> None:
    if seen == "written":
        await one("write", file_path="a.txt", content="old text")
    else:
        one.put("a.txt", "old text\nmore\n")
        await one("read", file_path="a.txt", **({"view_range": [1, 1]} if seen == "lines" else {}))
    if seen == "edited":
        await one("edit", file_path="a.txt", old_string="old", new_string="older")
    await one("write", file_path="a.txt", content="new")
    assert one.text("a.txt") == "new"


async def test_an_empty_file_holds_nothing_that_could_be_lost(one: Bench) -> None:
    one.put("a.txt", "")
    await one("write", file_path="a.txt", content="new")
    assert one.text("a.txt") == "new"


@pytest.mark.parametrize("size", [1, IN_LOOP_BYTES, 3 * 1024 * 1024], ids=["small", "large", "huge"])
async def test_a_write_over_what_somebody_else_changed_is_refused(one: Bench, size: int) -> None:
    one.put("a.txt", "x" * size + "\n")
    await one("read", file_path="a.txt", view_range=[2, 2])
    one.put("a.txt", "y" * size + "\n")
    assert "changed by somebody else" in await one.refusal("write", file_path="a.txt", content="new")
    assert one.text("a.txt").startswith("y")
    await one("read", file_path="a.txt", view_range=[2, 2])
    await one("write", file_path="a.txt", content="new")


async def test_a_file_that_was_only_touched_is_not_changed(one: Bench) -> None:
    path = one.put("a.txt", "same")
    await one("read", file_path="a.txt")
    path.unlink()
    one.put("a.txt", "same")
    await one("write", file_path="a.txt", content="new")


async def test_an_edit_whose_text_still_stands_is_applied_to_what_is_there_now(one: Bench, other: Bench) -> None:
    one.put("a.txt", "one\ntwo\n")
    await one("read", file_path="a.txt")
    await other("edit", file_path="a.txt", old_string="two", new_string="2")
    assert "others have changed" in await one("edit", file_path="a.txt", old_string="one", new_string="1")
    assert one.text("a.txt") == "1\n2\n"


async def test_after_such_an_edit_the_file_is_still_not_known_whole(one: Bench, other: Bench) -> None:
    one.put("a.txt", "one\ntwo\n")
    await one("read", file_path="a.txt")
    await other("edit", file_path="a.txt", old_string="two", new_string="2")
    await one("edit", file_path="a.txt", old_string="one", new_string="1")
    assert "read it again" in await one.refusal("write", file_path="a.txt", content="new")


async def test_a_stale_edit_is_refused_with_the_reason(one: Bench, other: Bench) -> None:
    one.put("a.txt", "one two")
    await one("read", file_path="a.txt")
    await other("edit", file_path="a.txt", old_string="one", new_string="1")
    told = await one.refusal("edit", file_path="a.txt", old_string="one", new_string="I")
    assert "changed by somebody else" in told
    assert one.text("a.txt") == "1 two"


async def test_an_edit_needs_no_reading_where_its_text_stands_once(one: Bench) -> None:
    one.put("a.txt", "one two")
    await one("edit", file_path="a.txt", old_string="one", new_string="1")
    assert "read it first" in await one.refusal("write", file_path="a.txt", content="new")


async def test_one_hundred_agents_edit_one_file_and_none_is_lost(tmp_path: Path, bounds: Bounds) -> None:
    padding = "x" * IN_LOOP_BYTES  # in worker threads, so that reading and writing really interleave
    benches = [Bench(tmp_path, bounds=bounds) for _ in range(100)]
    benches[0].put("a.txt", padding + "".join(f"<{n}>" for n in range(100)))
    async with anyio.create_task_group() as tasks:
        for n, bench in enumerate(benches):

            async def work(n: int = n, bench: Bench = bench) -> None:
                await bench("edit", file_path="a.txt", old_string=f"<{n}>", new_string=f"[{n}]")

            tasks.start_soon(work)
    assert benches[0].text("a.txt") == padding + "".join(f"[{n}]" for n in range(100))


# --- locks


async def test_a_locked_file_is_waited_for_by_another_process_and_given_up_in_the_end(tmp_path: Path) -> None:
    folder, path = tmp_path / "locks", tmp_path / "a.txt"
    mine, theirs = FileLocks(folder), FileLocks(folder, wait_s=0.05)
    with within():
        async with mine.hold(path):
            with pytest.raises(ToolFailure, match="another run"):
                async with theirs.hold(path):
                    pass
        async with theirs.hold(path):
            pass


async def test_many_files_are_held_together_though_they_share_locks_and_those_who_do_so_do_not_block_each_other(
    tmp_path: Path,
) -> None:
    paths = [tmp_path / f"{n}.txt" for n in range(300)]
    done: list[str] = []

    async def hold(name: str, locks: FileLocks, paths: list[Path]) -> None:
        for _ in range(3):
            async with locks.hold_all(paths):
                await anyio.lowlevel.checkpoint()
                done.append(name)

    mine, theirs = FileLocks(tmp_path / "locks"), FileLocks(tmp_path / "locks")
    with within(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, "mine", mine, paths)
            tasks.start_soon(hold, "mine too", mine, paths[::-1])
            tasks.start_soon(hold, "theirs", theirs, paths[::-1])
    assert sorted(done) == ["mine"] * 3 + ["mine too"] * 3 + ["theirs"] * 3


async def test_a_lock_is_let_go_of_when_its_holder_fails_or_is_cancelled(tmp_path: Path) -> None:
    locks = FileLocks(tmp_path / "locks")
    with within():
        with pytest.raises(ValueError, match="mine"):
            async with locks.hold(tmp_path / "a"):
                raise ValueError("mine")
        with anyio.move_on_after(0.01):
            async with locks.hold(tmp_path / "a"):
                await anyio.sleep_forever()
        async with locks.hold(tmp_path / "a"):
            pass


async def test_a_folder_for_locks_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ToolFailure, match="cannot be held"):
        async with FileLocks(tmp_path / "file" / "locks").hold(tmp_path / "a"):
            pass
