"""Amounts as people write them: budgets, sizes and seconds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from callsheet.errors import ConfigError
from callsheet.model.spending import Budget, TokenPrices

_TOKENS = re.compile(r"(\d[\d_]*(?:\.\d+)?)\s*([kKmM]?)")
_DOLLARS = re.compile(r"\$\s*(\d[\d_]*(?:\.\d+)?)")
_MORE = re.compile(r"\$?\s*(\d[\d,_]{0,15}(?:\.\d{1,9})?)\s*\$?", re.ASCII)
_AMOUNT = re.compile(r"\d+(?:\.\d+)?")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)(?:i?[bB])?")
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_THOUSANDS = {"": 1, "k": 1_000, "m": 1_000_000}
_BYTES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_UNIT_S = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def parse_budget(text: str) -> Budget:
    """`2M`, `200`, `1.5k` are output tokens, `$40` dollars; both may stand together: `2M $40` (CONTRACT G03, G04).

    Raises:
        ConfigError: Anything else, or an amount of nothing.
    """
    tokens: int | None = None
    usd: float | None = None
    for word in re.sub(r"\$\s+", "$", text).split():
        if (match := _DOLLARS.fullmatch(word)) and usd is None:
            usd = float(match[1].replace("_", ""))
        elif (match := _TOKENS.fullmatch(word)) and tokens is None:
            tokens = round(float(match[1].replace("_", "")) * _THOUSANDS[match[2].lower()])
        else:
            raise _no_budget(text)
    if (tokens is None and usd is None) or tokens == 0 or usd == 0:
        raise _no_budget(text)
    return Budget(tokens=tokens, usd=usd)


def parse_cost_stop(text: str) -> float:
    """Dollars at which a run without a budget asks or stops: `$25`, `25`; 0 for `none` and `0`, at no cost at all.

    Raises:
        ConfigError: Anything else.
    """
    said = text.strip()
    if said.lower() == "none":
        return 0.0
    if match := _DOLLARS.fullmatch(said) or _DOLLARS.fullmatch(f"${said}"):
        return float(match[1].replace("_", ""))
    raise ConfigError(f"{text!r} is no amount to stop at. Write dollars ('$25', or 25), or none.")


MOST_MORE_USD = 1_000_000.0
"""So much more at most a run may be let cost with one answer."""


def parse_more_usd(text: str) -> float | None:
    """Dollars that a run may cost more: `5`, `$2.50`, `10$`, `1,000`; None for anything else, and what is too much."""
    match = _MORE.fullmatch(text.strip())
    usd = 0.0 if match is None else float(re.sub("[,_]", "", match[1]))
    return usd if 0 < usd <= MOST_MORE_USD else None


def _no_budget(text: str) -> ConfigError:
    return ConfigError(
        f"{text!r} is no budget. Write output tokens (200, 1.5k, 2M) or dollars ('$40', in single quotes for the "
        "shell), more than nothing."
    )


def parse_phase_budgets(pairs: Iterable[str]) -> dict[str, Budget]:
    """`TITLE=AMOUNT` each; of a title that comes again tokens and dollars add to one budget.

    Raises:
        ConfigError: One has no title or no amount.
    """
    found: dict[str, Budget] = {}
    for pair in pairs:
        title, _, amount = (part.strip() for part in pair.rpartition("="))
        if not title or not amount:
            raise ConfigError(f"{pair!r} is not TITLE=AMOUNT, such as 'Review=200k' or 'Review=$5'.")
        found[title] = merged_budget(found.get(title), parse_budget(amount))
    return found


def merged_budget(earlier: Budget | None, later: Budget) -> Budget:
    """Tokens and dollars each for itself: what the later one does not give is the earlier one's."""
    if earlier is None:
        return later
    return Budget(
        tokens=earlier.tokens if later.tokens is None else later.tokens,
        usd=earlier.usd if later.usd is None else later.usd,
    )


def parse_prices(pairs: Mapping[str, object]) -> dict[str, TokenPrices]:
    """Prices of models in dollars for a million tokens: `3/15` of input and output, `3/15/0.3/3.75` of the cache too.

    Raises:
        ConfigError: Anything else.
    """
    found: dict[str, TokenPrices] = {}
    for model, text in pairs.items():
        amounts = [part.strip().removeprefix("$") for part in str(text).split("/")]
        if len(amounts) not in (2, 4) or not all(_AMOUNT.fullmatch(amount) for amount in amounts):
            raise ConfigError(
                f"{text!r} is no price of {model}. Write dollars for a million tokens of input and output: '3/15', or "
                "with cache reads and cache writes: '3/15/0.3/3.75'."
            )
        given = [float(amount) for amount in amounts]
        read, written = given[2:] or (None, None)
        found[model] = TokenPrices(input=given[0], output=given[1], cache_read=read, cache_write=written)
    return found


def parse_size(text: str) -> int:
    """Bytes of `512M`, `1G`, `1.5GiB` or a plain number; the units are powers of 1024.

    Raises:
        ConfigError: Anything else.
    """
    if match := _SIZE.fullmatch(text.strip()):
        return round(float(match[1]) * _BYTES[match[2].lower()])
    raise ConfigError(f"{text!r} is no size. Write for instance 512M or 1G.")


def parse_seconds(text: str) -> float:
    """Seconds of `10`, `1.5s`, `500ms`, `2m`, `6h`, `30d`.

    Raises:
        ConfigError: Anything else.
    """
    if match := _SECONDS.fullmatch(text.strip()):
        return float(match[1]) * _UNIT_S[match[2]]
    raise ConfigError(f"{text!r} is no number of seconds. Write for instance 30 or 2m.")


def parse_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """`NAME=VALUE` each, the last of a name counts.

    Raises:
        ConfigError: One has no name or no value.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, _, value = (part.strip() for part in pair.partition("="))
        if not name or not value:
            raise ConfigError(f"{pair!r} is not NAME=VALUE.")
        found[name] = value
    return found
