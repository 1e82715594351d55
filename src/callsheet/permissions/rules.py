"""Permission rules as people write them in `.claude/settings.json`: what a rule's text means.

A rule that cannot be read is reported and never dropped in silence: a broken `deny` denies, and a broken `ask` asks,
everything that it may have meant; a broken `allow` allows nothing.
"""

from __future__ import annotations

import re
from dataclasses import field
from enum import Enum, StrEnum
from pathlib import Path

from callsheet.model.dataclass import dataclass
from callsheet.permissions.globs import Globs


class Effect(StrEnum):
    """What a rule does, and what a decision is. Deny beats ask beats allow."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"

    @property
    def weight(self) -> int:
        """Larger for the one that wins."""
        return (Effect.ALLOW, Effect.ASK, Effect.DENY).index(self)


class Family(Enum):
    """What a rule is about."""

    BASH = "bash"
    READ = "read"
    EDIT = "edit"
    GLOB = "glob"
    GREP = "grep"
    WEB_FETCH = "web_fetch"
    WEB_SEARCH = "web_search"
    MCP = "mcp"
    AGENT = "agent"
    SKILL = "skill"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a rule stands.

    Attributes:
        name: The file's path, or the flag.
        folder: What `/…` in its paths is relative to.
    """

    name: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, read.

    Attributes:
        effect: What it does.
        family: What it is about.
        text: As written.
        origin: Where it stands.
        detail: What stands in its brackets, without blanks around; None where there are none, or where they mean all.
        server: Of an MCP rule: the server and, where named, the tool.
        base: Of a path rule: the folder that its pattern counts from; None is the agent's.
        pattern: Of a path rule: the pattern, relative to that folder.
        is_broken: It could not be read, and stands for all that it may mean.
    """

    effect: Effect
    family: Family
    text: str
    origin: Origin
    detail: str | None = None
    server: tuple[str, str | None] | None = None
    base: Path | None = None
    pattern: str | None = None
    is_broken: bool = False
    globs: tuple[Globs, Globs] | None = field(default=None, compare=False, repr=False)

    @property
    def shown(self) -> str:
        """The rule as people would write it."""
        return f"{self.effect} {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A rule that cannot be read.

    Attributes:
        message: For people: the file, the text, what is wrong and what holds instead.
    """

    origin: Origin
    text: str
    message: str


_FAMILIES = {
    "Bash": Family.BASH,
    "Read": Family.READ,
    "NotebookRead": Family.READ,
    "LS": Family.READ,
    "Edit": Family.EDIT,
    "MultiEdit": Family.EDIT,
    "NotebookEdit": Family.EDIT,
    "Write": Family.EDIT,
    "Glob": Family.GLOB,
    "Grep": Family.GREP,
    "WebFetch": Family.WEB_FETCH,
    "WebSearch": Family.WEB_SEARCH,
    "Agent": Family.AGENT,
    "Task": Family.AGENT,
    "Skill": Family.SKILL,
}
TOOL_NAMES = tuple(_FAMILIES)
"""The tools as rules name them, beside `mcp__server__tool`."""

_PATH_FAMILIES = frozenset({Family.READ, Family.EDIT, Family.GLOB, Family.GREP})
_RULE = re.compile(r"(?P<name>[A-Za-z_][\w.-]*(?:\*)?)(?:\((?P<detail>.*)\))?", re.DOTALL)
_MCP = re.compile(r"mcp__(?P<server>[\w.-]+?)(?:__(?P<tool>[\w.-]*\*?))?")
_DOMAIN = re.compile(
    r"domain:(?P<domain>(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\*"
    # One address with its port: the only form that opens something of this machine or network.
    r"|(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5})"
)


def read_rule(effect: Effect, entry: object, origin: Origin, *, home: Path) -> tuple[Rule | None, Fault | None]:
    """What an entry of a list of rules means.

    Args:
        effect: The list that it stands in.
        entry: As it stands in the file.
        origin: Where.
        home: What `~/` is relative to.

    Returns:
        The rule, if anything holds, and what is wrong with it. A tool that this program does not have gives neither
        rule nor harm, but a fault that says so.
    """
    if not isinstance(entry, str):
        return _broken(effect, Family.EVERYTHING, repr(entry), origin, "it is not text")
    text = entry.strip()
    found = _RULE.fullmatch(text)
    if found is None:
        return _broken(effect, _guess(text), text, origin, "its form is neither Tool nor Tool(detail)")
    name, detail = found["name"], found["detail"]
    if name.startswith("mcp__"):
        return _mcp_rule(effect, name, detail, text, origin)
    family = _FAMILIES.get(name)
    if family is None:
        if name.casefold() in {known.casefold() for known in _FAMILIES} or "*" in name:
            return _broken(effect, _guess(text), text, origin, f"{name} is not a tool's name as it is written here")
        message = f"{origin.name}: {effect} {text!r} has no effect: there is no tool {name} here."
        return None, Fault(origin=origin, text=text, message=message)
    if detail is not None:
        detail = detail.strip()
        if not detail:
            return _broken(effect, family, text, origin, "its brackets are empty")
    rule = Rule(effect=effect, family=family, text=text, origin=origin, detail=None if detail == "*" else detail)
    return _checked(rule, home)


def _checked(rule: Rule, home: Path) -> tuple[Rule | None, Fault | None]:
    """A rule whose brackets are read, by what it is about."""
    detail, effect, text, origin = rule.detail, rule.effect, rule.text, rule.origin
    if detail is None:
        return rule, None
    if rule.family in _PATH_FAMILIES:
        return _path_rule(rule, detail, home)
    if rule.family is Family.WEB_FETCH:
        found = _DOMAIN.fullmatch(detail)
        if found is None:
            return _broken(effect, rule.family, text, origin, "it should read WebFetch(domain:example.com)")
        domain = None if found["domain"] == "*" else found["domain"].lower()
        return Rule(effect=effect, family=rule.family, text=text, origin=origin, detail=domain), None
    if rule.family is Family.WEB_SEARCH:
        return _broken(effect, rule.family, text, origin, "WebSearch takes no brackets")
    if rule.family is Family.BASH and not detail.removesuffix(":*").strip("* "):
        if effect is Effect.ALLOW and detail != ":*":
            return _broken(effect, rule.family, text, origin, "it names no program")
        return Rule(effect=effect, family=rule.family, text=text, origin=origin), None
    return rule, None


def _path_rule(rule: Rule, detail: str, home: Path) -> tuple[Rule | None, Fault | None]:
    base: Path | None = None
    pattern = detail
    if detail.startswith("//"):
        base, pattern = Path("/"), "/" + detail.lstrip("/")
    elif detail.startswith("~/"):
        base, pattern = home, detail[1:]
    elif detail.startswith("/"):
        base = rule.origin.folder
    elif detail.startswith("./"):
        pattern = detail[1:]
    is_named_home = base is None and detail.startswith("~")
    if is_named_home or detail.startswith("!") or ".." in pattern.split("/") or "\0" in pattern:
        return _broken(
            rule.effect, rule.family, rule.text, rule.origin, "a path may not hold .., begin with ! or name a user"
        )
    if not pattern.strip("/"):
        pattern = "/**"
    return Rule(
        effect=rule.effect,
        family=rule.family,
        text=rule.text,
        origin=rule.origin,
        detail=detail,
        base=base,
        pattern=pattern,
        globs=(Globs([pattern]), Globs([pattern.casefold()])),
    ), None


def _mcp_rule(
    effect: Effect, name: str, detail: str | None, text: str, origin: Origin
) -> tuple[Rule | None, Fault | None]:
    found = _MCP.fullmatch(name)
    if found is None or detail is not None:
        return _broken(effect, Family.MCP, text, origin, "it should read mcp__server or mcp__server__tool")
    tool = found["tool"] or None
    return Rule(
        effect=effect,
        family=Family.MCP,
        text=text,
        origin=origin,
        detail=name,
        server=(found["server"], None if tool == "*" else tool),
    ), None


def _guess(text: str) -> Family:
    """What a broken rule may be about."""
    name = re.split(r"[^A-Za-z_]", text.strip(), maxsplit=1)[0].casefold()
    if name.startswith("mcp"):
        return Family.MCP
    by_name = {known.casefold(): family for known, family in _FAMILIES.items()}
    return by_name.get(name, Family.EVERYTHING)


def _broken(effect: Effect, family: Family, text: str, origin: Origin, why: str) -> tuple[Rule | None, Fault | None]:
    about = "everything" if family is Family.EVERYTHING else f"all of {family.value}"
    verb = "asked" if effect is Effect.ASK else "denied"
    instead = "It allows nothing." if effect is Effect.ALLOW else f"Until it is mended {about} is {verb}."
    fault = Fault(
        origin=origin, text=text, message=f"{origin.name}: {effect} {text!r} cannot be read: {why}. {instead}"
    )
    if effect is Effect.ALLOW:
        return None, fault
    return Rule(effect=effect, family=family, text=text, origin=origin, is_broken=True), fault
