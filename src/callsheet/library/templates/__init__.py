"""Files to begin from: what `callsheet new` and `callsheet init` write."""

from __future__ import annotations

from pathlib import Path


def template(name: str) -> str:
    """The text of a template: `workflow.js`, `settings.toml` or `jsconfig.json`."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
