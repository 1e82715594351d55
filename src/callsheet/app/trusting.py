"""What holds a run's agents: flags, settings files, and what a person trusts of the workspace's own (DESIGN 14)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from callsheet.app.claims import Claims, claims_of
from callsheet.app.settings import Choices, Resolved, near, resolve_settings
from callsheet.errors import TrustRefusedError, UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.run import RecordedPermissions
from callsheet.permissions.modes import Mode
from callsheet.permissions.sources import Asked, Flags, PermissionSettings, ProjectFiles, read_settings
from callsheet.permissions.trust import Trusted, TrustStore

if TYPE_CHECKING:
    from callsheet.library.library import Library

MAX_LINES = 100
MAX_LINE_CHARS = 1_000
YOU_SAID_SO = "you said so"


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionChoices:
    """What a caller says about permissions; the flags of `callsheet run`.

    Attributes:
        mode: What is accepted where no rule says anything. `bypass` is only had here.
        allow, deny: Rules, as in `.claude/settings.json`.
        folders: Further folders to work in, relative to where the caller stands.
        trust: What the workspace's own files ask for takes effect, for this run.
        unconfined: Programs that may run files of the workspace need no confinement: the machine is the boundary.
        ignore_hooks: Run although `PreToolUse` hooks are declared, which are not run here.
        config_from: A git ref whose configuration, memory and workflow hold instead of the working tree's.
    """

    mode: Mode | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    trust: bool = False
    unconfined: bool = False
    ignore_hooks: bool = False
    config_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustQuestion:
    """What a person is asked before a workspace's files grant anything.

    Attributes:
        folder: The workspace.
        asked: What its files would do, all of it.
        changed: What is other than when it was trusted last, one line each; None where it never was.
    """

    folder: str
    asked: tuple[Asked, ...]
    changed: tuple[str, ...] | None = None


MODES = tuple(mode.value for mode in Mode)


def asked_mode(name: str) -> Mode:
    """The mode of a name.

    Raises:
        UsageError: There is none; names the nearest.
    """
    if name not in MODES:
        raise UsageError(f"permission mode {name!r} does not exist. {near(name, MODES)}")
    return Mode(name)


class Person(Protocol):
    """Who is asked before anything starts."""

    def trusts(self, question: TrustQuestion) -> bool:
        """Whether the workspace is trusted, from now on."""
        ...

    def goes_without_hooks(self, files: tuple[str, ...]) -> bool:
        """Whether the run shall go on though the hooks that these files declare are not run."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a run takes place, and where its configuration is read.

    Attributes:
        root: The workspace.
        project: Where its configuration lies: the workspace, or a copy of what a commit has.
        start: The caller's folder, as the configuration has it.
        home: The user's home folder.
        config_dir: The folder of the user's own settings.
        environ: The environment.
    """

    root: Path
    project: ProjectFiles
    start: Path
    home: Path
    config_dir: Path
    environ: Mapping[str, str]

    @property
    def user_dir(self) -> Path:
        """Where the user keeps what is shared with the reference: `~/.claude`, or `CLAUDE_CONFIG_DIR`."""
        named = self.environ.get("CLAUDE_CONFIG_DIR")
        return Path(named) if named else self.home / ".claude"

    @property
    def is_own(self) -> bool:
        """Whether the user's own folder is really the user's: not one that the workspace could bring along."""
        folder, root = self.config_dir.resolve(), self.root.resolve()
        return self.config_dir.is_absolute() and (
            not folder.is_relative_to(root) or self.home.resolve().is_relative_to(root)
        )

    @property
    def store(self) -> TrustStore | None:
        """Where trust is kept; None where it could not be believed."""
        return TrustStore(self.config_dir) if self.is_own else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was found in a workspace, before anybody was asked.

    Attributes:
        held: What was trusted of it before.
    """

    permissions: PermissionSettings
    resolved: Resolved
    claims: Claims
    held: Trusted | None

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What holds for a run.

    Attributes:
        is_trusted: What the workspace's files ask for takes effect.
        notes: What the run has to say about all this, one line each.
        recorded: The same for the record.
    """

    permissions: PermissionSettings
    resolved: Resolved
    is_trusted: bool
    notes: tuple[str, ...]
    recorded: RecordedPermissions


def look(site: Site, said: PermissionChoices, choices: Choices, library: Library, *, start: Path) -> Looked:
    """Reads what holds where nothing of the workspace's is trusted, and what it asks for.

    Raises:
        ConfigError: A settings file cannot be read.
        UsageError: A flag cannot hold.
    """
    store = site.store
    return Looked(
        permissions=_permissions(site, said, start, trust=False),
        resolved=_resolved(site, choices, trust=False),
        claims=claims_of(site.project, library, workspace=site.root, is_home=site.root == site.user_dir.parent),
        held=store.trusted_folder(site.root) if store is not None else None,
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

    Raises:
        ConfigError: A settings file cannot be read.
        UsageError: A flag cannot hold.
        TrustRefusedError: `PreToolUse` hooks are declared, and nobody said to go on without them; or the workspace
            changed while a person was asked.
    """
    found = look(site, said, choices, library, start=start)
    is_trusted, how = _is_trusted(found, site, said, person)
    if is_trusted and how == YOU_SAID_SO:
        _check_the_same(found, look(site, said, choices, library, start=start), site)
    permissions, resolved = found.permissions, found.resolved
    if is_trusted:
        permissions = _permissions(site, said, start, trust=True)
        resolved = _resolved(site, choices, trust=True)
    if permissions.hooks and needs_hooks:
        _check_hooks(permissions.hooks, said, person)
    lines = [one_line(each) for each in _lines(found, permissions, resolved, is_trusted=is_trusted, how=how)]
    if not site.is_own:
        lines.append(f"{site.config_dir} lies in the workspace: nothing that is kept there is believed.")
    if permissions.mode is Mode.BYPASS:
        lines.append("permission mode bypass: agents may do everything that no rule denies or asks.")
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"… and {len(lines) - MAX_LINES} more such lines (callsheet trust . shows them)"]
    return Settled(
        permissions=permissions,
        resolved=resolved,
        is_trusted=is_trusted,
        notes=tuple(lines),
        recorded=RecordedPermissions(
            mode=permissions.mode.value,
            mode_source=permissions.mode_source,
            allow=said.allow,
            deny=said.deny,
            folders=tuple(str(folder) for folder in permissions.folders),
            trusted=is_trusted,
            unconfined=said.unconfined,
            ignore_hooks=said.ignore_hooks,
            config_from=site.project.commit,
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


def _resolved(site: Site, choices: Choices, *, trust: bool) -> Resolved:
    config_dir = site.config_dir if site.is_own else Path("/nonexistent")
    return resolve_settings(
        choices, workspace=site.project.folder, environ=site.environ, config_dir=config_dir, trusted=trust
    )


def _is_trusted(found: Looked, site: Site, said: PermissionChoices, person: Person | None) -> tuple[bool, str]:
    """Whether the workspace is trusted, and by what."""
    if not found.asked:
        return False, ""
    if said.trust:
        return True, "--trust"
    if found.is_trusted:
        return True, "remembered; callsheet trust"
    if person is None:
        return False, ""
    question = TrustQuestion(folder=str(site.root), asked=found.asked, changed=found.changed)
    if not person.trusts(question):
        return False, ""
    if site.store is not None:
        remember(site, found)
    return True, YOU_SAID_SO


def _check_the_same(found: Looked, now: Looked, site: Site) -> None:
    """Sees that what a person said yes to is what will hold: time goes by while somebody reads."""
    if found.asked != now.asked or dict(found.claims.files) != dict(now.claims.files):
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


def _lines(
    found: Looked, permissions: PermissionSettings, resolved: Resolved, *, is_trusted: bool, how: str
) -> Iterator[str]:
    if is_trusted:
        yield f"trusted ({how}): what the workspace's files ask for takes effect ({len(found.asked)})."
    elif found.asked and found.changed:
        yield f"this folder was trusted and no longer is: {'; '.join(found.changed)}. Look at it: callsheet trust ."
    yield from permissions.ignored
    yield from (fault.message for fault in permissions.faults)
    yield from resolved.notes
    if not is_trusted:
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
