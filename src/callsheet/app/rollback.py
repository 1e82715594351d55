"""The way back to a checkpoint of a run that goes on no more, or to how things were without one of its agents."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app import places
from callsheet.app.checkpointing import FOLDER, place_of, texts
from callsheet.app.own_record import check_own
from callsheet.app.plan import Surroundings
from callsheet.app.settings import Choices, resolve_settings
from callsheet.errors import NotFoundError, UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.events import CheckpointRestored, CheckpointTaken, Event, EventBody
from callsheet.model.values import JsonValue

if TYPE_CHECKING:
    from callsheet.model.records import AgentRow, Row, RunRow
    from callsheet.workspace.checkpoints import Checkpoint, Checkpoints, Restored
    from callsheet.workspace.footprints import Diary, Footprints


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackOrder:
    """What a caller asks for.

    Attributes:
        run: The run's name.
        to: The number of the checkpoint; 0 is the state before the run.
        agent: Only what this agent changed; `to` does not count then.
        even_changed: Also files that somebody changed since the run; a checkpoint of them is taken first.
    """

    run: str
    to: int = 0
    agent: str | None = None
    even_changed: bool = False
    workspace: Path | None = None
    store: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """What came of it.

    Attributes:
        to: The checkpoint; None where one agent's changes were undone.
        before: The checkpoint of what was there before; None where the last one of the run holds that.
        after: The checkpoint of what is there now.
        reverted: Agents whose outcome does not answer again.
    """

    run_id: str
    to: int | None
    agent: str | None = None
    restored: Restored
    before: int | None
    after: int
    reverted: tuple[str, ...]

    @property
    def public(self) -> dict[str, JsonValue]:
        """As JSON."""
        return {
            "run_id": self.run_id,
            "to": self.to,
            "agent": self.agent,
            "written": list(texts(self.restored.written)),
            "removed": list(texts(self.restored.removed)),
            "left": [{"path": path, "why": why} for path, why in _left(self.restored)],
            "before": self.before,
            "after": self.after,
            "reverted": list(self.reverted),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedRun:
    """A recorded run that goes on no more, and nobody else works in its workspace.

    Attributes:
        folder: Where its checkpoints are, if it has any.
    """

    run: RunRow
    root: Path
    record: Path
    state: Path
    folder: Path


@asynccontextmanager
async def stopped_run(
    name: str, around: Surroundings, *, workspace: Path | None, store: str | None
) -> AsyncGenerator[StoppedRun]:
    """Finds a run and holds its workspace's lease as long as the context lasts.

    Raises:
        NotFoundError: The record has no such run.
        RunGoingError: The run goes on.
        LeaseHeldError: Others work in the workspace.
        UsageError: The record came with the repository.
        StoreError: The record cannot be read.
    """
    root = places.workspace(around.start, workspace).root
    choices = Choices(store=store)
    resolved = resolve_settings(choices, workspace=root, environ=around.environ, config_dir=around.config_dir)
    record = places.record_of(root, resolved.store, around.environ).path
    await check_own(record, root, around.environ)
    found = places.recorded_run(record, name, root)
    if found is None:
        known = places.recorded_names(record)[:5]
        raise NotFoundError(
            f"There is no {name} in the record {record}. The last ones are: {', '.join(known) or 'none'}.",
            name=name,
            near=known,
        )
    name = found.run.run_id  # it may have been named by its beginning, or as the last one
    state = places.state_folder(root, around.environ)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(places.going(root, run_id=name, environ=around.environ))
        lease = places.lease(state, run_id=name, is_shared=False, wait_s=0.0, patience=None)
        await stack.enter_async_context(lease)
        yield StoppedRun(run=found.run, root=root, record=record, state=state, folder=state / FOLDER / name)


@asynccontextmanager
async def checkpoints_of(stopped: StoppedRun, environ: Mapping[str, str]) -> AsyncGenerator[tuple[Checkpoints, Diary]]:
    """The checkpoints of a run that has them, and what its agents did. Raises as `open_checkpoints`."""
    from callsheet.workspace.checkpoints import open_checkpoints
    from callsheet.workspace.footprints import Diary

    user = await place_of(stopped.root, environ)
    async with open_checkpoints(stopped.root, folder=stopped.folder, environ=environ, user=user) as checkpoints:
        diary = Diary.open(stopped.folder)
        try:
            yield checkpoints, diary
        finally:
            diary.close()


async def roll_back(order: RollbackOrder, around: Surroundings) -> RolledBack:
    """Brings a workspace back to a checkpoint of a run, or undoes what one of its agents changed.

    The run goes on no more. Repeatable where it was cut short.

    Raises:
        NotFoundError: The record has no such run, or the run no such agent.
        RunGoingError: The run goes on.
        LeaseHeldError: Others work in the workspace.
        UsageError: The run has no checkpoints, or worked elsewhere.
        CheckpointError: No such checkpoint, or files were changed since; nothing was changed then.
        GitRefusedError: Git would not.
        StoreError: The record cannot be read or written.
    """
    async with stopped_run(order.run, around, workspace=order.workspace, store=order.store) as stopped:
        order = replace(order, run=stopped.run.run_id)
        agents = {each.agent.agent_id: each.agent for each in places.recorded_agents(stopped.record, order.run)}
        if order.agent is not None and order.agent not in agents:
            raise NotFoundError(
                f"{order.run} has no agent {order.agent}; it has: {', '.join([*agents][:20]) or 'none'}.",
                name=order.agent,
                near=tuple(agents)[:5],
            )
        if not (stopped.folder / "git").is_dir():
            raise UsageError(
                f"{order.run} has no checkpoints of {stopped.root}. They are taken when an agent is about to change "
                "something in the workspace itself: this run's agents were not, or its log says why there are none."
            )
        return await _roll_back(order, stopped, agents, environ=around.environ)


async def _roll_back(
    order: RollbackOrder, stopped: StoppedRun, agents: Mapping[str, AgentRow], *, environ: Mapping[str, str]
) -> RolledBack:
    from callsheet.workspace.undoing import undo_agent

    async with checkpoints_of(stopped, environ) as (checkpoints, diary):
        known = {each.number for each in checkpoints.taken}
        if order.agent is not None:
            paths = _changed(agents[order.agent])
            _check_place(agents[order.agent])
            restored = await undo_agent(checkpoints, diary, order.agent, paths)
            reverted: tuple[str, ...] = (order.agent,)
        else:
            since = dict(diary.footprints.since)
            only = _own_files(stopped, agents, diary.footprints)
            restored = await checkpoints.restore(order.to, only=only, expected=since, even_changed=order.even_changed)
            at = next(each.at for each in checkpoints.taken if each.number == order.to)
            reverted = tuple(_undone(agents, restored, diary.footprints, since_s=at))
            _forget(diary, restored, reverted)
        news = tuple(each for each in checkpoints.taken if each.number not in known)
    to = order.to if order.agent is None else news[0].number
    await note(
        stopped, news=news, environ=environ,
        done=CheckpointRestored(
            n=to, written=texts(restored.written), removed=texts(restored.removed), left=_left(restored),
            reverted=reverted, agent_id=order.agent,
        ),
    )  # fmt: skip
    *before, after = (each.number for each in news)
    return RolledBack(
        run_id=order.run, to=None if order.agent is not None else order.to, agent=order.agent, restored=restored,
        before=before[0] if before else None, after=after, reverted=reverted,
    )  # fmt: skip


def _check_place(agent: AgentRow) -> None:
    """Raises UsageError for an agent that worked in a worktree: a branch has what it changed."""
    options = json.loads(agent.options)
    if isinstance(options, dict) and (options.get("isolation") or options.get("worktree")):
        raise UsageError(
            f"{agent.agent_id} worked in a worktree: what it changed is on a branch (callsheet show), and what was "
            "merged of it is undone with a checkpoint (--to)."
        )


def _own_files(stopped: StoppedRun, agents: Mapping[str, AgentRow], footprints: Footprints) -> Collection[str] | None:
    """Of a run that shared the workspace with others what its own agents changed (DESIGN 17); None for all."""
    settings = json.loads(stopped.run.settings)
    if not isinstance(settings, dict) or settings.get("workspace_use") != "share":
        return None
    return {*footprints.paths, *(path for agent in agents.values() for path in _changed(agent))}


def _undone(
    agents: Mapping[str, AgentRow], restored: Restored, footprints: Footprints, *, since_s: int
) -> Sequence[str]:
    """The agents that ended after the checkpoint, or never, and changed a file that is as it was before."""
    back = {*texts(restored.written), *texts(restored.removed)}
    found = []
    for agent in agents.values():
        ended = agent.timestamp_end
        if ended is not None and datetime.fromisoformat(ended).timestamp() < since_s:
            continue
        if not back.isdisjoint((*_changed(agent), *footprints.of(agent.agent_id))):
            found.append(agent.agent_id)
    return found


def _forget(diary: Diary, restored: Restored, reverted: Sequence[str]) -> None:
    """What is as it was before needs no undoing any more; the last checkpoint has all files."""
    for agent in reverted:
        for path in {*restored.written, *restored.removed} & diary.footprints.of(agent).keys():
            diary.note("undone", agent, path)
    diary.note("taking")
    diary.note("taken")


def _changed(agent: AgentRow) -> tuple[str, ...]:
    return tuple(json.loads(agent.files_changed))


async def note(
    stopped: StoppedRun,
    *,
    news: Sequence[Checkpoint],
    environ: Mapping[str, str],
    done: CheckpointRestored | None = None,
    rows: Sequence[Row] = (),
) -> None:
    """Writes what was done to a run: checkpoints, events, and which outcomes do not answer again."""
    from callsheet.model.public import event_json
    from callsheet.model.records import CheckpointRow, EventRow, RevertedRow
    from callsheet.permissions.redact import Redactor

    redact = Redactor(environ).json
    run_id = stopped.run.run_id
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    seq = places.last_seq(stopped.record, run_id)
    bodies: list[EventBody] = [
        *(CheckpointTaken(n=each.number, commit_id=each.commit) for each in news),
        *([] if done is None else [done]),
    ]
    events = [Event(run_id=run_id, seq=seq + n, at=at, body=body) for n, body in enumerate(bodies, start=1)]
    more: list[Row] = [
        *(CheckpointRow(run_id=run_id, n=each.number, commit_id=each.commit, at=at) for each in news),
        *(RevertedRow(run_id=run_id, agent_id=agent_id) for agent_id in (() if done is None else done.reverted)),
        *(
            EventRow(
                run_id=each.run_id, seq=each.seq, at=at, event=each.name, payload=json.dumps(redact(event_json(each)))
            )
            for each in events
        ),
    ]
    async with places.open_record(stopped.record) as store:
        await store.write([*rows, *more], durable=True)


def _left(restored: Restored) -> tuple[tuple[str, str], ...]:
    paths = texts([path for path, _ in restored.left])
    return tuple(zip(paths, (why for _, why in restored.left), strict=True))
