"""A run without a budget that has cost as much as one may: a person says how it goes on, or it ends (CONTRACT L04)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from anyio.abc import TaskGroup

from callsheet.engine.approvals import Approvals
from callsheet.engine.call import Call
from callsheet.engine.ending import cost_stop
from callsheet.engine.forecast import Forecast
from callsheet.engine.pots import usd_text
from callsheet.engine.scheduler import Scheduler
from callsheet.engine.state import RunState
from callsheet.model.approval import Answer, Question

TOOL = "cost stop"
"""What the question is about, where surfaces name a tool."""


class CostStop:
    """Holds back agents that wait for their start once a run without a budget has cost as much as one may.

    Where nobody is there to be asked, or nobody answers, the run ends when the agents at work have ended, and can be
    resumed. While it is asked agents at work go on, and what they answer is delivered; no further one starts.

    Attributes:
        tasks: Where the question is put; whoever runs the run gives it, and cancels it.
    """

    def __init__(
        self,
        state: RunState,
        *,
        approvals: Approvals,
        scheduler: Scheduler,
        forecast: Forecast,
        unbegun: Callable[[], Sequence[Call]],
        resume: Callable[[], None],
    ) -> None:
        """Makes it.

        Args:
            state: The run's.
            approvals: Where it is asked.
            scheduler: Knows how many agents wait and work.
            forecast: Knows what those that wait would cost.
            unbegun: Those that wait for their start.
            resume: Called when agents may start again.
        """
        self._state = state
        self._approvals = approvals
        self._scheduler = scheduler
        self._forecast = forecast
        self._unbegun = unbegun
        self._resume = resume
        self._asked: Question | None = None
        self.tasks: TaskGroup | None = None

    def follow(self) -> None:
        """Keeps the question up to how many agents wait; it is taken back where none does."""
        if self._asked is not None:
            self._approvals.recount(self._asked, self._scheduler.waiting)

    def holds(self) -> bool:
        """Whether an agent whose turn it is must not start. The first time that this is so the person is asked."""
        state = self._state
        if self._asked is not None:
            return True
        why = state.ledger.stop()
        if why is None:
            return False
        if not self._approvals.takes("cost"):
            self._end(why)
            return True
        assert self.tasks is not None
        self._asked = self._question(why)
        self.tasks.start_soon(self._ask, self._asked)
        return True

    async def _ask(self, question: Question) -> None:
        state = self._state
        why = f"it has cost {usd_text(state.ledger.booked_pico)} and has no budget: whether it goes on is asked"
        state.wait(self, why)
        answer = await self._approvals.ask_for_run(question, agents=self._scheduler.waiting)
        self._asked = None
        if state.ending is not None or state.draining is not None:
            return
        if answer is None:
            self._goes_on(None)  # nobody waits for it any more; it is asked again when somebody does
            return
        match answer.verdict:
            case "once":
                state.ledger.raise_stop(answer.more_usd or question.more_usd or 0.0)
                self._goes_on(f"{answer.by} lets it cost up to {state.ledger.stop_text} without a budget")
            case "run" | "project":
                state.ledger.lift_stop()
                self._goes_on(f"{answer.by} lets it cost what it costs, without a limit")
            case _:
                self._end(state.ledger.stop() or why, answer)
        await state.bus.flush()

    def _goes_on(self, said: str | None) -> None:
        state = self._state
        if said is not None:
            state.book.log("info", f"the run goes on: {said}")
        state.wait_no_more(self, said)
        self._resume()
        state.wake.set()

    def _end(self, why: str, answer: Answer | None = None) -> None:
        state = self._state
        if answer is not None and answer.verdict == "deny":
            why = f"{why}. {answer.by[:1].upper()}{answer.by[1:]} said to stop here"
        elif answer is not None and answer.words:
            why = f"{why}. Asked whether it goes on: {answer.words}"
        state.drain(cost_stop(why, state.run_id, state.ledger.more()))

    def _question(self, why: str) -> Question:
        """One question, from which can be told what going on would cost, as far as anybody knows."""
        waiting, ledger = self._unbegun(), self._state.ledger
        working = self._scheduler.begun
        rest = self._forecast.rest(waiting)
        told = [f"The run has cost {usd_text(ledger.booked_pico)}, and has no budget of its own."]
        who = f"{len(waiting):,} {'agent waits' if len(waiting) == 1 else 'agents wait'} for a start"
        if working:
            who += f"; {working:,} at work {'goes' if working == 1 else 'go'} on meanwhile"
        told.append(f"{who}.")
        if rest.known == 0:
            told.append("What those that wait will cost nobody can say: none like them has ended yet.")
        else:
            but = f", without {rest.unknown:,} of which nobody can say" if rest.unknown else ""
            told.append(
                f"Those that wait would cost about {usd_text(rest.pico)} more, by what others like them cost{but}."
            )
        told.append("What the script asks for after these is not known.")
        return Question(
            tool=TOOL,
            input="\n".join(told),
            reason=f"without a budget no agent is started beyond {ledger.stop_text} unless you say so",
            kind="cost",
            more_usd=self._state.settings.cost_stop_usd,
        )
