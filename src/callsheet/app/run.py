"""The use case: run a script. From what a caller asked for to a run that is going on, and its end."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio
from anyio import to_thread

from callsheet.app import compose
from callsheet.app.backends import BackendChoice, choose_backend
from callsheet.app.bounding import bounds_of, granting, hide_record, offer_skills
from callsheet.app.ground import Patience, Terms, open_ground
from callsheet.app.groups import lone_error
from callsheet.app.preflight import Preflight, refused_by_preflight, schema_fault
from callsheet.app.servers import ServersFound, find, open_servers
from callsheet.app.settings import CONFIG_DIR, Choices, Resolved
from callsheet.app.source import STDIN, find_script
from callsheet.app.trees import finishing, trees_of
from callsheet.app.trusting import PermissionChoices, Person, Settled, Site, settle
from callsheet.errors import UsageError
from callsheet.model.confinement import CommandsHeld
from callsheet.model.run import RunSettings
from callsheet.model.script import Finding, Script
from callsheet.model.values import JsonValue
from callsheet.permissions.sources import PermissionSettings, ProjectFiles
from callsheet.ports import AgentBackend, Approver, EventSink, WorkflowLibrary

if TYPE_CHECKING:
    from callsheet.agents.prompt import Background
    from callsheet.app.config_from import ConfigCopy
    from callsheet.engine.run import Run
    from callsheet.library.memory import Memory
    from callsheet.workspace.root import Workspace
    from callsheet.workspace.trees import Trees


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
class RunOrder:
    """What a caller asks for.

    Attributes:
        script: A path, a saved name, or `-` for `stdin`.
        args: The script's `args`; `UNSET` for none.
        workspace: Where agents work; None to find it from `Surroundings.start`.
        terms: How the run stands to others on that workspace.
    """

    script: str
    args: JsonValue | Literal[Unset.UNSET] = UNSET
    choices: Choices = field(default_factory=Choices)
    workspace: Path | None = None
    terms: Terms = field(default_factory=Terms)
    stdin: bytes | None = None
    permissions: PermissionChoices = field(default_factory=PermissionChoices)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRun:
    """A run that is going on.

    Attributes:
        record: Where the record lies.
        findings: Warnings about the script, the checker's and the preflight's, in order of place.
    """

    run: Run
    record: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An order with everything settled that needs no process, no record and no network.

    Attributes:
        settled: What holds its agents: rules, mode, folders, and whether the workspace's own files are trusted.
        site: Where it takes place, and where its configuration lies.
        script: The script as the library and the reader have it: a path or a name.
        notes: What the run has to say at its start.
        servers: The MCP servers that take effect.
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
            interactive=self.around.interactive,
            permissions=self.settled.recorded,
            workspace_use=self.order.terms.use,
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

    workspace = compose.workspace(around.start, order.workspace)
    named = None if order.script == STDIN else order.script
    async with open_config_copy(workspace, ref, script=named, start=around.start, environ=around.environ) as copy:
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
    """
    workspace = compose.workspace(around.start, order.workspace)
    site = site_of(around, workspace.root, copy)
    library = compose.library(site.project.folder, start=site.start, home=site.home, environ=site.environ)
    settled = settle(site, order.permissions, order.choices, library, start=around.start, person=person)
    backend = choose_backend(settled.resolved.backend, environ=around.environ, start=around.start)
    is_model = backend.name not in ("scripted", "offline")  # which call no server, whatever they are offered
    servers = find(site, is_trusted=settled.is_trusted) if is_model else ServersFound()
    said = (backend.note, workspace.note, *(copy.notes if copy is not None else ()), *settled.notes, *servers.notes)
    return Plan(
        order=order,
        around=around,
        workspace=workspace,
        settled=settled,
        site=site,
        script=copy.script if copy is not None and copy.script is not None else order.script,
        backend=backend,
        notes=tuple(note for note in said if note is not None),
        servers=servers,
    )


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


@asynccontextmanager
async def open_run(
    plan: Plan,
    *,
    sinks: Sequence[EventSink] = (),
    approver: Approver | None = None,
    patience: Patience | None = None,
) -> AsyncGenerator[OpenedRun]:
    """Starts a run. Leaving the context ends it: what is under way is cancelled, the record closed, the child gone.

    The sandbox's child boots while the backend is loaded, the script read and the record opened. A run whose agents may
    write holds the workspace's lease until all of it has ended.

    Args:
        plan: What `plan_run` settled.
        sinks: Called with each event.
        patience: Waits a moment while others hold the workspace, where the order is to wait.
        approver: Who is asked what agents may not do by themselves; None for nobody: it is denied.

    Raises:
        LeaseHeldError: Others work in the workspace.
        ConfigError: It cannot have the worktree that was asked for.
        UsageError: No such script; a bad answers file; args that are not JSON.
        ScriptRefusedError: The script cannot be run (CONTRACT S), or `preflight` refuses it.
        StoreError: The record cannot be opened.
        SandboxError: The sandbox does not start.
    """
    args_json = None if plan.order.args is UNSET else _args_json(plan.order.args)
    async with AsyncExitStack() as stack:
        run_id = compose.new_run_id()
        take = partial(
            open_ground,
            plan.workspace.root,
            plan.order.terms,
            run_id=run_id,
            environ=plan.around.environ,
            patience=patience,
        )
        ground = None
        # Before anything that takes time, but where the agents are those of a file, who may write nothing.
        if plan.backend.name != "scripted" or plan.order.terms.use == "worktree":
            ground = await stack.enter_async_context(take(may_write=True))
        session = await stack.enter_async_context(compose.script_host().open(plan.settings.sandbox))
        bounds = bounds_of(
            plan.site,
            plan.settled.permissions,
            ground=ground,
            state_folder=compose.state_folder(plan.workspace.root, plan.around.environ),
            run_id=run_id,
            unconfined=plan.order.permissions.unconfined,
        )
        stack.push_async_callback(bounds.aclose)
        memory: Memory | None = None
        background: Background | None = None
        if ground is not None and plan.backend.name != "scripted":
            site = plan.site
            memory = compose.memory(site.project, root=ground.root, user_dir=site.user_dir, home=site.home)
            background = compose.background(memory, root=ground.root, environ=plan.around.environ)
        backend = compose.load_backend(
            plan.backend,
            bounds,
            background,
            models=plan.resolved.models,
            cache_warmup=plan.settings.cache_warmup,
        )
        if ground is None:
            ground = await stack.enter_async_context(take(may_write=compose.may_write(backend)))
        commands_by = compose.command_backend(plan.backend, plan.resolved.agents, bounds)
        backends = compose.backends_of(backend, commands_by)
        trees = trees_of(
            ground.root,
            state_folder=compose.state_folder(plan.workspace.root, plan.around.environ),
            run_id=run_id,
            is_copy=ground.root != plan.workspace.root,
            environ=plan.around.environ,
            choices=plan.resolved.worktree,
            bounds=bounds,
        )
        stack.push_async_callback(trees.end)
        # Around the executor: servers end when no agent is left that could call them.
        servers_note = await stack.enter_async_context(open_servers(plan.servers, bounds, plan.site, root=ground.root))
        executor = compose.executor(backends, workspaces=trees)
        stack.push_async_callback(executor.aclose)
        await stack.enter_async_context(meanwhile(partial(compose.warm, backend)))
        reading, commands = await _read_and_try(plan, backend, memory, trees)
        record = compose.record_of(plan.workspace.root, plan.resolved.store, plan.around.environ)
        hide_record(bounds, record.path)
        skill_notes: tuple[str, ...] = ()
        if backend.name != "scripted":
            skill_notes = await to_thread.run_sync(partial(offer_skills, bounds, plan.site, root=ground.root))
        store = await stack.enter_async_context(compose.open_record(record.path))
        request = compose.run_request(
            run_id=run_id,
            script=reading.script,
            settings=replace(plan.settings, memory=reading.memory.digest),
            workspace=replace(plan.workspace, root=ground.root),
            args_json=args_json,
            notes=(
                *plan.notes,
                *ground.notes,
                *skill_notes,
                *_notes(servers_note, record.note, reading.memory.said, reading.memory.left_out),
            ),
            commands=commands,
        )
        engine = compose.engine(
            request,
            session=session,
            executor=executor,
            store=store,
            library=reading.library,
            sinks=sinks,
            backends=backends,
            environ=plan.around.environ,
            approver=approver,
            on_grant=granting(bounds, plan.site, root=ground.root),
            finish=finishing(trees, ground.finish),
        )
        run = await stack.enter_async_context(engine)
        yield OpenedRun(run=run, record=store.path, findings=reading.findings)


def _args_json(args: JsonValue) -> str:
    try:
        return json.dumps(args, allow_nan=False)
    except RecursionError:
        raise UsageError("args are nested too deeply to be handed to a script. Pass them flatter.") from None
    except (TypeError, ValueError) as fault:
        raise UsageError(f"args are not JSON ({fault}). Pass what JSON can hold.") from None


@asynccontextmanager
async def meanwhile(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    """Has something done while the block goes on; at the block's end it is cancelled.

    Raises:
        BaseException: What the block or the work raised, by itself, never in a group.
    """
    with lone_error():
        async with anyio.create_task_group() as group:
            group.start_soon(work)
            yield
            group.cancel_scope.cancel("the run is over")


def _notes(*lines: str | None) -> tuple[str, ...]:
    return tuple(line for line in lines if line is not None)


async def _read_and_try(
    plan: Plan, backend: AgentBackend, memory: Memory | None, trees: Trees
) -> tuple[_Reading, CommandsHeld | None]:
    """Reads script and memory while it is tried what holds commands here, and the repository is looked at."""
    held: list[CommandsHeld | None] = []

    async def probe() -> None:
        held.append(await compose.commands_held(backend, plan.workspace.root, unconfined=plan.unconfined))

    with lone_error():
        async with anyio.create_task_group() as group:
            group.start_soon(probe)
            group.start_soon(trees.prepare)
            reading = await to_thread.run_sync(_read, plan, memory, abandon_on_cancel=True)
    return reading, held[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    script: Script
    library: WorkflowLibrary
    findings: tuple[Finding, ...]
    memory: _Remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered:
    """The memory that agents in the workspace's root are told, for the record and for people (CONTRACT R02)."""

    digest: str | None = None
    said: str | None = None
    left_out: str | None = None


def _remembered(memory: Memory | None) -> _Remembered:
    if memory is None:
        return _Remembered()
    found = memory.of(".")
    names = ", ".join(name.removeprefix(f"{memory.shown}/") for name in found.files)
    said = f"project memory: {names} (sha256 {found.digest[:12]})." if found.digest is not None else None
    return _Remembered(digest=found.digest, said=said, left_out=found.note())


def _read(plan: Plan, memory: Memory | None) -> _Reading:
    """Reads the script and tries what can be tried before anything starts."""
    around, site = plan.around, plan.site
    library = compose.library(
        site.project.folder,
        start=site.start,
        home=site.home,
        environ=site.environ,
        trusted=plan.settled.is_trusted,
        declared=plan.resolved.agents,
        mapped=plan.resolved.agent_types,
    )
    script = find_script(
        plan.script, start=around.start, stdin=plan.order.stdin, library=library, read=compose.script_reader()
    )
    script = replace(script, origin=plan.order.script)
    warnings, uses = compose.look_at(script)
    preflight = Preflight(
        library=library,
        schema_fault=schema_fault,
        model_fault=partial(compose.model_fault, environ=around.environ, names=plan.resolved.models),
    ).findings(script, uses)
    if preflight and plan.settings.preflight == "refuse":
        raise refused_by_preflight(script, preflight)
    return _Reading(
        script=script,
        library=library,
        findings=in_order((*warnings, *preflight)),
        memory=_remembered(memory),
    )


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings in the order of their places; those without one first."""
    return tuple(
        sorted(findings, key=lambda one: (one.place.line, one.place.column or 0) if one.place is not None else (0, 0))
    )
