"""What the agents of a rehearsal may reach: the commands and hosts that their prompts name, held against the rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from callsheet.agents.tools.names import TOOL_NAMES, WEB_SEARCH
from callsheet.agents.toolset import select_tools
from callsheet.errors import UsageError
from callsheet.model.call import AgentTask, Scope
from callsheet.model.dataclass import dataclass
from callsheet.model.rehearsal import NamedUse, Reach, RuleSaid, Verdict, Violation, ViolationCause
from callsheet.permissions.decide import Decider
from callsheet.permissions.rules import Effect, Family, Rule
from callsheet.permissions.sources import PermissionSettings

if TYPE_CHECKING:
    from callsheet.app.rehearsal_cast import Cast

_MOST_CHARS = 65_536
_MOST_NAMED = 200
_COMMAND_CHARS = 200

_IN_TICKS = re.compile(r"(?<!`)`([^`\n]{2,200})`(?!`)")
_FENCED = re.compile(r"```(?:bash|sh|shell|zsh|console)\n(.*?)```", re.DOTALL)
_PROMPTED = re.compile(r"^\s*\$ (.+)$", re.MULTILINE)
_URL = re.compile(r"https?://[^\s`'\"<>)\]}]+")
_FIRST_WORD = re.compile(r"[a-z][a-z0-9._+-]*")

_PROGRAM_NAMES = """
    ant awk aws az bash biome black bun bundle cargo cat chmod cmake composer cp curl deno diff docker dotnet elixir
    env eslint find flake8 flutter gcc gcloud gem gh git go gofmt gradle grep head helm isort java javac jest jq just
    kubectl ls make mix mkdir mocha mv mvn mypy next ninja node npm npx nx pdm php phpunit pip pip3 pipenv playwright
    pnpm poetry prettier pylint pyright pytest python python3 rails rake rg rm rspec rsync ruby ruff rustc sbt scp sed
    sh sort ssh swift tail tar terraform touch tox tsc turbo uv uvx vitest vue wc webpack wget xargs yarn zig
"""
_PROGRAMS = frozenset(_PROGRAM_NAMES.split())
"""Words that begin a command where they stand in backticks: others, such as names of functions, are no commands."""

_PROTECTED = (".git", ".claude", ".callsheet")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What decides about an agent's tool calls, beside the rules."""

    cwd: str
    scope: Scope | None
    is_read_only: bool


_Decided: TypeAlias = tuple[Verdict, str, tuple[str, ...]]
"""What becomes of a tool call, by which rule, and rules that would allow it."""


class Reaching:
    """Holds what calls ask for against what they may get. Looks at the file system and changes nothing.

    Args:
        settings: The rules and the mode.
        root: The workspace.
        home: What `~` stands for.
        has_git: The workspace is a git working tree with a commit.
        redact: Replaces secrets in what is told.
    """

    def __init__(
        self, settings: PermissionSettings, *, root: Path, home: Path, has_git: bool, redact: Callable[[str], str]
    ) -> None:
        self._redact = redact
        self._settings = settings
        self._root = root
        self._home = home
        self._has_git = has_git
        self._deciders: dict[_Place, Decider | None] = {}
        self._decisions: dict[tuple[_Place, str, str], _Decided] = {}

    # --- commands and hosts -------------------------------------------------------------------------------------------

    def commands(self, cast: Sequence[Cast]) -> Reach:
        """What rules say about shell commands, and about those that prompts name."""
        named = _Named()
        for member in cast:
            for command in _commands_in(_said(member.task)):
                named.add(self._redact(command), *self._command(member.task, command))
        return Reach(
            otherwise=self._otherwise("bash", {"command": "a-program-that-no-rule-names"}),
            rules=self._rules(Family.BASH),
            named=named.uses(),
        )

    def hosts(self, cast: Sequence[Cast]) -> Reach:
        """What rules say about hosts, and about those that prompts name."""
        named = _Named()
        for member in cast:
            for host in _hosts_in(_said(member.task)):
                named.add(self._redact(host), *self._host(member.task, host))
        return Reach(
            otherwise=self._otherwise("web_fetch", {"url": "https://a-host-that-no-rule-names.example/"}),
            rules=self._rules(Family.WEB_FETCH),
            named=named.uses(),
        )

    def _command(self, task: AgentTask, command: str) -> _Decided:
        if "bash" not in select_tools(task).names:
            return "deny", f"agent type {task.agent_type.name} and its call leave it no bash", ()
        return self._decided(task, "bash", "command", command)

    def _host(self, task: AgentTask, host: str) -> _Decided:
        if "web_fetch" not in select_tools(task).names:
            return "deny", f"agent type {task.agent_type.name} and its call leave it no web_fetch", ()
        return self._decided(task, "web_fetch", "url", f"https://{host}/")

    def _decided(self, task: AgentTask, tool: str, key: str, value: str) -> _Decided:
        asked = (_place_of(task), tool, value)
        if asked not in self._decisions:
            self._decisions[asked] = self._decide(task, tool, {key: value})
        return self._decisions[asked]

    def _decide(self, task: AgentTask, tool: str, given: dict[str, str]) -> _Decided:
        decider = self._decider(task)
        if decider is None:
            return "deny", "its folder is none", ()
        decision = decider.decide(tool, given)
        where = f" ({decision.source})" if decision.source is not None else ""
        suggestions = tuple(each for each in decision.suggestions if self._redact(each) == each)
        return _verdict(decision.decision), f"{decision.rule}{where}", suggestions

    def _otherwise(self, tool: str, given: dict[str, str]) -> Verdict:
        decider = Decider(self._settings, root=self._root, home=self._home)
        return _verdict(decider.decide(tool, given).decision)

    def _rules(self, family: Family) -> tuple[RuleSaid, ...]:
        families = (family, Family.EVERYTHING)
        found: list[Rule] = [rule for rule in self._settings.rules if rule.family in families]
        found.sort(key=lambda rule: -rule.effect.weight)
        said = (RuleSaid(verdict=_verdict(rule.effect), rule=rule.text, source=rule.origin.name) for rule in found)
        return tuple(dict.fromkeys(said))

    def _decider(self, task: AgentTask) -> Decider | None:
        place = _place_of(task)
        if place not in self._deciders:
            try:
                decider = Decider(
                    self._settings,
                    root=self._root,
                    cwd=place.cwd,
                    scope=place.scope,
                    home=self._home,
                    read_only=place.is_read_only,
                )
            except UsageError:
                decider = None
            self._deciders[place] = decider
        return self._deciders[place]

    # --- violations ---------------------------------------------------------------------------------------------------

    def violations(self, task: AgentTask) -> Iterator[Violation]:
        """What one call asks for and will not get, though the call itself is taken."""
        options, kind = task.options, task.agent_type
        if options.is_apart and not self._has_git:
            asked = "`isolation: 'worktree'`" if options.isolation is not None else f"`worktree: '{options.worktree}'`"
            told = f"{asked} needs a git repository with a commit, and {self._root} is none"
            yield self._violation("worktree", told, task)
        if self._decider(task) is None:
            yield self._violation("cwd", f"`cwd: '{options.cwd}'` is not a folder of the workspace", task)
        for glob in _scope_globs(options.scope):
            if (fault := self._glob_fault(glob)) is not None:
                yield self._violation("scope", f"`scope` names {glob!r}, {fault}", task)
        if unknown := select_tools(task, has_servers=True).unknown:
            there = ", ".join((*TOOL_NAMES, WEB_SEARCH))
            told = f"tools that are not to be had: {', '.join(unknown)}; there are: {there}"
            yield self._violation("tools", told, task)
        if kind.read_only and options.scope is not None and options.scope.write:
            told = f"`scope.write` asks agent type {kind.name} to write, which may change nothing"
            yield self._violation("agent_type", told, task)
        if options.tools is not None:
            left = select_tools(task).names
            for tool in options.tools:
                rule = self._denied(tool)
                if rule is not None:
                    told = f"`tools` names {tool}, which the rule {rule.text!r} of {rule.origin.name} denies"
                    yield self._violation("tools", told, task)
            if not left:
                told = f"agent type {kind.name}, `tools` and `disallowedTools` leave it no tool"
                yield self._violation("tools", told, task)

    def _violation(self, cause: ViolationCause, message: str, task: AgentTask) -> Violation:
        return Violation(cause=cause, message=message, agents=1, label=task.label)

    def _denied(self, tool: str) -> Rule | None:
        """The rule that denies a tool whole."""
        plain = _plain(tool.partition("(")[0])
        for rule in self._settings.rules:
            name = _plain(rule.text.partition("(")[0])
            is_meant = rule.family is Family.EVERYTHING or name == plain
            if is_meant and rule.effect is Effect.DENY and rule.detail is None and rule.server is None:
                return rule
        return None

    def _glob_fault(self, glob: str) -> str | None:
        """Why a glob of a scope gives nothing; None where it may."""
        text = glob.removeprefix("!")
        names = text.split("/")
        if text.startswith(("/", "~")) or ".." in names:
            return "outside the workspace: scopes are globs relative to its root"
        if names[0] in _PROTECTED:
            return f"and {names[0]} is protected in every mode but bypass"
        return None


def _place_of(task: AgentTask) -> _Place:
    return _Place(cwd=task.workspace.cwd, scope=task.options.scope, is_read_only=task.agent_type.read_only)


class _Named:
    """What prompts name, each with the harshest verdict that an agent is told."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Verdict, str], list[tuple[str, ...]]] = {}

    def add(self, name: str, verdict: Verdict, rule: str, suggestions: tuple[str, ...]) -> None:
        """One agent is told so."""
        if len(self._found) < _MOST_NAMED or (name, verdict, rule) in self._found:
            self._found.setdefault((name, verdict, rule), []).append(suggestions)

    def uses(self) -> tuple[NamedUse, ...]:
        """Denied ones first, then asked, then allowed; within these in order of being named."""
        order: tuple[Verdict, ...] = ("deny", "ask", "allow")
        uses = [
            NamedUse(name=name, verdict=verdict, rule=rule, agents=len(told), suggestions=told[0])
            for (name, verdict, rule), told in self._found.items()
        ]
        return tuple(sorted(uses, key=lambda use: order.index(use.verdict)))


def _verdict(effect: Effect) -> Verdict:
    match effect:
        case Effect.ALLOW:
            return "allow"
        case Effect.ASK:
            return "ask"
        case Effect.DENY:
            return "deny"


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "")


def _said(task: AgentTask) -> str:
    return f"{task.prompt[:_MOST_CHARS]}\n{(task.options.context or '')[:_MOST_CHARS]}"


def _commands_in(text: str) -> Iterable[str]:
    """Commands that a prompt names: in backticks, in a block marked as shell, behind `$ `; those of known programs."""
    lines = [line for block in _FENCED.findall(text) for line in block.splitlines()]
    spans = [*_IN_TICKS.findall(_FENCED.sub("", text)), *lines, *_PROMPTED.findall(text)]
    found: dict[str, None] = {}
    for span in spans:
        command = span.strip().removeprefix("$ ")
        word = _FIRST_WORD.match(command)
        is_whole = word is not None and (word.end() == len(command) or command[word.end()] == " ")
        if word is not None and is_whole and word.group() in _PROGRAMS and len(command) <= _COMMAND_CHARS:
            found[command] = None
    return found


def _hosts_in(text: str) -> Iterable[str]:
    """Hosts of the addresses that a prompt names."""
    from urllib.parse import urlsplit

    found: dict[str, None] = {}
    for url in _URL.findall(text):
        try:
            host = urlsplit(url).hostname
        except ValueError:
            continue
        if host:
            found[host] = None
    return found


def _scope_globs(scope: Scope | None) -> tuple[str, ...]:
    if scope is None:
        return ()
    return tuple(dict.fromkeys((*(scope.read or ()), *(scope.write or ()))))
