"""Budgets, and what one request to a model may cost: asked for before it is sent, settled after it (CONTRACT G04)."""

from __future__ import annotations

from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Output tokens, US dollars, or both. None: no limit of that kind."""

    tokens: int | None = None
    usd: float | None = None

    def __bool__(self) -> bool:
        return self.tokens is not None or self.usd is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one request to a model may use, at worst.

    A program that asks a model by itself can ask for its whole allowance at once: the tokens that it may have written.

    Attributes:
        model: As its price is known.
        output_tokens: As many as the request would like to ask for (`max_tokens`).
        enough_tokens: With so many it goes at once; where fewer are free only because other requests are under way,
            it waits for these.
        fixed_usd: What it costs at most before a single token of the reply: prompt, tools of the service. None where no
            price is known.
        output_usd: What each token of the reply costs at most; None where no price is known.
        remedy: Where no price is known: how to give one, as the end of a sentence.
        keeps_own_usd: Who asks keeps to the agent's own limit in dollars by itself, at prices of its own, so that this
            one need not be known here.
    """

    model: str
    output_tokens: int
    enough_tokens: int
    fixed_usd: float | None
    output_usd: float | None
    remedy: str = "give its price (setting `prices`)"
    keeps_own_usd: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A request may be sent.

    Attributes:
        n: Names the reservation when it is settled.
        output_tokens: What the request may ask for, at most what was wanted.
        usd: The dollars that are set aside for it; None where no price is known, and no budget needs one.
    """

    n: int
    output_tokens: int
    usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """A request is over, and this is what it came to: nothing where the service did not take it.

    Attributes:
        fault: What it broke off with, as the service or the client names it; None where it did not, or nobody knows.
    """

    n: int
    usage: Usage
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrices:
    """Dollars for a million tokens of each kind.

    Attributes:
        cache_read: Without it as dear as fresh input: a price that is not known is never taken for a low one.
        cache_write: Without it a quarter more than fresh input.
    """

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None
