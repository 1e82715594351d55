"""Callsheet runs agent workflow scripts: a sandboxed script decides, real agents do the work, everything is on disk.

Importing this package is cheap: what needs time (the engine, the model client) is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from callsheet.app.api import open_resume, open_run, rehearse, resume, run
    from callsheet.app.control import live_runs, open_control
    from callsheet.app.past_api import apply, recorded, replay, runs
    from callsheet.app.rehearsal_json import rehearsal_json
    from callsheet.app.rehearsal_limits import rehearsal_breaches
    from callsheet.errors import ControlLostError, ControlRefusedError, OverBudgetError
    from callsheet.model.approval import Answer, Question
    from callsheet.model.call import AgentTask
    from callsheet.model.outcome import AgentOutcome, Usage
    from callsheet.model.rehearsal import Breach, Rehearsal
    from callsheet.model.reports import MessageAdded, Progress
    from callsheet.model.spending import Grant, Need, Paid
    from callsheet.ports import AgentBackend, AgentReporter, Approver

__all__ = [
    "AgentBackend",
    "AgentOutcome",
    "AgentReporter",
    "AgentTask",
    "Answer",
    "Approver",
    "Breach",
    "ControlLostError",
    "ControlRefusedError",
    "Grant",
    "MessageAdded",
    "Need",
    "OverBudgetError",
    "Paid",
    "Progress",
    "Question",
    "Rehearsal",
    "Usage",
    "__version__",
    "apply",
    "live_runs",
    "open_control",
    "open_resume",
    "open_run",
    "recorded",
    "rehearsal_breaches",
    "rehearsal_json",
    "rehearse",
    "replay",
    "resume",
    "run",
    "runs",
]

_HOMES = {
    "callsheet.app.api": ("open_resume", "open_run", "rehearse", "resume", "run"),
    "callsheet.app.control": ("live_runs", "open_control"),
    "callsheet.app.past_api": ("apply", "recorded", "replay", "runs"),
    "callsheet.app.rehearsal_json": ("rehearsal_json",),
    "callsheet.app.rehearsal_limits": ("rehearsal_breaches",),
    "callsheet.errors": ("ControlLostError", "ControlRefusedError", "OverBudgetError"),
    "callsheet.model.approval": ("Answer", "Question"),
    "callsheet.model.call": ("AgentTask",),
    "callsheet.model.outcome": ("AgentOutcome", "Usage"),
    "callsheet.model.rehearsal": ("Breach", "Rehearsal"),
    "callsheet.model.reports": ("MessageAdded", "Progress"),
    "callsheet.model.spending": ("Grant", "Need", "Paid"),
    "callsheet.ports": ("AgentBackend", "AgentReporter", "Approver"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'callsheet' has no attribute {name!r}")
