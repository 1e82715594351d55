"""What holds a run's agents: flags, settings files, and what a person trusts of the workspace's own (DESIGN 14)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app.choices import Choices
from callsheet.app.claims import Claims, claims_of
from callsheet.app.settings import Resolved, resolve_settings
from callsheet.app.site import MODES, PermissionChoices, Person, Site, TrustQuestion, asked_mode
from callsheet.errors import TrustRefusedError, UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.run import RecordedPermissions
from callsheet.permissions.modes import Mode
from callsheet.permissions.sources import Asked, Flags, PermissionSettings, read_settings
from callsheet.permissions.trust import Trusted

if TYPE_CHECKING:
    from callsheet.app.run_config import RunConfig
    from callsheet.library.library import Library
    from callsheet.permissions.narrowing import Narrowed

__all__ = [
    "MODES",
    "YOU_SAID_SO",
    "Looked",
    "PermissionChoices",
    "Person",
    "Settled",
    "Site",
    "TrustQuestion",
    "asked_mode",
    "flags_of",
    "look",
    "one_line",
    "remember",
    "settle",
]

MAX_LINES = 100
MAX_LINE_CHARS = 1_000
YOU_SAID_SO = "you said so"


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was found in a workspace, before anybody was asked.

    Attributes:
        held: What was trusted of it before.
        config: The run's own config; None where it has none.
        config_held: What was trusted of that before.
    """

    permissions: PermissionSettings
    resolved: Resolved
    claims: Claims
    held: Trusted | None
    config: RunConfig | None = None
    config_held: Trusted | None = None

    @property
    def asked(self) -> tuple[Asked, ...]:
        """All that only trust grants."""
        return (*self.permissions.asked, *self.resolved.asked, *self.claims.asked)

    @property
    def is_trusted(self) -> bool:
        """Whether a person trusts just this."""
        return self.held is not None and dict(self.held.files) == dict(self.claims.files)

    @property
    def changed(self) -> tuple[str, ...] | None:
        """What is other than when it was trusted; None where it never was."""
        return None if self.held is None else tuple(_changes(self.held, self.claims.files, self.asked))

    @property
    def config_asked(self) -> tuple[Asked, ...]:
        """What only trust grants of the run's own config."""
        return self.resolved.config_asked

    @property
    def config_files(self) -> Mapping[str, str]:
        """That config, by name, with its hash; none where there is none."""
        return {} if self.config is None else {self.config.path.name: self.config.digest}

    @property
    def is_config_trusted(self) -> bool:
        """Whether a person trusts just this config."""
        return self.config_held is not None and dict(self.config_held.files) == dict(self.config_files)

    @property
    def config_changed(self) -> tuple[str, ...] | None:
        """What is other than when it was trusted; None where it never was."""
        return (
            None
            if self.config_held is None
            else tuple(_changes(self.config_held, self.config_files, self.config_asked))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trust:
    """What is trusted, and by what."""

    workspace: bool = False
    config: bool = False
    how: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What holds for a run.

    Attributes:
        is_trusted: What the workspace's files ask for takes effect.
        notes: What the run has to say about all this, one line each.
        recorded: The same for the record.
        hosts: What agents, commands and MCP servers may reach at most; None for whatever rules say.
        opens_network: Commands have this machine's network.
    """

    permissions: PermissionSettings
    resolved: Resolved
    is_trusted: bool
    notes: tuple[str, ...]
    recorded: RecordedPermissions
    hosts: tuple[str, ...] | None = None
    opens_network: bool = False


def look(
    site: Site,
    said: PermissionChoices,
    choices: Choices,
    library: Library,
    *,
    start: Path,
    config: RunConfig | None = None,
) -> Looked:
    """Reads what holds where nothing of the workspace's is trusted, and what it asks for.

    Raises:
        ConfigError: A settings file cannot be read.
        UsageError: A flag cannot hold.
    """
    store = site.store
    return Looked(
        permissions=_permissions(site, said, start, trust=False),
        resolved=_resolved(site, choices, _Trust(), config),
        claims=claims_of(site.project, library, workspace=site.root, is_home=site.root == site.user_dir.parent),
        held=store.trusted_folder(site.root) if store is not None else None,
        config=config,
        config_held=store.trusted_folder(config.path) if store is not None and config is not None else None,
    )


def settle(
    site: Site,
    said: PermissionChoices,
    choices: Choices,
    library: Library,
    *,
    start: Path,
    person: Person | None = None,
    needs_hooks: bool = True,
    config: RunConfig | None = None,
) -> Settled:
    """Settles what holds for a run; asks where there is somebody to ask.

    Args:
        site: Where it takes place.
        said: What the caller says about permissions.
        choices: What the caller says otherwise.
        library: The workspace's agent types, not trusted.
        start: The caller's folder: `--add-dir` is relative to it.
        person: Who is asked; None for nobody.
        needs_hooks: Refuse where hooks are declared that are not run.
        config: The run's own config.

    Raises:
        ConfigError: A settings file cannot be read.
        UsageError: A flag cannot hold.
        TrustRefusedError: `PreToolUse` hooks are declared, and nobody said to go on without them; or the workspace
            changed while a person was asked.
    """
    found = look(site, said, choices, library, start=start, config=config)
    trust = _trust(found, site, said, person)
    if trust.how == YOU_SAID_SO:
        _check_the_same(found, look(site, said, choices, library, start=start, config=config), site)
    permissions, resolved = found.permissions, found.resolved
    if trust.workspace:
        permissions = _permissions(site, said, start, trust=True)
    if trust.workspace or trust.config:
        resolved = _resolved(site, choices, trust, config)
    hosts, opens_network, narrowing = None, False, tuple[str, ...]()
    if resolved.run.agent_permissions:
        held = _narrowed(site, said, permissions, resolved, start=start)
        permissions, hosts, opens_network, narrowing = held.settings, held.hosts, held.opens_network, held.notes
    if permissions.hooks and needs_hooks:
        _check_hooks(permissions.hooks, said, person)
    lines = [one_line(each) for each in (*_lines(found, permissions, resolved, trust), *narrowing)]
    if not site.is_own:
        lines.append(f"{site.config_dir} lies in the workspace: nothing that is kept there is believed.")
    if permissions.mode is Mode.BYPASS:
        lines.append("permission mode bypass: agents may do everything that no rule denies or asks.")
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"… and {len(lines) - MAX_LINES} more such lines (callsheet trust . shows them)"]
    return Settled(
        permissions=permissions,
        resolved=resolved,
        is_trusted=trust.workspace,
        notes=tuple(lines),
        hosts=hosts,
        opens_network=opens_network,
        recorded=RecordedPermissions(
            mode=permissions.mode.value,
            mode_source=permissions.mode_source,
            allow=said.allow,
            deny=said.deny,
            folders=tuple(str(folder) for folder in permissions.folders),
            trusted=trust.workspace,
            unconfined=said.unconfined,
            ignore_hooks=said.ignore_hooks,
            config_from=site.project.commit,
            config=None if config is None else str(config.path),
        ),
    )


def flags_of(said: PermissionChoices, *, start: Path, trust: bool) -> Flags:
    """What a caller says, as the rules take it.

    Raises:
        UsageError: A folder is not there.
    """
    folders = tuple((start / folder.expanduser()).resolve() for folder in said.folders)
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"--add-dir {folder}: there is no such folder.")
    return Flags(mode=said.mode, allow=said.allow, deny=said.deny, folders=folders, trust=trust)


def _permissions(site: Site, said: PermissionChoices, start: Path, *, trust: bool) -> PermissionSettings:
    store = site.store
    return read_settings(
        workspace=site.root,
        home=site.home,
        config_dir=site.user_dir,
        flags=flags_of(said, start=start, trust=trust),
        kept=store.kept(site.root) if store is not None else None,
        project=site.project,
    )


def _resolved(site: Site, choices: Choices, trust: _Trust, config: RunConfig | None) -> Resolved:
    config_dir = site.config_dir if site.is_own else Path("/nonexistent")
    return resolve_settings(
        choices,
        workspace=site.project.folder,
        environ=site.environ,
        config_dir=config_dir,
        trusted=trust.workspace,
        config=config,
        config_trusted=trust.config,
    )


def _narrowed(
    site: Site, said: PermissionChoices, permissions: PermissionSettings, resolved: Resolved, *, start: Path
) -> Narrowed:
    """Rules, with what `agent_permissions` of any file make of them."""
    from callsheet.permissions.narrowing import narrowed

    return narrowed(
        permissions,
        resolved.run.agent_permissions,
        flags=flags_of(said, start=start, trust=False),
        workspace=site.root,
        home=site.home,
        unconfined=said.unconfined,
    )


def _trust(found: Looked, site: Site, said: PermissionChoices, person: Person | None) -> _Trust:
    """What of the workspace is trusted, and by what."""
    if not found.asked and not found.config_asked:
        return _Trust()
    if said.trust:
        return _Trust(workspace=bool(found.asked), config=bool(found.config_asked), how="--trust")
    workspace = bool(found.asked) and found.is_trusted
    config = bool(found.config_asked) and found.is_config_trusted
    held = _Trust(workspace=workspace, config=config, how="remembered; callsheet trust" if workspace or config else "")
    open_asked = (*(() if workspace else found.asked), *(() if config else found.config_asked))
    if not open_asked or person is None:
        return held
    changed = found.changed if found.asked and not workspace else found.config_changed
    if not person.trusts(TrustQuestion(folder=str(site.root), asked=open_asked, changed=changed)):
        return held
    if site.store is not None:
        if found.asked and not workspace:
            remember(site, found)
        if found.config is not None and found.config_asked and not config:
            words = [each.words for each in found.config_asked]
            site.store.trust(found.config.path, files=found.config_files, granted=words)
    return _Trust(workspace=bool(found.asked), config=bool(found.config_asked), how=YOU_SAID_SO)


def _check_the_same(found: Looked, now: Looked, site: Site) -> None:
    """Sees that what a person said yes to is what will hold: time goes by while somebody reads."""
    if (found.asked, found.config_asked) != (now.asked, now.config_asked) or dict(found.claims.files) != dict(
        now.claims.files
    ):
        raise TrustRefusedError(
            f"the files of {site.root} changed while you were asked, so that your yes was to something else. Look at "
            "them, and run again."
        )


def _check_hooks(files: tuple[str, ...], said: PermissionChoices, person: Person | None) -> None:
    if said.ignore_hooks or (person is not None and person.goes_without_hooks(files)):
        return
    raise TrustRefusedError(
        f"{' and '.join(files)} {'declares' if len(files) == 1 else 'declare'} PreToolUse hooks, which Callsheet does "
        "not run: what they would refuse would not be refused. Put that in deny rules, and run with --ignore-hooks."
    )


def _lines(found: Looked, permissions: PermissionSettings, resolved: Resolved, trust: _Trust) -> Iterator[str]:
    if trust.config and found.config is not None:
        what = f"what {found.config.name} asks for takes effect ({len(found.config_asked)})"
        yield f"trusted ({trust.how}): {what}."
    if trust.workspace:
        yield f"trusted ({trust.how}): what the workspace's files ask for takes effect ({len(found.asked)})."
    elif found.asked and found.changed:
        yield f"this folder was trusted and no longer is: {'; '.join(found.changed)}. Look at it: callsheet trust ."
    yield from permissions.ignored
    yield from (fault.message for fault in permissions.faults)
    yield from resolved.notes
    if not trust.workspace:
        yield from (each.ignored for each in found.claims.asked)
    yield from found.claims.never
    for file in permissions.hooks:
        yield f"PreToolUse hooks are not run ({file})."


def one_line(text: str) -> str:
    """One line, whatever a file has in it: nothing of a repository's looks like a line of ours, or fills the record."""
    line = " ".join(text[: MAX_LINE_CHARS * 2].split())
    return line if len(line) <= MAX_LINE_CHARS else f"{line[: MAX_LINE_CHARS - 1]}…"


def _changes(held: Trusted, files: Mapping[str, str], asked: tuple[Asked, ...]) -> Iterator[str]:
    """What is other than what a person said yes to."""
    now = dict.fromkeys(each.words for each in asked)
    yield from (f"new: {words}" for words in now if words not in held.granted)
    yield from (f"no longer: {words}" for words in held.granted if words not in now)
    for name in sorted({*files, *held.files}):
        if files.get(name) != held.files.get(name):
            verb = "is new" if name not in held.files else "is gone" if name not in files else "changed"
            yield f"{name} {verb}"


def remember(site: Site, found: Looked) -> None:
    """Keeps a person's yes to what was found.

    Raises:
        UsageError: The user's own folder lies in the workspace.
        ConfigError: It cannot be kept.
    """
    store = site.store
    if store is None:
        raise UsageError(
            f"{site.config_dir} lies in the workspace: trust cannot be kept there. Set CALLSHEET_CONFIG_DIR."
        )
    store.trust(site.root, files=found.claims.files, granted=[each.words for each in found.asked])
