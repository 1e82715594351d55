"""When a conversation has become so long that the service is asked for a summary of it."""

from __future__ import annotations

from anthropic.types.beta import BetaMessage

BETA = "compact-2026-09-04"


class Compaction:
    """Whether one conversation is compacted before it goes on.

    Attributes:
        is_running: The next request, or the one under way, asks for the summary.
    """

    def __init__(self, limit_tokens: int | None) -> None:
        """Nothing is due yet.

        Args:
            limit_tokens: How long the conversation may become; None where it cannot be compacted.
        """
        self._limit_tokens = limit_tokens
        self._is_possible = limit_tokens is not None
        self._size_tokens = 0
        self._has_summary = False
        self.is_running = False

    @property
    def is_due(self) -> bool:
        """Whether the conversation is to be compacted before it goes on."""
        return self._is_possible and self._limit_tokens is not None and self._size_tokens >= self._limit_tokens

    @property
    def betas(self) -> tuple[str, ...]:
        """What of the service's betas the next request needs on its account: also to send a summary back."""
        return (BETA,) if self.is_running or self._has_summary else ()

    def begin_if_due(self, *, awaits_reply: bool) -> None:
        """Makes the next request one for a summary if one is due; in the middle of what the model says it cannot be."""
        self.is_running = self.is_due and awaits_reply

    def goes_on(self, known_tokens: int | None, *, has_summary: bool) -> None:
        """The conversation is one that was had before, so long by the service's count; 0 where that is not known."""
        self._size_tokens = known_tokens or 0
        self._has_summary = has_summary

    def took(self, reply: BetaMessage) -> None:
        """Notes how long the conversation is with a reply."""
        usage = reply.usage
        cached_tokens = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        self._size_tokens = usage.input_tokens + cached_tokens + usage.output_tokens

    def finished(self, reply: BetaMessage) -> bool:
        """Ends a compaction; whether the reply holds a summary. One that does not shows that there will be none."""
        self.is_running = False
        self._size_tokens = 0
        if any(block.type == "compaction" and block.content for block in reply.content):
            self._has_summary = True
            return True
        self._is_possible = False
        return False

    def refused(self) -> None:
        """Gives up: gateways, and models that are not listed, may not know of it. The window is the limit then."""
        self.is_running = self._is_possible = False

    def outgrew(self) -> bool:
        """The window was full earlier than was counted: a compaction is due at once. False where it is not possible."""
        if self._is_possible:
            self._size_tokens = self._limit_tokens or 0
        return self._is_possible
