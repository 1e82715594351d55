"""`callsheet run`: a script to its end, its progress on standard error, its result on standard output."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from callsheet.cli import RARELY
from callsheet.cli.boundary import guarded
from callsheet.cli.follower import Follower, View
from callsheet.cli.job import JobReport, Told
from callsheet.cli.report import Output, ResultPrinter
from callsheet.cli.signals import StopSignals
from callsheet.cli.status import COMPLETED, FAILED, INTERRUPTED, NOT_APPROVED, exit_status
from callsheet.cli.streams import has_person, say
from callsheet.errors import CallsheetError, LeaseHeldError, ScriptRefusedError, TrustRefusedError
from callsheet.model.dataclass import dataclass
from callsheet.model.run import RunResult
from callsheet.views.safe_text import visible

if TYPE_CHECKING:
    import anyio

    from callsheet.app.ground import Patience
    from callsheet.app.plan import Approved, Plan, RunOrder
    from callsheet.cli.approver import TerminalApprover
    from callsheet.cli.detached import Handover, Started
    from callsheet.engine.run import Run
    from callsheet.model.script import Finding
    from callsheet.ports import Approver

STOPPING = "stopping: agents under way are cancelled and the record is closed; a second signal ends it at once"

_LOOK_AGAIN_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a run is shown, whether its person is asked, and what its exit status stands for.

    Attributes:
        is_explained: Of a resumed run it is said for each call whether it was reused, and why not (CONTRACT R05).
        is_detached: It goes on in a process of its own; here is only said that it has started.
        is_watched: As that, and here it is shown on the dashboard.
        is_agreed: The run is meant: nobody is asked about that.
        told: What a CI job is told of it.
    """

    output: Output = "text"
    is_quiet: bool = False
    is_headless: bool = False
    fail_on: Literal["degraded", "failed"] = "degraded"
    is_explained: bool = False
    is_detached: bool = False
    is_watched: bool = False
    is_agreed: bool = False
    told: Told = field(default_factory=Told)


class RunCommand:
    """One run, shown on this process's streams.

    Attributes:
        fault: Why it never began; None where it did, or where another process has the run.
    """

    def __init__(
        self,
        order: Callable[[], RunOrder],
        *,
        script: str,
        manner: Manner,
        printer: ResultPrinter | None = None,
        approved: Approved | None = None,
    ) -> None:
        """Makes it; nothing is read or started yet.

        Args:
            order: Gives what is asked for, or raises a UsageError.
            script: The path or name as given.
            manner: How it is shown.
            printer: Takes the result; None for one that prints it.
            approved: What a person approved who was asked elsewhere; None where nobody was.
        """
        self.fault: CallsheetError | None = None
        self._order = order
        self._script = script
        self._manner = manner
        self._signals = StopSignals()
        # One that is detached has nobody who reads its events; it may only say in this form that it did not start.
        output: Output = "json" if manner.is_detached and manner.output == "jsonl" else manner.output
        self._printer = printer or ResultPrinter(output, is_quiet=manner.is_quiet)
        self._job = JobReport(manner.told, fail_on=manner.fail_on)
        self._asked: RunOrder | None = None
        self._approved = approved
        self._handover: Handover | None = None
        self._progress: Follower | None = None
        self._is_asked = False
        self._backend = ""
        self._result: RunResult | None = None

    def run(self) -> int:
        """Runs, shows, and gives the exit status."""
        if self._manner.is_detached:
            return guarded(self._detach, tell=self._broke)
        return self._run_here()

    def _detach(self) -> int:
        """In this process: says that the run has started, or why not. In a new one: runs."""
        from callsheet.app.detaching import asked_before
        from callsheet.app.plan import Surroundings
        from callsheet.cli.detached import leave
        from callsheet.cli.trust_prompt import person_at

        try:
            if self._manner.is_watched:
                from callsheet.tui.watch import check_terminal

                check_terminal(os.environ, instead="Leave --watch out, or say --detach instead.")
            order = self._order()
            is_asked = not self._manner.is_headless and has_person(os.environ)
            person = person_at(is_reading=_is_typed(order)) if is_asked else None
            if person is not None and order.resume is None:
                from callsheet.cli.offer import order_after_offer

                order = order_after_offer(order, Surroundings(interactive=True))
            order = asked_before(order, person)
            if self._manner.is_watched and person is not None and not self._manner.is_agreed:
                from callsheet.cli.approve import approved_ahead

                with self._signals.installed():
                    self._approved = approved_ahead(order, at_end=self._signals.on_end)
        except CallsheetError as fault:
            return self._refused(fault)
        self._order = lambda: order
        show = self._watch if self._manner.is_watched else None
        there = leave(output=self._manner.output, is_quiet=self._manner.is_quiet, show=show)
        if isinstance(there, int):
            return there
        self._handover = there
        return self._run_here()

    def _watch(self, started: Started) -> int:
        """Shows the run that has started on the dashboard; then its end, if it has ended."""
        from callsheet.cli.watch_command import left_words, show_started

        board = show_started(started)
        if board.result is None:
            say(*left_words(started.run_id, lost=board.lost))
            return COMPLETED if board.lost is None else INTERRUPTED
        self._printer.record = started.record
        is_well = self._printer.print(board.result, is_explained=self._manner.is_explained)
        return exit_status(board.result, fail_on=self._manner.fail_on) or (COMPLETED if is_well else FAILED)

    def _run_here(self) -> int:
        with self._signals.installed():
            try:
                return guarded(self._run, tell=self._broke)
            finally:
                self._close_progress()

    def _run(self) -> int:
        import anyio

        late: CallsheetError | None = None
        try:
            anyio.run(self._run_to_end)
        except CallsheetError as fault:
            late = fault
        self._signals.disarm()
        self._close_progress()
        if self._result is None:
            assert late is not None
            return self._refused(late)
        if late is not None:
            say(f"error: {visible(late.message)}")
        is_well = self._printer.print(self._result, is_explained=self._manner.is_explained) and late is None
        self._job.ended(self._result)
        return exit_status(self._result, fail_on=self._manner.fail_on) or (COMPLETED if is_well else FAILED)

    async def _run_to_end(self) -> None:
        """Runs to the end; the result is kept as soon as there is one, since the way out can still fail."""
        from callsheet.app.plan import Surroundings, open_plan
        from callsheet.cli.trust_prompt import person_at

        self._is_asked = not self._manner.is_headless and has_person(os.environ)
        around = Surroundings(interactive=self._is_asked or self._is_asked_later)
        order = self._order()
        person = person_at(is_reading=_is_typed(order)) if self._is_asked else None
        if person is not None and order.resume is None:
            from callsheet.cli.offer import order_after_offer

            order = order_after_offer(order, around)
        self._asked = order
        is_approved_here = person is not None and not self._manner.is_agreed and self._manner.output == "text"
        async with open_plan(order, around, person=person) as plan:
            was_asked = False
            if is_approved_here or self._approved is not None:
                from callsheet.cli.approve import approved_plan

                plan, was_asked = await approved_plan(plan, self._approved, at_end=self._signals.on_end)
            await self._run_plan(plan, was_asked=was_asked)

    async def _run_plan(self, plan: Plan, *, was_asked: bool) -> None:
        from callsheet.app.run import open_run
        from callsheet.cli.large_run import mentioned
        from callsheet.groups import meanwhile

        self._backend, self._script = plan.backend.name, plan.order.script
        self._progress = self._open_progress()
        terminal = self._approver(plan) if self._is_asked else None
        approver = terminal or (self._elsewhere() if self._is_asked_later else None)
        sinks = [sink for sink in (self._printer.follower, self._progress, terminal) if sink is not None]
        asked = self._when_asked_to_stop()
        async with open_run(
            plan,
            sinks=sinks,
            approver=approver,
            patience=self._patience(asked),
            end_at_once=self._signals.end_at_once,
            say=self._warn,
        ) as opened:
            gc.freeze()  # what is loaded is there to stay, and need not be gone through again
            gc.set_threshold(*RARELY)
            self._printer.record = opened.record
            self._signals.run_id = opened.run.run_id
            self._job.begins(plan, opened.script)
            if plan.order.is_named or plan.order.resume is None:  # of a recorded script they were shown before
                self._show_findings(opened.findings)
            async with meanwhile(partial(self._stop, opened.run, asked)):
                if self._handover is not None:
                    await opened.kept()  # who reads the id must find the run, also if this process dies now
                    self._handover.started(opened.run.run_id, plan, opened.record)
                is_wanted = not (was_asked or self._manner.is_quiet)
                async with mentioned(plan, is_wanted=is_wanted, approver=approver, remark=self._remark):
                    self._result = await opened.run.result()
        if opened.log is not None and opened.log.fault is not None:
            self._remark(f"the log file {opened.log.path} is not whole: {opened.log.fault}")

    def _when_asked_to_stop(self) -> anyio.Event:
        """Set by the first signal from here on: also one that comes while the run is being opened ends it in order."""
        import asyncio

        import anyio

        asked = anyio.Event()
        loop = asyncio.get_running_loop()

        def ask() -> None:
            with suppress(RuntimeError):  # the loop was closed a moment ago: the run is over
                loop.call_soon_threadsafe(asked.set)

        self._signals.on_stop(ask)
        return asked

    def _patience(self, asked: anyio.Event) -> Patience:
        """Waits for the workspace, saying so once, until somebody asks to stop."""
        import anyio

        said: set[str] = set()

        async def wait(held: LeaseHeldError) -> None:
            if (who := "; ".join(held.holders)) not in said:
                said.add(who)
                self._remark(f"waiting for the workspace, which is in use: {who}")
            with anyio.move_on_after(_LOOK_AGAIN_S):
                await asked.wait()
                raise held

        return wait

    def _remark(self, text: str) -> None:
        if self._progress is not None:
            self._progress.remark(text)
        elif self._handover is not None:
            say(text)

    def _warn(self, text: str) -> None:
        """Says what must be seen even where nothing else is wanted."""
        if self._progress is not None:
            self._progress.remark(text)
        else:
            say(visible(text))

    async def _stop(self, run: Run, asked: anyio.Event) -> None:
        """Once asked, ends the run in order: by a person with Ctrl-C, else as told by the system."""
        await asked.wait()
        self._remark(STOPPING)
        await run.stop("person" if self._signals.first == signal.SIGINT else "stopped")

    @property
    def _is_asked_later(self) -> bool:
        """Whether agents may wait for somebody who answers from elsewhere."""
        if self._handover is None or self._manner.is_headless:
            return False
        from callsheet.app.detaching import is_asked_later

        return is_asked_later(os.environ)

    def _elsewhere(self) -> Approver:
        """Who is asked where no terminal is."""
        from callsheet.app.serving import Elsewhere

        return Elsewhere(takes_scripts=not self._manner.is_agreed)

    def _approver(self, plan: Plan) -> TerminalApprover:
        """Who asks the person; what else writes to the terminal is held still meanwhile."""
        from callsheet.cli.approver import TerminalApprover

        lines = self._printer.follower if sys.stdout.isatty() else None
        return TerminalApprover(
            [follower for follower in (self._progress, lines) if follower is not None],
            takes_scripts=not self._manner.is_agreed and self._manner.output == "text",
            workspace=plan.workspace.root,
        )

    # --- what is shown ----------------------------------------------------------------------------------------------

    def _open_progress(self) -> Follower | None:
        if self._manner.is_quiet or self._handover is not None:
            return None
        view: View
        if self._has_screen():
            from callsheet.cli.live import LiveTree

            view = LiveTree(sys.stderr)
        else:
            from callsheet.cli.plain import PlainLines

            view = PlainLines(sys.stderr)
        return Follower(view)

    def _has_screen(self) -> bool:
        """Whether a tree can be drawn: on a terminal that moves its cursor, and that nothing else is printed to."""
        is_shared = self._manner.output == "jsonl" and sys.stdout.isatty()
        return sys.stderr.isatty() and not is_shared and os.environ.get("TERM", "dumb") != "dumb"

    def _close_progress(self) -> None:
        if self._progress is not None:
            self._progress.close()

    def _show_findings(self, findings: tuple[Finding, ...]) -> None:
        if findings and not self._manner.is_quiet:
            from callsheet.cli.findings import finding_lines

            for finding in findings:
                self._remark("\n".join(finding_lines(finding, self._script)))

    # --- runs that never began --------------------------------------------------------------------------------------

    def _refused(self, fault: CallsheetError) -> int:
        """Says why the run never began, in words and in the form of every other result."""
        self.fault = fault
        if isinstance(fault, ScriptRefusedError):
            from callsheet.cli.findings import finding_lines

            for finding in fault.findings:
                say(*finding_lines(finding, self._script))
        else:
            say(f"error: {visible(fault.message)}")
        result = unbegun(fault, script=self._script, backend=self._backend, run_id=self._signals.run_id)
        if self._signals.first is not None and isinstance(fault, LeaseHeldError):
            result = replace(result, status="cancelled", stopped_by_person=self._signals.first == signal.SIGINT)
        self._printer.print_refusal(result)
        self._job.refused(fault, result, self._asked)
        return NOT_APPROVED if isinstance(fault, TrustRefusedError) else exit_status(result)

    def _broke(self, fault: CallsheetError) -> None:
        self._close_progress()
        result = unbegun(fault, script=self._script, backend=self._backend, run_id=self._signals.run_id)
        self._printer.print_refusal(result)
        self._job.refused(fault, result, self._asked)


def _is_typed(order: RunOrder) -> bool:
    """Whether the script came from standard input, where nobody can answer then."""
    from callsheet.app.source import STDIN

    return order.stdin is not None and order.script == STDIN


def unbegun(fault: CallsheetError, *, script: str, backend: str = "", run_id: str | None = None) -> RunResult:
    """A run that never began, or broke, in the form of every other result."""
    from callsheet.app import compose
    from callsheet.app.refused import result_of_error

    return result_of_error(fault, run_id=run_id or compose.new_run_id(), script=script, backend=backend)
