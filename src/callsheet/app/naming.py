"""Runs by what a person types: an id, the beginning of one, or `last`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from callsheet.errors import NotFoundError, UsageError

LAST = "last"
"""The newest run, wherever a run's id is asked for."""

_RUN_NAME = re.compile(r"run_[A-Za-z0-9_]*")
_NEAR = 5


class Named(Protocol):
    """A run, whatever else is known of it."""

    @property
    def run_id(self) -> str:
        """Its name."""
        ...


RunT = TypeVar("RunT", bound=Named, covariant=True)


class ListRuns(Protocol[RunT]):
    """Gives the runs of a record whose id begins with `prefix`, newest first; at most `limit`, negative for all."""

    def __call__(self, *, limit: int = -1, prefix: str = "") -> Sequence[RunT]:
        """Gives them."""
        ...


def find_run(name: str, listed: ListRuns[RunT], *, record: Path) -> RunT:
    """The run that a name means: an id, the beginning of one, or `last`.

    Args:
        name: As it was typed.
        listed: The runs there are.
        record: Where they are on record.

    Raises:
        NotFoundError: There is none.
        UsageError: Several begin so.
    """
    if name == LAST:
        newest = listed(limit=1)
        if not newest:
            raise NotFoundError(f"The record {record} has no run yet.", name=name)
        return newest[0]
    if not _RUN_NAME.fullmatch(name):
        raise NotFoundError(
            f"{name!r} is no run: their names begin with run_, and `callsheet runs` lists them; {LAST} is the newest.",
            name=name,
        )
    found = listed(prefix=name, limit=_NEAR + 1)
    exact = [run for run in found if run.run_id == name]
    if len(found) == 1 or exact:
        return (exact or list(found))[0]
    if found:
        names = ", ".join(run.run_id for run in found[:_NEAR])
        more = ", …" if len(found) > _NEAR else ""
        raise UsageError(f"{name} is the beginning of several runs: {names}{more}. Give more of it.")
    near = tuple(run.run_id for run in listed(limit=_NEAR))
    raise NotFoundError(
        f"The record {record} has no run {name}. callsheet runs lists them"
        f"{f'; the newest is {near[0]}' if near else ''}.",
        name=name,
        near=near,
    )
