"""`callsheet cost`: who spent it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callsheet.cli.figures import count, money, tokens
from callsheet.cli.safe_text import one_line
from callsheet.cli.streams import quietly, say

if TYPE_CHECKING:
    from callsheet.app.costs import CostLine, Costs

_NAME_CHARS = 48
_BY = ("workflow", "phase", "model", "label", "day")


@click.command(name="cost", short_help="Says who spent it: what runs have cost, from their record.")
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--since", metavar="TIME", help="Only what was paid in the last so long: 12h, 30d.")
@click.option("--by", type=click.Choice(_BY), help="What to sum by.  [default: phase of a RUN, else workflow]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--store", metavar="PATH", help="The record, if not that of the workspace.")
@click.option("--workspace", type=click.Path(path_type=Path), help="The workspace, if not the one around this folder.")
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
    from callsheet.app.plan import Surroundings
    from callsheet.app.quantities import parse_seconds
    from callsheet.errors import ConfigError, UsageError

    try:
        since_s = None if flags["since"] is None else parse_seconds(flags["since"])
    except ConfigError as fault:
        raise UsageError(f"--since: {fault.message}") from None
    order = CostOrder(
        run=flags["run"], since_s=since_s, by=flags["by"], store=flags["store"], workspace=flags["workspace"]
    )
    found = costs(order, Surroundings())
    lines = [json.dumps(costs_json(found), ensure_ascii=False)] if flags["as_json"] else [*_lines(found)]
    unwritten = quietly(sys.stdout, lines)
    if unwritten is not None:
        say(f"error: it could not be written: {unwritten.strerror}.")
    return 0 if unwritten is None else 1


def _lines(found: Costs) -> Iterator[str]:
    if not found.lines:
        yield "nothing was paid"
        return
    rows: list[tuple[str, ...]] = [(found.by, "agents", "requests", "in", "out", "cost")]
    rows += [_row(_name(line.name, found.by), line) for line in found.lines]
    rows.append(_row("total", found.total))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for name, *figures in rows:
        cells = [text.rjust(width) for text, width in zip(figures, widths[1:], strict=True)]
        yield "  ".join((name.ljust(widths[0]), *cells))
    if found.total.estimated_usd:
        yield f"of which {money(found.total.estimated_usd)} are estimated: requests that broke off or were cut off"
    if found.total.unpriced:
        yield f"not counted: {count(found.total.unpriced, 'request')} whose price is not known (≥)"


def _name(name: str | None, by: str) -> str:
    return f"(no {by})" if name is None else one_line(name, _NAME_CHARS)


def _row(name: str, line: CostLine) -> tuple[str, ...]:
    read = line.input_tokens + line.cache_read_tokens + line.cache_write_tokens
    known = f"≥ {money(line.cost_usd)}" if line.unpriced else money(line.cost_usd)
    return name, f"{line.agents:,}", f"{line.payments:,}", tokens(read), tokens(line.output_tokens), known
