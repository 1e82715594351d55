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
from callsheet.app.ground import Patience, Terms, open_ground
from callsheet.app.groups import lone_error
from callsheet.app.preflight import Preflight, refused_by_preflight, schema_fault
from callsheet.app.settings import Choices, Resolved, resolve_settings
from callsheet.app.source import find_script
from callsheet.errors import UsageError
from callsheet.model.run import RunSettings
from callsheet.model.script import Finding, Script
from callsheet.model.values import JsonValue
from callsheet.ports import EventSink, WorkflowLibrary

if TYPE_CHECKING:
    from callsheet.engine.run import Run
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
        base = self.environ.get("XDG_CONFIG_HOME")
        return (Path(base) if base else self.home / ".config") / "callsheet"


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
        notes: What the run has to say at its start.
    """

    order: RunOrder
    around: Surroundings
    workspace: Workspace
    resolved: Resolved
    backend: BackendChoice
    notes: tuple[str, ...]

    @property
    def settings(self) -> RunSettings:
        """What holds for the run."""
        return replace(self.resolved.run, backend=self.backend.name, workspace_use=self.order.terms.use)


def plan_run(order: RunOrder, around: Surroundings) -> Plan:
    """Settles where, with what limits and by whom.

    Raises:
        UsageError: The workspace is not there, a setting cannot hold, or there is nobody to answer.
    """
    workspace = compose.workspace(around.start, order.workspace)
    resolved = resolve_settings(
        order.choices,
        workspace=workspace.root,
        environ=around.environ,
        config_dir=around.config_dir,
        interactive=around.interactive,
    )
    backend = choose_backend(resolved.backend, environ=around.environ, start=around.start)
    notes = [note for note in (backend.note, workspace.note, *resolved.notes) if note is not None]
    return Plan(order=order, around=around, workspace=workspace, resolved=resolved, backend=backend, notes=tuple(notes))


@asynccontextmanager
async def open_run(
    plan: Plan, *, sinks: Sequence[EventSink] = (), patience: Patience | None = None
) -> AsyncGenerator[OpenedRun]:
    """Starts a run. Leaving the context ends it: what is under way is cancelled, the record closed, the child gone.

    The sandbox's child boots while the backend is loaded, the script read and the record opened. A run whose agents may
    write holds the workspace's lease until all of it has ended.

    Args:
        plan: What `plan_run` settled.
        sinks: Called with each event.
        patience: Waits a moment while others hold the workspace, where the order is to wait.

    Raises:
        LeaseHeldError: Others work in the workspace.
        ConfigError: It cannot have the worktree that was asked for.
        UsageError: No such script; a bad answers file.
        ScriptRefusedError: The script cannot be run (CONTRACT S), or `preflight` refuses it.
        StoreError: The record cannot be opened.
        SandboxError: The sandbox does not start.
    """
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
        if plan.backend.name != "scripted":  # before anything that takes time; those of a file may write nothing
            ground = await stack.enter_async_context(take(may_write=True))
        session = await stack.enter_async_context(compose.script_host().open(plan.settings.sandbox))
        backend = compose.load_backend(plan.backend)
        if ground is None:
            ground = await stack.enter_async_context(take(may_write=compose.may_write(backend)))
        executor = compose.executor(backend)
        stack.push_async_callback(executor.aclose)
        await stack.enter_async_context(meanwhile(partial(compose.warm, backend)))
        reading = await to_thread.run_sync(_read, plan, abandon_on_cancel=True)
        record = compose.record_of(plan.workspace.root, plan.resolved.store, plan.around.environ)
        store = await stack.enter_async_context(compose.open_record(record.path))
        request = compose.run_request(
            run_id=run_id,
            script=reading.script,
            settings=plan.settings,
            workspace=replace(plan.workspace, root=ground.root),
            args_json=None if plan.order.args is UNSET else json.dumps(plan.order.args),
            notes=(*plan.notes, *ground.notes, *((record.note,) if record.note is not None else ())),
        )
        engine = compose.engine(
            request,
            session=session,
            executor=executor,
            store=store,
            library=reading.library,
            sinks=sinks,
            backends=(backend.name,),
            environ=plan.around.environ,
            finish=ground.finish,
        )
        run = await stack.enter_async_context(engine)
        yield OpenedRun(run=run, record=store.path, findings=reading.findings)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    script: Script
    library: WorkflowLibrary
    findings: tuple[Finding, ...]


def _read(plan: Plan) -> _Reading:
    """Reads the script and tries what can be tried before anything starts."""
    order, around = plan.order, plan.around
    library = compose.library(plan.workspace.root, start=around.start, home=around.home, environ=around.environ)
    script = find_script(
        order.script, start=around.start, stdin=order.stdin, library=library, read=compose.script_reader()
    )
    warnings, uses = compose.look_at(script)
    preflight = Preflight(
        library=library,
        schema_fault=schema_fault,
        model_fault=partial(compose.model_fault, environ=around.environ),
    ).findings(script, uses)
    if preflight and plan.settings.preflight == "refuse":
        raise refused_by_preflight(script, preflight)
    return _Reading(script=script, library=library, findings=in_order((*warnings, *preflight)))


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings in the order of their places; those without one first."""
    return tuple(
        sorted(findings, key=lambda one: (one.place.line, one.place.column or 0) if one.place is not None else (0, 0))
    )
