"""What holds for a run: defaults, files, environment and flags, the later winning (FORMATS 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app.choices import (
    ENV_PREFIX,
    AuthoringChoices,
    Choices,
    Restricted,
    WorktreeChoices,
    check_ranges,
    merged_choices,
    near,
)
from callsheet.model.call import AgentType
from callsheet.model.dataclass import dataclass
from callsheet.model.policy import ORCHESTRATOR
from callsheet.model.run import RunSettings
from callsheet.model.sandbox import SandboxLimits
from callsheet.model.spending import Budget
from callsheet.permissions.sources import Asked
from callsheet.shell.environment import INSIDE_RUN

if TYPE_CHECKING:
    from callsheet.app.run_config import RunConfig

__all__ = [
    "CONFIG_DIR",
    "ENV_PREFIX",
    "WORKSPACE_FILES",
    "AuthoringChoices",
    "Choices",
    "Layer",
    "Resolved",
    "WorktreeChoices",
    "check_ranges",
    "merged_choices",
    "near",
    "resolve_settings",
    "settings_file",
]

CONFIG_DIR = "CALLSHEET_CONFIG_DIR"
"""Says where the user's own files lie; no setting itself."""
NOTIFY_VARIABLES = ("CALLSHEET_RUN_ID", "CALLSHEET_STATUS", "CALLSHEET_REASON", "CALLSHEET_TEXT")
"""What a `notify` command is told in its environment; no settings, also where that command is `callsheet` itself."""
WORKSPACE_FILES = ("callsheet.toml", "pyproject.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One source, and what of it takes effect."""

    source: str
    choices: Choices


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The settings of a run.

    Attributes:
        run: All but the backend, which `compose` chooses.
        backend: The backend that was asked for; None where nobody asked.
        notes: One line for each setting of the workspace's file that took no effect.
        asked: What the workspace's file asks for and only a person's trust grants, whether it is trusted or not.
        config_asked: The same of the run's own config, where that lies in the workspace.
        agents: Those that are programs.
        agent_types: Names of agent types, and the types that are taken for them.
        models: Names for models, and their ids.
        worktree: What agents' worktrees get.
        layers: The sources that say something, the first that wins last.
        notify: The command that is told of the run's end; None for none.
        authoring: How the model works that writes scripts.
    """

    run: RunSettings
    backend: str | None
    store: str | None
    notes: tuple[str, ...]
    asked: tuple[Asked, ...] = ()
    config_asked: tuple[Asked, ...] = ()
    agents: tuple[AgentType, ...] = ()
    agent_types: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    worktree: WorktreeChoices = field(default_factory=WorktreeChoices)
    layers: tuple[Layer, ...] = ()
    notify: str | None = None
    authoring: AuthoringChoices = field(default_factory=AuthoringChoices)


def resolve_settings(
    flags: Choices,
    *,
    workspace: Path,
    environ: Mapping[str, str],
    config_dir: Path,
    interactive: bool = False,
    trusted: bool = False,
    config: RunConfig | None = None,
    config_trusted: bool = False,
) -> Resolved:
    """Merges all sources: workspace file, user's file, the run's config, environment, flags (FORMATS 5).

    The later wins. Of the workspace's file, and of a run config that lies in the workspace, only what restricts takes
    effect: a repository may lower limits, not choose who is asked, with what, or where the record lies (DESIGN 14).

    Args:
        flags: What this call says.
        workspace: Where the workspace's file lies: its root, or a copy of what a commit has.
        environ: Read for `CALLSHEET_*`.
        config_dir: The folder of the user's `config.toml`.
        interactive: A person is there to be asked.
        trusted: A person trusts the workspace: what its file grants takes effect too.
        config: The run's own (`--config`).
        config_trusted: A person trusts it, wherever it lies.

    Raises:
        ConfigError: A file that is not TOML, an unknown key, a value out of range.
    """
    own = _workspace_choices(workspace, trusted=trusted)
    layers = [] if own is None else [Layer(source=own.source, choices=own.choices)]
    user_file = config_dir / "config.toml"
    granted: list[Layer] = []
    if user_file.is_file():
        granted.append(Layer(source=str(user_file), choices=_read(user_file, table=None)))
    layers += granted
    said = None
    if config is not None:
        base = _run_settings(_merged(layers), _merged(layers if trusted else granted), interactive)
        said = _config_choices(config, base, trusted=config_trusted)
        layers.append(Layer(source=config.name, choices=said.choices))
        granted += layers[-1:] if config.place == "own" or config_trusted else []
    if variables := {
        name: text
        for name, text in environ.items()
        if name.startswith(ENV_PREFIX) and name not in (CONFIG_DIR, INSIDE_RUN, *NOTIFY_VARIABLES)
    }:
        from callsheet.app.settings_text import choices_of_environment

        granted.append(Layer(source="environment", choices=choices_of_environment(variables)))
        layers.append(granted[-1])
    check_ranges(flags, source="")
    if flags != Choices():
        granted.append(Layer(source="flags", choices=flags))
        layers.append(granted[-1])
    chosen = _merged(layers)
    return Resolved(
        run=_run_settings(chosen, chosen if trusted else _merged(granted), interactive),
        backend=chosen.backend,
        store=chosen.store,
        notes=(*_notes(own), *_notes(said), *_without_effect(chosen)),
        asked=() if own is None else own.asked,
        config_asked=() if said is None else said.asked,
        agents=tuple((chosen.agents or {}).values()),
        agent_types=chosen.agent_types or {},
        models=chosen.models or {},
        worktree=chosen.worktree or WorktreeChoices(),
        layers=tuple(layers),
        notify=_merged(granted).notify,
        authoring=chosen.authoring or AuthoringChoices(),
    )


def _merged(layers: list[Layer]) -> Choices:
    merged = Choices()
    for layer in layers:
        merged = merged_choices(merged, layer.choices)
    return merged


def _notes(found: Restricted | None) -> tuple[str, ...]:
    return () if found is None else found.notes


def _without_effect(chosen: Choices) -> list[str]:
    """A line where something is said of the model that writes scripts: a run's script is written already."""
    named = [f"models.{ORCHESTRATOR}"] if ORCHESTRATOR in (chosen.type_models or {}) else []
    named += [f"mode_routing.{ORCHESTRATOR}" for route in chosen.mode_routing or () if route.pattern == ORCHESTRATOR]
    if not named:
        return []
    does, it = ("has", "it") if len(named) == 1 else ("have", "them")
    meant = f"callsheet author goes by {it}"
    return [f"{' and '.join(named)} {does} no effect on a run, whose script is written already: {meant}."]


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
        type_models=dict(chosen.type_models or {}),
        mode_routing=chosen.mode_routing or (),
        agent_permissions=chosen.agent_permissions or (),
        log_file=chosen.log_file,
        log_level=chosen.log_level or plain.log_level,
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


def _workspace_choices(workspace: Path, *, trusted: bool) -> Restricted | None:
    """What the workspace's file says and may say; a line in `notes` for each thing it may not."""
    file = settings_file(workspace)
    if file is None:
        return None
    path, table = file
    source = path.name if table is None else f"{path.name} [tool.callsheet]"
    never: list[str] = []
    said = _read(path, table=table, never=never)
    notes = [f"{source}: {line}" for line in never]
    leads_out = not path.resolve().is_relative_to(workspace.resolve())
    if leads_out:
        notes.append(f"{source} is a link out of the workspace: it can only lower limits.")
    from callsheet.app.restricting import restricted

    found = restricted(said, source, trusted=trusted and not leads_out, can_be_trusted=not leads_out)
    return replace(found, notes=(*notes, *found.notes))


def _config_choices(config: RunConfig, base: RunSettings, *, trusted: bool) -> Restricted:
    """What the run's own config says and may say, over what holds without it."""
    source, choices = config.name, config.choices
    if config.place == "own":
        return Restricted(source=source, choices=choices)
    from callsheet.app.restricting import restricted

    leads_out = config.place == "leads out"
    found = restricted(choices, source, base=base, trusted=trusted and not leads_out, can_be_trusted=not leads_out)
    if leads_out:
        note = f"{source} is a link out of the workspace: it can only lower limits."
        return replace(found, notes=(note, *found.notes))
    return found


def _mentions_us(project: Path) -> bool:
    """Whether a `pyproject.toml` has a table of ours; most have not, and need no parser."""
    try:
        with project.open("rb") as file:
            return b"callsheet" in file.read(1024 * 1024)
    except OSError:
        return False
