"""Limits that a rehearsal is held against, as CI gives them: `cost=20,agents=200,tokens=1.5M`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Literal, TypeAlias

from callsheet.errors import UsageError
from callsheet.model.rehearsal import Breach, Rehearsal

LimitName: TypeAlias = Literal["agents", "tokens", "cost", "violations"]
LIMITS: tuple[LimitName, ...] = ("agents", "tokens", "cost", "violations")

_AMOUNT = re.compile(r"\$?\s*(\d[\d_]*(?:\.\d+)?)\s*([kKmM]?)")
_TIMES = {"": 1.0, "k": 1_000.0, "m": 1_000_000.0}
_EXAMPLE = "such as cost=20,agents=200 or tokens=1.5M"


def parse_limits(texts: Sequence[str]) -> dict[LimitName, float]:
    """`NAME=AMOUNT`, several with commas between; the last of a name counts.

    Raises:
        UsageError: A name that is none (names the nearest), or no amount.
    """
    found: dict[LimitName, float] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, equals, amount = (each.strip() for each in part.partition("="))
        if not equals or not name:
            raise UsageError(f"--fail-over: {part!r} is not NAME=AMOUNT, {_EXAMPLE}.")
        found[_name(name)] = _amount(name, amount)
    return found


def rehearsal_breaches(told: Rehearsal, limits: Mapping[str, float | str]) -> tuple[Breach, ...]:
    """The limits that a rehearsal may go beyond: `rehearsal_breaches(told, {"cost": 20, "tokens": "1.5M"})`.

    Args:
        told: What `rehearse` gave.
        limits: `agents`, `tokens`, `cost` (dollars), `violations`.

    Raises:
        UsageError: A name that is none, or no amount.
    """
    return breaches(told, parse_limits([f"{name}={amount}" for name, amount in limits.items()]))


def _name(name: str) -> LimitName:
    if name in LIMITS:
        return name
    near = get_close_matches(name.lower(), LIMITS, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(LIMITS)}."
    raise UsageError(f"--fail-over: there is no limit {name!r}. {hint}")


def _amount(name: str, text: str) -> float:
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise UsageError(f"--fail-over: {name}={text} is no amount. Write a number, {_EXAMPLE}.")
    return float(match[1].replace("_", "")) * _TIMES[match[2].lower()]


def breaches(told: Rehearsal, limits: Mapping[LimitName, float]) -> tuple[Breach, ...]:
    """The limits that a rehearsal goes beyond, in the order of `LIMITS`.

    The upper end of each estimate is what counts: what may be passed is not held. A cost that is not known counts as
    beyond any limit.
    """
    cost = told.cost_usd
    found: dict[LimitName, tuple[float | None, float | None]] = {
        "agents": (told.agents_high, told.agents),
        "tokens": (told.tokens.high, told.tokens.likely),
        "cost": (None if cost is None else cost.high, None if cost is None else cost.likely),
        "violations": (len(told.violations), None),
    }
    return tuple(
        Breach(name=name, limit=limits[name], found=most, likely=None if likely == most else likely)
        for name, (most, likely) in found.items()
        if name in limits and (math.inf if most is None else most) > limits[name]
    )
