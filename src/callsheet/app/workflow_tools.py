"""The workflow tools: start, status, result, stop, list. Plain functions that know no protocol.

Whoever lets a model call them, an MCP server or an orchestrator in this process, gets the same: they say in words and
fields what the model can act on, and give it no more than their `Grants`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anyio
from anyio import to_thread

from callsheet.app import places
from callsheet.app.control import live_runs
from callsheet.app.launching import Launcher
from callsheet.app.plan import Surroundings
from callsheet.app.records import Listed, Where, open_runs
from callsheet.app.retelling import retold_json, run_of
from callsheet.app.stopping import stop_run
from callsheet.app.tool_inputs import ListInput, ResultInput, StartInput, StatusInput, read_input, tool_named
from callsheet.app.tool_order import Grants, narrowed_order
from callsheet.app.tool_scripts import tool_script
from callsheet.app.tool_views import (
    begun_json,
    finding_json,
    next_step,
    outcome_json,
    run_row,
    started_next,
    status_json,
)
from callsheet.app.watching import open_watched, recorded_board
from callsheet.errors import NotFoundError, StoreError
from callsheet.model.public import result_json
from callsheet.permissions.redact import Redactor
from callsheet.views.board import Board
from callsheet.views.figures import count

Json: TypeAlias = dict[str, Any]

PROGRESS_S = 0.5
"""Progress is told at most so often."""


class Progress:
    """How far a run is, for whoever waits for it."""

    def __init__(self, board: Board) -> None:
        ended = board.finished
        self.total = sum(board.states.values())
        # Always a little more than before, as the protocol wants it, and never as much as one more agent.
        self.done = float(self.total) if board.is_over else ended + board.seq / (board.seq + 1)
        at_work = board.states["running"] + board.states["waiting"]
        phase = next((each.title for each in reversed(board.phases.values()) if each.is_at_work), None)
        self.message = f"{ended} of {count(self.total, 'agent')} ended, {at_work} at work"
        if phase:
            self.message += f", phase {phase}"
        if board.questions:
            self.message += f"; {count(len(board.questions), 'question')} for a person"


OnProgress: TypeAlias = Callable[[Progress], Awaitable[None]]


async def _no_progress(progress: Progress) -> None:
    """Takes what nobody wants to know."""


class WorkflowTools:
    """The tools, for one workspace.

    Every tool raises CallsheetError where it refuses; `tool_views.refusal_json` has that in words for a model.
    """

    def __init__(self, *, grants: Grants, launcher: Launcher, around: Surroundings, workspace: Path | None) -> None:
        """Makes them.

        Args:
            grants: What they may have done.
            launcher: Starts runs in processes of their own.
            around: The machine.
            workspace: Where runs work; None for the folder around `around.start`.

        Raises:
            UsageError: There is no such folder.
        """
        self.root = places.workspace(around.start, workspace).root
        self.grants = grants
        self._launcher = launcher
        self._around = Surroundings(start=self.root, environ=around.environ, home=around.home)
        self._where = Where(
            store=grants.choices.store, workspace=self.root, start=self.root, environ=self._around.environ
        )
        self._redact = Redactor(around.environ).json

    async def call(self, name: str, said: Mapping[str, Any], *, on_progress: OnProgress = _no_progress) -> Json:
        """Does what a model's call asks for.

        Args:
            name: A tool's name.
            said: Its input, as the model gave it.
            on_progress: Told how far a run is that is waited for.

        Raises:
            UsageError: There is no such tool, or its input is wrong.
            CallsheetError: It was refused.
        """
        kind = tool_named(name).takes
        answer: Json
        match read_input(kind, said):
            case StartInput() as asked:
                answer = await self.start(asked)
            case ResultInput() as asked:
                answer = await self.result(asked, on_progress=on_progress)
            case ListInput() as asked:
                answer = await self.list_all(asked)
            case StatusInput() as asked if name == "workflow_stop":
                answer = await self.stop(asked)
            case StatusInput() as asked:
                answer = await self.status(asked)
            case _:
                raise AssertionError(name)
        return self._told(answer)

    def _told(self, answer: Json) -> Json:
        """An answer without secrets."""
        redacted = self._redact(answer)
        assert isinstance(redacted, dict)
        return redacted

    # --- the tools --------------------------------------------------------------------------------------------------

    async def start(self, asked: StartInput) -> Json:
        """Starts a run, or goes on with one, in a process of its own.

        Raises:
            ScriptRefusedError: The script cannot run.
            NotStartedError: It did not start.
            CallsheetError: As `tool_script` and `narrowed_order`.
        """
        script = await tool_script(asked, root=self.root, around=self._around)
        narrow = partial(narrowed_order, asked, self.grants, script=script.named, root=self.root, around=self._around)
        order = await to_thread.run_sync(narrow)
        started = await self._launcher.launch(order.launch)
        recorded = order.plan.order.resume.recorded if order.plan.order.resume is not None else None
        return {
            "runId": started.run_id,
            "status": "running",
            "workflow": script.workflow,
            "scriptPath": script.path if recorded is None else recorded.path,
            "recordPath": started.record,
            "workspace": str(self.root),
            "limits": order.limits,
            "warnings": [finding_json(each) for each in script.warnings],
            "notes": [*order.notes, *order.plan.notes],
            "watch": f"callsheet watch {started.run_id}",
            "next": started_next(has_warnings=bool(script.warnings)),
        }

    async def status(self, asked: StatusInput) -> Json:
        """How a run stands.

        Raises:
            NotFoundError: There is no such run.
            StoreError: The record cannot be read.
        """
        return await to_thread.run_sync(self._status, asked.run_id)

    async def result(self, asked: ResultInput, *, on_progress: OnProgress = _no_progress) -> Json:
        """What a run came to, or so far; waits for its end where that is asked for. Cancelling ends the waiting alone.

        Raises:
            NotFoundError: There is no such run.
            StoreError: The record cannot be read.
        """
        run_id, whole = asked.run_id, None
        if asked.wait_seconds > 0:
            async with open_watched(asked.run_id, self._where) as watched:
                run_id = watched.run_id
                with anyio.move_on_after(asked.wait_seconds):
                    await _until_over(watched.updates(PROGRESS_S), watched.board, on_progress)
                if watched.board.result is not None:
                    whole = result_json(watched.board.result)
        return await to_thread.run_sync(self._outcome, run_id, whole)

    async def stop(self, asked: StatusInput) -> Json:
        """Ends a run in order, and waits until it has ended.

        Raises:
            NotFoundError: There is no such run.
            ControlLostError: It cannot be reached.
        """
        stopped = await stop_run(asked.run_id, self._where)
        return {
            "runId": stopped.run_id,
            "wasRunning": stopped.was == "running",
            "status": stopped.status,
            "isOver": stopped.is_ended,
            "message": stopped.words,
            "next": next_step(stopped.status, stopped.run_id),
        }

    async def list_all(self, asked: ListInput) -> Json:
        """Saved workflows, the newest runs, and what holds here.

        Raises:
            StoreError: The record cannot be read.
        """
        return await to_thread.run_sync(self._list, asked)

    # --- what resources show ----------------------------------------------------------------------------------------

    async def whole_result(self, run_id: str) -> Json:
        """The whole result of a run (FORMATS 1).

        Raises:
            NotFoundError: There is no such run.
        """

        def work() -> Json:
            with open_runs(self._where, is_checked=False) as runs:
                return retold_json(runs.record, runs.find(run_id))

        return self._told(await to_thread.run_sync(work))

    async def script_text(self, run_id: str) -> str:
        """The script that a run ran, as recorded.

        Raises:
            NotFoundError: There is no such run.
        """

        def work() -> str:
            with open_runs(self._where, is_checked=False) as runs:
                return run_of(runs.record, runs.find(run_id).run_id).run.script_text

        return str(self._redact(await to_thread.run_sync(work)))

    # --- in a worker thread -----------------------------------------------------------------------------------------

    def _status(self, name: str) -> Json:
        try:
            with open_runs(self._where, is_checked=False) as runs:
                run = runs.find(name)
                return status_json(recorded_board(runs.record, run), run)
        except (NotFoundError, StoreError) as fault:
            return self._begun(name, fault)

    def _begun(self, name: str, fault: NotFoundError | StoreError) -> Json:
        """A run that goes on in this workspace and has nothing on record yet; for any other the fault is raised."""
        for reach in live_runs(self._where):
            if reach.run_id == name and Path(reach.workspace) == self.root:
                return begun_json(reach.run_id, reach.workflow)
        raise fault

    def _outcome(self, name: str, whole: Json | None) -> Json:
        try:
            with open_runs(self._where, is_checked=False) as runs:
                run = runs.find(name)
                return outcome_json(whole or retold_json(runs.record, run), run=run)
        except (NotFoundError, StoreError) as fault:
            return self._begun(name, fault)

    def _list(self, asked: ListInput) -> Json:
        from callsheet.app.listing import workflows_here

        around = self._around
        shelf = workflows_here(start=self.root, home=around.home, environ=around.environ, workspace=self.root)
        listed: tuple[Listed, ...] = ()
        if asked.runs and self._where.record.is_file():
            with open_runs(self._where, is_checked=False) as runs:
                listed = runs.listed(limit=asked.runs)
        most, agents = self.grants.max_budget, self.grants.max_agents
        mode = self.grants.permissions.mode
        said: Json = {
            "workspace": str(self.root),
            "workflows": [
                {
                    "name": each.name,
                    "description": each.description,
                    "whenToUse": each.when_to_use,
                    "source": each.source,
                    "path": each.path,
                    "problem": each.problem,
                }
                for each in shelf.workflows
                if each.shadowed_by is None
            ],
            "runs": [run_row(each) for each in listed],
            "most": {
                "budgetTokens": most.tokens,
                "budgetUsd": most.usd,
                "maxAgents": agents,
                "permissionMode": None if mode is None else mode.value,
            },
        }
        if asked.guide:
            from callsheet.authoring import guide_text

            said["guide"] = guide_text()
        return said


async def _until_over(updates: Any, board: Board, on_progress: OnProgress) -> None:
    """Tells of progress until the run is over, each time only where there is more of it."""
    told = -math.inf
    async with aclosing(updates):
        async for _ in updates:
            progress = Progress(board)
            if board.seq and progress.done > told:
                told = progress.done
                await on_progress(progress)
            if board.is_over:
                return
