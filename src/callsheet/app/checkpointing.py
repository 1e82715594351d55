"""Checkpoints of a run's workspace, and the way back to one after the run."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app import places
from callsheet.app.plan import Surroundings
from callsheet.app.settings import Choices, resolve_settings
from callsheet.errors import CheckpointError, GitRefusedError, NotFoundError, UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.events import CheckpointRestored, CheckpointTaken, Event, EventBody
from callsheet.model.values import JsonValue
from callsheet.ports import CheckpointTaker

if TYPE_CHECKING:
    from callsheet.model.records import AgentRow, Row
    from callsheet.workspace.checkpoints import Checkpoint, Checkpoints, Restored
    from callsheet.workspace.git import GitPlace

FOLDER = "checkpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """Who takes a run's checkpoints; where nobody can, `note` says why."""

    taker: CheckpointTaker | None = None
    note: str | None = None


@asynccontextmanager
async def open_taker(
    root: Path, *, state_folder: Path, run_id: str, environ: Mapping[str, str], interval: int
) -> AsyncGenerator[Taking]:
    """Who takes the checkpoints of a run, where its settings ask for them. To be opened before any agent starts.

    Args:
        root: Where agents work.
        state_folder: Never seen by agents.
        run_id: Of the run.
        environ: The host's.
        interval: Agents between two; 0 for no checkpoints.
    """
    async with AsyncExitStack() as stack:
        taking = Taking()
        if interval:
            from callsheet.workspace.checkpoints import open_checkpoints

            folder = state_folder / FOLDER / run_id
            try:
                user = await _place(root, environ)
                opened = open_checkpoints(root, folder=folder, environ=environ, user=user)
                taking = Taking(taker=_Taker(await stack.enter_async_context(opened)))
            except (GitRefusedError, CheckpointError, OSError) as error:
                taking = Taking(note=f"no checkpoints are taken: {_said(error)}")
        yield taking


class _Taker(CheckpointTaker):
    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints

    async def take(self) -> CheckpointTaken:
        try:
            taken = await self._checkpoints.take()
            left_out = await self._checkpoints.left_out(taken.number)
        except (GitRefusedError, OSError) as error:
            raise CheckpointError(_said(error)) from None
        return CheckpointTaken(n=taken.number, commit_id=taken.commit, left_out=tuple(sorted(left_out.items())))


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackOrder:
    """What a caller asks for.

    Attributes:
        run: The run's name.
        to: The number of the checkpoint; 0 is the state before the run.
        even_changed: Also files that somebody changed since the run; a checkpoint of them is taken first.
    """

    run: str
    to: int = 0
    even_changed: bool = False
    workspace: Path | None = None
    store: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """What came of it.

    Attributes:
        before: The checkpoint of what was there before; None where the last one of the run holds that.
        after: The checkpoint of what is there now.
        reverted: Agents whose outcome does not answer again.
    """

    run_id: str
    to: int
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
            "written": list(_texts(self.restored.written)),
            "removed": list(_texts(self.restored.removed)),
            "left": [{"path": path, "why": why} for path, why in _left(self.restored)],
            "before": self.before,
            "after": self.after,
            "reverted": list(self.reverted),
        }


async def roll_back(order: RollbackOrder, around: Surroundings) -> RolledBack:
    """Brings a workspace back to a checkpoint of a run that goes on no more. Repeatable where it was cut short.

    Raises:
        NotFoundError: The record has no such run.
        RunGoingError: The run goes on.
        LeaseHeldError: Others work in the workspace.
        UsageError: The run has no checkpoints, or worked elsewhere.
        CheckpointError: No such checkpoint, or files were changed since; nothing was changed then.
        GitRefusedError: Git would not.
        StoreError: The record cannot be read or written.
    """
    choices = Choices(store=order.store)
    root = places.workspace(around.start, order.workspace).root
    resolved = resolve_settings(choices, workspace=root, environ=around.environ, config_dir=around.config_dir)
    record = places.record_of(root, resolved.store, around.environ).path
    found = places.recorded_run(record, order.run, root)
    if found is None:
        known = places.recorded_names(record)[:5]
        raise NotFoundError(
            f"There is no {order.run} in the record {record}. The last ones are: {', '.join(known) or 'none'}.",
            name=order.run,
            near=known,
        )
    state = places.state_folder(root, around.environ)
    folder = state / FOLDER / order.run
    if not folder.is_dir():
        raise UsageError(
            f"{order.run} has no checkpoints of {root}. They are taken where checkpoint_interval is set, or with "
            "--checkpoint-interval 10."
        )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(places.going(root, run_id=order.run, environ=around.environ))
        lease = places.lease(state, run_id=order.run, is_shared=False, wait_s=0.0, patience=None)
        await stack.enter_async_context(lease)
        return await _roll_back(order, root, folder=folder, record=record, environ=around.environ)


async def _roll_back(
    order: RollbackOrder, root: Path, *, folder: Path, record: Path, environ: Mapping[str, str]
) -> RolledBack:
    from callsheet.workspace.checkpoints import open_checkpoints

    user = await _place(root, environ)
    async with open_checkpoints(root, folder=folder, environ=environ, user=user) as checkpoints:
        known = {each.number for each in checkpoints.taken}
        restored = await checkpoints.restore(order.to, even_changed=order.even_changed)
        news = tuple(each for each in checkpoints.taken if each.number not in known)
        since = next(each.at for each in checkpoints.taken if each.number == order.to)
    agents = [each.agent for each in places.recorded_agents(record, order.run)]
    reverted = tuple(agent.agent_id for agent in agents if _is_undone(agent, restored, since_s=since))
    await _note(order, record, restored, news=news, reverted=reverted, environ=environ)
    *before, after = (each.number for each in news)
    return RolledBack(
        run_id=order.run, to=order.to, restored=restored, before=before[0] if before else None, after=after,
        reverted=reverted,
    )  # fmt: skip


def _is_undone(agent: AgentRow, restored: Restored, *, since_s: int) -> bool:
    """Whether an agent ended after the checkpoint and changed a file that is as it was before."""
    if agent.timestamp_end is None or datetime.fromisoformat(agent.timestamp_end).timestamp() < since_s:
        return False
    return not {*_texts(restored.written), *_texts(restored.removed)}.isdisjoint(json.loads(agent.files_changed))


async def _note(
    order: RollbackOrder,
    record: Path,
    restored: Restored,
    *,
    news: tuple[Checkpoint, ...],
    reverted: tuple[str, ...],
    environ: Mapping[str, str],
) -> None:
    """Writes what was done: checkpoints, events, and which outcomes do not answer again."""
    from callsheet.model.public import event_json
    from callsheet.model.records import CheckpointRow, EventRow, RevertedRow
    from callsheet.permissions.redact import Redactor

    redact = Redactor(environ).json

    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    seq = places.last_seq(record, order.run)
    bodies: list[EventBody] = [
        *(CheckpointTaken(n=each.number, commit_id=each.commit) for each in news),
        CheckpointRestored(
            n=order.to, written=_texts(restored.written), removed=_texts(restored.removed),
            left=_left(restored), reverted=reverted,
        ),
    ]  # fmt: skip
    events = [Event(run_id=order.run, seq=seq + n, at=at, body=body) for n, body in enumerate(bodies, start=1)]
    rows: list[Row] = [
        *(CheckpointRow(run_id=order.run, n=each.number, commit_id=each.commit, at=at) for each in news),
        *(RevertedRow(run_id=order.run, agent_id=agent_id) for agent_id in reverted),
        *(
            EventRow(
                run_id=each.run_id, seq=each.seq, at=at, event=each.name, payload=json.dumps(redact(event_json(each)))
            )
            for each in events
        ),
    ]
    async with places.open_record(record) as store:
        await store.write(rows, durable=True)


def _texts(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for path in paths)


def _left(restored: Restored) -> tuple[tuple[str, str], ...]:
    paths = _texts(tuple(path for path, _ in restored.left))
    return tuple(zip(paths, (why for _, why in restored.left), strict=True))


async def _place(root: Path, environ: Mapping[str, str]) -> GitPlace | None:
    """The workspace's repository; None where it has none. Raises GitRefusedError."""
    from callsheet.workspace.git import git_place

    return await git_place(root, environ) if places.workspace(root, root).git else None


def _said(error: CheckpointError | GitRefusedError | OSError) -> str:
    return str(error) if isinstance(error, OSError) else error.message
