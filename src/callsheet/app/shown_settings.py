"""The use case behind `callsheet config`: every setting, what it is here, and where that was said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from callsheet.app import compose, places
from callsheet.app.authoring_choices import AUTHORING_DEFAULTS
from callsheet.app.choices import ENV_PREFIX, KEYS, Choices
from callsheet.app.config_use import check_type_models, opened_config
from callsheet.app.plan import Surroundings, site_of
from callsheet.app.settings import Layer
from callsheet.app.trusting import PermissionChoices, Settled, settle
from callsheet.model.call import AgentType
from callsheet.model.dataclass import dataclass
from callsheet.model.policy import AgentPermissions, Route
from callsheet.model.run import RunSettings
from callsheet.model.spending import Budget, TokenPrices
from callsheet.model.values import JsonValue

DEFAULT = "default"
_TABLES = ("agents", "agent_types", "mode_routing", "models", "phase_budgets", "prices", "type_models")
_BUDGET_PARTS = {"output_tokens": "tokens", "cost_usd": "usd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting; `value` None where nobody says anything and nothing stands for it."""

    key: str
    value: JsonValue
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSettings:
    """All settings that hold in a folder.

    Attributes:
        notes: What takes no effect, one line each.
    """

    workspace: str
    settings: tuple[Setting, ...]
    notes: tuple[str, ...]

    @property
    def public(self) -> dict[str, JsonValue]:
        """As public JSON."""
        return {
            "workspace": self.workspace,
            "settings": [{"key": each.key, "value": each.value, "source": each.source} for each in self.settings],
            "notes": [*self.notes],
        }


def show_settings(
    around: Surroundings, *, config: Path | None = None, workspace: Path | None = None, trust: bool = False
) -> ShownSettings:
    """What a run that started here would go by, without flags.

    Args:
        around: The machine.
        config: The run's own config.
        workspace: Where agents would work; None to find it.
        trust: As if the workspace's own files were trusted.

    Raises:
        ConfigError: A file cannot be read, or says what cannot hold.
    """
    root = places.workspace(around.start, workspace).root
    site = site_of(around, root)
    library = compose.library(root, start=site.start, home=site.home, environ=site.environ)
    found = None if config is None else opened_config(config, site=site, start=around.start)
    said = PermissionChoices(trust=trust)
    settled = settle(site, said, Choices(), library, start=around.start, needs_hooks=False, config=found)
    if found is not None:
        check_type_models(found, library, settled.resolved)
    return ShownSettings(workspace=str(root), settings=tuple(_settings(settled)), notes=settled.notes)


def _settings(settled: Settled) -> Iterator[Setting]:
    layers = settled.resolved.layers
    for key in KEYS:
        said = [(layer, value) for layer in layers if (value := getattr(layer.choices, key)) is not None]
        yield from _one(key, said)
    permissions = settled.permissions
    yield Setting(key="permission_mode", value=permissions.mode.value, source=permissions.mode_source)


def _one(key: str, said: list[tuple[Layer, Any]]) -> Iterator[Setting]:
    """A setting, or of one that is put together of parts each of them."""
    if key == "agent_permissions":
        yield from (each for _, files in said for one in files for each in _permissions(one))
        return
    parts: dict[str, Setting] = {}
    for layer, value in said[-1:] if key == "mode_routing" else said:
        source = f"{ENV_PREFIX}{key.upper()}" if layer.source == "environment" else layer.source
        for part, piece in _parts(key, value):
            parts[part] = Setting(key=part, value=piece, source=source)
    if key == "authoring":
        plain = asdict(AUTHORING_DEFAULTS)
        yield from (
            parts.get(part) or Setting(key=part, value=value, source=DEFAULT) for part, value in _parts(key, plain)
        )
    elif parts or key in _TABLES:
        yield from parts.values()
    elif key == "budget":
        yield Setting(key=key, value=None, source=DEFAULT)
    else:
        yield Setting(key=key, value=_defaults().get(key), source=DEFAULT)


def _parts(key: str, value: Any) -> Iterator[tuple[str, JsonValue]]:
    match value:
        case Budget():
            for name, field in _BUDGET_PARTS.items():
                if (amount := getattr(value, field)) is not None:
                    yield f"{key}.{name}", amount
        case _ if key in ("authoring", "worktree"):
            said = value if isinstance(value, dict) else asdict(value)
            yield from ((f"{key}.{name}", part) for name, part in said.items() if part is not None)
        case _ if key == "mode_routing":
            yield from ((f"mode_routing.{route.pattern}", _route(route)) for route in value)
        case _ if key in _TABLES:
            yield from ((f"{key}.{name}", _entry(entry)) for name, entry in value.items())
        case _:
            yield key, value


def _entry(value: Any) -> JsonValue:
    """An entry of a table."""
    match value:
        case Budget():
            return {name: getattr(value, field) for name, field in _BUDGET_PARTS.items() if getattr(value, field)}
        case TokenPrices():
            return asdict(value)
        case str():
            return value
        case _:
            return _program(value)


def _program(kind: AgentType) -> JsonValue:
    """An agent that is a program."""
    if kind.acp is None:
        return [*(kind.command or ())]
    said = {"environment": kind.acp.environment, "hosts": kind.acp.hosts, "folders": kind.acp.folders}
    return {"acp": [*kind.acp.command], **{name: [*each] for name, each in said.items() if each is not None and each}}


def _route(route: Route) -> JsonValue:
    said: Mapping[str, JsonValue] = {"model": route.model, "effort": route.effort, "speed": route.speed}
    return {name: value for name, value in said.items() if value is not None}


def _permissions(said: AgentPermissions) -> Iterator[Setting]:
    hosts: JsonValue = None if said.hosts is None else [*said.hosts]
    values: dict[str, JsonValue] = {
        "file_access": said.file_access,
        "external_api": said.external_api or hosts,
        "shell_exec": said.shell_exec,
        "shell_allow": [*said.shell_allow] or None,
    }
    for name, value in values.items():
        is_grant = name == "shell_allow" or value == "allow"
        if value is not None and (said.is_granted or not is_grant):
            yield Setting(key=f"agent_permissions.{name}", value=value, source=said.source)


def _defaults() -> dict[str, JsonValue]:
    """What holds where nobody says anything."""
    plain = RunSettings()
    return {
        "max_parallel": plain.max_parallel,
        "max_agents": plain.max_agents,
        "max_turns": plain.max_turns,
        "cost_stop": plain.cost_stop_usd,
        "service": plain.service,
        "cpu_limit": plain.sandbox.cpu_limit_s,
        "cpu_total": plain.sandbox.cpu_total_s,
        "memory_limit": plain.sandbox.memory_limit_bytes,
        "strict": plain.sandbox.strict,
        "require_confinement": plain.sandbox.require_confinement,
        "preflight": plain.preflight,
        "approval_timeout": plain.approval_timeout_s,
        "log_level": plain.log_level,
        "max_wait": plain.max_wait_s,
        "checkpoint_interval": plain.checkpoint_interval,
        "rollback_on_failure": plain.rollback_on_failure,
        "cache_warmup": plain.cache_warmup,
    }
