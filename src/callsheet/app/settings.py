"""What holds for a run: defaults, files, environment and flags, the later winning (FORMATS 5)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import field, fields, replace
from pathlib import Path
from typing import Any, Literal

from callsheet.agents.services import SERVICES
from callsheet.app.quantities import merged_budget
from callsheet.errors import ConfigError
from callsheet.model.call import AgentType, ServiceName
from callsheet.model.counts import MAX_CALLS
from callsheet.model.dataclass import dataclass
from callsheet.model.run import RunSettings
from callsheet.model.sandbox import SandboxLimits
from callsheet.model.spending import Budget, TokenPrices
from callsheet.permissions.sources import Asked

MAX_PARALLEL = 256
MIN_MEMORY_BYTES = 4 * 1024 * 1024
ENV_PREFIX = "CALLSHEET_"
CONFIG_DIR = "CALLSHEET_CONFIG_DIR"
"""Says where the user's own files lie; no setting itself."""
NOTIFY_VARIABLES = ("CALLSHEET_RUN_ID", "CALLSHEET_STATUS", "CALLSHEET_REASON", "CALLSHEET_TEXT")
"""What a `notify` command is told in its environment; no settings, also where that command is `callsheet` itself."""
WORKSPACE_FILES = ("callsheet.toml", "pyproject.toml")


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
class Choices:
    """What one source of settings says; None where it says nothing. The field names are the keys of the files.

    Attributes:
        budget: Tokens and dollars are chosen each for itself: a later source that gives one leaves the other.
        cost_stop: Dollars at which a run without a budget stops starting agents, or asks; 0 for none (CONTRACT L04).
        cpu_limit, cpu_total: Seconds (CONTRACT D07).
        memory_limit: Bytes.
        backend: `anthropic`, `claude_code`, `offline` or `scripted:FILE`.
        service: Where the models of `anthropic` are had; never said by a workspace.
        store: Where the record lies (FORMATS 4).
        approval_timeout: Seconds that an agent waits for a person's answer; without one it is denied.
        phase_budgets: Budgets of phases, by title or glob; a later source replaces what it names.
        agent_budget: What each agent may use at most; tokens and dollars each for itself.
        prices: What models cost, by id or glob; before the price list. A later source replaces what it names.
        agents: Command agents by name. Of this and the next two a later source replaces what it names.
        agent_types: Names of agent types, and the types that are taken for them.
        models: Names for models, and their ids; `default` among them for calls that name none.
        max_wait: Seconds that the run waits for a service that stays away; 0 for not at all (CONTRACT K05).
        cache_warmup: Of calls that share a prompt prefix the first goes ahead (CONTRACT K03).
        checkpoint_interval: Agents between two checkpoints of the workspace; 0 for the first and the last alone.
        rollback_on_failure: What an agent changed that failed is taken back.
        worktree: Of agents' worktrees; a later source that gives one of its parts leaves the other.
        notify: A command that is run when a run has ended or waits for a person; never said by a workspace.
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
    max_wait: float | None = None
    checkpoint_interval: int | None = None
    rollback_on_failure: bool | None = None
    cache_warmup: bool | None = None
    worktree: WorktreeChoices | None = None
    notify: str | None = None


_TABLES = ("agents", "agent_types", "models", "phase_budgets", "prices")
_BUDGETS = ("budget", "agent_budget")
KEYS = tuple(each.name for each in fields(Choices))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The settings of a run.

    Attributes:
        run: All but the backend, which `compose` chooses.
        backend: The backend that was asked for; None where nobody asked.
        notes: One line for each setting of the workspace's file that took no effect.
        asked: What the workspace's file asks for and only a person's trust grants, whether it is trusted or not.
        agents: Command agents.
        agent_types: Names of agent types, and the types that are taken for them.
        models: Names for models, and their ids.
        worktree: What agents' worktrees get.
        notify: The command that is told of the run's end; None for none.
    """

    run: RunSettings
    backend: str | None
    store: str | None
    notes: tuple[str, ...]
    asked: tuple[Asked, ...] = ()
    agents: tuple[AgentType, ...] = ()
    agent_types: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    worktree: WorktreeChoices = WorktreeChoices()
    notify: str | None = None


def resolve_settings(
    flags: Choices,
    *,
    workspace: Path,
    environ: Mapping[str, str],
    config_dir: Path,
    interactive: bool = False,
    trusted: bool = False,
) -> Resolved:
    """Merges all sources: workspace file, user's file, environment, flags; the later wins (FORMATS 5).

    Of the workspace's file only what restricts takes effect: a repository may lower limits, not choose who is asked,
    with what, or where the record lies (DESIGN 14).

    Args:
        flags: What this call says.
        workspace: Where the workspace's file lies: its root, or a copy of what a commit has.
        environ: Read for `CALLSHEET_*`.
        config_dir: The folder of the user's `config.toml`.
        interactive: A person is there to be asked.
        trusted: A person trusts the workspace: what its file grants takes effect too.

    Raises:
        ConfigError: A file that is not TOML, an unknown key, a value out of range.
    """
    found = _workspace_choices(workspace, trusted=trusted)
    below = found.choices
    above = Choices()
    user_file = config_dir / "config.toml"
    if user_file.is_file():
        above = merged_choices(above, _read(user_file, table=None))
    if variables := {
        name: text
        for name, text in environ.items()
        if name.startswith(ENV_PREFIX) and name not in (CONFIG_DIR, *NOTIFY_VARIABLES)
    }:
        from callsheet.app.settings_text import choices_of_environment

        above = merged_choices(above, choices_of_environment(variables))
    check_ranges(flags, source="")
    above = merged_choices(above, flags)
    chosen = merged_choices(below, above)
    return Resolved(
        run=_run_settings(chosen, chosen if trusted else above, interactive),
        backend=chosen.backend,
        store=chosen.store,
        notes=tuple(found.notes),
        asked=tuple(found.asked),
        agents=tuple((chosen.agents or {}).values()),
        agent_types=chosen.agent_types or {},
        models=chosen.models or {},
        worktree=chosen.worktree or WorktreeChoices(),
        notify=above.notify,
    )


def check_ranges(choices: Choices, *, source: str) -> None:
    """Sees that every value can hold.

    Args:
        choices: What one source says.
        source: Where it was said, for the message; empty for flags.

    Raises:
        ConfigError: A value out of range.
    """
    in_range: list[tuple[str, float | None, float, float]] = [
        ("max_parallel", choices.max_parallel, 1, MAX_PARALLEL),
        ("max_agents", choices.max_agents, 1, MAX_CALLS),
        ("max_turns", choices.max_turns, 1, 100_000),
        ("cost_stop", choices.cost_stop or None, 0.01, 1_000_000),
        ("cpu_limit", choices.cpu_limit, 0.1, 3_600),
        ("cpu_total", choices.cpu_total, 0.1, 86_400),
        ("memory_limit", choices.memory_limit, MIN_MEMORY_BYTES, 64 * 1024**3),
        ("approval_timeout", choices.approval_timeout, 1, 604_800),
        ("max_wait", choices.max_wait, 0, 2_592_000),
        ("checkpoint_interval", choices.checkpoint_interval, 0, MAX_CALLS),
    ]
    for key, value, low, high in in_range:
        if value is not None and not low <= value <= high:
            raise ConfigError(f"{_spelled(key, source)} is {value:g}; it is between {low:,g} and {high:,.0f}.")
    if choices.preflight not in {None, "warn", "refuse"}:
        raise ConfigError(f"{_spelled('preflight', source)} is {choices.preflight!r}; it is warn or refuse.")
    if choices.service is not None and choices.service not in SERVICES:
        raise ConfigError(f"{_spelled('service', source)} is {choices.service!r}. {near(choices.service, SERVICES)}")
    for key in ("model", "backend", "store", "notify"):
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
        key: value for key in KEYS if key not in (*_BUDGETS, "worktree") and (value := getattr(later, key)) is not None
    }
    for key in _BUDGETS:
        if (budget := getattr(later, key)) is not None:
            said[key] = merged_budget(getattr(earlier, key), budget)
    for key in _TABLES:
        if key in said:
            said[key] = {**(getattr(earlier, key) or {}), **said[key]}
    if (tree := later.worktree) is not None:
        before = earlier.worktree or WorktreeChoices()
        said["worktree"] = WorktreeChoices(
            setup=before.setup if tree.setup is None else tree.setup,
            link=before.link if tree.link is None else tree.link,
        )
    return replace(earlier, **said)


def _run_settings(chosen: Choices, above: Choices, interactive: bool) -> RunSettings:
    plain = RunSettings()
    limits = plain.sandbox
    budget = chosen.budget or Budget()
    cost_stop = plain.cost_stop_usd if chosen.cost_stop is None else chosen.cost_stop
    if above.budget is None and budget and cost_stop:
        # A budget lifts the stop at cost_stop; one that only the workspace's file gives may lift nothing (DESIGN 14).
        budget = replace(budget, usd=cost_stop if budget.usd is None else min(budget.usd, cost_stop))
    return RunSettings(
        max_parallel=chosen.max_parallel or plain.max_parallel,
        max_agents=chosen.max_agents or plain.max_agents,
        max_turns=chosen.max_turns or plain.max_turns,
        budget_tokens=budget.tokens,
        budget_usd=budget.usd,
        cost_stop_usd=cost_stop,
        phase_budgets=dict(chosen.phase_budgets or {}),
        agent_budget=chosen.agent_budget or Budget(),
        prices=dict(chosen.prices or {}),
        model=chosen.model,
        service=chosen.service or plain.service,
        preflight=chosen.preflight or plain.preflight,
        interactive=interactive,
        approval_timeout_s=chosen.approval_timeout or plain.approval_timeout_s,
        max_wait_s=plain.max_wait_s if chosen.max_wait is None else chosen.max_wait,
        checkpoint_interval=chosen.checkpoint_interval or plain.checkpoint_interval,
        rollback_on_failure=bool(chosen.rollback_on_failure),
        cache_warmup=plain.cache_warmup if chosen.cache_warmup is None else chosen.cache_warmup,
        sandbox=SandboxLimits(
            cpu_limit_s=chosen.cpu_limit or limits.cpu_limit_s,
            cpu_total_s=chosen.cpu_total or limits.cpu_total_s,
            memory_limit_bytes=chosen.memory_limit or limits.memory_limit_bytes,
            strict=bool(chosen.strict),
            require_confinement=bool(chosen.require_confinement),
        ),
    )


@dataclass(slots=True)
class _Found:
    """What the workspace's file says, and what is to be said about it."""

    choices: Choices = field(default_factory=Choices)
    notes: list[str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)


def _read(path: Path, *, table: str | None, never: list[str] | None = None) -> Choices:
    from callsheet.app.settings_text import choices_of_file

    return choices_of_file(path, table=table, never=never)


def settings_file(workspace: Path) -> tuple[Path, str | None] | None:
    """The file of a workspace that has settings of ours, and the table in it; None where there is none."""
    own, project = (workspace / name for name in WORKSPACE_FILES)
    if own.is_file():
        return own, None
    if project.is_file() and _mentions_us(project):
        return project, "callsheet"
    return None


def _workspace_choices(workspace: Path, *, trusted: bool) -> _Found:
    """What the workspace's file says and may say; a line in `notes` for each thing it may not."""
    found = _Found()
    file = settings_file(workspace)
    if file is None:
        return found
    path, table = file
    source = path.name if table is None else f"{path.name} [tool.callsheet]"
    never: list[str] = []
    said = _read(path, table=table, never=never)
    found.notes += [f"{source}: {line}" for line in never]
    leads_out = not path.resolve().is_relative_to(workspace.resolve())
    if leads_out:
        found.notes.append(f"{source} is a link out of the workspace: it can only lower limits.")
    _restrict(found, said, source, trusted=trusted and not leads_out, can_be_trusted=not leads_out)
    return found


def _mentions_us(project: Path) -> bool:
    """Whether a `pyproject.toml` has a table of ours; most have not, and need no parser."""
    try:
        with project.open("rb") as file:
            return b"callsheet" in file.read(1024 * 1024)
    except OSError:
        return False


def _restrict(found: _Found, said: Choices, source: str, *, trusted: bool, can_be_trusted: bool) -> None:
    """Takes from what a file says that which only restricts, and notes the rest; all of it where it is trusted."""
    dropped: dict[str, None] = {}
    for key, (why, words) in _freedoms(said).items():
        if not trusted:
            found.notes.append(f"{source}: {why}")
            dropped[key] = None
        if can_be_trusted:
            found.asked.append(Asked(source=source, short=key, words=words))
    budget = dropped.pop("budget", said.budget)
    if budget is None and said.budget is not None:
        budget = replace(said.budget, usd=None)
    found.choices = replace(replace(said, **dropped), budget=budget)


def _freedoms(said: Choices) -> dict[str, tuple[str, str]]:
    """Of what a workspace's file says that which is more than a restriction: why it is ignored, what it would do."""
    plain = RunSettings()
    limits = plain.sandbox
    ceilings: dict[str, float] = {
        "max_parallel": plain.max_parallel,
        "max_agents": plain.max_agents,
        "max_turns": plain.max_turns,
        "cost_stop": plain.cost_stop_usd,
        "cpu_limit": limits.cpu_limit_s,
        "cpu_total": limits.cpu_total_s,
        "memory_limit": limits.memory_limit_bytes,
        "approval_timeout": plain.approval_timeout_s,
        "max_wait": plain.max_wait_s,
    }
    acts = {
        "model": "have calls that name no model answered by",
        "backend": "have agents answered by",
        "store": "keep the record at",
        "agents": "start programs as agents:",
        "agent_types": "take agent types for others:",
        "models": "have names stand for models:",
        "prices": "count models at prices of its own:",
    }
    flags = {"agents": "", "agent_types": "--agent-type", "models": "", "prices": "--price"}
    free: dict[str, tuple[str, str]] = {}
    for key in KEYS:
        value = getattr(said, key)
        if value is None:
            continue
        if key == "cost_stop" and value == 0:
            free[key] = ("cost_stop = none is ignored: a workspace's file can only lower a limit.", "lift cost_stop")
        elif key in ceilings and value > ceilings[key]:
            why = f"{key} = {value:g} is ignored: a workspace's file can only lower a limit."
            free[key] = (why, f"raise {key} from {ceilings[key]:g} to {value:g}")
        elif key in acts:
            flag = flags.get(key, f"--{key}")
            where = f"Pass {flag}, or set it in your own config.toml" if flag else "Set it in your own config.toml"
            free[key] = (
                f"{key} is ignored: a workspace's file cannot choose it. {where}.",
                f"{acts[key]} {_in_words(value)}",
            )
    if (tree := said.worktree) is not None:
        acts_there = [f"run {tree.setup} in every new worktree"] if tree.setup else []
        acts_there += [f"link {', '.join(tree.link)} into every new worktree"] if tree.link else []
        why = "worktree is ignored until the workspace is trusted; or set it in your own config.toml."
        free["worktree"] = (why, " and ".join(acts_there) or "set nothing")
    if said.budget is not None and (said.budget.usd or 0) > plain.cost_stop_usd:
        why = (
            f"a budget of ${said.budget.usd:g} is ignored: a workspace's file can only lower the "
            f"${plain.cost_stop_usd:g} that hold without one."
        )
        free["budget"] = (why, f"let a run spend ${said.budget.usd:g}")
    return free


def _in_words(value: object) -> str:
    """A value for people; of a table every entry."""
    if not isinstance(value, Mapping):
        return str(value)
    return "; ".join(
        f"{name}: {shlex.join(each.command or ())}" if isinstance(each, AgentType) else f"{name} = {each}"
        for name, each in value.items()
    )
