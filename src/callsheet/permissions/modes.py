"""The permission modes: what is accepted where no rule says anything (DESIGN 9)."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never


class Mode(StrEnum):
    """What is accepted where no rule says anything; the values are those of `--permission-mode`."""

    ACCEPT_EDITS = "acceptEdits"
    """Reads and edits in the workspace, and the commands of `commands.toml`."""
    ASK = "ask"
    """Reads in the workspace and commands that only read; each change is asked."""
    PLAN = "plan"
    """Reads; whatever may change something is denied."""
    BYPASS = "bypass"
    """Everything that no `deny` or `ask` rule names."""

    @property
    def freedom(self) -> int:
        """Larger for a mode that accepts more."""
        match self:
            case Mode.PLAN:
                return 0
            case Mode.ASK:
                return 1
            case Mode.ACCEPT_EDITS:
                return 2
            case Mode.BYPASS:
                return 3
            case _:
                assert_never(self)


_SETTINGS_NAMES = {
    "acceptEdits": Mode.ACCEPT_EDITS,
    "ask": Mode.ASK,
    "default": Mode.ASK,
    "dontAsk": Mode.ASK,  # what it would deny unasked is asked here, and headless denied
    "plan": Mode.PLAN,
    "bypass": Mode.BYPASS,
    "bypassPermissions": Mode.BYPASS,
}


def mode_named(name: str) -> Mode | None:
    """A mode by the name that it has in flags or in `defaultMode` of a settings file; None for no such mode."""
    return _SETTINGS_NAMES.get(name)
