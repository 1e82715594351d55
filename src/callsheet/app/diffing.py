"""The use case behind `callsheet diff`: what a run changed, who did, whether it was theirs to change, and what else."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import field, replace
from datetime import datetime
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from callsheet.app.records import Listed, Runs
from callsheet.app.retelling import ends, json_column, retold
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AgentWorktree
from callsheet.model.values import JsonValue
from callsheet.permissions.scopes import Worker, strays
from callsheet.store.record import CallLine, Record, json_list
from callsheet.workspace.changes import Snapshot

_NS = 1_000_000
_MOST_UNREPORTED = 1_000
_COMPARED_CHARS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """How many lines were added and removed; None where the record does not tell."""

    added: int | None = 0
    removed: int | None = 0

    def __add__(self, other: Lines) -> Lines:
        """Both together; what is not known of either is not known of both."""
        return Lines(added=_sum(self.added, other.added), removed=_sum(self.removed, other.removed))


_UNKNOWN = Lines(added=None, removed=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one agent did to one file.

    Attributes:
        is_outside: It is outside of the scope that the agent declared to write.
        branch: Where it is, if it is in a worktree and not in the workspace.
    """

    path: str
    agent_id: str
    label: str
    lines: Lines
    is_outside: bool
    branch: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDiff:
    """What a run changed.

    Attributes:
        scopes: The globs that agents declared to write, of those who went beyond them, by agent.
        unreported: Files last changed while the run was going on, of which no agent said so.
        notes: What could not be looked at.
        counted: The lines of files as checkpoints of before and after the run tell them, whoever changed what.
    """

    run: Listed
    changes: tuple[Change, ...]
    scopes: dict[str, tuple[str, ...]]
    unreported: tuple[str, ...]
    notes: tuple[str, ...]
    counted: dict[str, Lines] = field(default_factory=dict)

    @property
    def outside(self) -> tuple[Change, ...]:
        """What was changed outside of a declared scope."""
        return tuple(change for change in self.changes if change.is_outside)

    @property
    def files(self) -> dict[str, tuple[Change, ...]]:
        """The changes by path, in order of paths."""
        found: dict[str, list[Change]] = {}
        for change in sorted(self.changes, key=lambda one: (one.path, one.agent_id)):
            found.setdefault(change.path, []).append(change)
        return {path: tuple(changes) for path, changes in found.items()}

    @property
    def public(self) -> dict[str, JsonValue]:
        """As public JSON."""
        return {
            "run_id": self.run.run_id,
            "files": [
                {
                    "path": path,
                    **_lines_json(self.counted.get(path, total(changes))),
                    "agents": [_change_json(one) for one in changes],
                }
                for path, changes in self.files.items()
            ],
            "outside": [
                {"path": one.path, "agent_id": one.agent_id, "label": one.label, "scope": [*self.scopes[one.agent_id]]}
                for one in self.outside
            ],
            "unreported": [*self.unreported],
            "notes": [*self.notes],
        }


def total(changes: Sequence[Change]) -> Lines:
    """The lines of some changes together."""
    return sum((change.lines for change in changes), Lines())


def diff_of(runs: Runs, run: Listed) -> RunDiff:
    """What a run changed, as its record says; and of its workspace, as it is now, what else was changed meanwhile.

    Raises:
        NotFoundError: The run is gone.
        StoreError: The record cannot be read.
    """
    record, root = runs.record, runs.root_of(run.run_id)
    said = ends(record, run.run_id)
    trees = {agent_id: agent.worktree for agent_id, agent in said.items()}
    calls = [call for call in record.calls(run.run_id) if json_list(call.files_changed)]
    workers = {call.agent_id: _worker(call) for call in calls}
    outside = strays(workers.values())
    edited = _edited(record, run.run_id, calls, root=root)
    changes = []
    for call in calls:
        tree = trees.get(call.agent_id)
        patched = _patched(runs, tree)
        for path in workers[call.agent_id].files:
            lines = patched.get(path) or edited.get((call.agent_id, path)) or _UNKNOWN
            changes.append(
                Change(
                    path=path,
                    agent_id=call.agent_id,
                    label=call.label,
                    lines=_UNKNOWN if "bash" in json_list(call.tools_called) and path not in patched else lines,
                    is_outside=path in outside.get(call.agent_id, ()),
                    branch=None if tree is None or tree.merged else tree.branch,
                )
            )
    counted: dict[str, Lines] = {}
    if (kept := retold(record, run).changes) is not None:
        notes: tuple[str, ...] = ()
        unreported = tuple(each.path for each in kept if not each.agents)
        counted = {each.path: Lines(added=each.added, removed=each.removed) for each in kept}
        changes = _alone(changes, counted)
    else:
        unreported, notes = _unreported(runs, run, root, {change.path for change in changes})
    return RunDiff(
        run=run,
        changes=tuple(changes),
        scopes={agent_id: workers[agent_id].scope or () for agent_id in outside},
        unreported=unreported,
        notes=notes,
        counted=counted,
    )


def _alone(changes: Sequence[Change], counted: dict[str, Lines]) -> list[Change]:
    """Where only one agent changed a file of the workspace, what it did is what became of the file."""
    by = Counter(change.path for change in changes)
    return [
        replace(change, lines=counted[change.path])
        if by[change.path] == 1 and change.branch is None and change.path in counted
        else change
        for change in changes
    ]


def _worker(call: CallLine) -> Worker:
    options = _object(json_column(call.options))
    own_tree = call.agent_id if options.get("isolation") == "worktree" else ""
    scope = _object(options.get("scope")).get("write")
    return Worker(
        agent_id=call.agent_id,
        scope=_globs(scope),
        files=json_list(call.files_changed),
        tree=str(options.get("worktree") or own_tree),
        started_at=call.timestamp_start,
        ended_at=call.timestamp_end,
    )


def _globs(said: Any) -> tuple[str, ...] | None:
    if isinstance(said, str):
        return (said,)
    return tuple(each for each in said if isinstance(each, str)) if isinstance(said, list) else None


# --- lines ------------------------------------------------------------------------------------------------------------


def _edited(
    record: Record, run_id: str, calls: Sequence[CallLine], *, root: Path | None
) -> dict[tuple[str, str], Lines]:
    """What the edits and writes of each agent did to each file, as far as what they were given tells."""
    found: dict[tuple[str, str], Lines] = {}
    folders = {call.agent_id: str(_object(json_column(call.options)).get("cwd") or "") for call in calls}
    for call in record.tool_calls(run_id, tools=("edit", "write")):
        given = _object(json_column(call.input))
        path = given.get("file_path")
        if call.state != "done" or not isinstance(path, str):
            continue
        key = (call.agent_id, _relative(path, root, folders.get(call.agent_id, "")))
        found[key] = found.get(key, Lines()) + _lines_of(given)
    return found


def _relative(path: str, root: Path | None, cwd: str) -> str:
    """A path as an agent gave it, relative to the workspace, as what it changed is."""
    base = os.sep if root is None else str(root)
    whole = os.path.normpath(os.path.join(base, cwd, path))  # noqa: PTH118 - by its text: nothing may be there any more
    return whole.removeprefix(base.rstrip(os.sep) + os.sep)


def _lines_of(given: dict[str, Any]) -> Lines:
    """The lines of one edit or write. One that replaces every occurrence does not say how many there were."""
    content, old, new = given.get("content"), given.get("old_string"), given.get("new_string")
    if isinstance(content, str):
        return Lines(added=len(content.splitlines()), removed=None)
    if not isinstance(old, str) or not isinstance(new, str) or given.get("replace_all"):
        return _UNKNOWN
    if len(old) + len(new) > _COMPARED_CHARS:
        return _UNKNOWN
    added = removed = 0
    for what, a, b, c, d in SequenceMatcher(a=old.splitlines(), b=new.splitlines(), autojunk=False).get_opcodes():
        if what != "equal":
            removed, added = removed + b - a, added + d - c
    return Lines(added=added, removed=removed)


def _patched(runs: Runs, tree: AgentWorktree | None) -> dict[str, Lines]:
    """What the patch of a worktree adds and removes, by file; nothing where there is none any more."""
    found: dict[str, Lines] = {}
    file = None if tree is None or tree.patch is None else runs.patch(tree.patch)
    if file is None:
        return found
    with suppress(OSError), file.open(encoding="utf-8", errors="replace") as patch:
        path, left = "", 0
        for line in patch:
            if line.startswith("diff --git "):
                path, left = "", 0
            elif left <= 0 and line.startswith(("--- ", "+++ ")):
                name = line[4:].rstrip("\n").split("\t")[0]
                path = name[2:] if name.startswith(("a/", "b/")) else path
            elif line.startswith("@@ ") and left <= 0:
                left = _hunk_lines(line)
                found.setdefault(path, Lines())
            elif left > 0 and line[:1] in ("+", "-", " "):
                left -= 2 if line[0] == " " else 1
                found[path] += Lines(added=int(line[0] == "+"), removed=int(line[0] == "-"))
    return found


def _hunk_lines(head: str) -> int:
    """How many lines of both sides a hunk has, from its head: `@@ -1,3 +1,4 @@`."""
    counts = [part.partition(",")[2] or "1" for part in head.split("@@")[1].split()[:2]]
    return sum(int(count) for count in counts if count.isdigit())


# --- what no agent reported -------------------------------------------------------------------------------------------


def _unreported(
    runs: Runs, run: Listed, root: Path | None, reported: set[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Files of the workspace whose last change fell into the time of the run and that nobody reported; and notes."""
    if root is None or not root.is_dir():
        return (), (f"what else was changed is not known: {root or 'the workspace'} is not there (any more)",)
    if not runs.is_here(root):
        return (), (f"what else was changed is not looked for: the run worked in {root}, another workspace",)
    try:
        begin = datetime.fromisoformat(run.line.started_at).timestamp()
        end = datetime.fromisoformat(run.line.ended_at or run.line.last_at or "").timestamp()
    except ValueError:
        return (), ("what else was changed is not known: the record does not say when the run was",)
    snapshot = Snapshot.take(root)
    found = sorted(
        path
        for path, (_, changed_ns, *_) in snapshot.files.items()
        if begin * 1000 <= changed_ns / _NS <= end * 1000 and path not in reported and f"{path}/" not in reported
    )
    shown = tuple(path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for path in found)
    notes = ("some folders of the workspace could not be looked into",) if snapshot.unread else ()
    if len(shown) > _MOST_UNREPORTED:
        notes = (*notes, f"{len(shown) - _MOST_UNREPORTED:,} more files were changed and reported by no agent")
    return shown[:_MOST_UNREPORTED], notes


# --- plain data -------------------------------------------------------------------------------------------------------


def _object(value: JsonValue) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _lines_json(lines: Lines) -> dict[str, JsonValue]:
    return {"added": lines.added, "removed": lines.removed}


def _change_json(change: Change) -> dict[str, JsonValue]:
    return {
        "agent_id": change.agent_id,
        "label": change.label,
        **_lines_json(change.lines),
        "outside_scope": change.is_outside,
        "branch": change.branch,
    }
