"""The use case: run a script. From a plan to a run that is going on, and its end."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from callsheet.app import compose, places, workers
from callsheet.app.bounding import granting, hide_record, offer_skills
from callsheet.app.checkpointing import open_taker
from callsheet.app.ground import Ground, Patience, open_ground
from callsheet.app.hands import Hands, open_hands
from callsheet.app.own_record import check_own
from callsheet.app.plan import UNSET, Plan, ResumeTerms
from callsheet.app.reading import Reading, read
from callsheet.app.resume import changed_notes, check_rerun, kept_trees
from callsheet.app.serving import Serving, open_serving
from callsheet.app.tracing import Tracing, open_tracing
from callsheet.app.trees import finishing, held
from callsheet.errors import UsageError
from callsheet.groups import lone_error
from callsheet.model.confinement import CommandsHeld
from callsheet.model.dataclass import dataclass
from callsheet.model.past import Resumption
from callsheet.model.script import Finding, Script
from callsheet.model.values import JsonValue
from callsheet.ports import Approver, CheckpointTaker, DraftGate, EventSink, ScriptSession, Store

AUTHOR, DO = "author", "do"
"""The workflows in which a script is written, and a task is done."""

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from callsheet.app.log_file import LogFile
    from callsheet.engine.effects import Restore
    from callsheet.engine.run import Run
    from callsheet.engine.state import RunRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRun:
    """A run that is going on.

    Attributes:
        record: Where the record lies.
        script: What runs.
        findings: Warnings about the script, the checker's and the preflight's, in order of place.
        kept: Waits until what there is of the run so far is on disk; before that nobody else finds it on record. Raises
            StoreError where it never will be.
        log: Where its events go besides; None for nowhere.
    """

    run: Run
    record: str
    script: Script
    findings: tuple[Finding, ...]
    kept: Callable[[], Awaitable[None]]
    log: LogFile | None = None


@asynccontextmanager
async def open_run(
    plan: Plan,
    *,
    sinks: Sequence[EventSink] = (),
    approver: Approver | None = None,
    patience: Patience | None = None,
    end_at_once: Callable[[], object] | None = None,
    say: Callable[[str], None] | None = None,
) -> AsyncGenerator[OpenedRun]:
    """Starts a run. Leaving the context ends it: what is under way is cancelled, the record closed, the child gone.

    The sandbox's child boots while the backend is loaded, the script read and the record opened. A run whose agents may
    write holds the workspace's lease until all of it has ended.

    Args:
        plan: What `plan_run` settled.
        sinks: Called with each event.
        patience: Waits a moment while others hold the workspace, where the order is to wait.
        approver: Who is asked what agents may not do by themselves; None for nobody: it is denied.
        end_at_once: Ends this process without a farewell, for `callsheet stop --now`; None where it is not to be ended.
        say: Takes a line on what is no part of the run: a `notify` command that failed.

    Raises:
        LeaseHeldError: Others work in the workspace.
        RunGoingError: The run that is to be resumed goes on already.
        ConfigError: It cannot have the worktree that was asked for.
        UsageError: No such script; a bad answers file; args that are not JSON.
        NotFoundError: A conversation that is to go on is not on record (any more).
        ScriptRefusedError: The script cannot be run (CONTRACT S), or `preflight` refuses it.
        StoreError: The record cannot be opened.
        SandboxError: The sandbox does not start.
    """
    args = None if plan.order.args is UNSET else args_json(plan.order.args)
    resume = plan.order.resume
    run_id = (plan.order.run_id or compose.new_run_id()) if resume is None else resume.run_id

    def find_ground(may_write: bool) -> AbstractAsyncContextManager[Ground]:
        return open_ground(
            plan.workspace.root,
            plan.order.terms,
            may_write=may_write and not plan.order.terms.is_reading,
            run_id=run_id,
            environ=plan.around.environ,
            patience=patience,
        )

    async with AsyncExitStack() as stack:
        service = plan.settings.service
        # First of all: what is left is sent when everything else is over and put away.
        tracing = await stack.enter_async_context(
            open_tracing(plan.around.environ, service=service, say=say or _no_words)
        )
        running = places.going(plan.workspace.root, run_id=run_id, environ=plan.around.environ)
        await stack.enter_async_context(running)
        ground = None
        # Before anything that takes time, but where the agents are those of a file, who may write nothing.
        if plan.backend.name != "scripted" or plan.order.terms.use == "worktree":
            ground = await stack.enter_async_context(find_ground(True))
        session = await stack.enter_async_context(compose.script_host().open(plan.settings.sandbox))
        log = None if plan.settings.log_file is None else await stack.enter_async_context(_open_log(plan))
        hands = await stack.enter_async_context(
            open_hands(plan, ground, run_id=run_id, log=None if log is None else log.path, find_ground=find_ground)
        )
        reading, commands = await _read_and_try(plan, hands)
        sinks = (*sinks, *_judge_answers(hands, plan, reading.script))
        record = places.record_of(plan.workspace.root, plan.resolved.store, plan.around.environ)
        hide_record(hands.bounds, record.path)
        skill_notes: tuple[str, ...] = ()
        if hands.backend.name != "scripted":
            offer = partial(offer_skills, hands.bounds, plan.site, root=hands.ground.root)
            skill_notes = await to_thread.run_sync(offer)
        resumption, found = None, tuple[str, ...]()
        if resume is not None or plan.order.continues:
            await check_own(record.path, plan.workspace.root, plan.around.environ)
        heard = await to_thread.run_sync(places.conversations, record.path, plan.order.continues)
        if resume is not None:
            find = partial(_resumption, record.path, resume, plan, hands.ground.root, script=reading.script.path)
            resumption = await to_thread.run_sync(find)
            if hands.trees is not None:
                hands.trees.bring_back(kept_trees(resumption.past))
        else:
            look = partial(places.found_before, record.path, plan.workspace.root, plan.around.environ, run_id=run_id)
            found = await to_thread.run_sync(look)
        store = await stack.enter_async_context(places.open_record(record.path))
        if plan.approved is not None and plan.approved.decision:
            from callsheet.app.approving import recorded

            await store.write((recorded(plan.approved),), durable=False)
        taker = await stack.enter_async_context(_taker(plan, hands, run_id))
        serving = await stack.enter_async_context(
            open_serving(
                run_id,
                workflow=reading.script.meta.name,
                workspace=plan.workspace.root,
                record=record.path,
                bounds=hands.bounds,
                environ=plan.around.environ,
                end_at_once=end_at_once,
            )
        )
        if plan.resolved.notify is not None:
            notifier = await stack.enter_async_context(_notifier(plan, run_id, serving, say or _no_words))
            sinks = (*sinks, notifier)
        remembered = reading.memory
        tracing.begin(
            run_id,
            workflow=reading.script.meta.name,
            backend=plan.backend.name,
            past=None if resumption is None else resumption.past,
        )
        request = compose.run_request(
            run_id=run_id,
            script=reading.script,
            settings=replace(plan.settings, memory=remembered.digest, traceparent=tracing.traceparent),
            workspace=replace(plan.workspace, root=hands.ground.root),
            args_json=args,
            notes=(
                *plan.notes,
                *tracing.notes,
                *hands.ground.notes,
                *skill_notes,
                *_notes(hands.servers_note, record.note, remembered.said, remembered.left_out, serving.note),
                *found,
                *changed_notes(resumption),
            ),
            commands=commands,
            resumption=resumption,
            heard=heard,
        )
        sinks = sinks if log is None else (*sinks, log)
        engine = _engine(
            plan,
            request,
            hands,
            reading,
            taker,
            tracing,
            session=session,
            store=store,
            sinks=(*sinks, *tracing.sinks),
            approver=approver,
        )
        run = await stack.enter_async_context(engine)
        serving.serve(run)
        yield OpenedRun(
            run=run,
            record=store.path,
            script=reading.script,
            findings=reading.findings,
            kept=partial(store.write, (), durable=True),
            log=log,
        )


def _engine(
    plan: Plan,
    request: RunRequest,
    hands: Hands,
    reading: Reading,
    taker: CheckpointTaker | None,
    tracing: Tracing,
    *,
    session: ScriptSession,
    store: Store,
    sinks: Sequence[EventSink],
    approver: Approver | None,
) -> AbstractAsyncContextManager[Run]:
    resumption = request.resumption
    return compose.engine(
        request,
        session=session,
        executor=tracing.listening(hands.executor),
        store=store,
        library=reading.library,
        sinks=sinks,
        backends=hands.backends,
        environ=plan.around.environ,
        approver=approver,
        on_grant=granting(hands.bounds, plan.site, root=hands.ground.root),
        finish=hands.ground.finish if hands.trees is None else finishing(hands.trees, hands.ground.finish),
        checkpoints=taker,
        restore=None if resumption is None else _putting_back(store, resumption, hands),
        gate=_gate(plan),
    )


def _open_log(plan: Plan) -> AbstractAsyncContextManager[LogFile]:
    from callsheet.app.log_file import open_log

    return open_log(plan.settings, root=plan.workspace.root)


def _putting_back(store: Store, resumption: Resumption, hands: Hands) -> Restore:
    from callsheet.app.putting_back import PuttingBack

    return PuttingBack(Path(store.path), resumption.past, hands.ground.root, hold=partial(held, hands.bounds))


def _taker(plan: Plan, hands: Hands, run_id: str) -> AbstractAsyncContextManager[CheckpointTaker | None]:
    """None where nothing in the workspace itself can be changed: agents that write nothing, or elsewhere."""
    is_touched = hands.trees is not None and not plan.order.terms.is_reading
    if not is_touched or hands.ground.root != plan.workspace.root:
        return nullcontext()
    return open_taker(
        hands.ground.root,
        state_folder=places.state_folder(plan.workspace.root, plan.around.environ),
        run_id=run_id,
        environ=plan.around.environ,
        interval=plan.settings.checkpoint_interval,
        on_failure=plan.settings.rollback_on_failure,
        hold=partial(held, hands.bounds),
    )


@asynccontextmanager
async def _notifier(plan: Plan, run_id: str, serving: Serving, say: Callable[[str], None]) -> AsyncGenerator[EventSink]:
    from callsheet.app.notifying import Notifier, telling

    notifier = Notifier(
        plan.resolved.notify or "",
        run_id=run_id,
        workspace=plan.workspace.root,
        folder=plan.around.start,
        environ=plan.around.environ,
        say=say,
        trust=serving.trusting,
    )
    async with telling(notifier):
        yield notifier


def _judge_answers(hands: Hands, plan: Plan, script: Script) -> tuple[EventSink, ...]:
    """Says who judges what agents answer, besides schemas; gives those who follow the run's events for that.

    Only the writing of scripts loads what it needs.
    """
    if script.meta.name not in (AUTHOR, DO):
        return ()
    from callsheet.app.authoring import judge_for
    from callsheet.app.authoring_choices import answers_of
    from callsheet.app.doing import doing_judge

    follows = doing_judge(plan, script)
    hands.bounds.judge = follows or judge_for(plan, script)
    if hands.bounds.judge is not None:
        hands.bounds.answers = answers_of(plan.order.args)
    return () if follows is None else (follows,)


def _gate(plan: Plan) -> DraftGate | None:
    """What lets the run take scripts as text; only where it is to take some is loaded what that needs."""
    if not plan.order.drafts:
        return None
    from callsheet.app.drafts import Gate

    return Gate(plan)


def _no_words(text: str) -> None:
    """Takes a line that nobody reads."""


async def _read_and_try(plan: Plan, hands: Hands) -> tuple[Reading, CommandsHeld | None]:
    """Reads script and memory while it is tried what holds commands here, and the repository is looked at."""
    held: list[CommandsHeld | None] = []

    async def probe() -> None:
        held.append(await workers.commands_held(hands.backend, plan.workspace.root, unconfined=plan.unconfined))

    with lone_error():
        async with anyio.create_task_group() as group:
            group.start_soon(probe)
            if hands.trees is not None:
                group.start_soon(hands.trees.prepare)
            reading = await to_thread.run_sync(read, plan, hands.memory, abandon_on_cancel=True)
    return reading, held[0]


def _resumption(record: Path, resume: ResumeTerms, plan: Plan, root: Path, *, script: str | None) -> Resumption:
    """What is on record of the run that goes on, and what of its files changed; nobody else writes to it any more.

    Raises:
        NotFoundError: What is to run again is not on record.
        StoreError: The record cannot be read.
    """
    past = places.past(record, resume.run_id, root=plan.workspace.root, environ=plan.around.environ)
    check_rerun(past, resume.rerun)
    changed = frozenset[str]() if resume.reuse == "all" else places.changed_since(past, root, script=script)
    return Resumption(past=past, reuse=resume.reuse, rerun=resume.rerun, changed_since=changed)


def args_json(args: JsonValue) -> str:
    """The script's `args` as JSON text.

    Raises:
        UsageError: They are not JSON.
    """
    try:
        return json.dumps(args, allow_nan=False)
    except RecursionError:
        raise UsageError("args are nested too deeply to be handed to a script. Pass them flatter.") from None
    except (TypeError, ValueError) as fault:
        raise UsageError(f"args are not JSON ({fault}). Pass what JSON can hold.") from None


def _notes(*lines: str | None) -> tuple[str, ...]:
    return tuple(line for line in lines if line is not None)
