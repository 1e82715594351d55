"""Whether a row is as it was written: SQLite notices a page that is broken, not a letter that is another one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

from callsheet.model.records import AgentRow

SqlValue: TypeAlias = str | int | float | None

_SAID = 5

_SCRIPT = ("run_id", "script_text", "args")
_OUTCOME = (
    *("run_id", "agent_id", "key", "occurrence", "model", "attempts"),
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_usd"),
    *("tools_called", "files_accessed", "files_changed", "marks", "details", "error", "result"),
)
"""What a resumed run takes from an agent's row, as far as nothing but an outcome writes it."""

_script: Callable[[Any], tuple[SqlValue, ...]] = attrgetter(*_SCRIPT)
_outcome: Callable[[Any], tuple[SqlValue, ...]] = attrgetter(*_OUTCOME)


def script_checksum(row: Any) -> int:
    """Of a `RunRow`: what it runs."""
    return _checksum(_script(row))


def outcome_checksum(row: AgentRow) -> int | None:
    """Of an agent's row: how it ended; None while it has not."""
    return None if row.timestamp_end is None else _checksum(_outcome(row))


def is_script_altered(row: sqlite3.Row) -> bool:
    """Whether script or arguments of a recorded run are other than what was written. Older records never say."""
    return _is_altered(row, _SCRIPT)


def is_outcome_altered(row: sqlite3.Row) -> bool:
    """Whether the recorded outcome of an agent is other than what was written. Older records never say."""
    return _is_altered(row, _OUTCOME)


def script_line(path: Path, run_id: str) -> str:
    """What people are told where script or arguments of a run are other than what was written."""
    return (
        f"The record {path} is damaged: script or arguments of {run_id} are lost, or not what was written. To resume "
        "it name them: --script FILE, and --args where it had any."
    )


def altered_line(path: Path, agents: Sequence[str]) -> str:
    """What people are told of outcomes that are other than what was written."""
    names = ", ".join(agents[:_SAID]) + (f" and {len(agents) - _SAID:,} more" if len(agents) > _SAID else "")
    return (
        f"The record {path} is damaged: what it says of {names} is not what was written. A resumed run asks "
        f"{'it' if len(agents) == 1 else 'them'} anew."
    )


def outcome_columns() -> str:
    """The columns that `is_outcome_altered` looks at, for a query."""
    return ", ".join((*_OUTCOME, "checksum"))


def _is_altered(row: sqlite3.Row, names: Iterable[str]) -> bool:
    expected = row["checksum"] if "checksum" in row.keys() else None  # noqa: SIM118 (a row iterates over its values)
    return expected is not None and expected != _checksum(tuple(row[name] for name in names))


def _checksum(values: tuple[SqlValue, ...]) -> int:
    # Half a surrogate pair is written as its escape, which is how it looks here too; a column of REAL makes 0 to 0.0.
    texts = (str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in values)
    return crc32("\x1f".join(texts).encode("utf-8", "backslashreplace"))
