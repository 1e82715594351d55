"""The file tools by name, and how a call that did not work is told. Imports nothing, unlike their inputs."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

ToolName = Literal["read", "write", "edit", "glob", "grep"]
TOOL_NAMES: tuple[ToolName, ...] = ("read", "write", "edit", "glob", "grep")
CHANGING_TOOLS: frozenset[ToolName] = frozenset({"write", "edit"})

ToolContent: TypeAlias = str | list[dict[str, Any]]
"""What a tool gives back: text, or content blocks of the Messages API (images, documents)."""


class ToolFailure(Exception):
    """A tool call that did not work. Its text goes to the model, which can act on it.

    Attributes:
        denied: It was not allowed, rather than not possible.
    """

    def __init__(self, message: str, *, denied: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.denied = denied
