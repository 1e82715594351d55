"""What one source of settings says, whether it can hold, and how sources are laid over each other (FORMATS 5)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, Literal

from callsheet.agents.services import SERVICES
from callsheet.app.quantities import merged_budget
from callsheet.authoring.briefing import Size
from callsheet.errors import ConfigError
from callsheet.model.call import AgentType, Effort, ServiceName
from callsheet.model.counts import MAX_CALLS
from callsheet.model.dataclass import dataclass
from callsheet.model.policy import AgentPermissions, Route
from callsheet.model.spending import Budget, TokenPrices
from callsheet.permissions.sources import Asked

MAX_PARALLEL = 256
MIN_MEMORY_BYTES = 4 * 1024 * 1024

ENV_PREFIX = "CALLSHEET_"

LogAmount = Literal["quiet", "normal", "verbose"]
"""How much of a run's events goes to a log file: problems and the run's own; all but progress; all."""
LOG_AMOUNTS: tuple[LogAmount, ...] = ("quiet", "normal", "verbose")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorktreeChoices:
    """What agents' worktrees get besides the workspace's files; None where nothing is said.

    Attributes:
        setup: A command that is run once in each new one, held as an agent's.
        link: Folders of the workspace that are linked into each, relative.
    """

    setup: str | None = None
    link: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoringChoices:
    """How the model works that writes scripts; None where nothing is said.

    Attributes:
        model: Alias or id.
        effort: How hard it thinks, where the model has it.
        max_output_tokens: Of one reply, its thinking included; a model takes no more than it was made for.
        rounds: How often a script that does not hold goes back to it.
        size: How many agents its script may have.
    """

    model: str | None = None
    effort: Effort | None = None
    max_output_tokens: int | None = None
    rounds: int | None = None
    size: Size | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What one source of settings says; None where it says nothing. The field names are the keys of the files.

    Attributes:
        budget: Tokens and dollars are chosen each for itself: a later source that gives one leaves the other.
        cost_stop: Dollars at which a run without a budget stops starting agents, or asks; 0 for none (CONTRACT L04).
        cpu_limit, cpu_total: Seconds (CONTRACT D07).
        memory_limit: Bytes.
        backend: `anthropic`, `claude_code`, `acp:NAME`, `offline` or `scripted:FILE`.
        service: Where the models of `anthropic` are had; never said by a workspace.
        store: Where the record lies (FORMATS 4).
        approval_timeout: Seconds that an agent waits for a person's answer; without one it is denied.
        phase_budgets: Budgets of phases, by title or glob; a later source replaces what it names.
        agent_budget: What each agent may use at most; tokens and dollars each for itself.
        prices: What models cost, by id or glob; before the price list. A later source replaces what it names.
        agents: Agents that are programs, by name. Of this and the next two a later source replaces what it names.
        agent_types: Names of agent types, and the types that are taken for them.
        models: Names for models, and their ids; `default` among them for calls that name none.
        type_models: Models of agent types, by name, for calls that name none; merged as `models`.
        mode_routing: Who serves calls, by phase or label, in order; a later source replaces all of it.
        agent_permissions: What agents may do. Of all sources that say something everything holds, the strictest first.
        log_file: Where the run's events go besides, `{timestamp}` being its start; relative to the workspace.
        log_level: How much of them.
        max_wait: Seconds that the run waits for a service that stays away; 0 for not at all (CONTRACT K05).
        cache_warmup: Of calls that share a prompt prefix the first goes ahead (CONTRACT K03).
        checkpoint_interval: Agents between two checkpoints of the workspace; 0 for the first and the last alone.
        rollback_on_failure: What an agent changed that failed is taken back.
        worktree: Of agents' worktrees; a later source that gives one of its parts leaves the other.
        notify: A command that is run when a run has ended or waits for a person; never said by a workspace.
        authoring: Of the model that writes scripts; a later source that gives some of its parts leaves the others.
    """

    max_parallel: int | None = None
    max_agents: int | None = None
    max_turns: int | None = None
    budget: Budget | None = None
    phase_budgets: Mapping[str, Budget] | None = None
    agent_budget: Budget | None = None
    cost_stop: float | None = None
    prices: Mapping[str, TokenPrices] | None = None
    model: str | None = None
    backend: str | None = None
    service: ServiceName | None = None
    cpu_limit: float | None = None
    cpu_total: float | None = None
    memory_limit: int | None = None
    strict: bool | None = None
    require_confinement: bool | None = None
    preflight: Literal["warn", "refuse"] | None = None
    store: str | None = None
    approval_timeout: float | None = None
    agents: Mapping[str, AgentType] | None = None
    agent_types: Mapping[str, str] | None = None
    models: Mapping[str, str] | None = None
    type_models: Mapping[str, str] | None = None
    mode_routing: tuple[Route, ...] | None = None
    agent_permissions: tuple[AgentPermissions, ...] | None = None
    log_file: str | None = None
    log_level: LogAmount | None = None
    max_wait: float | None = None
    checkpoint_interval: int | None = None
    rollback_on_failure: bool | None = None
    cache_warmup: bool | None = None
    worktree: WorktreeChoices | None = None
    notify: str | None = None
    authoring: AuthoringChoices | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restricted:
    """What a file says that takes effect.

    Attributes:
        source: The file, as people know it.
        notes: A line for each thing that takes none.
        asked: What only trust grants, whether it is trusted or not.
    """

    source: str
    choices: Choices
    notes: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()


_TABLES = ("agents", "agent_types", "models", "phase_budgets", "prices", "type_models")
_BUDGETS = ("budget", "agent_budget")
_APART = (*_BUDGETS, "worktree", "authoring")
"""What is merged part by part."""
KEYS = tuple(each.name for each in fields(Choices))
RANGES: Mapping[str, tuple[float, float]] = {
    "max_parallel": (1, MAX_PARALLEL),
    "max_agents": (1, MAX_CALLS),
    "max_turns": (1, 100_000),
    "cost_stop": (0.01, 1_000_000),
    "cpu_limit": (0.1, 3_600),
    "cpu_total": (0.1, 86_400),
    "memory_limit": (MIN_MEMORY_BYTES, 64 * 1024**3),
    "approval_timeout": (1, 604_800),
    "max_wait": (0, 2_592_000),
    "checkpoint_interval": (0, MAX_CALLS),
}
"""The least and the most that a number can be; `cost_stop` is 0 where there is none."""
AUTHORING_RANGES: Mapping[str, tuple[int, int]] = {"max_output_tokens": (4_096, 1_000_000), "rounds": (0, 10)}
"""The same below `authoring`."""


def check_ranges(choices: Choices, *, source: str) -> None:
    """Sees that every value can hold.

    Args:
        choices: What one source says.
        source: Where it was said, for the message; empty for flags.

    Raises:
        ConfigError: A value out of range.
    """
    for key, (low, high) in RANGES.items():
        value = getattr(choices, key)
        if value is not None and not low <= value <= high and (key, value) != ("cost_stop", 0):
            raise ConfigError(f"{_spelled(key, source)} is {value:g}; it is between {low:,g} and {high:,.0f}.")
    for key, (least, most) in AUTHORING_RANGES.items():
        value = getattr(choices.authoring, key, None)
        if value is not None and not least <= value <= most:
            where = _spelled("authoring", source)
            raise ConfigError(f"{where}.{key} is {value:,}; it is between {least:,} and {most:,}.")
    if choices.preflight not in {None, "warn", "refuse"}:
        raise ConfigError(f"{_spelled('preflight', source)} is {choices.preflight!r}; it is warn or refuse.")
    if choices.service is not None and choices.service not in SERVICES:
        raise ConfigError(f"{_spelled('service', source)} is {choices.service!r}. {near(choices.service, SERVICES)}")
    if choices.log_level not in {None, *LOG_AMOUNTS}:
        raise ConfigError(
            f"{_spelled('log_level', source)} is {choices.log_level!r}; it is {' or '.join(LOG_AMOUNTS)}."
        )
    for key in ("model", "backend", "store", "log_file", "notify"):
        text = getattr(choices, key)
        if text is not None and not text.strip():
            raise ConfigError(f"{_spelled(key, source)} is empty. Give it a value or leave it out.")
    if choices.notify is not None:
        try:
            shlex.split(choices.notify)
        except ValueError as fault:
            raise ConfigError(f"{_spelled('notify', source)} is not a command: {fault}.") from None


def near(name: str, known: tuple[str, ...]) -> str:
    """A sentence that names the nearest known name, or all of them where none is near."""
    from difflib import get_close_matches

    lowered = {word.lower(): word for word in known}
    if matches := get_close_matches(name.lower(), lowered, n=1, cutoff=0.6):
        return f"Did you mean {lowered[matches[0]]}?"
    return f"Known are {', '.join(known)}."


def _spelled(key: str, source: str) -> str:
    return f"{source}: {key}" if source else f"--{key.replace('_', '-')}"


def merged_choices(earlier: Choices, later: Choices) -> Choices:
    """What an earlier source says, and above it what a later one does: key by key, of tables name by name."""
    said: dict[str, Any] = {
        key: value for key in KEYS if key not in _APART and (value := getattr(later, key)) is not None
    }
    for key in _BUDGETS:
        if (budget := getattr(later, key)) is not None:
            said[key] = merged_budget(getattr(earlier, key), budget)
    for key in _TABLES:
        if key in said:
            said[key] = {**(getattr(earlier, key) or {}), **said[key]}
    if later.agent_permissions is not None:
        both = (*(earlier.agent_permissions or ()), *later.agent_permissions)
        said["agent_permissions"] = tuple(dict.fromkeys(both))
    if (tree := later.worktree) is not None:
        before = earlier.worktree or WorktreeChoices()
        said["worktree"] = WorktreeChoices(
            setup=before.setup if tree.setup is None else tree.setup,
            link=before.link if tree.link is None else tree.link,
        )
    if later.authoring is not None:
        given = {key: value for key, value in asdict(later.authoring).items() if value is not None}
        said["authoring"] = replace(earlier.authoring or AuthoringChoices(), **given)
    return replace(earlier, **said)
