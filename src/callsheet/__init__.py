"""Callsheet runs agent workflow scripts: a sandboxed script decides, real agents do the work, everything is on disk.

Importing this package is cheap: what needs time (the engine, the model client) is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from callsheet.app.api import open_run, run
    from callsheet.errors import ControlRefusedError
    from callsheet.model.approval import Answer, Question
    from callsheet.ports import Approver

__all__ = ["Answer", "Approver", "ControlRefusedError", "Question", "__version__", "open_run", "run"]


def __getattr__(name: str) -> Any:
    if name in {"run", "open_run"}:
        from callsheet.app import api

        return getattr(api, name)
    if name in {"Answer", "Question"}:
        from callsheet.model import approval

        return getattr(approval, name)
    if name == "ControlRefusedError":
        from callsheet.errors import ControlRefusedError

        return ControlRefusedError
    if name == "Approver":
        from callsheet.ports import Approver

        return Approver
    raise AttributeError(f"module 'callsheet' has no attribute {name!r}")
