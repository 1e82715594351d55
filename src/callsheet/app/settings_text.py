"""Settings from files and from the environment, checked. Apart, because loading Pydantic takes time."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from callsheet.app.choices import (
    ENV_PREFIX,
    KEYS,
    AuthoringChoices,
    Choices,
    LogAmount,
    WorktreeChoices,
    check_ranges,
    near,
)
from callsheet.app.policy_text import Filled, PermissionsText, RoutesText, permissions_of, routes_of
from callsheet.app.quantities import (
    parse_budget,
    parse_cost_stop,
    parse_pairs,
    parse_phase_budgets,
    parse_prices,
    parse_seconds,
    parse_size,
)
from callsheet.authoring.briefing import Size
from callsheet.errors import ConfigError
from callsheet.model.call import AcpProgram, AgentType, Effort, ServiceName
from callsheet.model.spending import Budget, TokenPrices
from callsheet.permissions.settings_files import read_small_file

_ELSEWHERE = "is never read from a workspace"
_NEVER = {
    **dict.fromkeys(("base_url", "api_key", "auth_token", "credentials"), f"{_ELSEWHERE}: set it in your environment"),
    **dict.fromkeys(("service", "notify"), f"{_ELSEWHERE}: set it in your own config.toml"),
    **dict.fromkeys(("env", "telemetry", "hooks", "mcp_servers", "commands", "plugins"), _ELSEWHERE),
    **dict.fromkeys(("permissions", "permission_mode", "allow", "trust", "unconfined"), f"{_ELSEWHERE}: it is a flag"),
}
"""Keys with which a workspace's file would give itself something; but for these two no setting anywhere."""


def _cost_stop(value: object) -> object:
    return parse_cost_stop(value) if isinstance(value, str) else value


def _budget(value: object) -> object:
    match value:
        case str():
            return parse_budget(value)
        case bool() | float():
            return parse_budget(repr(value))
        case int():
            return parse_budget(str(value))
        case dict():
            return _budget_of_table(value)
        case _:
            return value


def _budget_of_table(table: Mapping[str, object]) -> Budget:
    known = ("output_tokens", "cost_usd")
    for key in table:
        if key not in known:
            raise ConfigError(f"unknown key {key} in budget. {near(key, known)}")
    tokens, usd = table.get("output_tokens"), table.get("cost_usd")
    return Budget(
        tokens=None if tokens is None else parse_budget(str(tokens)).tokens,
        usd=None if usd is None else parse_budget(f"${usd}").usd,
    )


def _phase_budgets(value: object) -> object:
    """A table of amounts; from the environment as `TITLE=AMOUNT,TITLE=AMOUNT`."""
    if isinstance(value, str):
        return parse_phase_budgets(value.split(","))
    return {title: _budget(amount) for title, amount in value.items()} if isinstance(value, dict) else value


def _prices(value: object) -> object:
    """A table of prices; from the environment as `MODEL=3/15,MODEL=3/15`."""
    if isinstance(value, str):
        return parse_prices(parse_pairs(value.split(",")))
    return parse_prices(value) if isinstance(value, dict) else value


def _worktree(value: object) -> object:
    if not isinstance(value, dict):
        return value
    known = ("setup", "link")
    for key in value:
        if key not in known:
            raise ConfigError(f"unknown key {key} in worktree. {near(str(key), known)}")
    setup, link = value.get("setup"), value.get("link")
    if setup is not None and (not isinstance(setup, str) or not setup.strip()):
        raise ConfigError(f"worktree.setup is {setup!r}; it is a command, as text.")
    if link is None:
        return WorktreeChoices(setup=setup)
    if not isinstance(link, list) or not all(isinstance(name, str) and _is_beneath(name) for name in link):
        raise ConfigError(f"worktree.link is {link!r}; it is a list of folders in the workspace, relative to its root.")
    return WorktreeChoices(setup=setup, link=tuple(name.strip("/") for name in link))


def _is_beneath(name: str) -> bool:
    parts = name.strip("/").split("/")
    return bool(name.strip("/")) and not name.startswith("/") and not {"", ".", "..", ".git"} & set(parts)


def _size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


def _seconds(value: object) -> object:
    return parse_seconds(value) if isinstance(value, str) else value


def _pairs(value: object) -> object:
    """A table; from the environment as `NAME=VALUE,NAME=VALUE`."""
    return parse_pairs(value.split(",")) if isinstance(value, str) else value


_Words = Annotated[list[Annotated[str, StringConstraints(min_length=1)]], Field(min_length=1)]


_Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_Host = Annotated[str, StringConstraints(pattern=r"^(\*|(\*\.)?[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?)$")]
_Folder = Annotated[str, StringConstraints(pattern=r"^(/|~/)[^\x00]*[^/\x00]$")]


class _AgentText(BaseModel):
    """An agent that is a program: one that reads a prompt and ends, or one that speaks the Agent Client Protocol."""

    model_config = ConfigDict(extra="forbid")

    command: _Words | None = None
    acp: _Words | None = None
    environment: list[_Variable] | None = None
    hosts: list[_Host] | None = None
    folders: list[_Folder] | None = None
    description: str = ""
    timeout: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_seconds)] = None


def _tokens(value: object) -> object:
    """`64k` too."""
    if not isinstance(value, str):
        return value
    found = parse_budget(value)
    if found.tokens is None or found.usd is not None:
        raise ConfigError(f"authoring.max_output_tokens is {value!r}; it is a number of tokens, such as 64000 or 64k.")
    return found.tokens


class AuthoringText(BaseModel):
    """`authoring`; `AuthoringChoices` says what its keys mean."""

    model_config = ConfigDict(extra="forbid")

    model: Filled | None = None
    effort: Effort | None = None
    max_output_tokens: Annotated[int | None, BeforeValidator(_tokens)] = None
    rounds: int | None = None
    size: Size | None = None


def _authoring(value: object) -> object:
    """A table; from the environment as `KEY=VALUE,KEY=VALUE`."""
    said = parse_pairs(value.split(",")) if isinstance(value, str) else value
    known = tuple(AuthoringText.model_fields)
    for key in said if isinstance(said, dict) else ():
        if key not in known:
            raise ConfigError(f"unknown key {key} in authoring. {near(str(key), known)}")
    return said


_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.:-]{0,99}$")]


class _SettingsText(BaseModel):
    """The keys of a settings file; `Choices` says what they mean."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    max_parallel: int | None = None
    max_agents: int | None = None
    max_turns: int | None = None
    budget: Annotated[Budget | None, BeforeValidator(_budget)] = None
    phase_budgets: Annotated[dict[Filled, Budget] | None, BeforeValidator(_phase_budgets)] = None
    agent_budget: Annotated[Budget | None, BeforeValidator(_budget)] = None
    cost_stop: Annotated[float | None, BeforeValidator(_cost_stop)] = None
    prices: Annotated[dict[Filled, TokenPrices] | None, BeforeValidator(_prices)] = None
    model: str | None = None
    backend: str | None = None
    service: ServiceName | None = None
    cpu_limit: Annotated[float | None, BeforeValidator(_seconds)] = None
    cpu_total: Annotated[float | None, BeforeValidator(_seconds)] = None
    memory_limit: Annotated[int | None, BeforeValidator(_size)] = None
    strict: bool | None = None
    require_confinement: bool | None = None
    preflight: Literal["warn", "refuse"] | None = None
    store: str | None = None
    approval_timeout: Annotated[float | None, BeforeValidator(_seconds)] = None
    agents: dict[_Name, _AgentText] | None = None
    agent_types: Annotated[dict[_Name, Filled] | None, BeforeValidator(_pairs)] = None
    models: Annotated[dict[_Name, Filled] | None, BeforeValidator(_pairs)] = None
    type_models: Annotated[dict[Filled, Filled] | None, BeforeValidator(_pairs)] = None
    mode_routing: RoutesText | None = None
    agent_permissions: PermissionsText | None = None
    log_file: str | None = None
    log_level: LogAmount | None = None
    max_wait: Annotated[float | None, BeforeValidator(_seconds)] = None
    checkpoint_interval: int | None = None
    rollback_on_failure: bool | None = None
    cache_warmup: bool | None = None
    worktree: Annotated[WorktreeChoices | None, BeforeValidator(_worktree)] = None
    notify: str | None = None
    authoring: Annotated[AuthoringText | None, BeforeValidator(_authoring)] = None


def choices_of_file(path: Path, *, table: str | None, never: list[str] | None = None) -> Choices:
    """Reads a settings file.

    Args:
        path: A TOML file.
        table: The table below `tool` that is ours; None where the whole file is.
        never: Of a workspace's file: takes a line for each key with which it would give itself something. Without it
            such a key is as unknown as any other.

    Raises:
        ConfigError: It cannot be read, is not TOML, has an unknown key or a value that cannot hold; names the file.
    """
    data = read_small_file(path, name=str(path))
    try:
        values = tomllib.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise ConfigError(f"{path} is not TOML that can be read: it nests too deep.") from None
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path} is not UTF-8 (byte {fault.start}). Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(f"{path} is not TOML: {fault}.") from None
    for name in () if table is None else ("tool", table):
        below = values.get(name, {})
        values = below if isinstance(below, dict) else {}
    if never is not None:
        never += [f"{key} {_NEVER[key]}." for key in values if key in _NEVER]
        values = {key: value for key, value in values.items() if key not in _NEVER}
    return _checked(values, source=str(path))


def choices_of_environment(variables: Mapping[str, str]) -> Choices:
    """Reads `CALLSHEET_*`; one that is set and empty says nothing.

    Raises:
        ConfigError: An unknown variable, or a value that cannot hold.
    """
    known = tuple(ENV_PREFIX + key.upper() for key in KEYS)
    for name in variables:
        if name not in known:
            raise ConfigError(f"{name} in the environment is no setting. {near(name, known)}")
    said = {
        name.removeprefix(ENV_PREFIX).lower(): text
        for name, text in variables.items()
        if name in known and text.strip()
    }
    return _checked(said, source="environment")


def _checked(values: Mapping[str, Any], *, source: str) -> Choices:
    for key in values:
        if key not in KEYS:
            raise ConfigError(f"{source}: unknown key {key}. {near(key, KEYS)}")
    try:
        text = _SettingsText.model_validate(values)
    except ConfigError as fault:
        raise ConfigError(f"{source}: {fault.message}") from None
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{source}: {key} = {first['input']!r} cannot hold: {first['msg']}.") from None
    said: dict[str, Any] = {key: getattr(text, key) for key in KEYS}
    if text.agents is not None:
        said["agents"] = {name: _agent(name, each, source=source) for name, each in text.agents.items()}
    if text.mode_routing is not None:
        said["mode_routing"] = routes_of(text.mode_routing)
    if text.agent_permissions is not None:
        said["agent_permissions"] = (permissions_of(text.agent_permissions, source=source),)
    if text.authoring is not None:
        said["authoring"] = AuthoringChoices(**text.authoring.model_dump())
    choices = Choices(**said)
    check_ranges(choices, source=source)
    return choices


def _agent(name: str, said: _AgentText, *, source: str) -> AgentType:
    if (said.command is None) == (said.acp is None):
        raise ConfigError(f"{source}: agents.{name} needs `command` or `acp`, one of them: the words of its program.")
    words = said.command or said.acp or []
    own = {"environment": said.environment, "hosts": said.hosts, "folders": said.folders}
    given = [key for key, value in own.items() if value is not None]
    if said.acp is None and given:
        raise ConfigError(f"{source}: agents.{name}.{given[0]} is for programs of `acp`; leave it out.")
    verb = "Runs" if said.acp is None else "Has the work done by"
    return AgentType(
        name=name,
        description=said.description or f"{verb} {shlex.join(words)}.",
        source="settings",
        command=None if said.command is None else tuple(said.command),
        acp=None
        if said.acp is None
        else AcpProgram(
            command=tuple(said.acp),
            environment=tuple(said.environment or ()),
            hosts=None if said.hosts is None else tuple(said.hosts),
            folders=tuple(said.folders or ()),
        ),
        timeout_s=said.timeout,
    )
