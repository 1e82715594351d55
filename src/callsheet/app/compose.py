"""What a run is made of besides its places (`places`) and those who work (`workers`): sandbox, script, library, engine.

These three are the only modules that name concrete classes, and introduce the rooms to each other. Everything is
imported where it is made, so that most of what is loaded is loaded while the sandbox's child boots.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app import places
from callsheet.app.source import ReadScript
from callsheet.model.approval import OnGrant, cannot_keep
from callsheet.model.call import AgentType
from callsheet.model.confinement import CommandsHeld
from callsheet.model.conversation import SpokenTurn
from callsheet.model.past import Resumption
from callsheet.model.run import RunResult, RunSettings
from callsheet.model.sandbox import SyntaxFault
from callsheet.model.script import Finding, LiteralUse, Script
from callsheet.ports import (
    Approver,
    CheckpointTaker,
    DraftGate,
    EventSink,
    Executor,
    ScriptHost,
    ScriptSession,
    Store,
    WorkflowLibrary,
)

if TYPE_CHECKING:
    from callsheet.agents.prompt import Background
    from callsheet.engine.effects import Restore
    from callsheet.engine.run import Run
    from callsheet.engine.simulation import Simulation
    from callsheet.engine.state import RunRequest
    from callsheet.library.library import Library
    from callsheet.library.memory import Memory
    from callsheet.library.workflows import Known
    from callsheet.permissions.sources import ProjectFiles
    from callsheet.workspace.root import Workspace


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


def workflow_mentions(script: Script) -> int | None:
    """How often a script names `workflow`; None where that cannot be told."""
    from callsheet.script.literals import workflow_mentions as mentions

    return mentions(script)


def gives_back(script: Script) -> bool:
    """Whether a script returns something anywhere; without that its result is null."""
    from callsheet.script.rules.flow import gives_back as gives

    return gives(script)


def syntax_finding(script: Script, fault: SyntaxFault) -> Finding:
    """The engine's refusal of a script, in words and with its line."""
    from callsheet.script.syntax import syntax_finding as finding

    return finding(script, fault)


def library(
    root: Path,
    *,
    start: Path,
    home: Path,
    environ: Mapping[str, str],
    trusted: bool = False,
    declared: Iterable[AgentType] = (),
    mapped: Mapping[str, str] | None = None,
    known: Known | None = None,
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
        known: What workflow files were found to say before; what is found is put there.
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
        known=known,
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


def run_request(
    *,
    run_id: str,
    script: Script,
    settings: RunSettings,
    workspace: Workspace,
    args_json: str | None,
    notes: tuple[str, ...],
    commands: CommandsHeld | None = None,
    resumption: Resumption | None = None,
    heard: Mapping[str, tuple[SpokenTurn, ...]] | None = None,
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
        resumption=resumption,
        heard=heard or {},
        notices=settings.notices,
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
    approver: Approver | None = None,
    on_grant: OnGrant = cannot_keep,
    finish: Callable[[RunResult], Awaitable[RunResult]] | None = None,
    checkpoints: CheckpointTaker | None = None,
    restore: Restore | None = None,
    simulation: Simulation | None = None,
    gate: DraftGate | None = None,
) -> AbstractAsyncContextManager[Run]:
    """A run, with everything it works through; one that is only played with a simulation, its executor too."""
    from callsheet.answers.schema import AnswerSchema
    from callsheet.engine.effects import cannot_restore, no_marks
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
        checkpoints=checkpoints,
        restore=restore or cannot_restore,
        redact_text=redactor.text,
        redact_json=redactor.json,
        syntax_finding=syntax_finding,
        approver=approver,
        on_grant=on_grant,
        mark_files=partial(places.mark_files, Path(request.workspace)) if simulation is None else no_marks,
        simulation=simulation,
        gate=gate,
    )


def new_run_id() -> str:
    """A name for a run."""
    import time

    from callsheet.engine.identity import new_run_id as new

    return new(time.time_ns() // 1_000_000)
