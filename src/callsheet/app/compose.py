"""The one place that names concrete classes, and introduces the rooms to each other.

Everything is imported where it is made: a run with the scripted backend never loads the model client, and most of what
is loaded is loaded while the sandbox's child boots.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app.backends import BackendChoice
from callsheet.app.source import ReadScript
from callsheet.errors import BackendUnavailableError, ConfigError, GitRefusedError, LeaseHeldError, StoreError
from callsheet.model.approval import OnGrant
from callsheet.model.call import AgentType
from callsheet.model.confinement import CommandsHeld
from callsheet.model.run import RunResult, RunSettings
from callsheet.model.sandbox import SyntaxFault
from callsheet.model.script import Finding, LiteralUse, Script
from callsheet.ports import (
    AgentBackend,
    Approver,
    EventSink,
    Executor,
    ScriptHost,
    ScriptSession,
    Store,
    WorkflowLibrary,
    Workspaces,
)
from callsheet.programs import host_path

if TYPE_CHECKING:
    from callsheet.agents.models import ModelTable
    from callsheet.agents.prompt import Background
    from callsheet.agents.tools.bounds import Bounds
    from callsheet.engine.run import Run
    from callsheet.engine.state import RunRequest
    from callsheet.library.library import Library
    from callsheet.library.memory import Memory
    from callsheet.permissions.sources import ProjectFiles
    from callsheet.store.place import StoreChoice
    from callsheet.workspace.lease import LeaseMode
    from callsheet.workspace.root import Workspace
    from callsheet.workspace.worktree import Worktree


def script_host() -> ScriptHost:
    """What starts sandboxes."""
    from callsheet.sandbox.host import SandboxHost

    return SandboxHost()


def script_reader() -> ReadScript:
    """What makes a `Script` of bytes."""
    from callsheet.script.reader import read_script

    return read_script


def _read_script(data: bytes, *, origin: str, path: str | None) -> Script:
    """As `script_reader`, loaded with the first script that is read: a look at agent types needs no grammar."""
    return script_reader()(data, origin=origin, path=path)


def look_at(script: Script, *, portable: bool = False) -> tuple[tuple[Finding, ...], tuple[LiteralUse, ...]]:
    """What the checker has to say about a script, and what the script says literally."""
    from callsheet.script.checker import check_script
    from callsheet.script.literals import literal_uses

    return check_script(script, portable=portable), literal_uses(script)


def syntax_finding(script: Script, fault: SyntaxFault) -> Finding:
    """The engine's refusal of a script, in words and with its line."""
    from callsheet.script.syntax import syntax_finding as finding

    return finding(script, fault)


def workspace(start: Path, explicit: Path | None) -> Workspace:
    """Where agents work.

    Raises:
        UsageError: The folder does not exist.
    """
    from callsheet.workspace.root import find_workspace

    return find_workspace(start, explicit)


def library(
    root: Path,
    *,
    start: Path,
    home: Path,
    environ: Mapping[str, str],
    trusted: bool = False,
    declared: Iterable[AgentType] = (),
    mapped: Mapping[str, str] | None = None,
) -> Library:
    """Saved workflows and agent types by name (FORMATS 6).

    Args:
        root: Where the project's lie.
        start: The caller's folder.
        home: The user's home folder.
        environ: For `CLAUDE_CONFIG_DIR`.
        trusted: The project's agent types hold as they are.
        declared: Agent types of the settings.
        mapped: Names of agent types, and of those that are taken for them.
    """
    from callsheet.library.library import Library

    config_dir = environ.get("CLAUDE_CONFIG_DIR")
    return Library(
        workspace=root,
        start=start,
        home=home,
        config_dir=Path(config_dir) if config_dir else None,
        read=_read_script,
        trusted=trusted,
        declared=declared,
        mapped=mapped,
    )


def memory(project: ProjectFiles, *, root: Path, user_dir: Path, home: Path) -> Memory:
    """Project memory for a run, and the user's own; nothing is read yet.

    Args:
        project: Where the project's files are read.
        root: The workspace.
        user_dir: The user's own folder of such files.
        home: The user's home folder.
    """
    from callsheet.library.memory import Memory

    return Memory(folder=project.folder, shown=root, user=user_dir, home=home, is_copy=project.commit is not None)


def background(memory: Memory, *, root: Path, environ: Mapping[str, str]) -> Background:
    """What the agents of a run are told of project and machine.

    Args:
        memory: Of the run.
        root: Where they work.
        environ: The host's.
    """
    from callsheet.agents.prompt import Background

    async def git() -> str | None:
        from callsheet.workspace.state import git_state

        return await git_state(root, environ)

    return Background(memory=memory, git=git)


def load_backend(
    choice: BackendChoice,
    bounds: Bounds,
    background: Background | None = None,
    *,
    models: Mapping[str, str] | None = None,
    cache_warmup: bool = True,
) -> AgentBackend:
    """The backend that was chosen, ready to work, its agents within bounds.

    Args:
        choice: Who answers.
        bounds: What agents may do.
        background: What they are told of project and machine; None where nobody is told anything.
        models: Names for models, and their ids.
        cache_warmup: Of calls that share a prompt prefix the first goes ahead (CONTRACT K03).

    Raises:
        ConfigError: The answers file cannot be used.
    """
    match choice.name:
        case "anthropic":
            from callsheet.agents.anthropic import AnthropicBackend

            return AnthropicBackend(
                bounds=bounds, background=background, models=_models(models or {}), warms_cache=cache_warmup
            )
        case "offline":
            from callsheet.agents.offline import OfflineBackend

            return OfflineBackend(bounds=bounds, background=background)
        case "scripted":
            from callsheet.agents.scripted import ScriptedBackend

            assert choice.file is not None
            return ScriptedBackend.from_file(choice.file, bounds=bounds)
        case _:
            from callsheet.agents.registered import RegisteredBackend, registered_backends

            return RegisteredBackend(choice.name, registered_backends()[choice.name].load)


def _models(names: Mapping[str, str]) -> ModelTable:
    from callsheet.agents.models import model_table

    return model_table().with_names(names) if names else model_table()


def command_backend(choice: BackendChoice, agents: Sequence[AgentType], bounds: Bounds) -> AgentBackend | None:
    """Who runs the programs of command agents; None where there are none, or answers come from a file."""
    if not agents or choice.name == "scripted":
        return None
    from callsheet.agents.command import CommandBackend

    return CommandBackend(bounds=bounds)


async def warm(backend: AgentBackend) -> None:
    """Loads the model client where the backend has one, so that the first agent need not wait for it.

    What goes wrong is not said here: the first agent meets it again, and the run says it.
    """
    if backend.name == "scripted":
        return
    from callsheet.agents.anthropic import AnthropicBackend
    from callsheet.agents.offline import OfflineBackend

    if isinstance(backend, AnthropicBackend | OfflineBackend):
        with suppress(BackendUnavailableError):
            await backend.warm()


def backends_of(*backends: AgentBackend | None) -> Mapping[str, AgentBackend]:
    """The backends of a run by name, with those that installed packages register.

    Where answers come from a file there are no others: a rehearsal does nothing.
    """
    given = [backend for backend in backends if backend is not None]
    if given[0].name == "scripted":
        return {backend.name: backend for backend in given}
    from callsheet.agents.registered import Backends

    return Backends(given)


def executor(backends: Mapping[str, AgentBackend], *, workspaces: Workspaces) -> Executor:
    """Where agents work: in this process."""
    from callsheet.executors.local import LocalExecutor

    return LocalExecutor(backends, workspaces=workspaces)


def record_of(root: Path, explicit: str | None, environ: Mapping[str, str]) -> StoreChoice:
    """Where the record of a workspace lies (FORMATS 4).

    Raises:
        StoreError: No place is fit for it.
    """
    from callsheet.store.place import choose_store_path

    named = Path(explicit) if explicit is not None else None
    return choose_store_path(root, named, environ, avoid=_why_not_inside(root, environ))


def state_folder(root: Path, environ: Mapping[str, str]) -> Path:
    """Where runs on a workspace know of each other.

    Raises:
        StoreError: There is no place for it.
    """
    from callsheet.store.place import state_folder as folder

    return folder(root, environ, avoid=_why_not_inside(root, environ))


def _why_not_inside(root: Path, environ: Mapping[str, str]) -> str | None:
    """Why what agents must not see cannot lie in the workspace; None where it can.

    Looks only at what is installed, so that all runs on a machine come to the same place at no cost: bubblewrap hides
    any folder, Landlock none inside of one that may be written.
    """
    import shutil

    if shutil.which("bwrap", path=host_path(environ.get("PATH"), outside=(root,))) is not None:
        return None
    from callsheet.confinement.landlock import OLDEST_ABI, landlock_abi

    if landlock_abi() < OLDEST_ABI:
        return None
    return "cannot be hidden from agents' commands: Landlock is all that holds them here (install bubblewrap)"


def lease(
    folder: Path,
    *,
    run_id: str,
    is_shared: bool,
    wait_s: float,
    patience: Callable[[LeaseHeldError], Awaitable[None]] | None,
) -> AbstractAsyncContextManager[object]:
    """The workspace's lease, of those that its state folder knows of (DESIGN 17)."""
    from callsheet.workspace.lease import open_lease

    mode: LeaseMode = "shared" if is_shared else "exclusive"
    return open_lease(folder, run_id=run_id, mode=mode, wait_s=wait_s, patience=patience)


def lease_holders(folder: Path) -> frozenset[str]:
    """The runs that hold a lease there now."""
    from callsheet.workspace.lease import holders

    return frozenset(holder.run_id for holder in holders(folder))


async def worktree(root: Path, *, folder: Path, name: str, environ: Mapping[str, str]) -> Worktree:
    """A worktree of a run's own.

    Raises:
        ConfigError: It cannot be made; says why.
    """
    from callsheet.workspace.errors import WorkspacePathError
    from callsheet.workspace.worktree import Worktree

    try:
        return await Worktree.make(root, folder=folder, name=name, environ=environ)
    except (GitRefusedError, WorkspacePathError) as fault:
        why = fault.message
    except OSError as fault:
        why = str(fault)
    raise ConfigError(f"--worktree: the run's worktree cannot be made: {why}")


async def reap_worktrees(root: Path, *, folder: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Takes away agents' worktrees of runs that died; lines on what was."""
    from callsheet.workspace.journal import FOLDER, reap

    if not (folder / FOLDER).is_dir():
        return ()

    def recorded(run_id: str) -> Collection[str] | None:
        from callsheet.model.outcome import AGENT_STATUSES
        from callsheet.store.reader import read_agents, read_run

        try:
            record = record_of(root, None, environ).path
            if read_run(record, run_id) is None:
                return None
            ended = {
                found.agent.agent_id for found in read_agents(record, run_id) if found.agent.status in AGENT_STATUSES
            }
        except StoreError:
            return None
        return ended

    return await reap(root, folder, environ, recorded=recorded)


def may_write(backend: AgentBackend) -> bool:
    """Whether a backend's agents may change the workspace: all may, but those of a backend that says they do not."""
    return bool(getattr(backend, "needs_workspace", True))


def open_record(path: Path) -> AbstractAsyncContextManager[Store]:
    """Opens a record for writing.

    Raises:
        StoreError: It cannot be opened.
    """
    from callsheet.store.sqlite import open_store

    return open_store(path)


async def commands_held(backend: AgentBackend, root: Path, *, unconfined: bool) -> CommandsHeld | None:
    """What holds the commands of a backend's agents: tried once a process, a few tens of milliseconds.

    None for the scripted backend, which runs no commands: there nothing is tried.
    """
    if backend.name == "scripted":
        return None
    from callsheet.confinement.probe import find_confinement

    best = (await find_confinement(outside=(root,))).best
    return CommandsHeld(name=best.name, coverage=best.coverage, unconfined=unconfined)


def run_request(
    *,
    run_id: str,
    script: Script,
    settings: RunSettings,
    workspace: Workspace,
    args_json: str | None,
    notes: tuple[str, ...],
    commands: CommandsHeld | None = None,
) -> RunRequest:
    """What the engine is asked for."""
    from callsheet.engine.state import RunRequest

    return RunRequest(
        script=script,
        settings=settings,
        workspace=str(workspace.root),
        head=workspace.head,
        args_json=args_json,
        notes=notes,
        run_id=run_id,
        commands=commands,
    )


def engine(
    request: RunRequest,
    *,
    session: ScriptSession,
    executor: Executor,
    store: Store,
    library: WorkflowLibrary,
    sinks: Sequence[EventSink],
    backends: Collection[str],
    environ: Mapping[str, str],
    approver: Approver | None,
    on_grant: OnGrant,
    finish: Callable[[RunResult], Awaitable[RunResult]] | None = None,
) -> AbstractAsyncContextManager[Run]:
    """A run, with everything it works through."""
    from callsheet.answers.schema import AnswerSchema
    from callsheet.engine.run import open_run
    from callsheet.permissions.redact import Redactor

    redactor = Redactor(environ)
    return open_run(
        request,
        session=session,
        executor=executor,
        store=store,
        library=library,
        backends=backends,
        check_schema=AnswerSchema.compile,
        sinks=sinks,
        finish=finish,
        redact_text=redactor.text,
        redact_json=redactor.json,
        syntax_finding=syntax_finding,
        approver=approver,
        on_grant=on_grant,
    )


def new_run_id() -> str:
    """A name for a run."""
    import time

    from callsheet.engine.identity import new_run_id as new

    return new(time.time_ns() // 1_000_000)


def model_fault(name: str, *, environ: Mapping[str, str], names: Mapping[str, str]) -> str | None:
    """Why a model will hardly be had: neither an alias nor the name of a Claude model; None where it may.

    A service of one's own (`ANTHROPIC_BASE_URL`) has its own names; there nothing is said.
    """
    from callsheet.agents.models import INHERIT

    aliases = _models(names).aliases
    if environ.get("ANTHROPIC_BASE_URL") or name.lower() in aliases or name == INHERIT or "claude" in name.lower():
        return None
    return f"model {name!r} is not known: it is neither an alias ({', '.join(aliases)}) nor the id of a Claude model."
