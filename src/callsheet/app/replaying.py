"""The use case: run a recorded run again from its record alone, and say what is other than recorded.

Nothing is made, locked or written: the record is only read, and no workspace need be there.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import field, replace
from pathlib import Path

from anyio import to_thread

from callsheet.app import compose
from callsheet.app.naming import LAST
from callsheet.app.plan import Surroundings
from callsheet.app.records import Where, open_runs
from callsheet.app.source import find_script, recorded_origin
from callsheet.errors import NotFoundError
from callsheet.library.library import Library
from callsheet.model.dataclass import dataclass
from callsheet.model.replayed import DifferenceKind, Ignorable, RecordedNested, RecordedRun, ReplayResult
from callsheet.model.script import Script
from callsheet.permissions.redact import Redactor
from callsheet.store.record import hidden

_KINDS: dict[Ignorable, tuple[DifferenceKind, ...]] = {
    "labels": ("label",),
    "phases": ("phase", "phases"),
    "limits": ("limits",),
    "logs": ("log",),
    "result": ("result", "error"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOrder:
    """What a caller asks for.

    Attributes:
        run: A run's id, its beginning, `last`, or a file that `callsheet export` has written.
        script: A path, a saved name, or `-` for `stdin`, to be held against the record; None for the recorded script.
        ignore: Differences that are none.
    """

    run: str = LAST
    script: str | None = None
    ignore: Collection[Ignorable] = ()
    where: Where = field(default_factory=Where)
    stdin: bytes | None = None


async def replay(order: ReplayOrder, around: Surroundings) -> ReplayResult:
    """Runs it, in the sandbox alone. Cancelling ends it at once.

    Raises:
        NotFoundError: There is no such run, or no such script.
        UsageError: Several runs begin so; the file is no exported run.
        ScriptRefusedError: The script cannot be run.
        StoreError: The record cannot be read.
        SandboxError: The sandbox does not start.
    """
    redactor = Redactor(around.environ)
    recorded = await to_thread.run_sync(_recorded, order, redactor)
    library = await to_thread.run_sync(_library, order, around)
    script = await to_thread.run_sync(_script, order, recorded, library, around)
    from callsheet.engine.replaying import replay_run

    async with compose.script_host().open(recorded.limits) as session:
        found = await replay_run(
            recorded,
            script=script,
            is_recorded_script=order.script is None,
            session=session,
            library=library,
            read=_nested,
            syntax_finding=compose.syntax_finding,
            redact_text=redactor.text,
            redact_json=redactor.json,
        )
    return hidden(_without(found, order.ignore), redactor)


def _without(found: ReplayResult, ignore: Collection[Ignorable]) -> ReplayResult:
    kinds = {kind for name in ignore for kind in _KINDS[name]}
    left = tuple(one for one in found.differences if one.kind not in kinds)
    if found.status != "differs" or left:
        return replace(found, differences=left)
    is_whole = found.stop is None
    return replace(found, differences=(), status="same" if is_whole else "partial")


def _recorded(order: ReplayOrder, redactor: Redactor) -> RecordedRun:
    """The run as it was, and what was shown of it as it would be shown now: that is what it is compared by."""
    from callsheet.store.replaying import read_replayable

    with _record(order) as (path, run_id):
        found = read_replayable(path, run_id)
    agents = tuple(
        replace(agent, label=hidden(agent.label, redactor), phase=hidden(agent.phase, redactor))
        for agent in found.past.agents
    )
    return replace(
        found,
        past=replace(found.past, agents=agents),
        logs=hidden(found.logs, redactor),
        phases=hidden(found.phases, redactor),
        error=hidden(found.error, redactor),
        result=hidden(found.result, redactor),
    )


@contextmanager
def _record(order: ReplayOrder) -> Iterator[tuple[Path, str]]:
    """Where the run is on record, and its id; of an exported file a record that is gone afterwards."""
    if os.sep in order.run or order.run.endswith(".json"):
        with _exported(order.where.start / order.run, order.run) as found:
            yield found
    else:
        with open_runs(order.where) as runs:
            run_id = runs.find(order.run).run_id
        yield order.where.record, run_id


@contextmanager
def _exported(file: Path, name: str) -> Iterator[tuple[Path, str]]:
    from callsheet.store.importing import imported

    if not file.is_file():
        raise NotFoundError(f"There is no file {name}: callsheet export RUN writes one.", name=name)
    with imported(file) as found:
        yield found


def _library(order: ReplayOrder, around: Surroundings) -> Library:
    root = order.where.root
    return compose.library(root, start=around.start, home=around.home, environ=around.environ)


def _script(order: ReplayOrder, recorded: RecordedRun, library: Library, around: Surroundings) -> Script:
    read = compose.script_reader()
    if order.script is not None:
        found = find_script(order.script, start=around.start, stdin=order.stdin, library=library, read=read)
        return replace(found, origin=order.script)
    data = recorded.script_text.encode("utf-8", "surrogatepass")
    return read(data, origin=recorded_origin(recorded.script_path, recorded.script_text), path=recorded.script_path)


def _nested(found: RecordedNested) -> Script:
    data = (found.text or "").encode("utf-8", "surrogatepass")
    return compose.script_reader()(data, origin=found.asked, path=found.path)


def replay_json(found: ReplayResult) -> dict[str, object]:
    """What a replay came to, as public JSON."""
    error = found.error
    return {
        "run_id": found.run_id,
        "workflow": found.workflow,
        "script": found.script,
        "status": found.status,
        "recorded": {"status": found.recorded_status, "calls": found.recorded_calls},
        "calls": found.calls,
        "result": found.result,
        "error": None
        if error is None
        else {"kind": error.kind, "message": error.message, "line": error.line, "column": error.column},
        "stop": found.stop,
        "differences": [
            {
                "kind": one.kind,
                "message": one.message,
                "call": one.call,
                "agent_id": one.agent_id,
                "label": one.label,
                "phase": one.phase,
                "line": one.line,
                "part": one.part,
                "recorded": one.recorded,
                "now": one.now,
            }
            for one in found.differences
        ],
        "notes": list(found.notes),
        "duration_ms": found.duration_ms,
    }
