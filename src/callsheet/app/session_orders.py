"""What the orchestrator of a session is asked and told: its talk turns, and tasks that begin where talk stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from anyio import to_thread

from callsheet.app.plan import Plan
from callsheet.app.quantities import parse_budget
from callsheet.app.records import Where, open_runs
from callsheet.app.session_book import SessionBook
from callsheet.app.session_lines import NoteLine
from callsheet.app.session_model import ULTRACODE, LiveRun, SessionOrder
from callsheet.app.session_talk import TurnOrder, orchestrator_of
from callsheet.app.session_turns import deliveries
from callsheet.app.tool_order import TaskLaunch
from callsheet.authoring.talking import Delivered, results_text, talk_prompt
from callsheet.errors import StoreError
from callsheet.model.call import Effort
from callsheet.model.spending import Budget
from callsheet.views.figures import money, tokens

_WAITS_FOR_SERVICE_S = 120.0
"""A turn waits so long for a service that stays away, where nobody says otherwise: a person waits for it."""
_ULTRACODE_EFFORT: Effort = "xhigh"
_FORGOTTEN = (
    "The record has nothing more of what was said here (callsheet prune takes old runs away): the orchestrator begins "
    "anew, and knows only what is said from now on."
)


class Orders:
    """Makes orders, with the settings that hold when they are made.

    Attributes:
        context: What is the same in every turn.
    """

    def __init__(
        self,
        order: SessionOrder,
        plan: Plan,
        book: SessionBook,
        where: Where,
        *,
        going: Callable[[], tuple[LiveRun, ...]],
    ) -> None:
        """Makes it.

        Args:
            order: Of the session.
            plan: Of a turn, as it was when the session was opened.
            book: The session's.
            where: Whose record its runs are in.
            going: The runs that go on.
        """
        self.context = ""
        self._order = order
        self._plan = plan
        self._book = book
        self._where = where
        self._going = going

    @property
    def orchestrator(self) -> tuple[str, Effort]:
        """Model and effort of the next turn."""
        return orchestrator_of(self._plan, model=self._book.tale.settings.model, effort=self._effort)

    @property
    def left(self) -> Budget | None:
        """What talk may still use of the session's budget; None without one."""
        said = self._book.tale.settings.budget
        if said is None:
            return None
        budget, used = parse_budget(said), self._book.tale.bounded_usage
        return Budget(
            tokens=None if budget.tokens is None else max(0, budget.tokens - used.output_tokens),
            usd=None if budget.usd is None else max(0.0, budget.usd - (used.cost_usd or 0.0)),
        )

    @property
    def left_in_words(self) -> str | None:
        """The same for people."""
        left = self.left
        if left is None:
            return None
        usd = "" if left.usd is None else money(left.usd)
        return " and ".join(
            each for each in (usd, "" if left.tokens is None else f"{tokens(left.tokens)} tokens") if each
        )

    async def turn(self, words: str, results: Sequence[Delivered]) -> TurnOrder | None:
        """A talk turn; None where no budget is left for one.

        Args:
            words: The person's.
            results: Of runs that ended, which it was not given before.
        """
        left = self.left
        if left is not None and (left.usd == 0 or left.tokens == 0):
            return None
        await self._remember()
        choices = self._order.choices
        return TurnOrder(
            prompt=talk_prompt(words, results),
            context=self.context,
            model=self._book.tale.settings.model,
            effort=self._effort,
            choices=replace(
                choices,
                budget=left or choices.budget,
                max_wait=_WAITS_FOR_SERVICE_S if choices.max_wait is None else choices.max_wait,
            ),
            workspace=self._order.workspace,
            ignore_hooks=self._order.permissions.ignore_hooks,
            continues=self._book.tale.last_turn,
            notices=tuple(self._facts(results)),
        )

    async def task(self, words: str) -> TaskLaunch:
        """A task: its orchestrator knows all that was said, and results that were not given yet."""
        await self._remember()
        results = deliveries(self._book.tale)
        return TaskLaunch(
            text=words,
            before=results_text(results),
            model=self._book.tale.settings.model,
            effort=self._effort,
            continues=self._book.tale.last_turn,
            notices=tuple(self._facts(results)),
        )

    @property
    def _effort(self) -> Effort | None:
        effort = self._book.tale.settings.effort
        return _ULTRACODE_EFFORT if effort == ULTRACODE else effort

    def _facts(self, results: Sequence[Delivered]) -> list[str]:
        """What Callsheet vouches for: no text of agents."""
        going = [
            f"{each.run_id} goes on: {each.ended} of {each.agents} agents ended, {each.questions} questions open"
            for each in self._going()
        ]
        return [*(each.about for each in results), *going]

    async def _remember(self) -> None:
        """Sees that what was said before is still on record; what is not can be no part of the conversation."""
        last = self._book.tale.last_turn
        if last is not None and not await to_thread.run_sync(_is_on_record, last, self._where):
            await self._book.write(NoteLine(text=_FORGOTTEN, forgets=True))


def _is_on_record(turn: tuple[str, str], where: Where) -> bool:
    if not where.record.is_file():
        return False
    try:
        with open_runs(where, is_checked=False) as runs:
            found = runs.record.agent(*turn)
    except StoreError:
        return True  # what is wrong with the record is better said by who needs it
    return found is not None and found.agent.status == "ok"
