"""What a run needs to go on by itself: answers to what only a person may grant, and a file for its last words."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app import places
from callsheet.app.plan import Plan, RunOrder, Surroundings, plan_run
from callsheet.app.pruning import OUTPUTS
from callsheet.app.trusting import Person, TrustQuestion
from callsheet.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Remembered(Person):
    """Passes questions on, and knows what was granted for this one time."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self.goes = False

    def trusts(self, question: TrustQuestion) -> bool:
        return self._person.trusts(question)

    def goes_without_hooks(self, files: tuple[str, ...]) -> bool:
        self.goes = self._person.goes_without_hooks(files)
        return self.goes


def asked_before(order: RunOrder, person: Person | None) -> RunOrder:
    """The order, after a person was asked what nobody can be asked any more once the run goes on by itself.

    What they trust is remembered for the folder; that a run goes on without its hooks is part of the order.

    Raises:
        UsageError: As `plan_run`.
        TrustRefusedError: They said no to a run without its hooks.
    """
    if person is None or order.permissions.config_from is not None:
        return order
    remembered = _Remembered(person)
    plan_run(order, Surroundings(interactive=True), person=remembered)
    if not remembered.goes:
        return order
    return replace(order, permissions=replace(order.permissions, ignore_hooks=True))


def is_asked_later(environ: Mapping[str, str]) -> bool:
    """Whether what agents may not do by themselves can wait for somebody to answer: not in a CI job."""
    return environ.get("CI", "") in ("", "0", "false") and not environ.get("GITHUB_ACTIONS")


def open_last_words(plan: Plan, run_id: str) -> tuple[int, Path | None]:
    """A file for what a run says that no terminal shows: how it ended, faults of ours. Its descriptor, and its path.

    It lies beside the record, is the user's alone, and goes when `callsheet prune` takes whole outputs away. Where it
    cannot be made that leads nowhere.
    """
    try:
        folder = places.state_folder(plan.workspace.root, plan.around.environ) / OUTPUTS
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"detached-{run_id}.txt"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, 0o600), path
    except (OSError, StoreError):
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), None
