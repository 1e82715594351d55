"""`callsheet cost`: who spent it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from callsheet.cli.reading import columns, json_line, json_option, opened, printed, record_options, where
from callsheet.views.figures import count, money, tokens
from callsheet.views.safe_text import one_line

if TYPE_CHECKING:
    from callsheet.app.costs import CostLine, Costs

_NAME_CHARS = 48
_BY = ("workflow", "phase", "model", "label", "day")


@click.command(name="cost", short_help="Says who spent it: what runs have cost, from their record.")
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--since", metavar="TIME", help="Only what was paid in the last so long: 12h, 30d.")
@click.option("--by", type=click.Choice(_BY), help="What to sum by.  [default: phase of a RUN, else workflow]")
@json_option
@record_options
def cost(**flags: Any) -> int:
    """Sums up what runs have paid: every request to a model, those that were cut off among them.

    RUN is a run's id, the beginning of one, or `last`; without it all runs of this folder's record count. Of a run that
    goes on it is what it has paid by now. Days are of UTC.

    Exit status: 0, 1 where the record cannot be read, 2 wrong usage.
    """
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _cost(flags))


def _cost(flags: dict[str, Any]) -> int:
    from callsheet.app.costs import CostOrder, costs, costs_json
    from callsheet.app.quantities import parse_seconds
    from callsheet.errors import ConfigError, UsageError

    try:
        since_s = None if flags["since"] is None else parse_seconds(flags["since"])
    except ConfigError as fault:
        raise UsageError(f"--since: {fault.message}") from None
    order = CostOrder(run=flags["run"], since_s=since_s, by=flags["by"])
    with opened(where(flags["store"], flags["workspace"])) as runs:
        found = costs(runs, order)
    if flags["as_json"]:
        return printed([json_line(costs_json(found))], is_json=True)
    return printed(_lines(found))


def _lines(found: Costs) -> Iterator[str]:
    if not found.lines:
        yield "nothing was paid"
        return
    rows: list[tuple[str, ...]] = [(found.by, "agents", "requests", "in", "out", "cost")]
    rows += [_row(_name(line.name, found.by), line) for line in found.lines]
    rows.append(_row("total", found.total))
    yield from columns(rows, right=frozenset(range(1, len(rows[0]))))
    if found.total.estimated_usd:
        why = "requests that broke off, were cut off, or are under way"
        yield f"of which {money(found.total.estimated_usd)} are estimated: {why}"
    if found.total.unpriced:
        yield f"not counted: {count(found.total.unpriced, 'request')} whose price is not known (≥)"


def _name(name: str | None, by: str) -> str:
    return f"(no {by})" if name is None else one_line(name, _NAME_CHARS)


def _row(name: str, line: CostLine) -> tuple[str, ...]:
    read = line.input_tokens + line.cache_read_tokens + line.cache_write_tokens
    known = f"≥ {money(line.cost_usd)}" if line.unpriced else money(line.cost_usd)
    return name, f"{line.agents:,}", f"{line.payments:,}", tokens(read), tokens(line.output_tokens), known
