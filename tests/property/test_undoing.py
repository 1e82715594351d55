"""Whatever agents and people do in whatever order: undoing one agent's changes loses nothing that another one did."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TypeAlias

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callsheet.errors import CheckpointError
from callsheet.workspace.undoing import undo_agent
from tests.support.examples import times
from tests.unit.workspace.test_undoing import Room, opened
from tests.unit.workspace.test_worktree import content

Act: TypeAlias = tuple[str, str, str]
PERSON = "a person"

files = st.sampled_from(["a", "b", "d/c", "d/mäh \n"])
act = st.one_of(
    st.tuples(st.sampled_from(["edit", "edit", "remove", "command", "ended"]), st.sampled_from(["a1", "a2"]), files),
    st.tuples(st.just("by hand"), st.just(PERSON), files),
    st.tuples(st.just("checkpoint"), st.just(""), st.just("")),
)


class Story:
    """What was done: to each file by whom, and what was there before; and what agents ran commands since when."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.written: dict[str, list[tuple[str, str, bytes | None]]] = {}
        self.ran: dict[str, int] = {}
        self.paths: dict[str, set[str]] = {"a1": set(), "a2": set()}
        self.ended: set[str] = set()

    def now(self, path: str) -> bytes | None:
        file = self.room.root / path
        return file.read_bytes() if file.is_file() else None

    async def do(self, n: int, what: str, who: str, path: str) -> None:
        if what == "checkpoint":
            await self.room.undoing.take()
        elif what == "ended":
            await self.end(who)
        elif what == "by hand":
            self.note(what, who, path)
            self.room.by_hand(path, f"{n}")
        elif what != "remove" or self.now(path) is not None:
            self.ended.discard(who)
            self.note(what, who, path)
            self.paths[who].add(path)
            if what == "command":
                await self.room.command(who, path, f"{n}")
            else:
                await self.room.edit(who, path, None if what == "remove" else f"{n}")

    def note(self, what: str, who: str, path: str) -> None:
        self.written.setdefault(path, []).append((who, what, self.now(path)))

    async def end(self, who: str) -> None:
        if who not in self.ended:
            self.ended.add(who)
            await self.room.undoing.ended(who, sorted(self.paths[who]))

    def judge(self, who: str, path: str) -> None:
        """A file that was brought back is as it was before the agent's first change, and nobody else's is lost."""
        acts = self.written[path]
        first = next(n for n, act in enumerate(acts) if act[0] == who)
        assert self.now(path) == acts[first][2]
        assert {by for by, _, _ in acts[first:]} == {who}


async def tried(base: Path, acts: list[Act], whole: bool) -> None:
    (base / "root").mkdir()
    (base / "root" / "a").write_text("from before", encoding="utf-8")
    async with opened(base, is_careful=True) as room:
        story = Story(room)
        await room.undoing.take()
        for n, each in enumerate(acts):
            await story.do(n, *each)
        for who in story.paths:
            await story.end(who)
        before = content(room.root)
        if whole:
            try:
                restored = await undo_agent(room.checkpoints, room.diary, "a1", sorted(story.paths["a1"]))
            except CheckpointError:
                assert content(room.root) == before
                return
            assert restored.left == ()
        else:
            restored = await room.undoing.take_back("a1", sorted(story.paths["a1"]))
        after = content(room.root)
        back = {*restored.written, *restored.removed}
        assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} == back
        assert back <= story.paths["a1"]
        for path in back:
            story.judge("a1", path)


def _is_told(acts: list[Act]) -> bool:
    """Not what is said to be beyond telling: a person's change, between an agent's commands, of a file that they
    change too."""
    files_of_commands = {path for what, _, path in acts if what == "command"}
    return not any(what == "by hand" and path in files_of_commands for what, _, path in acts)


@settings(
    max_examples=times(30), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(acts=st.lists(act, max_size=10).filter(_is_told), whole=st.booleans())
def test_undoing_one_agents_changes_loses_nothing_of_anybody_elses(acts: list[Act], whole: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(tried, Path(folder).resolve(), acts, whole)
