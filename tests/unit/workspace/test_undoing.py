"""What single agents changed, undone by itself: file by file, and never what somebody else did."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from callsheet.errors import CheckpointError
from callsheet.workspace.checkpoints import CHANGED_SINCE, Checkpoints, open_checkpoints
from callsheet.workspace.footprints import Diary, read_footprints
from callsheet.workspace.undoing import Undoing, undo_agent
from tests.support.deadline import within
from tests.unit.workspace.test_worktree import content

pytestmark = pytest.mark.anyio


class Room:
    """A workspace in which agents do as told."""

    def __init__(self, root: Path, undoing: Undoing, checkpoints: Checkpoints, diary: Diary) -> None:
        self.root = root
        self.undoing = undoing
        self.checkpoints = checkpoints
        self.diary = diary

    async def edit(self, agent: str, path: str, text: str | None) -> None:
        """By a file tool."""
        await self.undoing.about_to_change(agent, path)
        self.by_hand(path, text)
        await self.undoing.has_changed(agent, path)

    async def command(self, agent: str, path: str, text: str | None) -> None:
        await self.undoing.about_to_run(agent)
        self.by_hand(path, text)
        await self.undoing.has_run(agent)

    def by_hand(self, path: str, text: str | None) -> None:
        file = self.root / path
        if text is None:
            file.unlink()
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")


@asynccontextmanager
async def opened(base: Path, *, is_careful: bool = False) -> AsyncIterator[Room]:
    root = base / "root"
    root.mkdir(exist_ok=True)
    folder = base / "checkpoints"
    with within(60):
        async with open_checkpoints(root, folder=folder, environ=os.environ) as checkpoints:
            diary = Diary.open(folder)
            try:
                yield Room(root, Undoing(checkpoints, diary, is_careful=is_careful), checkpoints, diary)
            finally:
                diary.close()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.txt").write_text("a\n", encoding="utf-8")
    (root / "b.txt").write_text("b\n", encoding="utf-8")
    (root / "run.sh").write_text("run\n", encoding="utf-8")
    (root / "run.sh").chmod(0o750)
    (root / "link").symlink_to("a.txt")
    return tmp_path


@pytest.mark.parametrize("is_careful", [True, False])
async def test_edits_and_commands_of_one_agent_are_taken_back_byte_for_byte(base: Path, is_careful: bool) -> None:
    before = content(base / "root")
    async with opened(base, is_careful=is_careful) as room:
        await room.undoing.take()
        await room.edit("a1", "a.txt", "agent\n")
        await room.edit("a1", "new/c.txt", "agent\n")
        await room.edit("a1", "a.txt", "agent again\n")
        await room.command("a1", "run.sh", None)
        await room.command("a1", "link", None)
        await room.command("a1", "made.txt", "agent\n")
        paths = ["a.txt", "new/c.txt", "run.sh", "link", "made.txt"]
        await room.undoing.ended("a1", paths)
        restored = await room.undoing.take_back("a1", paths)
        assert restored.left == ()
        assert (restored.written, restored.removed) == (("a.txt", "link", "run.sh"), ("made.txt", "new/c.txt"))
        again = await room.undoing.take_back("a1", paths)
        assert (again.written, again.removed) == ((), ())
    assert content(base / "root") == before


async def test_what_an_earlier_agent_did_stays_and_what_others_changed_since_is_left_and_named(base: Path) -> None:
    async with opened(base) as room:
        await room.undoing.take()
        await room.edit("a1", "a.txt", "first\n")
        await room.edit("a1", "b.txt", "first\n")
        await room.undoing.ended("a1", ["a.txt", "b.txt"])
        await room.edit("a2", "a.txt", "second\n")
        await room.edit("a2", "b.txt", "second\n")
        await room.command("a2", "run.sh", "second\n")
        await room.undoing.ended("a2", ["a.txt", "b.txt", "run.sh"])
        room.by_hand("b.txt", "a person\n")
        restored = await room.undoing.take_back("a2", ["a.txt", "b.txt", "run.sh", "/elsewhere"])
    assert restored.left == (("/elsewhere", "how it was before is not known"), ("b.txt", CHANGED_SINCE))
    assert (base / "root/a.txt").read_text() == "first\n"
    assert (base / "root/b.txt").read_text() == "a person\n"
    assert (base / "root/run.sh").read_text() == "run\n"


async def test_a_file_that_two_agents_changed_in_turn_is_taken_back_only_of_the_one_that_came_last(base: Path) -> None:
    async with opened(base) as room:
        await room.undoing.take()
        await room.edit("a1", "a.txt", "one\n")
        await room.edit("a2", "a.txt", "one and two\n")
        await room.undoing.ended("a2", ["a.txt"])
        assert (await room.undoing.take_back("a2", ["a.txt"])).written == ("a.txt",)
        assert (base / "root/a.txt").read_text() == "one\n"
        await room.edit("a2", "a.txt", "two\n")
        await room.edit("a1", "a.txt", "two and one\n")
        for agent in ("a1", "a2"):
            await room.undoing.ended(agent, ["a.txt"])
            assert [path for path, _ in (await room.undoing.take_back(agent, ["a.txt"])).left] == ["a.txt"]
    assert (base / "root/a.txt").read_text() == "two and one\n"


async def test_what_a_person_changed_between_two_edits_of_an_agent_is_not_taken_back(base: Path) -> None:
    async with opened(base) as room:
        await room.undoing.take()
        await room.edit("a1", "a.txt", "agent\n")
        room.by_hand("a.txt", "agent\nperson\n")
        await room.edit("a1", "a.txt", "agent\nperson\nagent\n")
        await room.undoing.ended("a1", ["a.txt"])
        restored = await room.undoing.take_back("a1", ["a.txt"])
    assert restored.left == (("a.txt", "somebody else changed it too, between two changes of this agent"),)


async def test_what_a_person_changed_after_an_agents_last_edit_is_left_and_what_its_command_changed_is_not(
    base: Path,
) -> None:
    async with opened(base) as room:
        await room.undoing.take()
        for path in ("a.txt", "b.txt"):
            await room.edit("a1", path, "agent\n")
        await room.command("a1", "a.txt", "its own formatter\n")
        room.by_hand("b.txt", "agent\nperson\n")
        await room.undoing.ended("a1", ["a.txt", "b.txt"])
        restored = await room.undoing.take_back("a1", ["a.txt", "b.txt"])
    assert (restored.written, restored.left) == (("a.txt",), (("b.txt", CHANGED_SINCE),))
    assert (base / "root/a.txt").read_text() == "a\n"


async def test_what_commands_that_ran_at_once_changed_is_left_since_nobody_knows_whose_it_is(base: Path) -> None:
    async with opened(base) as room:
        await room.undoing.take()
        await room.undoing.about_to_run("a1")
        await room.undoing.about_to_run("a2")
        room.by_hand("a.txt", "one of them\n")
        for agent in ("a1", "a2"):
            await room.undoing.ended(agent, ["a.txt"])
        restored = await room.undoing.take_back("a1", ["a.txt"])
        assert "commands of other agents ran meanwhile" in dict(restored.left)["a.txt"]
        await room.command("a3", "a.txt", "alone\n")
        await room.undoing.ended("a3", ["a.txt"])
        assert (await room.undoing.take_back("a3", ["a.txt"])).written == ("a.txt",)
    assert (base / "root/a.txt").read_text() == "one of them\n"


async def test_a_command_that_followed_another_agents_on_the_same_file_takes_back_neither(base: Path) -> None:
    async with opened(base) as room:
        await room.undoing.take()
        await room.command("a1", "b.txt", "first\n")
        await room.command("a2", "a.txt", "second\n")
        await room.command("a1", "a.txt", "first, later\n")
        await room.undoing.ended("a2", ["a.txt"])
        await room.undoing.ended("a1", ["a.txt", "b.txt"])
        restored = await room.undoing.take_back("a1", ["a.txt", "b.txt"])
        assert (restored.written, [path for path, _ in restored.left]) == (("b.txt",), ["a.txt"])
        assert [path for path, _ in (await room.undoing.take_back("a2", ["a.txt"])).left] == ["a.txt"]
    assert (base / "root/a.txt").read_text() == "first, later\n"


@pytest.mark.parametrize("is_shown", [True, False])
async def test_a_file_that_no_checkpoint_holds_is_never_removed_as_if_it_were_new(base: Path, is_shown: bool) -> None:
    (base / "root/.gitignore").write_text("*.env\nbig\n", encoding="utf-8")
    (base / "root/my.env").write_text("a person's\n", encoding="utf-8")
    with (base / "root/huge").open("wb") as huge:
        huge.truncate(60 * 1024 * 1024)
    async with opened(base) as room:
        await room.undoing.take()
        paths = ["huge", "my.env"]
        if is_shown:
            await room.command("a1", ".gitignore", "big\n")
            paths.append(".gitignore")
        await room.command("a1", "my.env", "agent\n")
        await room.command("a1", "huge", "agent\n")
        await room.undoing.ended("a1", paths)
        restored = await room.undoing.take_back("a1", paths)
        assert [path for path, _ in restored.left] == ["huge", "my.env"]
        # A file tool says before which file it is: then it is kept, ignored or not.
        await room.edit("a2", "my.env", "tool\n")
        await room.undoing.ended("a2", ["my.env"])
        assert (await room.undoing.take_back("a2", ["my.env"])).written == ("my.env",)
    assert (base / "root/my.env").read_text() == "agent\n" and (base / "root/huge").is_file()


async def test_a_persons_work_since_the_last_checkpoint_is_known_where_failed_agents_are_taken_back(base: Path) -> None:
    async with opened(base, is_careful=True) as room:
        await room.undoing.take()
        room.by_hand("a.txt", "a person, meanwhile\n")
        room.by_hand("hers.txt", "a person, meanwhile\n")
        for path in ("a.txt", "hers.txt"):
            await room.command("a1", path, "agent\n")
        await room.undoing.ended("a1", ["a.txt", "hers.txt"])
        assert (await room.undoing.take_back("a1", ["a.txt", "hers.txt"])).left == ()
    assert (base / "root/a.txt").read_text() == (base / "root/hers.txt").read_text() == "a person, meanwhile\n"


async def test_after_the_run_an_agent_is_undone_whole_or_not_at_all_and_again_where_it_was_cut_short(
    base: Path,
) -> None:
    async with opened(base) as room:
        await room.undoing.take()
        for path in ("a.txt", "b.txt", "c.txt"):
            await room.edit("a1", path, "agent\n")
        await room.undoing.ended("a1", ["a.txt", "b.txt", "c.txt"])
        await room.undoing.take()
    async with opened(base) as room:
        room.by_hand("b.txt", "a person\n")
        with pytest.raises(CheckpointError, match=r"b\.txt \(changed since\)") as refused:
            await undo_agent(room.checkpoints, room.diary, "a1", ["a.txt"])
        assert refused.value.paths == ("b.txt",)
        assert (base / "root/a.txt").read_text() == "agent\n"
        room.by_hand("b.txt", "agent\n")
        room.by_hand("a.txt", "a\n")  # as one that was killed leaves it
        restored = await undo_agent(room.checkpoints, room.diary, "a1", ["a.txt"])
        assert (restored.written, restored.removed) == (("b.txt",), ("c.txt",))
        assert (base / "root/b.txt").read_text() == "b\n"
        with pytest.raises(CheckpointError, match="changed nothing"):
            await undo_agent(room.checkpoints, room.diary, "a1", [])
        with pytest.raises(CheckpointError, match="how it was before is not known"):
            await undo_agent(room.checkpoints, room.diary, "a2", ["a.txt"])


async def test_a_run_that_was_killed_is_known_up_to_its_last_tool_call(base: Path) -> None:
    async with opened(base) as room:
        await room.undoing.take()
        await room.edit("a1", "a.txt", "agent\n")
        await room.undoing.about_to_change("a1", "b.txt")
    with (base / "checkpoints/footprints").open("ab") as file:
        file.write(b'["after", "a1", "b.t')
    room.by_hand("mine.txt", "a person\n")
    async with opened(base) as room:
        since = dict(room.diary.footprints.since)
        with pytest.raises(CheckpointError) as refused:
            await room.checkpoints.restore(0, expected=since)
        assert refused.value.paths == ("mine.txt",)
        (base / "root/mine.txt").unlink()
        restored = await room.checkpoints.restore(0, expected=since)
        assert restored.written == ("a.txt",)
        room.diary.note("ended", "a1")
    assert read_footprints(base / "checkpoints").of("a1").keys() == {"a.txt", "b.txt"}


async def test_what_an_agent_had_under_way_when_it_was_killed_is_refused_by_name(base: Path) -> None:
    async with opened(base) as room:
        await room.undoing.take()
        await room.undoing.about_to_change("a1", "b.txt")
        room.by_hand("b.txt", "half\n")
    async with opened(base) as room:
        with pytest.raises(CheckpointError) as refused:
            await room.checkpoints.restore(0, expected=dict(room.diary.footprints.since))
        assert refused.value.paths == ("b.txt",)
        with pytest.raises(CheckpointError, match="how the agent left it is not known"):
            await undo_agent(room.checkpoints, room.diary, "a1", ["b.txt"])
