"""Of what a file in the workspace says, that which only restricts; the rest waits for a person's trust (DESIGN 14)."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace

from callsheet.app.authoring_choices import AUTHORING_DEFAULTS
from callsheet.app.choices import KEYS, Choices, Restricted
from callsheet.authoring.briefing import SIZES
from callsheet.model.call import EFFORTS, AgentType
from callsheet.model.dataclass import dataclass
from callsheet.model.policy import AgentPermissions, Route
from callsheet.model.run import RunSettings
from callsheet.model.spending import Budget
from callsheet.permissions.paths import protection_of
from callsheet.permissions.sources import Asked

CONFIG_NAMES: Mapping[str, str] = {
    "max_parallel": "max_parallel_agents",
    "model": "models.default",
    "type_models": "models",
    "log_file": "logging.destination",
    "budget": "budget.cost_usd",
    "tokens": "budget.output_tokens",
}
"""How a run config calls settings that it calls otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Freedom:
    """One thing that is more than a restriction.

    Attributes:
        key: The setting that says it; `tokens` is that part of a budget.
        why: Why it is ignored, as a sentence of a settings file.
        short: What it is, as it stands there.
        words: What it would do: the end of a sentence that begins with "it would".
    """

    key: str
    why: str
    short: str
    words: str


def restricted(
    said: Choices,
    source: str,
    *,
    trusted: bool,
    can_be_trusted: bool,
    base: RunSettings | None = None,
) -> Restricted:
    """Takes of what a file says that which only restricts, and notes the rest; all of it where it is trusted.

    Args:
        said: What it says.
        source: The file, as people know it.
        trusted: A person trusts it.
        can_be_trusted: A person may be asked to.
        base: Of a run config: what holds without it, which it may lower. None for a workspace's settings file.
    """
    freedoms = [*_freedoms(said, base or RunSettings(), is_config=base is not None), *_granted(said)]
    asked = tuple(Asked(source=source, short=each.short, words=each.words) for each in freedoms)
    if trusted or not freedoms:
        return Restricted(source=source, choices=said, asked=asked if can_be_trusted else ())
    if base is None:
        notes = [f"{source}: {each.why}" for each in freedoms]
    elif can_be_trusted:
        notes = [each.ignored for each in asked]
    else:
        notes = [f"ignored: {each.short} ({source} is a link out of the workspace)" for each in asked]
    return Restricted(
        source=source,
        choices=_without(said, {each.key for each in freedoms}),
        notes=tuple(notes),
        asked=asked if can_be_trusted else (),
    )


def _without(said: Choices, keys: set[str]) -> Choices:
    """What is left of what a file says."""
    budget, permissions = said.budget, said.agent_permissions
    if budget is not None:
        tokens = None if "tokens" in keys else budget.tokens
        budget = Budget(tokens=tokens, usd=None if "budget" in keys else budget.usd) or None
    if permissions is not None and "agent_permissions" in keys:
        permissions = tuple(replace(each, is_granted=False) for each in permissions)
    authoring = said.authoring
    if authoring is not None:
        parts: dict[str, None] = dict.fromkeys(
            key.removeprefix(_AUTHORING) for key in keys if key.startswith(_AUTHORING)
        )
        authoring = replace(authoring, **parts)
    dropped: dict[str, None] = dict.fromkeys(keys & {*KEYS} - {"budget", "agent_permissions"})
    return replace(replace(said, **dropped), budget=budget, agent_permissions=permissions, authoring=authoring)


def _freedoms(said: Choices, base: RunSettings, *, is_config: bool) -> Iterator[_Freedom]:
    """Settings that are more than a restriction."""
    limits = base.sandbox
    ceilings: dict[str, float] = {
        "max_parallel": base.max_parallel,
        "max_agents": base.max_agents,
        "max_turns": base.max_turns,
        "cost_stop": base.cost_stop_usd or math.inf,
        "cpu_limit": limits.cpu_limit_s,
        "cpu_total": limits.cpu_total_s,
        "memory_limit": limits.memory_limit_bytes,
        "approval_timeout": base.approval_timeout_s,
        "max_wait": base.max_wait_s,
    }
    for key in KEYS:
        value = getattr(said, key)
        if value is None:
            continue
        name = CONFIG_NAMES.get(key, key) if is_config else key
        if key == "cost_stop" and value == 0:
            if base.cost_stop_usd:
                why = "cost_stop = none is ignored: a workspace's file can only lower a limit."
                yield _Freedom(key=key, why=why, short=key, words="lift cost_stop")
        elif key in ceilings and value > ceilings[key]:
            why = f"{key} = {value:g} is ignored: a workspace's file can only lower a limit."
            words = f"raise {key} from {ceilings[key]:g} to {value:g}"
            yield _Freedom(key=key, why=why, short=f"{name}: {value:g}" if is_config else key, words=words)
        elif key in _ACTS and not (key == "log_file" and lies_beneath(value)):
            flag = _FLAGS.get(key, f"--{key}")
            where = f"Pass {flag}, or set it in your own config.toml" if flag else "Set it in your own config.toml"
            why = f"{key} is ignored: a workspace's file cannot choose it. {where}."
            shown = _in_words(value)
            yield _Freedom(
                key=key, why=why, short=f"{name}: {shown}" if is_config else key, words=f"{_ACTS[key]} {shown}"
            )
    if said.rollback_on_failure is False and base.rollback_on_failure:
        why = "rollback_on_failure = false is ignored: a workspace's file cannot switch it off."
        short = "rollback.on_failure: none" if is_config else "rollback_on_failure"
        words = "leave what failed agents have changed"
        yield _Freedom(key="rollback_on_failure", why=why, short=short, words=words)
    yield from _of_worktrees(said)
    yield from _of_authoring(said)
    yield from _of_budget(said, base, is_config=is_config)


_AUTHORING = "authoring."
_ACTS = {
    "model": "have calls that name no model answered by",
    "backend": "have agents answered by",
    "store": "keep the record at",
    "agents": "start programs as agents:",
    "agent_types": "take agent types for others:",
    "models": "have names stand for models:",
    "type_models": "have agent types answered by models:",
    "mode_routing": "have calls served by other models or modes:",
    "prices": "count models at prices of its own:",
    "log_file": "write the run's events to",
}
_FLAGS = {
    **dict.fromkeys(("agents", "models", "type_models", "mode_routing"), ""),
    "agent_types": "--agent-type",
    "prices": "--price",
    "log_file": "--log-file",
}


def _of_worktrees(said: Choices) -> Iterator[_Freedom]:
    tree = said.worktree
    if tree is None:
        return
    acts = [f"run {tree.setup} in every new worktree"] if tree.setup else []
    acts += [f"link {', '.join(tree.link)} into every new worktree"] if tree.link else []
    why = "worktree is ignored until the workspace is trusted; or set it in your own config.toml."
    yield _Freedom(key="worktree", why=why, short="worktree", words=" and ".join(acts) or "set nothing")


def _of_authoring(said: Choices) -> Iterator[_Freedom]:
    """Less of everything is a restriction; which model is not for a workspace to say."""
    if said.authoring is None:
        return
    plain = AUTHORING_DEFAULTS
    for name, value in asdict(said.authoring).items():
        if value is None or (name != "model" and _amount(name, value) <= _amount(name, getattr(plain, name))):
            continue
        key = f"{_AUTHORING}{name}"
        if name == "model":
            why, words = "a workspace's file cannot choose it", f"have scripts written by {value}"
        else:
            why = f"a workspace's file can only lower the {getattr(plain, name)} that holds without one"
            words = f"raise {key} from {getattr(plain, name)} to {value}"
        yield _Freedom(
            key=key, why=f"{key} = {value} is ignored: {why}. Set it in your own config.toml.", short=key, words=words
        )


_STEPS: Mapping[str, tuple[str, ...]] = {"effort": EFFORTS, "size": (*SIZES,)}


def _amount(name: str, value: str | int) -> int:
    return value if isinstance(value, int) else _STEPS[name].index(value)


def _of_budget(said: Choices, base: RunSettings, *, is_config: bool) -> Iterator[_Freedom]:
    budget = said.budget
    if budget is None:
        return
    most_usd = (base.cost_stop_usd or math.inf) if base.budget_usd is None else base.budget_usd
    if budget.usd is not None and budget.usd > most_usd:
        why = (
            f"a budget of ${budget.usd:g} is ignored: a workspace's file can only lower the ${most_usd:g} that hold "
            "without one."
        )
        short = f"budget.cost_usd: {budget.usd:g}" if is_config else "budget"
        yield _Freedom(key="budget", why=why, short=short, words=f"let a run spend ${budget.usd:g}")
    if budget.tokens is not None and base.budget_tokens is not None and budget.tokens > base.budget_tokens:
        why = f"a budget of {budget.tokens:,} output tokens is ignored: it can only lower {base.budget_tokens:,}."
        words = f"let a run spend {budget.tokens:,} output tokens"
        yield _Freedom(key="tokens", why=why, short=f"budget.output_tokens: {budget.tokens}", words=words)


def _granted(said: Choices) -> Iterator[_Freedom]:
    """What `agent_permissions` allow."""
    for each in said.agent_permissions or ():
        for short, words in _grants(each):
            name = f"agent_permissions.{short}"
            why = f"{name} is ignored until it is trusted; or say it in your own config.toml."
            yield _Freedom(key="agent_permissions", why=why, short=name, words=words)


def _grants(said: AgentPermissions) -> Iterator[tuple[str, str]]:
    if said.shell_exec == "allow":
        yield "shell_exec: allow", "let agents run every command that no rule denies or asks about"
    for pattern in said.shell_allow:
        yield f"shell_allow: {pattern}", f"let agents use Bash({pattern}) without asking"
    if said.external_api == "allow":
        yield "external_api: allow", "let agents and their commands reach every host, and this machine"
    for host in said.hosts or ():
        yield f"external_api: {host}", f"let agents and their commands reach {host}"


def grants_of(said: AgentPermissions) -> tuple[str, ...]:
    """What it allows, as it stands there."""
    return tuple(short for short, _ in _grants(said))


def lies_beneath(destination: str) -> bool:
    """Whether a log would lie in the workspace, in no place that is protected, as far as its name tells."""
    path = os.path.normpath(destination)
    if path.startswith("/") or destination.startswith("~") or ".." in path.split("/"):
        return False
    return protection_of(path) is None and ".callsheet" not in path.casefold().split("/")


def _in_words(value: object) -> str:
    """A value for people; of a table every entry."""
    if isinstance(value, tuple):
        return "; ".join(_route_in_words(each) for each in value if isinstance(each, Route))
    if not isinstance(value, Mapping):
        return str(value)
    return "; ".join(
        f"{name}: {_program_in_words(each)}" if isinstance(each, AgentType) else f"{name} = {each}"
        for name, each in value.items()
    )


def _program_in_words(kind: AgentType) -> str:
    """The program of an agent, and what it is given besides."""
    if kind.acp is None:
        return shlex.join(kind.command or ())
    acp = kind.acp
    told = [shlex.join(acp.command)]
    told += [f"with your variables {', '.join(acp.environment)}"] if acp.environment else []
    told += [f"reaching {', '.join(acp.hosts)}"] if acp.hosts else []
    told += [f"reading and changing {', '.join(acp.folders)}"] if acp.folders else []
    return ", ".join(told)


def _route_in_words(route: Route) -> str:
    said = [each for each in (route.model, route.effort, route.speed) if each is not None]
    return f"{route.pattern} = {' '.join(said)}"
