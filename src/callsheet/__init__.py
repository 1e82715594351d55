"""Callsheet runs agent workflow scripts: a sandboxed script decides, real agents do the work, everything is on disk.

Importing this package is cheap: what needs time (the engine, the model client) is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from callsheet.app.api import open_run, run

__all__ = ["__version__", "open_run", "run"]


def __getattr__(name: str) -> Any:
    if name in {"run", "open_run"}:
        from callsheet.app import api

        return getattr(api, name)
    raise AttributeError(f"module 'callsheet' has no attribute {name!r}")
