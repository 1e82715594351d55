"""What a model is told that writes workflow scripts."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def guide_text() -> str:
    """The authoring guide, as Markdown."""
    return (_HERE / "guide.md").read_text(encoding="utf-8")


def tool_text() -> str:
    """What the tool that runs workflows says of itself: the dialect on one page."""
    return (_HERE / "tool.md").read_text(encoding="utf-8").strip()
