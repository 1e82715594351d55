"""What the agents of a run may do and are asked about, in a few lines for a person who is to approve it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from callsheet.model.dataclass import dataclass
from callsheet.permissions.decide import Decider
from callsheet.permissions.modes import Mode
from callsheet.permissions.rules import Effect

if TYPE_CHECKING:
    from callsheet.app.plan import Plan

_MOST_NAMED = 5
_WHO = {
    "anthropic": "models, which are paid for",
    "claude_code": "Claude Code, with its login",
    "offline": "a stand-in that reads files by rule; no model, no cost",
}
_COMMANDS = {
    Effect.ALLOW: "run as they like, but for what a rule denies",
    Effect.ASK: "harmless ones run, for the others you are asked",
    Effect.DENY: "none but those that a rule allows",
}
_WEB = {
    Effect.ALLOW: "any host, but for what a rule denies",
    Effect.ASK: "you are asked for each host that no rule names",
    Effect.DENY: "no host but those that a rule allows",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One line: what it is about, and what holds. `is_wide`: a person should look twice."""

    about: str
    words: str
    is_wide: bool = False


def granted(plan: Plan) -> tuple[Grant, ...]:
    """What holds for the agents of a plan. Looks at the file system and changes nothing."""
    return tuple(_lines(plan))


def _lines(plan: Plan) -> Iterator[Grant]:
    permissions, said = plan.permissions, plan.order.permissions
    decider = Decider(permissions, root=plan.workspace.root, home=plan.around.home)
    yield Grant(about="answered", words=_who(plan))
    yield _files(plan, decider)
    shell = decider.decide("bash", {"command": "a-program-that-no-rule-names"}).decision
    yield Grant(about="commands", words=_commands(plan, shell), is_wide=shell is Effect.ALLOW or said.unconfined)
    yield _web(plan, decider)
    if plan.servers.servers:
        yield Grant(about="servers", words=_some([each.name for each in plan.servers.servers]))
    rules = Counter(rule.effect.value for rule in permissions.rules)
    told = [f"{rules[effect.value]} {effect.value}" for effect in Effect if rules[effect.value]]
    count = f"; rules: {', '.join(told)}" if told else ""
    words = f"{permissions.mode.value} ({permissions.mode_source}){count}"
    yield Grant(about="mode", words=words, is_wide=permissions.mode is Mode.BYPASS)


def _who(plan: Plan) -> str:
    name = plan.backend.name
    at = "" if plan.settings.service == "anthropic" else f" at {plan.settings.service}"
    chosen = "; no key for a model was found" if plan.backend.note is not None else ""
    what = _WHO.get(name)
    return f"{name}{at}" if what is None else f"{name}{at}: {what}{chosen}"


def _files(plan: Plan, decider: Decider) -> Grant:
    asked = {"file_path": "a-file-that-no-rule-names.txt", "content": ""}
    held = {
        Effect.ALLOW: "read and edited{} without asking",
        Effect.ASK: "read{}; for each change you are asked",
        Effect.DENY: "read{}, and not changed",
    }[decider.decide("write", asked).decision]
    where = {"worktree": " in a git worktree of the run's own", "share": " here, beside other runs,"}
    place = where.get(plan.order.terms.use, " here")
    folders = plan.permissions.folders
    further = f"; also {_some([str(folder) for folder in folders])}" if folders else ""
    return Grant(about="files", words=f"{held.format(place)}{further}", is_wide=bool(folders))


def _commands(plan: Plan, shell: Effect) -> str:
    words = _COMMANDS[shell]
    if plan.settled.opens_network:
        words += "; they reach this machine's network"
    return f"{words}; unconfined: the machine is the boundary" if plan.unconfined else words


def _web(plan: Plan, decider: Decider) -> Grant:
    hosts = plan.settled.hosts
    if hosts is not None:
        return Grant(about="web", words=f"only {_some(list(hosts))}" if hosts else "nothing")
    held = decider.decide("web_fetch", {"url": "https://a-host-that-no-rule-names.example/"}).decision
    return Grant(about="web", words=_WEB[held], is_wide=held is Effect.ALLOW)


def _some(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
