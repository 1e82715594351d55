"""What it takes to undo one agent's changes, gathered while it works; and the undoing.

Of a file tool it is known which file it is about to change. What a command changed is known afterwards: how that was
before is what the last look at all files saw, and whose it is only where no other agent ran commands meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field, replace

from callsheet.errors import CheckpointError
from callsheet.model.dataclass import dataclass
from callsheet.workspace.checkpoints import Checkpoint, Checkpoints, Restored, States
from callsheet.workspace.footprints import UNKNOWN, Diary, Step
from callsheet.workspace.stock import Entry

_CROWDED = "commands of other agents ran meanwhile: whose change it is is not known"
_IGNORED = "checkpoints do not hold it, so that it is not known how it was before"
_TOUCHED = "another agent changed it too, after this one had begun to run commands"
_AFTER_COMMAND = "it is not known whether commands of this agent changed it before, or somebody else did"
_IN_BETWEEN = "somebody else changed it too, between two changes of this agent"


@dataclass(slots=True)
class _Ground:
    """How all files were before an agent's first command.

    Attributes:
        others: Agents that ran commands since and go on: what they change is not known yet.
        touched: Files that other agents changed since.
    """

    all: States
    newer: States
    others: set[str] = field(default_factory=set)
    touched: set[str] = field(default_factory=set)

    def entry(self, path: str) -> Entry | None:
        return self.newer[path] if path in self.newer else self.all.get(path)


class Undoing:
    """For one run, while it goes on.

    Args:
        checkpoints: Of the run.
        diary: Where it is written down.
        is_careful: All files are looked at before an agent's first command, so that also what people changed since
            the last checkpoint is known.
    """

    def __init__(self, checkpoints: Checkpoints, diary: Diary, *, is_careful: bool) -> None:
        self._checkpoints = checkpoints
        self._diary = diary
        self._is_careful = is_careful
        self._grounds: dict[str, _Ground] = {}
        self._running: set[str] = set()
        self._touched: dict[str, set[str]] = {}

    async def take(self) -> Checkpoint:
        """Takes a checkpoint. Raises as `Checkpoints.take`."""
        self._diary.note("taking")
        taken = await self._checkpoints.take()
        self._diary.note("taken")
        return taken

    async def about_to_change(self, agent: str, path: str) -> None:
        """A file tool of an agent is about to change this file.

        Raises:
            GitRefusedError: How it is now could not be kept.
            OSError: As before.
        """
        step = self._diary.footprints.of_file(path).get(agent)
        states = await self._checkpoints.look([path], keep=step is None)
        if path not in states:
            return  # how it was will not be known
        now = states[path]
        self._diary.note("before", agent, path, now)
        self._touched.setdefault(agent, set()).add(path)
        own = self._grounds.get(agent)
        if step is None and own is not None and own.entry(path) != now:
            self._diary.note("unknown", agent, path, now, _AFTER_COMMAND)
        elif step is not None and step.is_known and step.after != now and step.why_not is None:
            self._diary.note("unknown", agent, path, now, _IN_BETWEEN)
        for other, ground in self._grounds.items():
            if other != agent:
                ground.touched.add(path)

    async def has_changed(self, agent: str, path: str) -> None:
        """It has. Raises as `about_to_change`."""
        if agent in self._diary.footprints.of_file(path):
            states = await self._checkpoints.look([path], keep=False)
            if path in states:
                self._diary.note("after", agent, path, states[path])

    async def about_to_run(self, agent: str) -> None:
        """An agent is about to run a command, which may change anything. Raises as `about_to_change`."""
        if agent not in self._grounds:
            if self._is_careful:
                ground = _Ground(await self._checkpoints.look_at_all(), {})
            else:
                newer = await self._checkpoints.look([*self._diary.footprints.since])
                ground = _Ground(self._checkpoints.last, newer)
            self._grounds[agent] = ground
        for path, now in (await self._changed_again(agent)).items():
            self._diary.note("unknown", agent, path, now, _IN_BETWEEN)
        for other, ground in self._grounds.items():
            if other != agent:
                ground.others.add(agent)
        self._grounds[agent].others |= self._running - {agent}
        self._running.add(agent)

    async def has_run(self, agent: str) -> None:
        """The command has ended. Raises as `about_to_change`."""
        if agent in self._running:
            self._running.discard(agent)
            for path, now in (await self._changed_again(agent)).items():
                self._diary.note("after", agent, path, now)

    async def _changed_again(self, agent: str) -> States:
        """Of the files that an agent changed with a file tool those that are not as it left them, as they are now."""
        steps = self._diary.footprints.of_file
        mine = {path: step for path in self._touched.get(agent, ()) if (step := steps(path).get(agent)) is not None}
        known = {path: step for path, step in mine.items() if step.is_known and step.why_not is None}
        now = await self._checkpoints.look(known, keep=False) if known else {}
        return {path: entry for path, entry in now.items() if entry != known[path].after}

    async def ended(self, agent: str, paths: Iterable[str]) -> None:
        """An agent has ended, and changed these files. Raises as `about_to_change`."""
        await self.has_run(agent)
        paths = [*paths]
        ground, touched = self._grounds.pop(agent, None), self._touched.pop(agent, set())
        for other in self._grounds.values():
            if agent in other.others:
                other.others.discard(agent)
                other.touched.update(paths)
        if not (paths or touched):
            return
        by_commands = [path for path in paths if agent not in self._diary.footprints.of_file(path)]
        now = await self._checkpoints.look(by_commands, keep=False) if by_commands else {}
        for path, before in (await self._befores([*now], ground)).items():
            if isinstance(before, str):
                self._diary.note("unknown", agent, path, now[path], before)
            else:
                self._diary.note("before", agent, path, before)
                self._diary.note("after", agent, path, now[path])
        for path in touched.difference(paths):
            self._diary.note("undone", agent, path)  # it was not changed after all
        self._diary.note("ended", agent)

    async def _befores(self, paths: Sequence[str], ground: _Ground | None) -> dict[str, Entry | str | None]:
        """How files were before an agent's commands changed them; or why that is not known."""
        if ground is None or ground.others:
            return dict.fromkeys(paths, UNKNOWN if ground is None else _CROWDED)
        new = [path for path in paths if ground.entry(path) is None]
        # Where it changed what is ignored, a file that seems to be new may have been there.
        changes_ignored = any(path.rpartition("/")[2] == ".gitignore" for path in paths)
        unseen = {*new} if changes_ignored else await self._checkpoints.unseen(new)
        return {
            path: _TOUCHED if path in ground.touched else _IGNORED if path in unseen else ground.entry(path)
            for path in paths
        }

    async def take_back(self, agent: str, paths: Iterable[str]) -> Restored:
        """Undoes what an agent that has ended changed; others may be at work. What cannot be undone is left, and why.

        Raises:
            CheckpointError: What was there is damaged; nothing was changed.
            GitRefusedError: Git would not; nothing was changed.
            OSError: The workspace cannot be read.
        """
        footprints = self._diary.footprints
        steps = {path: footprints.of_file(path).get(agent) for path in paths}
        left = {path: why for path, step in steps.items() if (why := why_not(step)) is not None}
        good = {path: step for path, step in steps.items() if path not in left and step is not None}
        restored = await self._checkpoints.take_back(
            {path: step.before for path, step in good.items()}, {path: step.after for path, step in good.items()}
        )
        left |= dict(restored.left)
        for path in good.keys() - left.keys():
            self._diary.note("undone", agent, path)
        return replace(restored, left=tuple(sorted(left.items())))


def why_not(step: Step | None) -> str | None:
    """Why a change cannot be undone by itself; None where it can."""
    if step is None:
        return UNKNOWN
    return step.why_not or (None if step.is_known else "how the agent left it is not known")


async def undo_agent(checkpoints: Checkpoints, diary: Diary, agent: str, paths: Iterable[str]) -> Restored:
    """Undoes what one agent of a run that goes on no more changed, all of it or nothing; a checkpoint is taken before.

    Args:
        checkpoints: Of the run.
        diary: Of the run.
        agent: Its id.
        paths: The files that it changed, as is on record.

    Raises:
        CheckpointError: Files were changed since, or it is not known how they were: `paths` names them. Nothing was
            changed.
        GitRefusedError: Git would not; nothing was changed.
        OSError: The workspace cannot be read.
    """
    steps = dict(diary.footprints.of(agent))
    steps |= {path: Step(why_not=UNKNOWN) for path in paths if path not in steps}
    if not steps:
        raise CheckpointError(f"{agent} changed nothing in the workspace: there is nothing to undo.")
    now = await checkpoints.look(steps, keep=False)
    wrong: dict[str, str] = {}
    for path, step in steps.items():
        if path in now and step.is_known and step.why_not is None and now[path] in (step.before, step.after):
            continue
        last = diary.footprints.last(path)
        by_other = last is not None and last != agent
        wrong[path] = f"{last} changed it since" if by_other else why_not(step) or "changed since"
    if wrong:
        shown = "; ".join(f"{path} ({why})" for path, why in sorted(wrong.items())[:_NAMED])
        more = f"; and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise CheckpointError(
            f"nothing was undone: of what {agent} changed, {shown}{more} cannot be undone by itself. Undo the other "
            "agent first, or go back to a checkpoint with --to.",
            paths=tuple(sorted(wrong)),
        )
    await checkpoints.take()
    before = {path: step.before for path, step in steps.items()}
    restored = await checkpoints.take_back(before, {path: step.after for path, step in steps.items()}, strict=True)
    for path in steps.keys() - dict(restored.left).keys():
        diary.note("undone", agent, path)
    diary.note("taking")
    taken = await checkpoints.take()
    diary.note("taken")
    return replace(restored, checkpoint=taken)


_NAMED = 10
