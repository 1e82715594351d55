"""Prices that people give themselves: of gateways, of models that the price list does not know, of other terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from callsheet.model.spending import TokenPrices

_MILLION = 1_000_000
_CACHE_WRITE = 1.25
"""Writing to the cache costs so much more than reading the same prompt anew, where nobody says otherwise."""


def own_price(own: Mapping[str, TokenPrices], model: str) -> TokenPrices | None:
    """One's own price of a model, by its id or the first glob that matches; None where there is none."""
    return own.get(model) or next((own[glob] for glob in own if fnmatchcase(model, glob)), None)


def own_prices(own: Mapping[str, TokenPrices], otherwise: Callable[..., float | None]) -> Callable[..., float | None]:
    """A price list in which one's own prices come first.

    Args:
        own: By model id or glob; an id that is there as it stands comes first, then the first glob that matches.
        otherwise: The price of all other models, as `prices.cost_usd`.
    """
    if not own:
        return otherwise

    def price(
        model: str,
        *,
        input_tokens: int,
        output_tokens: int,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
    ) -> float | None:
        found = own_price(own, model)
        if found is None:
            return otherwise(
                model,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                cache_read_tokens=cache_read_tokens,
                cache_write_tokens=cache_write_tokens,
            )
        read = found.input if found.cache_read is None else found.cache_read
        written = found.input * _CACHE_WRITE if found.cache_write is None else found.cache_write
        total = input_tokens * found.input + output_tokens * found.output
        return (total + cache_read_tokens * read + cache_write_tokens * written) / _MILLION

    return price
