"""One talk turn of a session: a run in this process, of a workflow that comes with Callsheet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from callsheet.app.choices import Choices
from callsheet.app.ground import Terms
from callsheet.app.plan import Plan, RunOrder, Surroundings, open_plan, plan_run
from callsheet.app.source import BUILT_IN
from callsheet.app.trusting import PermissionChoices
from callsheet.authoring.talking import talk_script
from callsheet.groups import meanwhile
from callsheet.model.call import Effort
from callsheet.model.dataclass import dataclass
from callsheet.model.events import Event
from callsheet.model.policy import ORCHESTRATOR
from callsheet.model.run import RunResult
from callsheet.model.values import JsonValue
from callsheet.ports import EventSink
from callsheet.views.board import Board

if TYPE_CHECKING:
    from callsheet.engine.run import Run

MODEL = "opus"
EFFORT: Effort = "high"
CONVERSATION = "orchestrator"
"""The conversation that talk turns and tasks of a session are part of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOrder:
    """What a turn is to be.

    Attributes:
        prompt, context: As `authoring.talking` makes them.
        model, effort: None for what settings say of the orchestrator.
        choices: Of the run: what it may use among them.
        ignore_hooks: It goes on though `PreToolUse` hooks are declared, which are not run.
        continues: The run and agent in which the conversation stands; None to begin one.
        notices: Facts for the orchestrator, which Callsheet vouches for.
    """

    prompt: str
    context: str
    model: str | None = None
    effort: Effort | None = None
    choices: Choices = field(default_factory=Choices)
    workspace: Path | None = None
    ignore_hooks: bool = False
    continues: tuple[str, str] | None = None
    notices: tuple[str, ...] = ()


class LiveTurn(EventSink):
    """A turn that is under way, or about to be.

    Attributes:
        board: What is known of it.
        run: The run that it is; None before it has begun.
    """

    def __init__(self, on_event: Callable[[], None]) -> None:
        self.board = Board()
        self.run: Run | None = None
        self._on_event = on_event
        self._stop = anyio.Event()
        self._scope: anyio.CancelScope | None = None

    def on_event(self, event: Event) -> None:
        self.board.apply(event)
        self._on_event()

    @property
    def is_stopped(self) -> bool:
        """Whether a person has stopped it."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ends it: its run in order, or what is done before that has begun. Idempotent."""
        self._stop.set()
        if self.run is None and self._scope is not None:
            self._scope.cancel("a person stopped the turn")

    async def to_end(
        self, order: TurnOrder, around: Surroundings, *, on_begun: Callable[[str], Awaitable[None]]
    ) -> RunResult | None:
        """Has the turn, and says how it was; None where it was stopped before it had begun.

        Args:
            order: What it is to be.
            around: The machine.
            on_begun: Told the run's id, before anything else happens.

        Raises:
            CallsheetError: It could not begin: as `app.run.open_run`.
        """
        from callsheet.app.run import open_run
        from callsheet.app.serving import Elsewhere

        asked = await to_thread.run_sync(run_order_of, order, around)
        result: RunResult | None = None
        with anyio.CancelScope() as self._scope:
            async with (
                open_plan(asked, around) as plan,
                open_run(plan, sinks=(self,), approver=Elsewhere()) as opened,
            ):
                self.run = opened.run
                await on_begun(opened.run.run_id)
                async with meanwhile(self._stopper):
                    result = await opened.run.result()
        return result

    async def _stopper(self) -> None:
        await self._stop.wait()
        assert self.run is not None
        await self.run.stop("person")


def run_order_of(order: TurnOrder, around: Surroundings) -> RunOrder:
    """The run that a turn is.

    Raises:
        UsageError: A setting that cannot hold.
    """
    run = talk_order(order.choices, order.workspace, ignore_hooks=order.ignore_hooks)
    model, effort = orchestrator_of(plan_run(run, around), model=order.model, effort=order.effort)
    args: JsonValue = {"prompt": order.prompt, "context": order.context, "model": model, "effort": effort}
    continues = {} if order.continues is None else {CONVERSATION: order.continues}
    return replace(run, args=args, continues=continues, notices=order.notices if continues else ())


def talk_order(choices: Choices, workspace: Path | None, *, ignore_hooks: bool = False) -> RunOrder:
    """A turn as far as it is known before anything was said."""
    return RunOrder(
        script=BUILT_IN,
        stdin=talk_script().encode(),
        choices=choices,
        workspace=workspace,
        terms=Terms(use="share", is_reading=True),
        permissions=PermissionChoices(ignore_hooks=ignore_hooks),
    )


def orchestrator_of(plan: Plan, *, model: str | None, effort: Effort | None) -> tuple[str, Effort]:
    """Model and effort of the orchestrator: as asked, else as settings say of it, else the default."""
    routed = next((route for route in plan.settings.mode_routing if route.pattern == ORCHESTRATOR), None)
    chosen = model or plan.settings.type_models.get(ORCHESTRATOR) or (routed and routed.model)
    return chosen or MODEL, effort or (routed and routed.effort) or EFFORT
