"""What calls will use: told from finished calls of the same sort, and where there are none, assumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import Usage
from callsheet.model.rehearsal import Range

if TYPE_CHECKING:
    from callsheet.store.experience import FinishedCall

FEW = 3
"""Of fewer earlier calls the spread is not known: the range is made so much wider that half and twice lie in it."""

_CHARS_A_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """What an agent is assumed to use beside its prompt, where nothing is known of its like."""

    input_tokens: int
    cache_read_tokens: int
    output_tokens: int


LOW = Assumed(input_tokens=5_000, cache_read_tokens=0, output_tokens=400)
LIKELY = Assumed(input_tokens=20_000, cache_read_tokens=60_000, output_tokens=3_000)
HIGH = Assumed(input_tokens=60_000, cache_read_tokens=400_000, output_tokens=12_000)
"""One answer without a tool; some eight turns that read files; thirty turns of work."""

ASSUMED_S = 60.0
"""How long an agent is assumed to take."""

ASSUMPTION = (
    f"an agent without earlier calls of its sort is assumed to use {LIKELY.input_tokens // 1000}k tokens of input and "
    f"{LIKELY.output_tokens // 1000}k of output ({LOW.input_tokens // 1000}k and {LOW.output_tokens / 1000:g}k to "
    f"{HIGH.input_tokens // 1000}k and {HIGH.output_tokens // 1000}k), its prompt besides, and {ASSUMED_S:g} s"
)

Price: TypeAlias = Callable[[str, Usage, bool], float | None]
"""What usage of a model costs in dollars, the last argument for fast mode; None where no price is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """Calls that are expected to cost alike."""

    phase: str | None
    workflow: str | None
    agent_type: str
    model: str | None
    is_fast: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What one call will use.

    Attributes:
        usage: What is likely.
        tokens: Input and output, without what the cache holds.
        cost_usd: None where no price is known.
        earlier_calls: How many finished calls it is told from; 0 where it is assumed.
    """

    usage: Usage
    tokens: Range
    output_tokens: Range
    cost_usd: Range | None
    duration_s: float
    earlier_calls: int


class Estimator:
    """Estimates calls of one workflow.

    Args:
        finished: Its finished calls.
        price: What models cost; None where nobody is paid.
    """

    def __init__(self, finished: Iterable[FinishedCall], *, price: Price | None) -> None:
        self._price = price
        self._known: dict[Sort, Estimate | None] = {}
        self._finished: dict[Sort, list[FinishedCall]] = {}
        for call in finished:
            sort = Sort(
                phase=call.phase,
                workflow=call.workflow,
                agent_type=call.agent_type,
                model=None,
                is_fast=call.is_fast,
            )
            self._finished.setdefault(sort, []).append(call)

    def estimate(self, sort: Sort, *, prompt_chars: int) -> Estimate:
        """What a call of a sort will use, its prompt so many characters long."""
        if sort not in self._known:
            earlier = self._earlier(sort)
            self._known[sort] = self._told(sort, earlier) if earlier else None
        return self._known[sort] or self._assumed(sort, prompt_chars // _CHARS_A_TOKEN)

    def _earlier(self, sort: Sort) -> list[FinishedCall]:
        alike = Sort(
            phase=sort.phase,
            workflow=sort.workflow,
            agent_type=sort.agent_type,
            model=None,
            is_fast=sort.is_fast,
        )
        return [call for call in self._finished.get(alike, ()) if _is_model(call.model, sort.model)]

    def _told(self, sort: Sort, earlier: Sequence[FinishedCall]) -> Estimate:
        costs = [self._cost_of(call, sort) for call in earlier]
        known = [cost for cost in costs if cost is not None]
        usages = [call.usage for call in earlier]
        taken = [call.duration_s for call in earlier if call.duration_s is not None]
        cost = _spread(known) if len(known) == len(costs) else None
        usage = Usage(
            input_tokens=int(_median([usage.input_tokens for usage in usages])),
            output_tokens=int(_median([usage.output_tokens for usage in usages])),
            cache_read_tokens=int(_median([usage.cache_read_tokens for usage in usages])),
            cache_write_tokens=int(_median([usage.cache_write_tokens for usage in usages])),
            cost_usd=None if cost is None else cost.likely,
        )
        return Estimate(
            usage=usage,
            tokens=_spread([usage.input_tokens + usage.output_tokens for usage in usages]),
            output_tokens=_spread([usage.output_tokens for usage in usages]),
            cost_usd=cost,
            duration_s=_median(taken) if taken else ASSUMED_S,
            earlier_calls=len(earlier),
        )

    def _cost_of(self, call: FinishedCall, sort: Sort) -> float | None:
        if call.usage.cost_usd is not None or self._price is None or sort.model is None:
            return call.usage.cost_usd if self._price is not None else 0.0
        return self._price(sort.model, call.usage, sort.is_fast)

    def _assumed(self, sort: Sort, prompt_tokens: int) -> Estimate:
        low, likely, high = (self._usage(sort, assumed, prompt_tokens) for assumed in (LOW, LIKELY, HIGH))
        costs = [usage.cost_usd for usage in (low, likely, high) if usage.cost_usd is not None]
        return Estimate(
            usage=likely,
            tokens=Range(
                low=low.input_tokens + low.output_tokens,
                likely=likely.input_tokens + likely.output_tokens,
                high=high.input_tokens + high.output_tokens,
            ),
            output_tokens=Range(low=low.output_tokens, likely=likely.output_tokens, high=high.output_tokens),
            cost_usd=Range(low=costs[0], likely=costs[1], high=costs[2]) if len(costs) == 3 else None,
            duration_s=ASSUMED_S,
            earlier_calls=0,
        )

    def _usage(self, sort: Sort, assumed: Assumed, prompt_tokens: int) -> Usage:
        usage = Usage(
            input_tokens=assumed.input_tokens + prompt_tokens,
            output_tokens=assumed.output_tokens,
            cache_read_tokens=assumed.cache_read_tokens,
        )
        if self._price is None:
            return usage
        cost = None if sort.model is None else self._price(sort.model, usage, sort.is_fast)
        return Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cost_usd=cost,
        )


def known(usage: Usage) -> Estimate:
    """The estimate of a call whose usage is said beforehand: of a program, or of an answers file."""
    tokens, output = float(usage.input_tokens + usage.output_tokens), float(usage.output_tokens)
    cost = usage.cost_usd or 0.0
    return Estimate(
        usage=usage,
        tokens=Range(low=tokens, likely=tokens, high=tokens),
        output_tokens=Range(low=output, likely=output, high=output),
        cost_usd=Range(low=cost, likely=cost, high=cost),
        duration_s=ASSUMED_S,
        earlier_calls=0,
    )


def _is_model(answered: str | None, asked: str | None) -> bool:
    """Whether a service that named its model so had been asked for that one: it adds a date, or leaves it out."""
    if answered is None or asked is None:
        return answered == asked
    return answered.startswith(asked) or asked.startswith(answered)


def _spread(values: Sequence[float]) -> Range:
    """The median, and between what nine of ten lie."""
    ordered, likely = sorted(values), _median(values)
    last = len(ordered) - 1
    low, high = float(ordered[round(last * 0.05)]), float(ordered[round(last * 0.95)])
    if len(ordered) < FEW:
        low, high = min(low, likely / 2), max(high, likely * 2)
    return Range(low=low, likely=likely, high=high)


def _median(values: Sequence[float]) -> float:
    """Of two in the middle the higher one, as the engine's forecast has it."""
    return float(sorted(values)[len(values) // 2])
