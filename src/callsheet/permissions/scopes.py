"""Which changes lie outside of what their agents declared to write (CONTRACT A14), told from who changed what and when.

What a command changed is found by looking at the workspace before and after it: what others change meanwhile is found
too. So a file counts against an agent only where nobody else who may write it reported it at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable

from callsheet.model.dataclass import dataclass
from callsheet.permissions.globs import Globs


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """An agent that changed files.

    Attributes:
        scope: The globs that it may write; None where it did not declare any.
        files: What it changed, relative to its root.
        tree: Where: equal for agents in one tree, so empty for the workspace.
        started_at, ended_at: ISO 8601 UTC, so that they compare as texts; None where it is not known.
    """

    agent_id: str
    scope: tuple[str, ...] | None
    files: tuple[str, ...]
    tree: str = ""
    started_at: str | None = None
    ended_at: str | None = None

    def was_there_with(self, other: Worker) -> bool:
        """Whether both were at work in one tree at one time."""
        starts_late = (self.started_at or "") > (other.ended_at or "~")
        ends_early = (self.ended_at or "~") < (other.started_at or "")
        return self.tree == other.tree and not starts_late and not ends_early


def strays(workers: Iterable[Worker]) -> dict[str, tuple[str, ...]]:
    """What each agent changed outside of its scope, by agent; those that changed nothing there are not in it."""
    every = list(workers)
    globs = {worker.agent_id: None if worker.scope is None else Globs(worker.scope) for worker in every}
    by_file: dict[str, list[Worker]] = {}
    for worker in every:
        for file in worker.files:
            by_file.setdefault(file, []).append(worker)

    def may(worker: Worker, file: str) -> bool:
        scope = globs[worker.agent_id]
        return scope is None or scope.match(file)

    found: dict[str, tuple[str, ...]] = {}
    for worker in every:
        outside = tuple(
            file
            for file in worker.files
            if not may(worker, file)
            and not any(
                other is not worker and may(other, file) and other.was_there_with(worker) for other in by_file[file]
            )
        )
        if outside:
            found[worker.agent_id] = outside
    return found
