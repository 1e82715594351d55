"""The tools by name, and how a call that did not work is told. Imports nothing, unlike their inputs."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

ToolName = Literal["bash", "read", "write", "edit", "glob", "grep", "web_fetch", "skill"]
TOOL_NAMES: tuple[ToolName, ...] = ("bash", "read", "write", "edit", "glob", "grep", "web_fetch", "skill")
CHANGING_TOOLS: frozenset[ToolName] = frozenset({"bash", "write", "edit"})
"""Tools whose calls are on record before they run (CONTRACT R01); of bash, those that may change something."""
EDITING_TOOLS: frozenset[ToolName] = frozenset({"write", "edit"})
"""Tools that do nothing but change files: an agent that may change nothing is not shown them."""

WEB_SEARCH = "web_search"
"""Searching the web: what the service does by itself while it replies, where an agent has it."""

ToolContent: TypeAlias = str | list[dict[str, Any]]
"""What a tool gives back: text, or content blocks of the Messages API (images, documents)."""


class ToolFailure(Exception):
    """A tool call that did not work. Its text goes to the model, which can act on it.

    Attributes:
        denied: It was not allowed, rather than not possible.
        rule: What decided, where it was denied, in a few words.
        would_allow: Rules that would have allowed it, ready to paste.
        detail: For the record, where that is not the message.
    """

    def __init__(
        self,
        message: str,
        *,
        denied: bool = False,
        rule: str | None = None,
        would_allow: tuple[str, ...] = (),
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.denied = denied
        self.rule = rule
        self.would_allow = would_allow
        self.detail = detail
