"""A person who answers when a test says so, and a clock that goes when a test says so."""

from __future__ import annotations

import anyio

from callsheet.model.approval import Answer, Question, Verdict
from callsheet.ports import Approver


class FakeApprover(Approver):
    """Holds every question until `say`.

    Attributes:
        at_once: How many it is to be asked at a time; None for any number.
        questions: All that were asked, in order.
        taken_back: The inputs of those that were cancelled.
    """

    def __init__(self, *, at_once: int | None = None) -> None:
        self.at_once = at_once
        self.questions: list[Question] = []
        self.taken_back: list[str] = []
        self._answers: dict[str, Answer] = {}
        self._said: dict[str, anyio.Event] = {}
        self._news = anyio.Event()

    async def answer(self, question: Question) -> Answer:
        self.questions.append(question)
        self._news.set()
        try:
            await self._said.setdefault(question.input, anyio.Event()).wait()
        except anyio.get_cancelled_exc_class():
            self.taken_back.append(question.input)
            self._news.set()
            raise
        del self._said[question.input]
        return self._answers[question.input]

    # --- for tests --------------------------------------------------------------------------------------------------

    async def asked(self, questions: int) -> None:
        """Waits until so many questions were asked in all."""
        while len(self.questions) < questions:
            self._news = anyio.Event()
            await self._news.wait()

    async def took_back(self, questions: int) -> None:
        """Waits until so many questions were taken back in all."""
        while len(self.taken_back) < questions:
            self._news = anyio.Event()
            await self._news.wait()

    def say(self, tool_input: str, verdict: Verdict, words: str | None = None) -> None:
        """Answers the question about this input."""
        self._answers[tool_input] = Answer(verdict=verdict, words=words, by="a test")
        self._said.setdefault(tool_input, anyio.Event()).set()


class FakeClock:
    """Time that stands still until `advance`."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._sleepers: list[tuple[float, anyio.Event]] = []

    async def sleep(self, seconds: float) -> None:
        """As `anyio.sleep`."""
        due = (self.now_s + seconds, anyio.Event())
        self._sleepers.append(due)
        try:
            await due[1].wait()
        finally:
            self._sleepers.remove(due)

    async def advance(self, seconds: float) -> None:
        """Lets time pass, and everything happen that comes of it."""
        await quiet()
        self.now_s += seconds
        for due_s, event in self._sleepers:
            if due_s <= self.now_s:
                event.set()
        await quiet()


async def quiet() -> None:
    """Lets everything happen that needs no time; for tests in which nothing real is waited for."""
    for _ in range(50):
        await anyio.lowlevel.checkpoint()
