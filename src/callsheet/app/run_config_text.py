"""What a run config says, from its text: every key known, every value fit to hold. Apart, because it loads Pydantic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from callsheet.app.choices import MAX_PARALLEL, Choices, LogAmount, near
from callsheet.app.policy_text import Filled, PermissionsText, RoutesText, RouteText, permissions_of, routes_of
from callsheet.app.quantities import parse_budget
from callsheet.app.run_config import faulty
from callsheet.errors import ConfigError
from callsheet.library.plain_yaml import PlainYaml, YamlFaultyError, read_yaml
from callsheet.model.counts import MAX_CALLS
from callsheet.model.dataclass import dataclass
from callsheet.model.policy import ORCHESTRATOR
from callsheet.model.spending import Budget

_DEFAULT = "default"
_ROLES = {name: name for name in (_DEFAULT, ORCHESTRATOR)}
"""What `models` may name besides agent types, in any capitals."""

TIMESTAMP = "timestamp"
"""In braces in a destination: the run's start."""

Loc: TypeAlias = tuple[str | int, ...]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _tokens(value: object) -> object:
    """`2M` too; what is said with a dollar sign is no number of tokens."""
    if not isinstance(value, str):
        return value
    found = _amount(value)
    if found.tokens is None or found.usd is not None:
        raise ValueError(f"is {value!r}; it is a number of output tokens, such as 2000000 or 2M")
    return found.tokens


def _usd(value: object) -> object:
    """`$40` too."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        return value
    found = _amount(value)
    if found.usd is None or found.tokens is not None:
        raise ValueError(f"is {value!r}; it is dollars, such as 40 or $40")
    return found.usd


def _amount(text: str) -> Budget:
    try:
        return parse_budget(text)
    except ConfigError:
        raise ValueError(f"is {text!r}, which is no amount") from None


class BudgetText(_Table):
    """`budget`."""

    output_tokens: Annotated[int | None, Field(ge=1), BeforeValidator(_tokens)] = None
    cost_usd: Annotated[float | None, Field(gt=0), BeforeValidator(_usd)] = None


class LoggingText(_Table):
    """`logging`."""

    level: LogAmount | None = None
    destination: Filled | None = None

    @model_validator(mode="after")
    def _goes_somewhere(self) -> LoggingText:
        if self.level is not None and self.destination is None:
            raise ValueError("has a level and no destination; name the file that the run's events go to")
        return self


class RollbackText(_Table):
    """`rollback`."""

    on_failure: Literal["checkpoint", "none"] | None = None
    checkpoint_interval: Annotated[int | None, Field(ge=0, le=MAX_CALLS)] = None


class _WorkflowText(_Table):
    name: Filled | None = None
    script: Filled | None = None
    max_parallel_agents: Annotated[int | None, Field(ge=1, le=MAX_PARALLEL)] = None
    max_agents: Annotated[int | None, Field(ge=1, le=MAX_CALLS)] = None
    budget: BudgetText | None = None
    models: dict[Filled, Filled] | None = None
    mode_routing: RoutesText | None = None
    agent_permissions: PermissionsText | None = None
    logging: LoggingText | None = None
    rollback: RollbackText | None = None

    @model_validator(mode="after")
    def _names_one(self) -> _WorkflowText:
        if self.name is not None and self.script is not None:
            raise ValueError("has name and script; name is a saved workflow's, script a file: write one of them")
        if self.name is not None and ("/" in self.name or self.name.endswith((".js", ".mjs"))):
            raise ValueError(f"has name: {self.name}, which is a file's: write script: {self.name}")
        return self


class _FileText(_Table):
    workflow: _WorkflowText


_TABLES: Mapping[Loc, type[BaseModel]] = {
    (): _FileText,
    ("workflow",): _WorkflowText,
    ("workflow", "budget"): BudgetText,
    ("workflow", "mode_routing", "*"): RouteText,
    ("workflow", "agent_permissions"): PermissionsText,
    ("workflow", "logging"): LoggingText,
    ("workflow", "rollback"): RollbackText,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a run config says; `lines` are where its keys stand, `workflow.` left out but of `name` and `script`."""

    choices: Choices
    workflow: str | None
    script: str | None
    lines: Mapping[str, int]


def said_of(data: bytes, *, name: str) -> Said:
    """Reads and checks the text of a run config.

    Raises:
        ConfigError: Everything that is wrong in it, each with its line.
    """
    try:
        plain = read_yaml(data, words=(TIMESTAMP,))
    except YamlFaultyError as error:
        raise faulty(name, [(fault.line, fault.message) for fault in error.faults]) from None
    if not isinstance(plain.value, dict) or "workflow" not in plain.value:
        keys = plain.value if isinstance(plain.value, dict) else {}
        hint = f" It has {', '.join(map(str, keys))}." if keys else ""
        raise faulty(
            name, [(None, f"it is no run config: it has no key `workflow:` that all others stand below.{hint}")]
        )
    try:
        text = _FileText.model_validate(plain.value).workflow
    except ValidationError as error:
        raise faulty(name, list(_faults(error, plain))) from None
    return Said(choices=_choices(text, name), workflow=text.name, script=text.script, lines=dict(_lines(plain)))


def _choices(text: _WorkflowText, name: str) -> Choices:
    budget, logging, rollback = text.budget, text.logging or LoggingText(), text.rollback or RollbackText()
    models = {_ROLES.get(kind.casefold(), kind): model for kind, model in (text.models or {}).items()}
    types = {kind: model for kind, model in models.items() if kind != _DEFAULT}
    permissions = text.agent_permissions
    return Choices(
        max_parallel=text.max_parallel_agents,
        max_agents=text.max_agents,
        budget=None if budget is None else Budget(tokens=budget.output_tokens, usd=budget.cost_usd) or None,
        model=models.get(_DEFAULT),
        type_models=types or None,
        mode_routing=None if text.mode_routing is None else routes_of(text.mode_routing),
        agent_permissions=None if permissions is None else (permissions_of(permissions, source=name),),
        log_file=logging.destination,
        log_level=logging.level,
        checkpoint_interval=rollback.checkpoint_interval,
        rollback_on_failure=None if rollback.on_failure is None else rollback.on_failure == "checkpoint",
    )


def _lines(plain: PlainYaml) -> Iterator[tuple[str, int]]:
    for place, line in plain.lines.items():
        keys = [str(key) for key in place]
        if keys[:1] == ["workflow"] and len(keys) > 1:
            yield ".".join(keys if keys[1] in ("name", "script") else keys[1:]), line


# --- what is wrong, in words ------------------------------------------------------------------------------------------


def _faults(error: ValidationError, plain: PlainYaml) -> Iterator[tuple[int | None, str]]:
    for fault in error.errors(include_url=False):
        loc = tuple(part for part in fault["loc"] if not _is_branch(part, plain, fault["loc"]))
        yield plain.line_of(loc), _in_words(loc, fault["type"], fault["msg"], fault["input"], fault.get("ctx", {}))


def _is_branch(part: str | int, plain: PlainYaml, loc: Loc) -> bool:
    """Whether a part of a place is a name of Pydantic's own: `[key]` of a mapping's key, or a type of a choice."""
    return part == "[key]" or (isinstance(part, str) and "[" in part and loc not in plain.lines)


def _in_words(loc: Loc, kind: str, message: str, value: object, more: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in (loc[1:] or loc))
    match kind:
        case "extra_forbidden":
            above = ".".join(map(str, loc[:-1]))
            return f"unknown key {loc[-1]}{f' in {above}' if above else ''}. {near(str(loc[-1]), _known(loc[:-1]))}"
        case "int_type" | "int_parsing" | "int_from_float":
            return f"{key} is {_shown(value)}; it is a whole number."
        case "float_type" | "float_parsing" | "finite_number":
            return f"{key} is {_shown(value)}; it is a number."
        case "string_type":
            return f"{key} is {_shown(value)}; it is text{_quotes(value)}."
        case "string_too_short":
            return f"{key} is empty; give it a value or leave it out."
        case "greater_than_equal" | "less_than_equal" | "greater_than":
            bound = more.get("ge", more.get("le", more.get("gt")))
            word = {"greater_than_equal": "at least", "less_than_equal": "at most", "greater_than": "more than"}[kind]
            return f"{key} is {value}; it is {word} {bound:g}."
        case "literal_error":
            known = tuple(part.strip().strip("'") for part in str(more["expected"]).replace(" or ", ", ").split(","))
            hint = f" {near(value, known)}" if isinstance(value, str) else ""
            return f"{key} is {_shown(value)}; it is {' or '.join(known)}.{hint if 'Did' in hint else ''}"
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"{key} is {_shown(value)}; it is a table: keys and values below it."
        case "list_type" | "tuple_type":
            return f"{key} is {_shown(value)}; it is a list."
        case "value_error":
            return f"{key} {message.removeprefix('Value error, ')}."
        case _:
            return f"{key}: {message}."


def _known(loc: Loc) -> tuple[str, ...]:
    for place, table in _TABLES.items():
        if len(place) == len(loc) and all(a in ("*", b) for a, b in zip(place, loc, strict=True)):
            return tuple(table.model_fields)
    return ()


def _shown(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, float) and math.isinf(value):
        return "endless"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _quotes(value: object) -> str:
    return f': write it in quotes, "{_shown(value)}"' if isinstance(value, bool | int | float) else ""
