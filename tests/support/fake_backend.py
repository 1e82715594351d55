"""Agents that do as a test says, and not before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import anyio

from callsheet.model.call import AgentTask
from callsheet.model.outcome import AgentOutcome, Usage
from callsheet.ports import AgentBackend, AgentReporter

Act: TypeAlias = Callable[[AgentTask, AgentReporter], Awaitable[AgentOutcome]]
"""What an agent does, instead of answering at once."""


def ok(value: str = "done", *, tokens: int = 10, cost_usd: float | None = 0.0) -> AgentOutcome:
    """A good end."""
    return AgentOutcome(
        status="ok", value=value, usage=Usage(input_tokens=1, output_tokens=tokens, cost_usd=cost_usd), model="fake-1"
    )


class FakeBackend(AgentBackend):
    """Answers every task with its label, unless its label has an outcome, an act, or is held.

    Attributes:
        outcomes: By label.
        acts: By label.
        tasks: Every task that was begun, in order.
        peak: The most agents that were at work at once.
        needs_workspace: As executors ask for it.
    """

    def __init__(
        self,
        name: str = "fake",
        *,
        outcomes: Mapping[str, AgentOutcome] | None = None,
        acts: Mapping[str, Act] | None = None,
        held: tuple[str, ...] = (),
        needs_workspace: bool = True,
        takes_messages: bool = False,
        takes_earlier: bool = True,
    ) -> None:
        """Makes a backend; agents with a label in `held` work until `finish`, `*` holds all."""
        self._name = name
        self._takes_messages = takes_messages
        self._takes_earlier = takes_earlier
        self.outcomes = dict(outcomes or {})
        self.acts = dict(acts or {})
        self._held = held
        self._finish: dict[str, anyio.Event] = {}
        self._begun: dict[str, anyio.Event] = {}
        self.tasks: list[AgentTask] = []
        self.cancelled: list[str] = []
        self.at_work = 0
        self.peak = 0
        self.needs_workspace = needs_workspace
        self.is_closed = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def takes_messages(self) -> bool:
        return self._takes_messages

    @property
    def takes_earlier(self) -> bool:
        return self._takes_earlier

    def default_model(self) -> str | None:
        return None

    async def run(self, task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        label = task.label
        self.tasks.append(task)
        self.at_work += 1
        self.peak = max(self.peak, self.at_work)
        self._event(self._begun, label).set()
        try:
            if label in self._held or "*" in self._held:
                await self._event(self._finish, label).wait()
            else:
                await anyio.lowlevel.checkpoint()
            if label in self.acts:
                return await self.acts[label](task, reporter)
            return self.outcomes.get(label) or ok(label)
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(label)
            raise
        finally:
            self.at_work -= 1

    async def aclose(self) -> None:
        self.is_closed = True

    # --- for tests --------------------------------------------------------------------------------------------------

    async def begun(self, *labels: str) -> None:
        """Waits until agents with these labels are at work."""
        for label in labels:
            await self._event(self._begun, label).wait()

    def finish(self, label: str, outcome: AgentOutcome | None = None) -> None:
        """Lets a held agent end."""
        if outcome is not None:
            self.outcomes[label] = outcome
        self._event(self._finish, label).set()

    def _event(self, events: dict[str, anyio.Event], label: str) -> anyio.Event:
        return events.setdefault(label, anyio.Event())
