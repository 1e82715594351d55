"""One file with everything of a run: what is in the record, as JSON, secrets replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from callsheet import __version__
from callsheet.app.records import Listed, Runs
from callsheet.app.retelling import agent_whole, ends, json_column, retold_json, run_of
from callsheet.errors import UsageError
from callsheet.model.values import JsonValue
from callsheet.store.record import Record

FORMAT = "callsheet.run"
VERSION = 1
_PATCH_BYTES = 64 * 1024 * 1024


def export(runs: Runs, run: Listed, stream: TextIO) -> None:
    """Writes a run as one JSON object; an agent at a time, so that a large one takes no more memory than a small one.

    Keys: `format`, `version`, `program`, `run` (its row), `result` (FORMATS 1), `agents` (each with prompt, answer,
    tool calls and conversation), `events`, `timers`, `refusals` (calls that no agent stands for),
    `nested_scripts` (those that `workflow()` found), `payments` (each request to a model), `patches` (what worktrees'
    changes are as patches, by path).

    Args:
        runs: The runs of a record.
        run: The run.
        stream: Takes the text.

    Raises:
        NotFoundError: The run is gone.
        StoreError: The record cannot be read.
        OSError: The stream takes no more.
    """
    record = runs.record
    row = run_of(record, run.run_id)
    result = retold_json(record, run)
    said = ends(record, run.run_id)

    def agents() -> Iterator[JsonValue]:
        for call in record.calls(run.run_id):
            yield agent_whole(record, run.run_id, call, said=said.get(call.agent_id))

    stream.write(f'{{"format":"{FORMAT}","version":{VERSION},"program":{_text(__version__)}')
    _field(stream, "run", _run_row(record, row.run.run_id))
    _field(stream, "result", result)
    _list(stream, "agents", agents())
    _list(stream, "events", (event.payload for event in record.events(run.run_id)))
    _list(stream, "timers", record.rows("timers", run.run_id))
    for table in ("refusals", "nested_scripts"):
        _list(stream, table, record.rows(table, run.run_id))
    _list(stream, "payments", (asdict(payment) for payment in record.payments(run_id=run.run_id)))
    _field(stream, "patches", record.shown(_patches(runs, result)))
    stream.write("}\n")


def _run_row(record: Record, run_id: str) -> JsonValue:
    (row,) = record.rows("runs", run_id)
    for name in ("args", "settings", "result", "error"):
        text = row.get(name)
        row[name] = json_column(text) if isinstance(text, str) else None
    row["seed"] = str(row["seed"])  # 64 bits: more than a number of JSON holds everywhere
    return row


def _patches(runs: Runs, result: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The patches that agents' worktrees have left, as far as they are there and are text."""
    found: dict[str, JsonValue] = {}
    agents = result["agents"]
    for agent in agents if isinstance(agents, list) else []:
        tree = agent.get("worktree") if isinstance(agent, dict) else None
        path = tree.get("patch") if isinstance(tree, dict) else None
        file = runs.patch(path) if isinstance(path, str) else None
        if isinstance(path, str) and file is not None:
            with suppress(OSError):
                if file.stat().st_size <= _PATCH_BYTES:
                    found[path] = file.read_text(encoding="utf-8", errors="replace")
    return found


def _field(stream: TextIO, name: str, value: JsonValue) -> None:
    stream.write(f',\n"{name}":{_text(value)}')


def _list(stream: TextIO, name: str, values: Iterable[JsonValue]) -> None:
    stream.write(f',\n"{name}":[')
    between = "\n"
    for value in values:
        stream.write(f"{between}{_text(value)}")
        between = ",\n"
    stream.write("]")


def _text(value: JsonValue) -> str:
    return json.dumps(value, separators=(",", ":"))


@contextmanager
def private_file(path: Path, *, replaces: bool) -> Iterator[TextIO]:
    """A new file that only its user can read, there once all of it is written.

    Args:
        path: Where.
        replaces: A file that is there is replaced.

    Raises:
        UsageError: There is one already, or it cannot be made.
        OSError: It cannot be written; nothing of it stays.
    """
    if not replaces and os.path.lexists(path):
        raise UsageError(f"{path} is there already. Name another file with --output, or replace it with --force.")
    part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        raise UsageError(f"{path} cannot be made: {fault.strerror}. Name another place with --output.") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            yield stream
        if replaces:
            part.replace(path)
        else:
            os.link(part, path)  # never over one that came meanwhile
    finally:
        part.unlink(missing_ok=True)
