"""`callsheet prune`: takes old runs and conversations out of the record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callsheet.cli.reading import json_line, json_option, printed, record_options, where

if TYPE_CHECKING:
    from callsheet.app.pruning import PrunePlan, PruneTerms
    from callsheet.app.records import Where

_SHOWN = 50


@click.command(name="prune", short_help="Takes old runs and conversations out of the record.")
@click.option("--older-than", metavar="TIME", help="Runs that ended longer ago: 30d, 12h.")
@click.option("--max-size", metavar="SIZE", help="The oldest runs, until the rest takes no more: 500M.")
@click.option("--conversations", metavar="TIME", default="30d", show_default=True, help="Conversations that are older.")
@click.option("--interrupted", is_flag=True, help="Also of runs that could be resumed.")
@click.option("--dry-run", is_flag=True, help="Say what would go; change nothing.")
@json_option
@record_options
def prune(
    *,
    older_than: str | None,
    max_size: str | None,
    conversations: str,
    interrupted: bool,
    dry_run: bool,
    as_json: bool,
    store: str | None,
    workspace: Path | None,
) -> int:
    """Takes runs out of the record by age or size; without either only conversations older than 30 days.

    A run that goes on is never touched, one that could be resumed only with --interrupted. Branches, worktrees and
    patches that runs have left are named and never taken away.

    Exit status: 0, 1 where the record cannot be read or written, 2 wrong usage.
    """
    from callsheet.cli.boundary import guarded

    def work() -> int:
        terms = _terms(older_than, max_size, conversations, interrupted=interrupted)
        return _prune(where(store, workspace), terms, is_dry=dry_run, as_json=as_json)

    return guarded(work)


def _terms(older_than: str | None, max_size: str | None, conversations: str, *, interrupted: bool) -> PruneTerms:
    from callsheet.app.pruning import PruneTerms
    from callsheet.app.quantities import parse_seconds, parse_size

    return PruneTerms(
        older_than_s=_amount("--older-than", older_than, parse_seconds),
        most_bytes=_amount("--max-size", max_size, parse_size),
        conversations_s=_amount("--conversations", conversations, parse_seconds),
        interrupted=interrupted,
    )


def _amount(flag: str, text: str | None, parse: Any) -> Any:
    from callsheet.errors import ConfigError, UsageError

    try:
        return None if text is None else parse(text)
    except ConfigError as fault:
        raise UsageError(f"{flag}: {fault.message}") from None


def _prune(place: Where, terms: PruneTerms, *, is_dry: bool, as_json: bool) -> int:
    from callsheet.app.pruning import plan_pruning
    from callsheet.app.pruning import prune as carry_out

    plan = plan_pruning(place, terms)
    if not is_dry:
        carry_out(plan)
    if as_json:
        return printed([json_line({**plan.public, "dry_run": is_dry})], is_json=True)
    return printed(_lines(plan, is_dry=is_dry))


def _lines(plan: PrunePlan, *, is_dry: bool) -> Iterator[str]:
    from callsheet.views.figures import age, count, size
    from callsheet.views.safe_text import one_line

    would = "would go" if is_dry else "gone"
    for one in plan.runs[:_SHOWN]:
        line = one.run.line
        yield (
            f"{would}: {one_line(one.run.run_id)}  {one_line(one.run.status)}  {one_line(line.workflow or '?', 40)}  "
            f"{age(line.started_at)}  {size(one.size_bytes)}"
        )
        for left in one.kept:
            yield f"  still there: {one_line(left, 300)}"
    if (more := len(plan.runs) - _SHOWN) > 0:
        yield f"{would}: {count(more, 'more run')}"
    if plan.conversations:
        yield f"{would}: conversations of {count(len(plan.conversations), 'run')}, {count(plan.messages, 'message')}"
    if plan.outputs:
        yield f"{would}: {count(len(plan.outputs), 'output')} of commands"
    if plan.scripts:
        yield f"{would}: {count(len(plan.scripts), 'script')} that came as text"
    for run in plan.spared[:_SHOWN]:
        why = "it goes on" if run.status == "running" else "it could be resumed; --interrupted takes it too"
        yield f"stays: {one_line(run.run_id)} ({why})"
    if not (plan.runs or plan.conversations or plan.outputs or plan.scripts):
        yield "Nothing to take away."
    elif not is_dry and plan.is_in_use:
        yield "A run is at work: the room is kept in the record, for the next ones."
