"""The cost of model requests, by the prices that come with the genai-prices library. Nothing is ever fetched."""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from typing import TYPE_CHECKING

from callsheet.model.dataclass import dataclass

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider


@dataclass(frozen=True, slots=True)
class _Rates:
    """US dollars a token of each kind, while the prompt's length stays between two steps of the price list."""

    fresh: float
    output: float
    cache_read: float
    cache_write: float


@dataclass(frozen=True, slots=True)
class _Tariff:
    """A model's prices: `rates[i]` holds for prompts longer than `steps[i - 1]` and at most `steps[i]` tokens.

    `search` is what one search of the web costs; None where that is not known.
    """

    steps: tuple[int, ...]
    rates: tuple[_Rates, ...]
    search: float | None


def cost_usd(
    model: str,
    *,
    input_tokens: int,
    output_tokens: int,
    cache_read_tokens: int = 0,
    cache_write_tokens: int = 0,
    seller: str | None = None,
) -> float | None:
    """What one request costs, in US dollars; None when the model's price is not known.

    Give the tokens of one request, not a sum over several: some prices depend on how long the prompt is. The first call
    of a process loads the price list (0.4 to 0.6 s); later ones take a microsecond, for the library is asked only once
    for what a token of each kind costs (it takes 0.2 ms to price a request).

    Args:
        model: The model's full name, as the service gives it.
        input_tokens: Tokens of the prompt that were neither read from nor written to the cache, as the Messages API
            counts them.
        output_tokens: Tokens of the reply.
        cache_read_tokens: Tokens of the prompt that were read from the cache.
        cache_write_tokens: Tokens of the prompt that were written to the cache (for five minutes).
        seller: Whose price it is, as the price list names them (`aws`, `google`, `azure`); None for the model's maker.
    """
    tariff = _tariff_of(model, seller)
    if tariff is None:
        return None
    prompt_tokens = input_tokens + cache_read_tokens + cache_write_tokens
    rates = tariff.rates[bisect_left(tariff.steps, prompt_tokens)]
    return (
        input_tokens * rates.fresh
        + output_tokens * rates.output
        + cache_read_tokens * rates.cache_read
        + cache_write_tokens * rates.cache_write
    )


def search_usd(model: str, *, seller: str | None = None) -> float | None:
    """What one search of the web by the service costs beside its tokens, in US dollars; None when it is not known."""
    tariff = _tariff_of(model, seller)
    return None if tariff is None else tariff.search


def is_priced(model: str) -> bool:
    """Whether the model's price is known."""
    return _tariff_of(model, None) is not None


@lru_cache(maxsize=256)
def _tariff_of(model: str, seller: str | None) -> _Tariff | None:
    """The price of a model today; a run that goes on over a change of prices keeps the one it began with."""
    from genai_prices.data_snapshot import get_snapshot  # 0.4 s, and only needed where a model is paid for

    try:
        provider, info = get_snapshot().find_provider_model(model, None, seller, None)
    except LookupError:
        return None
    steps = _steps(info)
    rates = tuple(_rates(provider, info, prompt_tokens=low + 1) for low in (0, *steps))
    return _Tariff(steps=steps, rates=rates, search=_search(provider, info))


def _steps(info: ModelInfo) -> tuple[int, ...]:
    """The prompt lengths above which another price holds."""
    from datetime import UTC, datetime

    from genai_prices.types import TieredPrices

    prices = vars(info.get_prices(datetime.now(UTC))).values()
    return tuple(sorted({tier.start for price in prices if isinstance(price, TieredPrices) for tier in price.tiers}))


def _search(provider: Provider, info: ModelInfo) -> float | None:
    """What one search costs; the library counts as free what its list does not name."""
    from datetime import UTC, datetime

    from genai_prices import Usage

    if vars(info.get_prices(datetime.now(UTC))).get("web_searches_kcount") is None:
        return None
    return float(info.calc_price(Usage(web_searches=1), provider).total_price)


def _rates(provider: Provider, info: ModelInfo, *, prompt_tokens: int) -> _Rates:
    """What the library makes of prompts of one length that are all of one kind."""
    from genai_prices import Usage

    def price(*, read: int = 0, written: int = 0, output: int = 0) -> float:
        # The library counts the whole prompt as input, what came from the cache included.
        usage = Usage(
            input_tokens=prompt_tokens, cache_read_tokens=read, cache_write_tokens=written, output_tokens=output
        )
        return float(info.calc_price(usage, provider).total_price)

    fresh = price()
    return _Rates(
        fresh=fresh / prompt_tokens,
        output=(price(output=1_000_000) - fresh) / 1_000_000,
        cache_read=price(read=prompt_tokens) / prompt_tokens,
        cache_write=price(written=prompt_tokens) / prompt_tokens,
    )
