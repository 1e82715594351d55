"""What one agent uses of the budgets that it stands in, its requests under way among them."""

from __future__ import annotations

from dataclasses import field

from callsheet.engine.pots import Scope
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import Usage


@dataclass(slots=True, kw_only=True, eq=False)
class Held:
    """A reservation."""

    tokens: int
    pico: int
    has_price: bool


@dataclass(slots=True, kw_only=True, eq=False)
class Account:
    """One agent's: what it uses counts in all scopes that it stands in.

    Attributes:
        scopes: With budgets; the agent's own first, the run's last.
        tokens, pico: What it has used so far, over all attempts.
        booked: What of the attempt under way has been booked, request by request.
        held: Its requests under way.
    """

    scopes: tuple[Scope, ...]
    tokens: int = 0
    pico: int = 0
    booked: Usage = field(default_factory=Usage)
    held: dict[int, Held] = field(default_factory=dict)


def reserve(account: Account, tokens: int, pico: int) -> None:
    """Takes an amount in every scope, of its tokens or of its trillionths of a dollar; a negative one gives it back."""
    for scope in account.scopes:
        for pot in scope.pots():
            pot.reserved += tokens if pot.kind == "tokens" else pico


def rest_of(usage: Usage, booked: Usage) -> Usage:
    """What a usage has beyond one that was booked; never less than nothing."""
    cost = None if usage.cost_usd is None else max(0.0, usage.cost_usd - (booked.cost_usd or 0.0))
    if cost is None and usage.output_tokens <= booked.output_tokens and usage.input_tokens <= booked.input_tokens:
        cost = 0.0  # nothing is left whose cost could be unknown
    return Usage(
        input_tokens=max(0, usage.input_tokens - booked.input_tokens),
        output_tokens=max(0, usage.output_tokens - booked.output_tokens),
        cache_read_tokens=max(0, usage.cache_read_tokens - booked.cache_read_tokens),
        cache_write_tokens=max(0, usage.cache_write_tokens - booked.cache_write_tokens),
        cost_usd=cost,
        estimated_usd=max(0.0, usage.estimated_usd - booked.estimated_usd),
    )
