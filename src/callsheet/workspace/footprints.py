"""Which agent changed which file, and how the file was before and after: what it takes to undo just that.

A line of a file says each thing as it happens, so that a run that was killed leaves all but the last one behind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Literal, Self

from callsheet.model.dataclass import dataclass
from callsheet.workspace.stock import Entry

UNKNOWN = "how it was before is not known"

_NAME = "footprints"
_NEVER = object()
_Kind = Literal["before", "after", "unknown", "undone", "ended", "taking", "taken"]


@dataclass(slots=True, kw_only=True)
class Step:
    """What one agent did to one file.

    Attributes:
        before: As it was before; None where it was not there.
        after: As the agent left it, where `is_known`.
        why_not: Why it cannot be undone by itself; None where it can.
    """

    before: Entry | None = None
    after: Entry | None = None
    is_known: bool = False
    why_not: str | None = None


@dataclass(slots=True)
class Footprints:
    """What all agents of a run did, told in the order in which it happened. Plain data; `Diary` keeps it on disk.

    Attributes:
        since: How agents left files since the last checkpoint.
    """

    since: dict[str, Entry | None] = field(default_factory=dict)
    _steps: dict[str, dict[str, Step]] = field(default_factory=dict)
    _last: dict[str, str] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)
    _taking: dict[str, Entry | None] = field(default_factory=dict)

    def of(self, agent: str) -> Mapping[str, Step]:
        """What an agent did, by path."""
        return {path: steps[agent] for path, steps in self._steps.items() if agent in steps}

    def of_file(self, path: str) -> Mapping[str, Step]:
        """What agents did to a file, in the order in which they began."""
        return self._steps.get(path, {})

    @property
    def paths(self) -> tuple[str, ...]:
        """All files that agents changed, or were about to."""
        return tuple(path for path, steps in self._steps.items() if steps)

    def last(self, path: str) -> str | None:
        """The agent that changed a file last."""
        return self._last.get(path)

    def before(self, agent: str, path: str, entry: Entry | None) -> None:
        """An agent is about to change a file, which is so now."""
        self._ended.discard(agent)
        steps = self._steps.setdefault(path, {})
        for other, step in steps.items():
            if other != agent and other not in self._ended:
                step.why_not = f"{agent} changed it too, before {other} had ended"
        if agent not in steps:
            steps[agent] = Step(before=entry)
        elif (last := self._last.get(path)) != agent:
            steps[agent].why_not = f"{last} changed it too, between two changes of {agent}"
        self._last[path] = agent
        self.since[path] = entry

    def after(self, agent: str, path: str, entry: Entry | None) -> None:
        """It has changed it."""
        step = self._steps[path][agent]
        step.after, step.is_known = entry, True
        if self._last[path] == agent:
            self.since[path] = entry

    def unknown(self, agent: str, path: str, entry: Entry | None, why: str) -> None:
        """It changed it, so that it is so now, and it is not known how it was before."""
        step = self._steps.setdefault(path, {}).setdefault(agent, Step())
        step.after, step.is_known, step.why_not = entry, True, why
        self._last[path] = agent
        self.since[path] = entry

    def ended(self, agent: str) -> None:
        """It changes nothing more, unless it is asked again."""
        self._ended.add(agent)

    def undone(self, agent: str, path: str) -> None:
        """What it did to a file is undone."""
        steps = self._steps.get(path, {})
        step = steps.pop(agent, None)
        if self._last.get(path) == agent:
            self.since[path] = None if step is None else step.before
            self._last.pop(path)
            if steps:
                self._last[path] = [*steps][-1]

    def taking(self) -> None:
        """A checkpoint is being taken: it will have files as they are now, or later."""
        self._taking = dict(self.since)

    def taken(self) -> None:
        """It was taken."""
        self.since = {path: entry for path, entry in self.since.items() if self._taking.get(path, _NEVER) != entry}
        self._taking = {}


class Diary:
    """Footprints with a file behind them.

    Attributes:
        footprints: What it says.
    """

    def __init__(self, footprints: Footprints, descriptor: int) -> None:
        self.footprints = footprints
        self._descriptor = descriptor

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Goes on with the one of a run, or begins it.

        Raises:
            OSError: It cannot be read or written.
        """
        path = folder / _NAME
        footprints = read_footprints(folder)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if (size := os.fstat(descriptor).st_size) and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")  # the last line was cut short
        return cls(footprints, descriptor)

    def note(
        self, kind: _Kind, agent: str = "", path: str = "", entry: Entry | None = None, why: str | None = None
    ) -> None:
        """Says one thing; it survives this process when this returns.

        Raises:
            OSError: It cannot be written.
        """
        said = None if entry is None else [entry.mode, entry.blob]
        os.write(self._descriptor, json.dumps([kind, agent, path, said, why]).encode("ascii") + b"\n")
        _tell(self.footprints, kind, agent, path, entry, why)

    def close(self) -> None:
        """Ends it."""
        os.close(self._descriptor)


def read_footprints(folder: Path) -> Footprints:
    """What a run's file says; nothing where there is none.

    Raises:
        OSError: It cannot be read.
    """
    found = Footprints()
    with suppress(FileNotFoundError):
        for said in _lines(folder / _NAME):
            with suppress(KeyError):  # a line before it is damaged
                _tell(found, *said)
    return found


def _lines(path: Path) -> Iterator[tuple[_Kind, str, str, Entry | None, str | None]]:
    with path.open(encoding="ascii", errors="replace") as file:
        for line in file:
            with suppress(ValueError, TypeError):
                kind, agent, name, entry, why = json.loads(line)
                yield kind, agent, name, None if entry is None else Entry(int(entry[0]), str(entry[1])), why


def _tell(found: Footprints, kind: _Kind, agent: str, path: str, entry: Entry | None, why: str | None) -> None:
    match kind:
        case "before":
            found.before(agent, path, entry)
        case "after":
            found.after(agent, path, entry)
        case "unknown":
            found.unknown(agent, path, entry, why or UNKNOWN)
        case "undone":
            found.undone(agent, path)
        case "ended":
            found.ended(agent)
        case "taking":
            found.taking()
        case "taken":
            found.taken()
