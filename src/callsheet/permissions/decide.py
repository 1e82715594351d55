"""The decision about one tool call: allow, ask or deny, with the reason and the rule. Nothing is run (DESIGN 9)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from callsheet.model.call import Scope
from callsheet.model.dataclass import dataclass
from callsheet.permissions.access import Access, Finding, Want, by_rule, plan_denies, worst
from callsheet.permissions.bash import BashJudge
from callsheet.permissions.matching import covers_agent, covers_host, covers_mcp, covers_path, covers_skill
from callsheet.permissions.modes import Mode
from callsheet.permissions.paths import PathPolicy
from callsheet.permissions.rules import Effect, Family, Rule
from callsheet.permissions.sources import PermissionSettings

TOOLS = ("bash", "read", "write", "edit", "glob", "grep", "web_fetch", "web_search", "agent", "skill")
"""The tools that have names of their own; those of MCP servers are `mcp__server__tool`."""

_NO_TILDE = "{}: ~ is not expanded. Give a path relative to the workspace, or an absolute one."
_PATH_KEYS = ("file_path", "path", "notebook_path")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_Meant: TypeAlias = Callable[[Rule], bool]
_GLOB_START = re.compile(r"[*?\[{]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What happens with a tool call.

    Attributes:
        decision: `allow`, `ask` or `deny`.
        reason: For people and the agent: why.
        advice: For the agent alone: what it can do instead; empty where there is nothing special to say.
        rule: The rule that decided, as written, or what decided in a few words.
        source: The file or flag that the rule stands in; None where no rule decided.
        needs_confinement: It may run only where confinement works: it may run files of the workspace (DESIGN 10).
        programs: Of a shell command: the programs that it may start, by name.
        suggestions: Rules that would have allowed it, ready to paste.
        path: Of a tool for files: where its path leads, all links followed; what is opened must be this.
        is_read_only: Of a shell command: all of it is known, and changes nothing.
        reads: Of a shell command: paths that it names and reads.
    """

    decision: Effect
    reason: str
    rule: str
    source: str | None = None
    advice: str = ""
    needs_confinement: bool = False
    programs: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    path: Path | None = None
    is_read_only: bool = False
    reads: tuple[Path, ...] = ()


class Decider:
    """Decides about the tool calls of one agent. Looks at the file system as it is at that moment and changes nothing.

    Args:
        settings: The rules and the mode that hold.
        root: The workspace.
        cwd: The agent's folder, relative to the root.
        scope: Globs that narrow what it may touch; None for no narrowing.
        home: What `~` stands for in shell commands.
        read_only: It may change nothing.

    Raises:
        UsageError: `cwd` is not a folder inside the workspace.
    """

    def __init__(
        self,
        settings: PermissionSettings,
        *,
        root: Path,
        cwd: str = ".",
        scope: Scope | None = None,
        home: Path,
        read_only: bool = False,
    ) -> None:
        policy = PathPolicy(root, cwd, scope, read_only=read_only)
        folder = policy.folder
        self._mode = settings.mode
        self._read_only = read_only
        self._rules = settings.rules
        self._only_managed = settings.only_managed
        self._folder = folder
        self._access = Access(
            policy,
            settings.rules,
            mode=settings.mode,
            cwd=folder,
            folders=settings.folders,
            is_scoped=scope is not None and scope.read is not None,
            narrowed=_narrowed(scope, read_only=read_only),
        )
        self._bash = BashJudge(settings.rules, self._access, mode=settings.mode, cwd=folder, home=home)

    @property
    def root(self) -> Path:
        """The root of the workspace, all links followed."""
        return self._access.root

    def decide(self, tool: str, given: Mapping[str, object], *, folder: Path | None = None) -> Decision:
        """Decides about one call of a tool.

        Args:
            tool: One of `TOOLS`, or `mcp__server__tool`.
            given: Its input.
            folder: Where a shell command starts, all links followed; None for the agent's folder. Rules still count
                from the agent's.
        """
        decision = self._decided(tool, given, folder)
        return replace(decision, suggestions=()) if self._only_managed and decision.suggestions else decision

    def _decided(self, tool: str, given: Mapping[str, object], folder: Path | None) -> Decision:
        match tool:
            case "bash":
                return self._shell(given, folder)
            case "read" | "write" | "edit":
                return self._file(tool, given)
            case "glob" | "grep":
                return self._search(tool, given)
            case "web_fetch":
                return self._web_fetch(given)
            case "web_search":
                return self._by_rules(Family.WEB_SEARCH, lambda _: True, "searching the web", suggestion="WebSearch")
            case "agent":
                return self._agent(given)
            case "skill":
                return self._skill(given)
            case _ if tool.startswith("mcp__"):
                return self._mcp(tool)
            case _:
                known = ", ".join(TOOLS)
                return _denied(
                    f"There is no tool {tool!r}. The tools are {known} and mcp__server__tool.", "no such tool"
                )

    def hides(self, path: Path) -> bool:
        """Whether a `deny` rule keeps a path, all links followed, out of the results of glob and grep."""
        return self._access.hides(path)

    # --- tools --------------------------------------------------------------------------------------------------------

    def _shell(self, given: Mapping[str, object], folder: Path | None) -> Decision:
        command = given.get("command")
        if not isinstance(command, str):
            return _denied("The input has no text `command`.", "no command")
        verdict = self._bash.decide(command, folder=folder)
        decision = replace(
            _decision(verdict.finding, programs=verdict.programs, suggestions=verdict.suggestions),
            is_read_only=verdict.is_read_only,
            reads=verdict.reads,
        )
        if self._read_only and not verdict.is_read_only and decision.decision is not Effect.DENY:
            reason = (
                "This agent may change nothing: of shell commands only those pass that are known to read and no more."
            )
            return replace(
                decision,
                decision=Effect.DENY,
                reason=reason,
                rule="read-only agent",
                source=None,
                advice="",
                suggestions=(),
            )
        return decision

    def _file(self, tool: str, given: Mapping[str, object]) -> Decision:
        path = next((given[key] for key in _PATH_KEYS if key in given), None)
        if not isinstance(path, str):
            return _denied("The input has no text `file_path`.", "no path")
        if path.startswith("~"):
            return _denied(_NO_TILDE.format(path), "not a path")
        wanted = [Want.READ] if tool == "read" else [Want.WRITE] if tool == "write" else [Want.WRITE, Want.READ]
        findings = [self._access.judge(want, path, cwd=self._folder) for want in wanted]
        if len({each.path for each in findings}) > 1:
            return _denied(f"{path} was made to lead elsewhere while it was looked at.", "link")
        return self._worst(findings)

    def _search(self, tool: str, given: Mapping[str, object]) -> Decision:
        """Glob and grep: the folder, and where the pattern itself begins."""
        path = given.get("path", ".") or "."
        pattern = given.get("pattern", "")
        if not isinstance(path, str) or not isinstance(pattern, str):
            return _denied("`path` and `pattern` must be text.", "no path")
        if path.startswith("~"):
            return _denied(_NO_TILDE.format(path), "not a path")
        family = Family.GLOB if tool == "glob" else Family.GREP
        findings = [self._access.judge(Want.READ, path, cwd=self._folder)]
        if tool == "glob":
            start = _GLOB_START.split(pattern, maxsplit=1)[0]
            if start.startswith("/") or ".." in pattern.split("/"):
                begin = start if start.startswith("/") else f"{path}/{start}"
                begin = begin if ".." not in pattern[len(start) :].split("/") else "/"
                findings.append(self._access.judge(Want.READ, begin.rpartition("/")[0] or "/", cwd=self._folder))
        findings += [
            by_rule(rule, f"{tool} in {path}")
            for rule in self._rules
            if rule.family is family and rule.effect is not Effect.ALLOW and self._is_beneath(rule, path)
        ]
        return self._worst(findings)

    def _web_fetch(self, given: Mapping[str, object]) -> Decision:
        url = given.get("url")
        found = _place_of(url) if isinstance(url, str) else None
        if found is None:
            return _denied(f"{url!r} is not an address of the form https://host/path.", "not an address")
        host, port = found
        return self._by_rules(
            Family.WEB_FETCH,
            lambda rule: covers_host(rule, host, _place(host, port)),
            f"fetching from {host}",
            suggestion=f"WebFetch(domain:{_place(host, port) if _is_local(host) else host})",
        )

    def allows_place(self, place: str) -> bool:
        """Whether a fetch that was allowed may also go to a place that it came upon.

        Args:
            place: `example.com`, a host that a page redirects to; or with a port, `127.0.0.1:8080`, `[::1]:8080`, an
                address of this machine or network: that takes a rule which names it, in every mode.
        """
        is_local = place.startswith("[") or place.count(":") == 1
        if not is_local:
            address = f"[{place}]" if ":" in place else place
            return self._web_fetch({"url": f"https://{address}/"}).decision is Effect.ALLOW
        host = place.rpartition(":")[0].strip("[]")
        found = self._strongest(
            Family.WEB_FETCH,
            lambda rule: rule.detail == place if rule.effect is Effect.ALLOW else covers_host(rule, host, place),
        )
        return found is not None and found.family is Family.WEB_FETCH and found.effect is Effect.ALLOW

    def shunned_hosts(self) -> tuple[str, ...]:
        """Names of hosts that rules deny fetches from, or ask about: with those beneath them, in order of the alphabet.

        A search of the web brings what its results say, and nobody can be asked about one of them.
        """
        rules = (rule for rule in self._rules if rule.family is Family.WEB_FETCH and rule.effect is not Effect.ALLOW)
        hosts = {rule.detail.removeprefix("*.") for rule in rules if rule.detail is not None and not rule.is_broken}
        return tuple(sorted(host for host in hosts if _is_public_name(host)))

    def _mcp(self, tool: str) -> Decision:
        return self._by_rules(Family.MCP, lambda rule: covers_mcp(rule, tool), tool, suggestion=tool)

    def _agent(self, given: Mapping[str, object]) -> Decision:
        kind = given.get("agent_type", given.get("subagent_type", "general-purpose"))
        if not isinstance(kind, str):
            return _denied("`agent_type` must be text.", "no agent type")
        found = self._strongest(Family.AGENT, lambda rule: covers_agent(rule, kind))
        if found is not None:
            return _decision(by_rule(found, f"agents of type {kind}"))
        return Decision(decision=Effect.ALLOW, reason="Scripts may call agents.", rule="default")

    def _skill(self, given: Mapping[str, object]) -> Decision:
        name = given.get("name", given.get("skill"))
        if not isinstance(name, str):
            return _denied("`name` must be text.", "no skill")
        found = self._strongest(Family.SKILL, lambda rule: covers_skill(rule, name))
        if found is not None:
            return _decision(by_rule(found, f"the skill {name}"))
        return Decision(decision=Effect.ALLOW, reason="Agents may read skills.", rule="default")

    def _is_beneath(self, rule: Rule, path: str) -> bool:
        resolved = self._access.resolve(path, cwd=self._folder)
        return resolved is None or covers_path(rule, resolved, cwd=self._folder)

    # --- rules --------------------------------------------------------------------------------------------------------

    def _strongest(self, family: Family, is_meant: _Meant) -> Rule | None:
        found = [
            rule
            for rule in self._rules
            if rule.family is Family.EVERYTHING or (rule.family is family and (rule.is_broken or is_meant(rule)))
        ]
        return max(found, key=lambda rule: rule.effect.weight, default=None)

    def _by_rules(self, family: Family, is_meant: _Meant, what: str, *, suggestion: str) -> Decision:
        """Tools that need a rule."""
        found = self._strongest(family, is_meant)
        if found is not None and found.effect is Effect.DENY:
            return _decision(by_rule(found, what))
        if self._mode is Mode.PLAN and family is Family.MCP:
            return _decision(plan_denies(what))
        if found is not None:
            return _decision(by_rule(found, what))
        if self._mode is Mode.BYPASS:
            return Decision(
                decision=Effect.ALLOW, reason="The mode bypass allows what no rule names.", rule="mode bypass"
            )
        return Decision(
            decision=Effect.ASK,
            reason=f"{what[:1].upper()}{what[1:]} needs a rule.",
            rule="no rule",
            suggestions=(suggestion,),
        )

    def _worst(self, findings: list[Finding]) -> Decision:
        found = worst(findings)
        assert found is not None
        suggestions = tuple(each.suggestion for each in findings if each.suggestion and each.effect is Effect.ASK)
        return replace(_decision(found, suggestions=suggestions), path=findings[0].path)


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_public_name(host: str) -> bool:
    """Whether a host is written as a name that may be one of the web's: no address, no port, not this machine's."""
    return "." in host and ":" not in host and not host.rpartition(".")[2].isdigit() and not _is_local(host)


def _is_local(host: str) -> bool:
    """Whether a host is written as one of this machine or network."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def _place_of(url: str) -> tuple[str, int] | None:
    """The host and port that a client would connect to; None for anything unusual."""
    if re.search(r"[\s\\\x00-\x20\x7f-\x9f]", url) or not url.isprintable():
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = (parts.hostname or "").rstrip(".").lower()
    if parts.scheme.lower() not in ("http", "https") or port == 0 or parts.username is not None:
        return None
    try:
        host = host.encode("idna").decode("ascii") if not host.isascii() else host
    except UnicodeError:
        return None
    if not _HOST.fullmatch(host) and ":" not in host:
        return None
    return host, port if port is not None else 443 if parts.scheme.lower() == "https" else 80


def _narrowed(scope: Scope | None, *, read_only: bool) -> frozenset[Want]:
    reads = scope is not None and scope.read is not None
    writes = read_only or (scope is not None and scope.write is not None)
    return frozenset(want for want, is_so in ((Want.READ, reads), (Want.WRITE, writes)) if is_so)


def _denied(reason: str, rule: str) -> Decision:
    return Decision(decision=Effect.DENY, reason=reason, rule=rule)


def _decision(found: Finding, *, programs: tuple[str, ...] = (), suggestions: tuple[str, ...] = ()) -> Decision:
    return Decision(
        decision=found.effect,
        reason=found.reason,
        rule=found.rule,
        source=found.source,
        advice=found.advice,
        needs_confinement=found.is_confined,
        programs=programs,
        suggestions=suggestions,
    )
