"""What an agent and we say to each other, put together from its pieces and kept."""

from __future__ import annotations

import anyio

from callsheet.agents.acp.program import ProgramGone
from callsheet.model.reports import MessageAdded, Progress
from callsheet.model.spending import Paid
from callsheet.model.values import JsonValue
from callsheet.ports import AgentReporter

TEXT_LIMIT_CHARS = 8_000_000
PROGRESS_EVERY_S = 1.0


class Speech:
    """The conversation of one agent.

    Attributes:
        chars: All that it has written in this turn.
        last: What it said last: since its last tool call, or before that where there is nothing.
    """

    def __init__(self, reporter: AgentReporter) -> None:
        self._reporter = reporter
        self._blocks: list[tuple[str, list[str]]] = []
        self._said: list[str] = []
        self._reported_s = 0.0
        self.chars = 0
        self.last = ""

    async def told(self, words: str) -> None:
        """We say something: a turn begins."""
        await self.flush()
        self.chars, self.last, self._said = 0, "", []
        payload: JsonValue = {"role": "user", "content": [{"type": "text", "text": words}]}
        await self._reporter.report(MessageAdded(payload=payload))

    async def chunk(self, kind: str, content: JsonValue) -> None:
        """A piece of what it says (`text`) or thinks (`thinking`).

        Raises:
            ProgramGone: It does not stop talking.
        """
        text = content.get("text") if isinstance(content, dict) else None
        if not isinstance(text, str) or not text:
            return
        self.chars += len(text)
        if self.chars > TEXT_LIMIT_CHARS:
            raise ProgramGone(f"it wrote more than {TEXT_LIMIT_CHARS:,} characters in one turn")
        if not self._blocks or self._blocks[-1][0] != kind:
            self._blocks.append((kind, []))
        self._blocks[-1][1].append(text)
        if kind == "text":
            self._said.append(text)
        now = anyio.current_time()
        if now - self._reported_s >= PROGRESS_EVERY_S:
            self._reported_s = now
            await self._reporter.report(Progress())

    async def flush(self, paid: Paid | None = None, *, is_step: bool = False) -> None:
        """Reports what it has said so far, with what that was paid with: in one transaction.

        Args:
            paid: What the turn came to, at its end.
            is_step: It goes on to a tool: what it says next is another message.
        """
        blocks, self._blocks = self._blocks, []
        if said := "".join(self._said).strip():
            self.last = said
        if is_step:
            self._said = []
        if not blocks:
            if paid is not None:
                await self._reporter.report(paid)
            return
        content: list[JsonValue] = [{"type": kind, kind: "".join(pieces)} for kind, pieces in blocks]
        await self._reporter.report(MessageAdded(payload={"role": "assistant", "content": content}, paid=paid))
