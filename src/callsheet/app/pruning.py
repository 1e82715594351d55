"""The use case behind `callsheet prune`: which runs and conversations may go, and letting them go."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path

from callsheet.app import places
from callsheet.app.checkpointing import FOLDER as CHECKPOINTS
from callsheet.app.records import RUNNING, Listed, Runs, Where, open_runs
from callsheet.errors import StoreError
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

DAY_S = 86_400.0
CONVERSATIONS_S = 30 * DAY_S
"""How long conversations are kept (FORMATS 4)."""
OUTPUTS = "outputs"


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneTerms:
    """What is to go. Without `older_than_s` and `most_bytes` no run does.

    Attributes:
        older_than_s: Runs that ended longer ago.
        most_bytes: The oldest runs, until the rest takes no more.
        conversations_s: Conversations of runs that ended longer ago; whole outputs of commands that are as old, and
            scripts that came as text.
        interrupted: Also of runs that could be resumed.
    """

    older_than_s: float | None = None
    most_bytes: int | None = None
    conversations_s: float = CONVERSATIONS_S
    interrupted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """A run that goes.

    Attributes:
        size_bytes: What it takes in the record, about.
        kept: What it leaves behind, one line each: branches, worktrees, patches. They are a person's to take away.
    """

    run: Listed
    size_bytes: int
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What goes and what stays.

    Attributes:
        conversations: Runs whose conversations go; `messages` are how many there are.
        outputs: Files with whole outputs of commands that go.
        scripts: Files with scripts that came as text that go: runs that stay have their text in the record.
        checkpoints: Folders with the checkpoints of the runs that go.
        spared: Runs that would go by age or size and stay, because they go on or could.
    """

    record: Path
    runs: tuple[Going, ...]
    conversations: tuple[str, ...]
    messages: int
    outputs: tuple[Path, ...]
    spared: tuple[Listed, ...]
    is_in_use: bool = False
    checkpoints: tuple[Path, ...] = ()
    scripts: tuple[Path, ...] = ()

    @property
    def public(self) -> dict[str, JsonValue]:
        """As public JSON."""
        return {
            "record": str(self.record),
            "runs": [
                {"run_id": one.run.run_id, "bytes": one.size_bytes, "left_behind": list(one.kept)} for one in self.runs
            ],
            "conversations": list(self.conversations),
            "messages": self.messages,
            "outputs": [str(path) for path in self.outputs],
            "scripts": [str(path) for path in self.scripts],
            "spared": [{"run_id": run.run_id, "status": run.status} for run in self.spared],
        }


def plan_pruning(where: Where, terms: PruneTerms, *, now: datetime | None = None) -> PrunePlan:
    """Looks what would go; changes nothing. A run that goes on never does, with whatever terms.

    Raises:
        UsageError: There is no such workspace.
        StoreError: There is no record, it cannot be read, or it is damaged.
    """
    now = now or datetime.now(UTC)
    with open_runs(where, as_written=True) as runs:
        if runs.record.damage is not None:
            raise StoreError(f"{runs.record.damage} Nothing is taken out of a damaged record.")
        plan = _Planner(runs, terms, now).plan(_old_files(where, OUTPUTS, "*.txt", terms, now))
        wanted = {run.line.script_path for run in runs.listed() if not run.is_over}
        scripts = tuple(
            path for path in _old_files(where, places.SCRIPTS, "*.js", terms, now) if str(path) not in wanted
        )
    return replace(plan, scripts=tuple(scripts), checkpoints=_checkpoints(where, plan))


def prune(plan: PrunePlan) -> None:
    """Does what was planned.

    Raises:
        StoreError: The record cannot be written.
    """
    from callsheet.store.pruning import delete_conversations, delete_runs, give_back

    if plan.conversations:
        delete_conversations(plan.record, plan.conversations)
    if plan.runs:
        delete_runs(plan.record, [(one.run.run_id, one.run.line.status) for one in plan.runs])
    if (plan.runs or plan.conversations) and not plan.is_in_use:
        give_back(plan.record)
    for path in (*plan.outputs, *plan.scripts):
        with suppress(OSError):
            path.unlink(missing_ok=True)
    for folder in plan.checkpoints:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class _Planner:
    runs: Runs
    terms: PruneTerms
    now: datetime
    spared: dict[str, Listed] = field(default_factory=dict)

    def plan(self, outputs: tuple[Path, ...]) -> PrunePlan:
        listed = self.runs.listed()
        sizes = self.runs.record.sizes()
        going = self._by_size(listed, self._by_age(listed), sizes)
        stale = [
            run
            for run in listed
            if run.run_id not in going and self._may_go(run) and self._age_s(run) > self.terms.conversations_s
        ]
        messages = self.runs.record.message_counts()
        conversations = tuple(run.run_id for run in stale if messages.get(run.run_id))
        return PrunePlan(
            record=self.runs.record.path,
            runs=tuple(
                Going(run=run, size_bytes=sizes.get(run.run_id, 0), kept=tuple(left_behind(self.runs, run.run_id)))
                for run in going.values()
            ),
            conversations=conversations,
            messages=sum(messages[run_id] for run_id in conversations),
            outputs=outputs,
            spared=tuple(self.spared.values()),
            is_in_use=any(run.status == RUNNING for run in listed),
        )

    def _by_age(self, listed: Sequence[Listed]) -> dict[str, Listed]:
        oldest = self.terms.older_than_s
        if oldest is None:
            return {}
        return {run.run_id: run for run in listed if self._age_s(run) > oldest and self._may_go(run, is_wanted=True)}

    def _by_size(self, listed: Sequence[Listed], going: dict[str, Listed], sizes: dict[str, int]) -> dict[str, Listed]:
        if self.terms.most_bytes is None:
            return going
        rest = sum(size for run_id, size in sizes.items() if run_id not in going)
        for run in reversed(listed):
            if rest <= self.terms.most_bytes:
                break
            if run.run_id not in going and self._may_go(run, is_wanted=True):
                going[run.run_id] = run
                rest -= sizes.get(run.run_id, 0)
        return going

    def _may_go(self, run: Listed, *, is_wanted: bool = False) -> bool:
        """Whether nothing is to come of a run; one that goes on, or may, stays in any case."""
        may = run.is_over or (run.status != RUNNING and self.terms.interrupted)
        if is_wanted and not may:
            self.spared[run.run_id] = run
        return may

    def _age_s(self, run: Listed) -> float:
        line = run.line
        try:
            ended = datetime.fromisoformat(line.ended_at or line.last_at or line.started_at)
        except ValueError:
            return 0.0
        return (self.now - ended).total_seconds()


def left_behind(runs: Runs, run_id: str) -> Iterator[str]:
    """What a run has made outside its record that is still somebody's: branches, worktrees, patches."""
    record = runs.record
    trees = [event.payload.get("worktree") for event in record.events(run_id, names=("agent.finished",))]
    last = record.last_event(run_id, "run.finished")
    if last is not None:
        agents = last.payload.get("agents")
        trees += [one.get("worktree") for one in agents if isinstance(one, dict)] if isinstance(agents, list) else []
        trees.append(last.payload.get("worktree"))
    found: dict[str, None] = {}
    for tree in trees:
        if not isinstance(tree, dict) or tree.get("merged"):
            continue
        for key, what in (("branch", "branch"), ("path", "worktree"), ("patch", "patch")):
            if isinstance(value := tree.get(key), str):
                found[f"{what} {value}"] = None
    yield from found


def _checkpoints(where: Where, plan: PrunePlan) -> tuple[Path, ...]:
    folders = places.state_folders(where.root, where.environ)
    named = (folder / CHECKPOINTS / one.run.run_id for folder in folders for one in plan.runs)
    return tuple(folder for folder in named if folder.is_dir())


def _old_files(where: Where, name: str, pattern: str, terms: PruneTerms, now: datetime) -> tuple[Path, ...]:
    """Files of a folder of ours, of outputs or scripts, older than conversations may be."""
    found = []
    for folder in places.state_folders(where.root, where.environ):
        for path in sorted((folder / name).glob(pattern)):
            with suppress(OSError):
                if now.timestamp() - path.lstat().st_mtime > terms.conversations_s:
                    found.append(path)
    return tuple(found)
