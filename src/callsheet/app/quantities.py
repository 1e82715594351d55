"""Amounts as people write them: budgets, sizes and seconds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from callsheet.errors import ConfigError

_TOKENS = re.compile(r"(\d[\d_]*(?:\.\d+)?)\s*([kKmM]?)")
_DOLLARS = re.compile(r"\$\s*(\d[\d_]*(?:\.\d+)?)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)(?:i?[bB])?")
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_THOUSANDS = {"": 1, "k": 1_000, "m": 1_000_000}
_BYTES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_UNIT_S = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A budget as given: output tokens, dollars, or both. None: not given."""

    tokens: int | None = None
    usd: float | None = None


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


def _no_budget(text: str) -> ConfigError:
    return ConfigError(
        f"{text!r} is no budget. Write output tokens (200, 1.5k, 2M) or dollars ('$40', in single quotes for the "
        "shell), more than nothing."
    )


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
