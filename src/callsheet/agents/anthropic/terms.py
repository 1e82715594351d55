"""What all requests of one agent have in common."""

from __future__ import annotations

from collections.abc import Mapping

from callsheet.agents.prompt import SystemPrompt
from callsheet.model.call import Effort
from callsheet.model.dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What all requests of one agent have in common.

    Attributes:
        request_tokens: Output tokens that one request may ask for.
        opening_tokens: How long system prompt and tools are at most.
        silence_s: How long the service may send nothing (`stallMs`).
        headers: Sent with each request.
        thinks_when_asked: The model thinks only where adaptive thinking is asked for.
        is_fast: Fast mode is asked for.
        betas: What of the service's betas each request needs.
        compact_at_tokens: How long the conversation may become before it is compacted; None where it cannot be.
        agent: Which one it is, among all of the process.
        backend, asked: The backend, and the model as the call asks for it.
        takes_notices: The model takes system messages within a conversation.
        prefix: Stands for the beginning of the prompt that other agents share; None where it is not worth waiting for.
    """

    model: str
    system: SystemPrompt
    effort: Effort | None
    request_tokens: int
    max_turns: int
    silence_s: float
    headers: Mapping[str, str]
    opening_tokens: int = 0
    thinks_when_asked: bool = False
    is_fast: bool = False
    betas: tuple[str, ...] = ()
    compact_at_tokens: int | None = None
    agent: str
    prefix: object | None = None
    backend: str = ""
    asked: str | None = None
    takes_notices: bool = False
