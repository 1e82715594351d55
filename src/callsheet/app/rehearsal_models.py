"""Which model the calls of a rehearsal would ask, and what it costs, as the backend that is planned would have it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from callsheet.app.estimating import Price
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import Usage

if TYPE_CHECKING:
    from callsheet.agents.models import ModelTable
    from callsheet.app.plan import Plan
    from callsheet.model.call import AgentTask
    from callsheet.model.spending import TokenPrices

COMMAND = "command"
_OF_A_MODEL = ("anthropic", "claude_code")
FREE = ("offline", "scripted")
"""Backends that nobody is paid for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The models of one run.

    Attributes:
        table: Names, ids and what models take; None for a backend whose models nobody here knows.
        backend: Who answers calls that name nobody else.
        price: What models cost; None where nobody is paid.
    """

    table: ModelTable | None
    backend: str
    price: Price | None

    @property
    def is_scripted(self) -> bool:
        """Whether the answers come from a file, in the run as well: what they use is said there."""
        return self.backend == "scripted"

    def of(self, task: AgentTask) -> str | None:
        """The model that a call asks; None where none answers it, or it is not known which."""
        if task.backend in (COMMAND, *FREE):
            return None
        return self.table.resolve(task.model) if self.table is not None else task.model

    def is_fast(self, task: AgentTask, model: str | None) -> bool:
        """Whether a call would be served in fast mode."""
        is_had = self.table is not None and model is not None and self.table.fast_beta(model) is not None
        return task.options.speed == "fast" and is_had and task.backend in _OF_A_MODEL


def models_of(plan: Plan) -> Models:
    """The models of a planned run; prices are loaded with the first one that is asked for."""
    from callsheet.agents.models import model_table

    backend = plan.backend.name
    table = None
    if backend in _OF_A_MODEL:
        table = model_table(plan.settings.service)
        if plan.resolved.models:
            table = table.with_names(plan.resolved.models)
    price = None if backend in FREE else partial(_price, table, plan.settings.prices)
    return Models(table=table, backend=backend, price=price)


def _price(
    table: ModelTable | None, own: Mapping[str, TokenPrices], model: str, usage: Usage, is_fast: bool
) -> float | None:
    from callsheet.pricing.own import own_prices
    from callsheet.pricing.prices import cost_usd

    seller = table.service.prices if table is not None else ""
    price = own_prices(own, partial(cost_usd, seller=seller) if seller else cost_usd)
    cost = price(
        model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    if not is_fast or cost is None:
        return cost
    times = table.fast_price(model) if table is not None else None
    return None if times is None else cost * times
