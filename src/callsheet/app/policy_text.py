"""Routing and permissions of agents as files write them, checked: the same in TOML and in a run config (FORMATS 5)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints, model_validator

from callsheet.app.quantities import parse_pairs
from callsheet.model.call import Effort
from callsheet.model.policy import AgentPermissions, FileAccess, Route, ShellExec
from callsheet.permissions.rules import Effect, Origin, read_rule

Filled = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]

_MODES = ("fast", "default", "standard")
_NOWHERE = Origin(name="", folder=Path("/"))


def _route(value: object) -> object:
    if isinstance(value, dict):
        return value
    if value in _MODES:
        return {"speed": value}
    raise ValueError(f"is {value!r}; it is fast, default, or {{model, effort, speed}}")


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class RouteText(BaseModel):
    """How calls are served."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Filled | None = None
    effort: Annotated[Effort | None, BeforeValidator(_lower)] = None
    speed: Literal["fast", "default", "standard"] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> RouteText:
        if (self.model, self.effort, self.speed) == (None, None, None):
            raise ValueError("says nothing; give a model, an effort or a speed")
        return self


RoutesText = Annotated[
    dict[Filled, Annotated[RouteText, BeforeValidator(_route)]],
    BeforeValidator(lambda value: parse_pairs(value.split(",")) if isinstance(value, str) else value),
]


def routes_of(text: Mapping[str, RouteText]) -> tuple[Route, ...]:
    """The routes of a file, in its order."""
    return tuple(
        Route(
            pattern=pattern,
            model=said.model,
            effort=said.effort,
            speed=None if said.speed is None else "fast" if said.speed == "fast" else "standard",
        )
        for pattern, said in text.items()
    )


def _external(value: object) -> object:
    if value is None or value in ("deny", "allow"):
        return value
    if isinstance(value, list):
        return tuple(map(_host, value))
    raise ValueError(f"is {value!r}; it is deny, allow, or a list of hosts")


def _host(text: object) -> str:
    rule = None
    if isinstance(text, str):
        rule, _ = read_rule(Effect.ALLOW, f"WebFetch(domain:{text.strip()})", _NOWHERE, home=Path("/"))
    if rule is None or rule.detail is None:
        raise ValueError(f"has {text!r}, which is no host; write example.com, or *.example.com for those beneath it")
    return rule.detail


def _command(text: str) -> str:
    inner = text.removeprefix("Bash(").removesuffix(")") if text.startswith("Bash(") else text
    rule, _ = read_rule(Effect.ALLOW, f"Bash({inner})", _NOWHERE, home=Path("/"))
    if rule is None or rule.detail is None:
        raise ValueError(f"is {text!r}, which names no program; write a command as it is run, such as pytest *")
    return rule.detail


class PermissionsText(BaseModel):
    """What agents may do."""

    model_config = ConfigDict(extra="forbid", strict=True)

    file_access: FileAccess | None = None
    external_api: Annotated[Literal["deny", "allow"] | tuple[str, ...] | None, BeforeValidator(_external)] = None
    shell_exec: ShellExec | None = None
    shell_allow: list[Annotated[Filled, AfterValidator(_command)]] = []

    @model_validator(mode="after")
    def _holds_together(self) -> PermissionsText:
        if self.shell_exec == "deny" and self.shell_allow:
            raise ValueError(
                "says shell_exec: deny and shell_allow, and no command runs; write restricted, or leave the list out"
            )
        return self


def permissions_of(text: PermissionsText, *, source: str) -> AgentPermissions:
    """What a file says of agents."""
    api = text.external_api
    return AgentPermissions(
        source=source,
        file_access=text.file_access,
        external_api=api if isinstance(api, str) else None,
        hosts=api if isinstance(api, tuple) else None,
        shell_exec=text.shell_exec,
        shell_allow=tuple(text.shell_allow),
    )
