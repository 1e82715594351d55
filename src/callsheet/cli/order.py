"""From flags to an order for a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from callsheet.app.arguments import parse_arguments
from callsheet.app.choices import Choices
from callsheet.app.ground import terms_of
from callsheet.app.plan import UNSET, RunOrder
from callsheet.app.quantities import (
    parse_budget,
    parse_cost_stop,
    parse_pairs,
    parse_phase_budgets,
    parse_prices,
    parse_seconds,
    parse_size,
)
from callsheet.app.source import STDIN
from callsheet.app.trusting import PermissionChoices, asked_mode
from callsheet.cli.streams import say
from callsheet.errors import ConfigError, UsageError
from callsheet.model.script import MAX_SCRIPT_BYTES

FOREVER = "forever"
"""What `--wait` says where no time stands behind it."""


def order_of(flags: Mapping[str, Any]) -> RunOrder:
    """What the flags of `callsheet run` ask for; reads standard input where the script comes from there.

    Raises:
        UsageError: An amount that is none, broken JSON, no script on standard input.
    """
    has_args, args = parse_arguments(flags["args_text"], flags["pairs"], flags["words"])
    return RunOrder(
        script=flags["script"] or "",
        config=flags["config"],
        args=args if has_args else UNSET,
        choices=_choices(flags),
        workspace=flags["workspace"],
        terms=terms_of(share=flags["share"], wait=_wait(flags["wait"]), worktree=flags["worktree"]),
        stdin=_script_on_stdin() if flags["script"] == STDIN else None,
        permissions=permission_choices(flags),
    )


def resume_order_of(flags: Mapping[str, Any]) -> RunOrder:
    """What the flags of `callsheet resume` ask for, all else as the record has it.

    Raises:
        UsageError: As `order_of`; also where there is no such run.
        StoreError: The record cannot be read.
    """
    from callsheet.app.plan import Surroundings
    from callsheet.app.resume import ResumeOrder, order_of_record

    has_args, args = parse_arguments(flags["args_text"], flags["pairs"])
    has_terms = flags["share"] or flags["worktree"] or flags["wait"] is not None
    terms = terms_of(share=flags["share"], wait=_wait(flags["wait"]), worktree=flags["worktree"])
    order = ResumeOrder(
        run=flags["run"],
        script=flags["script"],
        config=flags["config"],
        args=args if has_args else UNSET,
        choices=_choices(flags),
        workspace=flags["workspace"],
        terms=terms if has_terms else None,
        stdin=_script_on_stdin() if flags["script"] == STDIN else None,
        permissions=permission_choices(flags),
        reuse=flags["reuse"],
        rerun=flags["rerun"],
    )
    return order_of_record(order, Surroundings())


def permission_choices(flags: Mapping[str, Any]) -> PermissionChoices:
    """What the flags of `callsheet run` and `callsheet permissions explain` say about permissions."""
    mode = flags["permission_mode"]
    return PermissionChoices(
        mode=None if mode is None else asked_mode(mode),
        allow=flags["allow"],
        deny=flags["deny"],
        folders=flags["add_dir"],
        trust=flags["trust"],
        unconfined=flags["unconfined"],
        ignore_hooks=flags["ignore_hooks"],
        config_from=flags["config_from"],
    )


def _choices(flags: Mapping[str, Any]) -> Choices:
    return Choices(
        max_parallel=flags["max_parallel"],
        max_agents=flags["max_agents"],
        max_turns=flags["max_turns"],
        budget=_amount("budget", " ".join(flags["budget"]) or None, parse_budget),
        phase_budgets=_amount("phase_budget", flags["phase_budget"] or None, parse_phase_budgets),
        agent_budget=_amount("agent_budget", " ".join(flags["agent_budget"]) or None, parse_budget),
        cost_stop=_amount("cost_stop", flags["cost_stop"], parse_cost_stop),
        prices=_amount("price", flags["price"] or None, lambda pairs: parse_prices(parse_pairs(pairs))),
        model=flags["model"],
        backend=flags["backend"],
        service=flags["service"],
        cpu_limit=_amount("cpu_limit", flags["cpu_limit"], parse_seconds),
        cpu_total=_amount("cpu_total", flags["cpu_total"], parse_seconds),
        memory_limit=_amount("memory_limit", flags["memory_limit"], parse_size),
        strict=flags["strict"],
        require_confinement=flags["require_confinement"],
        preflight=flags["preflight"],
        store=flags["store"],
        approval_timeout=_amount("approval_timeout", flags["approval_timeout"], parse_seconds),
        agent_types=_amount("agent_type", flags["agent_type"] or None, parse_pairs),
        max_wait=_amount("max_wait", flags["max_wait"], parse_seconds),
        checkpoint_interval=flags["checkpoint_interval"],
        rollback_on_failure=flags["rollback_on_failure"],
        cache_warmup=flags["cache_warmup"],
        notify=flags["notify"],
        log_file=flags["log_file"],
        log_level=flags["log_level"],
    )


def _wait(text: str | None) -> bool | float | None:
    if text is None or text == FOREVER:
        return None if text is None else True
    try:
        return parse_seconds(text)
    except ConfigError as fault:
        raise UsageError(f"--wait: {fault.message} For as long as it takes: --wait={FOREVER}.") from None


def _amount(key: str, text: str | tuple[str, ...] | None, parse: Any) -> Any:
    if text is None:
        return None
    try:
        return parse(text)
    except ConfigError as fault:
        raise UsageError(f"--{key.replace('_', '-')}: {fault.message}") from None


def _script_on_stdin() -> bytes:
    """The script; of one that is too large only so much that the reader refuses it.

    Raises:
        UsageError: Standard input cannot be read.
    """
    if sys.stdin.isatty():
        say("reading the script from standard input; end it with Ctrl-D")
    try:
        return sys.stdin.buffer.read(MAX_SCRIPT_BYTES + 1)
    except OSError as fault:
        raise UsageError(f"the script cannot be read from standard input: {fault.strerror}.") from None
