"""The use case behind `callsheet trust`: what is trusted, what trust in a folder would do, yes, and no longer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from callsheet.app import compose, places
from callsheet.app.plan import Surroundings, site_of
from callsheet.app.settings import Choices
from callsheet.app.trusting import Looked, PermissionChoices, Site, TrustQuestion, look, remember
from callsheet.errors import UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue
from callsheet.permissions.rules import Effect, Origin, read_rule
from callsheet.permissions.trust import Trusted, TrustStore


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustList:
    """All that a user trusts and allowed always."""

    trusted: tuple[Trusted, ...]
    kept: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def public(self) -> dict[str, JsonValue]:
        """As public JSON."""
        return {
            "trusted": [{"folder": each.folder, "at": each.at, "grants": [*each.granted]} for each in self.trusted],
            "allowed": [{"folder": folder, "rules": [*rules]} for folder, rules in self.kept],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderTrust:
    """A folder, and what trust in it would do.

    Attributes:
        never: What takes no effect, trusted or not, one line each.
    """

    site: Site
    looked: Looked

    @property
    def question(self) -> TrustQuestion:
        """What a person is asked."""
        return TrustQuestion(folder=str(self.site.root), asked=self.looked.asked, changed=self.looked.changed)

    @property
    def is_trusted(self) -> bool:
        """Whether it is trusted as it is."""
        return bool(self.looked.asked) and self.looked.is_trusted

    @property
    def never(self) -> tuple[str, ...]:
        """What takes no effect, trusted or not, one line each."""
        return self.looked.claims.never

    @property
    def public(self) -> dict[str, JsonValue]:
        """As public JSON, without the answer."""
        question = self.question
        return {
            "folder": question.folder,
            "grants": [{"source": each.source, "grant": each.words} for each in question.asked],
            "changed": [*question.changed] if question.changed is not None else None,
            "ignored": [*self.never],
        }

    def remember(self) -> None:
        """Trusts it from now on.

        Raises:
            UsageError: The user's own folder lies in it.
            ConfigError: It cannot be kept.
        """
        remember(self.site, self.looked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """A folder that was revoked: whether it was trusted, and how many rules were kept for it."""

    folder: str
    was_trusted: bool
    rules: int


def list_trust(around: Surroundings | None = None) -> TrustList:
    """What is trusted and allowed always.

    Raises:
        ConfigError: A file cannot be used.
    """
    store = _store(around or Surroundings())
    return TrustList(trusted=store.trusted(), kept=store.all_kept())


def look_at_folder(folder: Path, around: Surroundings | None = None) -> FolderTrust:
    """What trust in the workspace that holds a folder would do.

    Raises:
        UsageError: There is no such folder.
        ConfigError: A settings file in it cannot be read.
    """
    here = around or Surroundings()
    start = here.start / folder.expanduser()
    root = places.workspace(start, None).root
    site = site_of(here, root)
    library = compose.library(root, start=start, home=site.home, environ=site.environ)
    return FolderTrust(site=site, looked=look(site, PermissionChoices(), Choices(), library, start=start))


def revoke_trust(folder: Path, around: Surroundings | None = None) -> Revoked:
    """Trusts a folder no longer, and forgets what was allowed always in it. The folder need not be there any more.

    Raises:
        ConfigError: It cannot be changed.
    """
    here = around or Surroundings()
    store = _store(here)
    path = (here.start / folder.expanduser()).resolve()
    known = {each.folder for each in store.trusted()} | {name for name, _ in store.all_kept()}
    if str(path) not in known and path.is_dir():
        path = places.workspace(path, None).root
    was_trusted, rules = store.revoke(path)
    return Revoked(folder=str(path), was_trusted=was_trusted, rules=rules)


def keep_grants(workspace: Path, rules: Sequence[str], around: Surroundings | None = None) -> None:
    """Keeps rules that a person allowed "always for this project", in the user's own folder.

    Args:
        workspace: The root of the workspace.
        rules: As in `.claude/settings.json`: `Bash(npm test:*)`.
        around: The machine; None for this one.

    Raises:
        UsageError: A rule that cannot be read, or the user's own folder lies in the workspace.
        ConfigError: They cannot be kept.
    """
    here = around or Surroundings()
    store = site_of(here, workspace).store
    if store is None:
        raise UsageError(f"{here.config_dir} lies in the workspace: nothing is kept there. Set CALLSHEET_CONFIG_DIR.")
    for text in rules:
        _, fault = read_rule(Effect.ALLOW, text, Origin(name="the rule", folder=workspace), home=here.home)
        if fault is not None:
            raise UsageError(fault.message)
    store.keep(workspace, rules)


def _store(around: Surroundings) -> TrustStore:
    return TrustStore(around.config_dir)
