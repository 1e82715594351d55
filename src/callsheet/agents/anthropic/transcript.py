"""The messages of one conversation: what the next request sends, and the record of each as it is added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from anthropic.types.beta import BetaMessage, BetaMessageParam

from callsheet.agents.anthropic.keeping import restored
from callsheet.agents.anthropic.purse import Purse
from callsheet.agents.anthropic.toolbox import CACHED
from callsheet.agents.prompt import GO_ON, PERSON_INTRO, RESUMED
from callsheet.model.call import KeptConversation
from callsheet.model.reports import MessageAdded
from callsheet.model.values import JsonValue
from callsheet.ports import AgentReporter

REPEATED_CHARS = 40_000
"""Of the task, and of the newest messages of people, after a compaction: a summary may lose their exact words."""


class Transcript:
    """The kept messages of one agent. Each is reported before it is kept.

    Attributes:
        messages: What the next request sends, the newest last.
    """

    def __init__(self, reporter: AgentReporter, purse: Purse) -> None:
        self._reporter = reporter
        self._purse = purse
        self._prompt = ""
        self._from_people: list[str] = []
        self._marked: tuple[list[Any], Any] | None = None
        self.messages: list[BetaMessageParam] = []

    @property
    def awaits_reply(self) -> bool:
        """Whether the model is next, and not in the middle of what it says."""
        return self.messages[-1]["role"] == "user"

    async def open(self, *, context: str | None, prompt: str) -> None:
        """Begins with the agent's task; what other agents share of it is marked for the cache."""
        self._prompt = prompt
        opening = [text_block(text) for text in (context, prompt) if text]
        await self._add_user(opening)
        if context:
            opening[0] = {**opening[0], **CACHED}

    async def take_up(self, kept: KeptConversation, *, context: str | None, prompt: str) -> int:
        """Goes on from what is on record, and tells the agent so; how many replies there were.

        Where there was none yet nothing is taken up: it can as well begin.
        """
        found = restored(kept)
        if not found.replies:
            return 0
        self._prompt = prompt
        self.messages = found.messages
        self._purse.goes_on(found.known_tokens)
        for message in found.new:
            self._purse.added(cast(Any, message["content"]))
        if context and isinstance(opening := self.messages[0]["content"], list) and opening:
            opening[0] = cast(Any, {**cast(Any, opening[0]), **CACHED})
        if found.cut_off:
            await self._add_user(found.cut_off)
        await self.say(RESUMED)
        return found.replies

    async def say(self, text: str) -> None:
        """Adds a message of the host's own."""
        await self._add_user([text_block(text)])

    async def take_messages(self, *, at_end: bool = False) -> bool:
        """Adds what people sent meanwhile; whether there was anything.

        Args:
            at_end: The agent ends if there is nothing, and takes no message from then on.
        """
        taken = await self._reporter.take_messages(at_end=at_end)
        for message in taken:
            self._from_people.append(f"{PERSON_INTRO}{message}")
            await self._add_user([text_block(self._from_people[-1])], from_person=True)
        return bool(taken)

    async def add_results(self, results: BetaMessageParam) -> None:
        """Adds what the tools gave back."""
        content = cast(list[Any], results["content"])
        await self._reporter.report(MessageAdded(payload={"role": "user", "content": list(content)}))
        self.messages.append(results)
        self._purse.added(content)
        self._mark(content)

    async def record(self, reply: BetaMessage) -> None:
        """Reports a reply, with what it came to, without keeping it."""
        payload = cast(JsonValue, reply.to_dict())
        await self._reporter.report(MessageAdded(payload=payload, paid=self._purse.paid()))

    async def add_reply(self, reply: BetaMessage) -> None:
        """Adds what the model said."""
        await self.record(reply)
        if reply.content:
            self.messages.append({"role": "assistant", "content": reply.content})

    def drop_reply(self, reply: BetaMessage) -> None:
        """Takes back the reply that was added last; it stays in the record."""
        if reply.content:
            self.messages.pop()

    def keep_whole_text(self, reply: BetaMessage) -> None:
        """Keeps of the reply that was added last, and was cut off, what is whole: its text, without what it cites."""
        whole = [
            cast(Any, text_block(block.text)) for block in reply.content if block.type == "text" and block.text.strip()
        ]
        self.drop_reply(reply)
        if whole:
            self.messages.append({"role": "assistant", "content": whole})

    async def begin_again(self, summary: BetaMessage) -> None:
        """Goes on from the service's summary alone, followed by the task and what people said in their own words."""
        content = [cast(Any, block.to_dict()) for block in summary.content]
        self._marked = None
        self._purse.began_again()
        self._purse.added(content)
        self.messages = [cast(BetaMessageParam, {"role": "assistant", "content": content})]
        repeated = [f"{GO_ON}{_cut(self._prompt)}", *_newest(self._from_people)]
        await self._add_user([text_block(text) for text in repeated])

    async def _add_user(self, content: list[dict[str, Any]], *, from_person: bool = False) -> None:
        payload: JsonValue = {"role": "user", "content": list(content)}
        await self._reporter.report(MessageAdded(payload=payload, from_person=from_person))
        self.messages.append(cast(BetaMessageParam, {"role": "user", "content": content}))
        self._purse.added(content)
        self._mark(content)

    def _mark(self, content: list[Any]) -> None:
        """Moves the cache mark to the end of the newest message; a request takes only four marks in all."""
        if self._marked is not None:
            previous, unmarked = self._marked
            previous[-1] = unmarked
        self._marked = (content, content[-1])
        content[-1] = {**content[-1], **CACHED}


def text_block(text: str) -> dict[str, Any]:
    """A text as the service takes it."""
    return {"type": "text", "text": text}


def text_of(reply: BetaMessage) -> str:
    """All text of a reply."""
    return "".join(block.text for block in reply.content if block.type == "text")


def _cut(text: str) -> str:
    return text if len(text) <= REPEATED_CHARS else f"{text[:REPEATED_CHARS]} […]"


def _newest(texts: Sequence[str]) -> list[str]:
    """The last of some texts, in their order: as many as fit, the newest in any case, cut where it is too long."""
    kept: list[str] = []
    left_chars = REPEATED_CHARS
    for text in reversed(texts):
        left_chars -= len(text)
        if kept and left_chars < 0:
            break
        kept.insert(0, _cut(text))
    return kept
