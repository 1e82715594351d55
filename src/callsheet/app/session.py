"""A session: a person talks to the orchestrator, starts runs that go on by themselves, and hears what they came to.

What happens is a line of the session's file before it counts; `session_tale` makes of the lines what is shown, live and
when the session is continued. Talk turns are runs in this process, one at a time; all others are processes of their own
and outlive the session.

A result is shown when its run has ended, and given to the orchestrator with the next turn. It counts as given when that
turn has ended well, since only such a turn is part of the conversation: so it is in the conversation once, whatever
happens in between.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from callsheet.app import places
from callsheet.app.detaching import asked_before
from callsheet.app.launching import Launcher
from callsheet.app.own_record import check_own
from callsheet.app.plan import Plan, RunOrder, Surroundings, plan_run
from callsheet.app.records import Where
from callsheet.app.session_book import SessionBook
from callsheet.app.session_commands import COMMANDS, NO_WISH, done
from callsheet.app.session_desk import RunDesk, refused
from callsheet.app.session_file import (
    FOLDER,
    SessionFile,
    new_session_id,
    session_named,
    sessions_folder,
    sessions_found,
)
from callsheet.app.session_lines import ContinuedLine, OpenedLine, SaidLine, set_line
from callsheet.app.session_model import (
    MAX_SAID_CHARS,
    ULTRACODE,
    Change,
    Command,
    LiveRun,
    Refused,
    Reply,
    Session,
    SessionFigures,
    SessionOrder,
    SessionQuestion,
    SessionSettings,
    Told,
)
from callsheet.app.session_orders import Orders
from callsheet.app.session_runs import clean
from callsheet.app.session_starting import Ready, Starter
from callsheet.app.session_talk import talk_order
from callsheet.app.session_transcript import Entry, RunEnded, RunStarted
from callsheet.app.session_turns import Talker, broken_off
from callsheet.app.session_words import workflow_words
from callsheet.app.trusting import Person
from callsheet.authoring.briefing import Named
from callsheet.authoring.talking import talk_context
from callsheet.errors import CallsheetError
from callsheet.groups import lone_error
from callsheet.model.approval import PersonsVerdict
from callsheet.model.call import Effort
from callsheet.model.outcome import Usage
from callsheet.permissions.modes import Mode
from callsheet.permissions.redact import Redactor

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

_BYPASS = "Mode bypass is not taken over from before. Where you want it again: /permissions bypass"


class OpenSession(Session):
    """A session that is open; `open_session` makes it.

    Attributes:
        root: The workspace.
        around: The machine, standing in the workspace.
        where: Whose record its runs are in.
        plan: Of a talk turn, as it was when the session was opened: who answers, and under what settings.
        book: Its lines.
        model_names: Short names of models that are known here.
    """

    model_names: tuple[str, ...] = ()

    def __init__(
        self,
        order: SessionOrder,
        plan: Plan,
        book: SessionBook,
        tasks: TaskGroup,
        *,
        launcher: Launcher,
        where: Where,
        file: SessionFile,
    ) -> None:
        self.root, self.around, self.where, self.plan, self.book = plan.workspace.root, plan.around, where, plan, book
        self._file = file
        self._tasks = tasks
        self._commands: tuple[Command, ...] = COMMANDS
        self._is_continued = order.resumed is not None
        self._starter = Starter(order, launcher, self.around, root=self.root, known=plan.notes)
        self._desk = RunDesk(book, self._starter, where, tasks)
        self._orders = Orders(order, plan, book, where, going=lambda: self.runs)
        self._talker = Talker(book, self.around, self._orders.turn)

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        return self.book.id

    @property
    def workspace(self) -> str:
        return str(self.root)

    @property
    def path(self) -> str:
        return str(self._file.path)

    @property
    def is_continued(self) -> bool:
        return self._is_continued

    @property
    def orchestrator(self) -> str:
        backend = self.plan.backend.name
        if backend == "offline":
            return "the offline agent, by rule"
        model, effort = self.orchestrator_now
        return f"{model}, effort {effort}" + ("" if backend == "anthropic" else f", by {backend}")

    @property
    def notes(self) -> tuple[str, ...]:
        return self.plan.notes

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self.book.tale.entries)

    @property
    def questions(self) -> tuple[SessionQuestion, ...]:
        return (*self._talker.questions(), *self._desk.questions())

    @property
    def runs(self) -> tuple[LiveRun, ...]:
        return self._desk.runs

    @property
    def settings(self) -> SessionSettings:
        return self.book.tale.settings

    @property
    def figures(self) -> SessionFigures:
        tale = self.book.tale
        return SessionFigures(
            turns=tale.turns,
            turns_usage=tale.turns_usage,
            runs=tale.runs,
            runs_usage=sum(self._desk.usage.values(), Usage()),
            left=self._orders.left_in_words,
        )

    @property
    def commands(self) -> tuple[Command, ...]:
        return self._commands

    @property
    def workflow_names(self) -> frozenset[str]:
        """What `/name` can run."""
        return frozenset(each.name for each in self._commands if each.is_workflow)

    @property
    def own_runs(self) -> frozenset[str]:
        """The runs that were started here."""
        return frozenset(each.run_id for each in self.book.tale.entries if isinstance(each, RunStarted))

    @property
    def orchestrator_now(self) -> tuple[str, Effort]:
        """Model and effort of the next turn."""
        return self._orders.orchestrator

    # --- what is done -----------------------------------------------------------------------------------------------

    def watch(self) -> AsyncGenerator[Change]:
        return self.book.watch()

    def starts_workflow(self, text: str) -> bool:
        return self.settings.effort == ULTRACODE or bool(workflow_words(text))

    async def say(self, text: str, *, is_workflow: bool | None = None) -> Reply:
        words = clean(text).strip()
        if not words:
            return Told()
        if len(words) > MAX_SAID_CHARS:
            return Refused(text=f"that has {len(words):,} characters; at a time there can be {MAX_SAID_CHARS:,}.")
        is_workflow = self.starts_workflow(words) if is_workflow is None else is_workflow
        numbers = await self.book.write(SaidLine(text=words, is_workflow=is_workflow))
        if is_workflow:
            self._tasks.start_soon(self._do, numbers[0], words)
        else:
            self._talker.add(numbers[-1], words)
        return Told()

    async def command(self, text: str) -> Reply:
        return await done(self, text)

    async def answer(
        self, question_id: str, verdict: PersonsVerdict, *, words: str | None = None, more_usd: float | None = None
    ) -> Reply:
        run_id, _, asked_id = question_id.partition(":")
        try:
            turn = self._talker.asked_by(run_id)
            if turn is not None and turn.run is not None:
                await turn.run.answer(asked_id, verdict, words=words, more_usd=more_usd)
            elif not self._desk.decide(question_id, verdict, words):
                await self._desk.answer(run_id, asked_id, verdict, words, more_usd)
        except CallsheetError as fault:
            return refused(fault)
        return Told()

    def stop_turn(self) -> bool:
        return self._talker.stop()

    async def run_saved(self, name: str, words: str) -> Reply:
        """Starts a saved workflow."""
        make = partial(self._starter.saved, name, clean(words), self.settings)
        return await self._desk.start("saved", make, said=None)

    async def resume(self, run: str) -> Reply:
        """Goes on with a run."""
        make = partial(self._starter.resumed, run, self.settings, self.where)
        return await self._desk.start("resumed", make, said=None)

    async def look_up_workflows(self) -> None:
        """Sees which saved workflows there are."""
        saved = await to_thread.run_sync(_workflows, self.root, self.around)
        own = (
            replace(each, values=(*self.model_names, NO_WISH)) if each.name == "model" else each for each in COMMANDS
        )
        self._commands = (*own, *saved)

    def check_mode(self, mode: Mode | None) -> None:
        """Sees that runs can be started with a mode. Blocking.

        Raises:
            BypassRefusedError: Settings forbid it.
            CallsheetError: No run can be started now, whatever its mode.
        """
        order = self.plan.order
        plan_run(replace(order, permissions=replace(order.permissions, mode=mode)), self.around)

    # --- from `open_session` ----------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Begins to work: what was under way when the session was left is told, and followed again."""
        self.model_names = await to_thread.run_sync(_models, self.plan)
        await self.look_up_workflows()
        named = [Named(name=each.name, said=each.said) for each in self._commands if each.is_workflow]
        self._orders.context = talk_context(self.workspace, named)
        if self.is_continued:
            tale = self.book.tale
            for turn in tale.open_turns():
                line = await broken_off(turn, self.where)
                if line is not None:
                    await self.book.write(line)
            await self.book.write(ContinuedLine())
            if tale.record != (record := str(self.where.record)):
                await self.book.write(OpenedLine(id=self.id, workspace=self.workspace, record=record))
            if tale.settings.mode is Mode.BYPASS:
                settings = replace(tale.settings, mode=None)
                await self.book.write(set_line(settings, text=_BYPASS))
        self._desk.follow_again()
        self._tasks.start_soon(self._talker.work)
        self._tasks.start_soon(self._look_again)

    async def _look_again(self) -> None:
        """Looks up workflows again whenever a run has ended: it may have saved one."""
        ended = 0
        async for _ in self.book.watch():
            now_ended = sum(isinstance(each, RunEnded) for each in self.book.tale.entries)
            if now_ended != ended:
                ended = now_ended
                await self.look_up_workflows()

    async def _do(self, said: int, words: str) -> None:
        """Starts the run in which a task is done."""

        async def make() -> Ready:
            return await self._starter.task(await self._orders.task(words), self.settings)

        await self._desk.start("task", make, task=words, said=said)


def _models(plan: Plan) -> tuple[str, ...]:
    from callsheet.app.workers import prices_of

    said = plan.settings
    return tuple(name for name, _ in prices_of(plan.resolved.models, said.prices, service=said.service))


def _workflows(root: Path, around: Surroundings) -> tuple[Command, ...]:
    from callsheet.app.listing import workflows_here

    shelf = workflows_here(start=root, home=around.home, environ=around.environ, workspace=root)
    return tuple(
        Command(
            name=each.name,
            usage=f"/{each.name} [ARGS]",
            said=each.when_to_use or each.description,
            is_workflow=True,
        )
        for each in shelf.workflows
        if each.problem is None and each.shadowed_by is None and not any(map(str.isspace, each.name))
    )


@asynccontextmanager
async def open_session(order: SessionOrder, *, launcher: Launcher, around: Surroundings) -> AsyncGenerator[OpenSession]:
    """Opens a session, a new one or one that was there before. Leaving the context ends the turn that is at work.

    Runs that were started go on; the file is closed, and the session can be continued.

    Args:
        order: Which, and under what flags.
        launcher: Starts runs in processes of their own.
        around: The machine; paths are relative to its `start`.

    Raises:
        NotFoundError: There is no such session to continue.
        UsageError: It is open elsewhere, it came with the repository, or a setting cannot hold.
        TrustRefusedError: Hooks are declared that are not run, and nobody said to go without them (`asked_first`).
        StoreError: There is no place for it, or what lies there is not the user's own.
    """
    root = places.workspace(around.start, order.workspace).root
    order = _settled(order, around, root)
    around = replace(around, start=root, interactive=True)
    plan = await to_thread.run_sync(partial(plan_run, _talk(order, root), around))
    where = Where(store=order.choices.store, workspace=root, start=root, environ=around.environ)
    folder = await to_thread.run_sync(sessions_found, root, around.environ)
    session_id = new_session_id() if order.resumed is None else session_named(order.resumed, folder)
    file = SessionFile(
        folder or places.in_state(root, around.environ, FOLDER),
        session_id,
        make_folder=partial(sessions_folder, root, around.environ) if folder is None else None,
    )
    opened = OpenedLine(id=session_id, workspace=str(root), record=str(where.record))
    book = SessionBook(session_id, file, opened=opened, redact=Redactor(around.environ).json)
    try:
        if order.resumed is not None:
            await check_own(file.path, root, around.environ)
            kept = await to_thread.run_sync(file.read)
            book.read_back(kept.lines)
        with lone_error():
            async with anyio.create_task_group() as tasks:
                session = OpenSession(order, plan, book, tasks, launcher=launcher, where=where, file=file)
                await session.begin()
                try:
                    yield session
                finally:
                    book.close()
                    tasks.cancel_scope.cancel("the session is left")
    finally:
        file.close()


def asked_first(order: SessionOrder, person: Person) -> SessionOrder:
    """The order, after a person was asked what nobody can be asked once the screen is the session's: as for a run.

    Raises:
        UsageError: A setting cannot hold.
        TrustRefusedError: They said no to going without the hooks that are declared.
    """
    asked = asked_before(_talk(order, order.workspace), person)
    return replace(order, permissions=replace(order.permissions, ignore_hooks=asked.permissions.ignore_hooks))


def _talk(order: SessionOrder, workspace: Path | None) -> RunOrder:
    return talk_order(order.choices, workspace, ignore_hooks=order.permissions.ignore_hooks)


def _settled(order: SessionOrder, around: Surroundings, root: Path) -> SessionOrder:
    """The order with paths that mean the same from the workspace's root, where its runs are started."""
    store = order.choices.store
    if store is None:
        return replace(order, workspace=root)
    absolute = str((around.start / Path(store).expanduser()).absolute())
    return replace(order, workspace=root, choices=replace(order.choices, store=absolute))
