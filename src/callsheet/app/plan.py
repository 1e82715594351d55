"""The plan of a run: all that can be settled of an order without a process, a record or the network."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import field, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from callsheet.app import compose, places
from callsheet.app.backends import BackendChoice, check_outside_runs, choose_backend
from callsheet.app.choices import Choices, merged_choices
from callsheet.app.ground import Terms
from callsheet.app.servers import ServersFound, find, reachable
from callsheet.app.settings import CONFIG_DIR, Resolved
from callsheet.app.source import STDIN
from callsheet.app.trusting import PermissionChoices, Person, Settled, Site, settle
from callsheet.errors import UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.past import ReuseMode
from callsheet.model.run import RunSettings
from callsheet.model.values import JsonValue
from callsheet.permissions.sources import PermissionSettings, ProjectFiles

if TYPE_CHECKING:
    from callsheet.app.config_from import ConfigCopy
    from callsheet.app.run_config import RunConfig
    from callsheet.library.library import Library
    from callsheet.model.script import Script
    from callsheet.workspace.root import Workspace


class Unset(Enum):
    """The type of `UNSET`."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
"""No `args` at all: the script sees `undefined`, whereas None is its `null` (CONTRACT G01)."""


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except OSError as fault:
        raise UsageError(f"the current folder cannot be used ({fault.strerror}). Change to another one.") from None


def _home_folder() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user without an entry, as in some containers
        return Path(os.sep)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The machine as a run sees it.

    Attributes:
        start: The folder the caller stands in: paths are relative to it, the workspace is looked for from it.
        interactive: A person is there to be asked.
    """

    start: Path = field(default_factory=_current_folder)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    home: Path = field(default_factory=_home_folder)
    interactive: bool = False

    @property
    def config_dir(self) -> Path:
        """The folder of the user's own settings (FORMATS 5)."""
        own = Path(self.environ.get(CONFIG_DIR, ""))
        if own.is_absolute():
            return own
        base = Path(self.environ.get("XDG_CONFIG_HOME", ""))  # a relative one would lie in the workspace
        return (base if base.is_absolute() else self.home / ".config") / "callsheet"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedScript:
    """A script as it was recorded; `path` is where it came from, None where that was no file."""

    text: str
    path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeTerms:
    """That a run goes on from its record, and how.

    Attributes:
        recorded: Its script; None where the order names another.
        notes: What is to be said about it at the start.
    """

    run_id: str
    reuse: ReuseMode = "unchanged"
    rerun: frozenset[str] = frozenset()
    recorded: RecordedScript | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """What a caller asks for.

    Attributes:
        script: A path, a saved name, or where the text in `stdin` came from; empty for what `config` names.
        args: The script's `args`; `UNSET` for none.
        workspace: Where agents work; None to find it from `Surroundings.start`.
        terms: How the run stands to others on that workspace.
        resume: The recorded run that it is; None for a new one.
        config: The run's own config file, relative to `Surroundings.start`; None for none.
        recorded: Of a run that goes on: what held for it, where neither `choices` nor `config` say anything.
        run_id: Of a new run: the name that its caller has chosen for it, new too; None for any.
        continues: By name of a conversation (`agent(…, { conversation })`) of the run's own script, the run and the
            agent of the same record where its first turn goes on.
        notices: Facts for these first turns, a line each, in the caller's own words: they have authority.
        drafts: `workflow({script})` takes texts, and a person approves each nested script (CONTRACT W03). Said by use
            cases whose own script hands in what a model wrote, and of a run that goes on by its record.
    """

    script: str = ""
    args: JsonValue | Literal[Unset.UNSET] = UNSET
    choices: Choices = field(default_factory=Choices)
    workspace: Path | None = None
    terms: Terms = field(default_factory=Terms)
    stdin: bytes | None = None
    permissions: PermissionChoices = field(default_factory=PermissionChoices)
    resume: ResumeTerms | None = None
    config: Path | None = None
    recorded: Choices = field(default_factory=Choices)
    run_id: str | None = None
    continues: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    drafts: bool = False

    @property
    def is_named(self) -> bool:
        """Whether `script` is the path or name of a script, and not where one came from."""
        if self.stdin is not None or self.script in (STDIN, ""):
            return False
        return self.resume is None or self.resume.recorded is None


Decision: TypeAlias = Literal["", "run", "run edited", "always", "remembered", "no"]
"""What became of the question whether a run is meant; empty while it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """The script that a person saw: it runs, whatever its file holds by then."""

    script: Script
    decision: Decision = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An order with everything settled that needs no process, no record and no network.

    Attributes:
        settled: What holds its agents: rules, mode, folders, and whether the workspace's own files are trusted.
        site: Where it takes place, and where its configuration lies.
        script: The script as the library and the reader have it: a path or a name.
        notes: What the run has to say at its start.
        servers: The MCP servers that take effect.
        approved: The script, where a person was shown it; None to read it.
    """

    order: RunOrder
    around: Surroundings
    workspace: Workspace
    settled: Settled
    site: Site
    script: str
    backend: BackendChoice
    notes: tuple[str, ...]
    servers: ServersFound = field(default_factory=ServersFound)
    approved: Approved | None = None

    @property
    def resolved(self) -> Resolved:
        """Settings from all sources."""
        return self.settled.resolved

    @property
    def permissions(self) -> PermissionSettings:
        """What agents may do."""
        return self.settled.permissions

    @property
    def unconfined(self) -> bool:
        """The caller says that the machine is the boundary (`--unconfined`)."""
        return self.order.permissions.unconfined

    @property
    def settings(self) -> RunSettings:
        """What holds for the run."""
        return replace(
            self.resolved.run,
            backend=self.backend.name,
            backend_file=None if self.backend.file is None else str(self.backend.file.absolute()),
            agent_types=dict(self.resolved.agent_types),
            interactive=self.around.interactive,
            permissions=self.settled.recorded,
            workspace_use=self.order.terms.use,
            continues=self.order.continues,
            notices=self.order.notices,
            drafts=self.order.drafts,
        )


@asynccontextmanager
async def open_plan(order: RunOrder, around: Surroundings, *, person: Person | None = None) -> AsyncGenerator[Plan]:
    """As `plan_run`, also where the configuration is that of a git ref: its copy lives as long as the context.

    Raises:
        UsageError: As `plan_run`; also a ref that is not there.
        GitRefusedError: Git cannot be used here.
    """
    ref = order.permissions.config_from
    if ref is None:
        yield plan_run(order, around, person=person)
        return
    from callsheet.app.config_from import open_config_copy

    workspace = places.workspace(around.start, order.workspace)
    named = order.script if order.is_named else None
    opened = open_config_copy(
        workspace, ref, script=named, config=order.config, start=around.start, environ=around.environ
    )
    async with opened as copy:
        yield plan_run(order, around, person=person, copy=copy)


def plan_run(
    order: RunOrder, around: Surroundings, *, person: Person | None = None, copy: ConfigCopy | None = None
) -> Plan:
    """Settles where, with what limits, by whom, and what agents may do.

    Args:
        order: What is asked for.
        around: The machine.
        person: Who is asked whether the workspace is trusted; None for nobody.
        copy: Where the workspace's configuration lies instead of in it.

    Raises:
        UsageError: The workspace is not there, a setting cannot hold, or there is nobody to answer.
        TrustRefusedError: Hooks are declared that are not run.
        InsideRunError: An agent has started what asks.
    """
    workspace = places.workspace(around.start, order.workspace)
    site = site_of(around, workspace.root, copy)
    library = compose.library(site.project.folder, start=site.start, home=site.home, environ=site.environ)
    used = _without_config(order) if order.config is None else _by_config(order, site, around)
    settled = settle(
        site, order.permissions, used.choices, library, start=around.start, person=person, config=used.config
    )
    resolved = settled.resolved
    if used.config is not None:
        _check_config(used.config, library, resolved)
    backend = choose_backend(
        resolved.backend,
        service=resolved.run.service,
        environ=around.environ,
        start=around.start,
        workspace=workspace.root,
        acp=tuple(kind.name for kind in resolved.agents if kind.acp is not None),
    )
    check_outside_runs(backend, around.environ)
    is_model = backend.name not in ("scripted", "offline")  # which call no server, whatever they are offered
    servers = find(site, is_trusted=settled.is_trusted) if is_model else ServersFound()
    resumed = () if order.resume is None else order.resume.notes
    copied = () if copy is None else copy.notes
    servers, kept_off = reachable(servers, settled.hosts)
    said = (backend.note, workspace.note, *resumed, *copied, used.note, *settled.notes, *servers.notes, *kept_off)
    return Plan(
        order=replace(order, script=used.shown),
        around=around,
        workspace=workspace,
        settled=settled,
        site=site,
        script=copy.script if copy is not None and copy.script is not None else used.script,
        backend=backend,
        notes=tuple(note for note in said if note is not None),
        servers=servers,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What an order asks for, with its config.

    Attributes:
        choices: What the caller says, above what a record says.
        script: A path or a saved name, as the library and the reader have it; `shown` is the same for people.
        note: What is to be said about it at the start; None for nothing.
    """

    choices: Choices
    script: str
    shown: str
    config: RunConfig | None = None
    note: str | None = None


def _without_config(order: RunOrder) -> Used:
    if not order.script:
        raise UsageError("there is no script to run: name a file, a saved workflow, or - for standard input.")
    choices = merged_choices(order.recorded, order.choices)
    return Used(choices=choices, script=order.script, shown=order.script)


def _by_config(order: RunOrder, site: Site, around: Surroundings) -> Used:
    """What an order asks for whose config is read now; the script that it names, where the caller names none.

    Raises:
        ConfigError: The config cannot be read, or something in it cannot hold.
        UsageError: Nobody names a script.
    """
    from callsheet.app.config_use import asked_workflow, opened_config, still_recorded

    assert order.config is not None
    config = opened_config(order.config, site=site, start=around.start)
    asked = asked_workflow(order.script, config, start=around.start, site=site)
    choices = merged_choices(still_recorded(order.recorded, config), order.choices)
    note = asked.note if order.resume is None else None
    return Used(choices=choices, script=asked.script, shown=asked.shown, config=config, note=note)


def _check_config(config: RunConfig, library: Library, resolved: Resolved) -> None:
    from callsheet.app.config_use import check_type_models

    check_type_models(config, library, resolved)


def site_of(around: Surroundings, root: Path, copy: ConfigCopy | None = None) -> Site:
    """Where a run takes place, and where its configuration is read."""
    return Site(
        root=root,
        project=copy.project if copy is not None else ProjectFiles(folder=root),
        start=copy.start if copy is not None else around.start,
        home=around.home,
        config_dir=around.config_dir,
        environ=around.environ,
    )
