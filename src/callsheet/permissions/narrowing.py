"""What `agent_permissions` make of the rules: what restricts always holds, what allows is a rule (FORMATS 5).

What several files say holds all together. Rules that the caller's own flags give stay: they are said later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from callsheet.errors import BypassRefusedError
from callsheet.model.dataclass import dataclass
from callsheet.model.policy import AgentPermissions, file_access_of
from callsheet.permissions.modes import Mode
from callsheet.permissions.rules import Effect, Family, Origin, Rule, read_rule
from callsheet.permissions.sources import Flags, PermissionSettings

_FILES = (Family.READ, Family.EDIT, Family.GLOB, Family.GREP)
_OUTSIDE = (Family.WEB_FETCH, Family.WEB_SEARCH, Family.MCP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """What holds.

    Attributes:
        hosts: What agents, their commands and MCP servers may reach at most; None for whatever rules say.
        opens_network: Commands have this machine's network.
        notes: What has to be said about it, one line each.
    """

    settings: PermissionSettings
    hosts: tuple[str, ...] | None = None
    opens_network: bool = False
    notes: tuple[str, ...] = ()


def narrowed(
    settings: PermissionSettings,
    said: Sequence[AgentPermissions],
    *,
    flags: Flags,
    workspace: Path,
    home: Path,
    unconfined: bool = False,
) -> Narrowed:
    """Puts `agent_permissions` over the rules of settings files.

    Args:
        settings: What those say, flags included.
        said: What files say of agents.
        flags: What the caller says, which stays.
        workspace: Its root.
        home: What `~/` is relative to.
        unconfined: Nothing holds commands.

    Raises:
        UsageError: The mode `bypass`, which lets everything pass, and a file that restricts.
    """
    if not said:
        return Narrowed(settings=settings)
    terms = _Terms(said)
    if settings.mode is Mode.BYPASS and terms.restricts is not None:
        why = f"{terms.restricts} restricts what agents may do (agent_permissions)"
        raise BypassRefusedError(
            f"--permission-mode bypass allows everything, and {why}. Leave one of them out.", why=why
        )
    stays = [rule for rule in settings.rules if rule.origin.name == flags.name or terms.leaves(rule, workspace)]
    denies = tuple(terms.denials(workspace))
    ignored = settings.ignored
    grants: tuple[Rule, ...] = tuple(terms.grants(workspace, home))
    if grants and settings.only_managed:
        ignored += tuple(
            f"ignored: only managed rules allow here: allow {each.text} ({each.origin.name})" for each in grants
        )
        grants = ()
    rules = (*stays, *denies, *grants)
    folders = settings.folders if terms.file_access is None else flags.folders
    opens = terms.opens and not settings.only_managed
    notes = list(terms.notes(unconfined=unconfined))
    if opens and any(rule.effect is not Effect.ALLOW for rule in rules if rule.family is Family.WEB_FETCH):
        opens = False
        notes.append("external_api: allow: rules deny or ask about some hosts, so that commands have no open network.")
    return Narrowed(
        settings=replace(settings, rules=rules, folders=folders, ignored=ignored),
        hosts=terms.hosts,
        opens_network=opens,
        notes=tuple(notes),
    )


class _Terms:
    """What all files together say."""

    def __init__(self, said: Sequence[AgentPermissions]) -> None:
        self._said = said
        self._granted = [each for each in said if each.is_granted]
        self.file_access = file_access_of(said)
        self._denies_shell = _first(each for each in said if each.shell_exec == "deny")
        self._narrows_shell = _first(each for each in said if each.shell_exec == "restricted")
        self._denies_api = _first(each for each in said if each.external_api == "deny" or each.hosts == ())
        self._lists = [each.hosts for each in said if each.hosts]

    @property
    def restricts(self) -> str | None:
        """The first file that restricts anything."""
        narrow = (each for each in self._said if each.file_access or each.hosts is not None or _is_strict(each))
        return next((each.source for each in narrow), None)

    @property
    def hosts(self) -> tuple[str, ...] | None:
        """The hosts that may be reached at most; None for all."""
        if self._denies_api is not None:
            return ()
        if not self._lists:
            return None
        named = dict.fromkeys(host for hosts in self._lists for host in hosts)
        return tuple(host for host in named if self._may_reach(host))

    def _may_reach(self, host: str) -> bool:
        return all(any(_covers(wide, host) for wide in hosts) for hosts in self._lists)

    @property
    def opens(self) -> bool:
        """Whether a file that may says `external_api: allow`, and none restricts it."""
        return self.hosts is None and any(each.external_api == "allow" for each in self._granted)

    def leaves(self, rule: Rule, workspace: Path) -> bool:
        """Whether a rule of a settings file still holds."""
        if rule.effect is not Effect.ALLOW:
            return True
        if rule.family is Family.BASH:
            return self._narrows_shell is None
        if rule.family in _FILES:
            return self.file_access is None or rule.base is None or rule.base.is_relative_to(workspace)
        if rule.family is Family.WEB_FETCH and self.hosts is not None:
            return rule.detail is not None and self._may_reach(rule.detail)
        if rule.family is Family.WEB_SEARCH:
            return self.hosts is None
        return True

    def denials(self, workspace: Path) -> Iterator[Rule]:
        """What is denied, as rules."""
        if (said := self._denies_shell) is not None:
            yield _rule(Effect.DENY, Family.BASH, "shell_exec: deny", said, workspace)
        if (said := self._denies_api) is not None:
            for family in _OUTSIDE:
                yield _rule(Effect.DENY, family, "external_api: deny", said, workspace)

    def grants(self, workspace: Path, home: Path) -> Iterator[Rule]:
        """What is allowed, as rules."""
        narrow = self._denies_shell or self._narrows_shell
        for said in self._granted:
            origin = Origin(name=said.source, folder=workspace)
            if said.shell_exec == "allow" and narrow is None:
                yield _rule(Effect.ALLOW, Family.BASH, "shell_exec: allow", said, workspace)
            texts = [f"Bash({pattern})" for pattern in said.shell_allow]
            texts += [f"WebFetch(domain:{host})" for host in said.hosts or () if host in (self.hosts or ())]
            for text in texts:
                rule, _ = read_rule(Effect.ALLOW, text, origin, home=home)
                if rule is not None:
                    yield rule
            if self.opens and said.external_api == "allow":
                yield _rule(Effect.ALLOW, Family.WEB_FETCH, "external_api: allow", said, workspace)
                yield _rule(Effect.ALLOW, Family.WEB_SEARCH, "external_api: allow", said, workspace)

    def notes(self, *, unconfined: bool) -> Iterator[str]:
        if self.file_access == "scoped":
            yield "file_access: scoped: agents whose call declares no scope change nothing."
        if unconfined and self.hosts is not None:
            yield "external_api: with --unconfined nothing holds commands from reaching other machines."


def _rule(effect: Effect, family: Family, text: str, said: AgentPermissions, workspace: Path) -> Rule:
    return Rule(effect=effect, family=family, text=text, origin=Origin(name=said.source, folder=workspace))


def _first(said: Iterable[AgentPermissions]) -> AgentPermissions | None:
    return next(iter(said), None)


def _is_strict(said: AgentPermissions) -> bool:
    return said.external_api == "deny" or said.shell_exec in ("deny", "restricted")


def _covers(wide: str, host: str) -> bool:
    """Whether one pattern of hosts includes all of another."""
    return host == wide or (wide.startswith("*.") and host.removeprefix("*").endswith(wide[1:]))
