"""The messages of one conversation: what the next request sends, and the record of each as it is added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from anthropic.types.beta import BetaMessage, BetaMessageParam

from callsheet.agents.anthropic.history import Way, notice_block, tell_in_text, thread_of, without_notices
from callsheet.agents.anthropic.keeping import Thread, restored
from callsheet.agents.anthropic.purse import Purse
from callsheet.agents.anthropic.toolbox import CACHED
from callsheet.agents.prompt import GO_ON, PERSON_INTRO, RESUMED
from callsheet.model.call import KeptConversation
from callsheet.model.conversation import Earlier
from callsheet.model.opening import Opening
from callsheet.model.reports import MessageAdded
from callsheet.model.values import JsonValue
from callsheet.ports import AgentReporter

REPEATED_CHARS = 40_000
"""Of the task, and of the newest messages of people, after a compaction: a summary may lose their exact words."""


class Transcript:
    """The kept messages of one agent. Each is reported before it is kept, the first with how its requests begin.

    Attributes:
        messages: What the next request sends, the newest last.
    """

    def __init__(self, reporter: AgentReporter, purse: Purse, way: Way, *, opening: Opening | None = None) -> None:
        self._opening = opening
        self._reporter = reporter
        self._purse = purse
        self._way = way
        self._prompt = ""
        self._notice: str | None = None
        self._from_people: list[str] = []
        self._marked: tuple[list[Any], Any] | None = None
        self.messages: list[BetaMessageParam] = []

    @property
    def awaits_reply(self) -> bool:
        """Whether the model is next, and not in the middle of what it says."""
        return self.messages[-1]["role"] != "assistant"

    @property
    def may_be_told(self) -> bool:
        """Whether a message may be added now: behind a notice nothing stands but a reply."""
        return self.messages[-1]["role"] == "user"

    async def begin(
        self, *, context: str | None, prompt: str, kept: KeptConversation | None = None, earlier: Earlier | None = None
    ) -> tuple[int, Thread]:
        """Begins with the agent's task, or goes on from what is on record of it; both behind what was said before.

        Gives how many replies of its own there are, and all that was said until now. Where there was no reply yet
        nothing is taken up from the record: it can as well begin.
        """
        self._prompt = prompt
        self._notice = None if earlier is None else earlier.notice
        if kept is not None:
            thread = thread_of(earlier, self._way)
            found = restored(kept, thread)
            if found.replies:
                self._take(thread, has_history=earlier is not None)
                if context and earlier is None:
                    self._mark_context(self.messages[0])
                if found.cut_off:
                    await self._add_user(found.cut_off)
                await self.say(RESUMED)
                return found.replies, thread
        thread = thread_of(earlier, self._way)
        self._take(thread, has_history=True)
        is_said = earlier is not None and earlier.turns[-1].context == context
        await self._open(context=None if is_said else context, prompt=prompt)
        if context and earlier is None:
            self._mark_context(self.messages[0])
        return 0, thread

    async def _open(self, *, context: str | None, prompt: str) -> None:
        """Adds the task and the notice.

        What people have sent by now comes before a notice that is a message of its own: behind it only a reply stands.
        """
        opening = [text_block(text) for text in (context, prompt) if text]
        if self._notice is not None and not self._way.takes_notices:
            opening.append(notice_block(self._notice))
        await self._add_user(opening)
        if self._notice is None or not self._way.takes_notices:
            return
        await self.take_messages()
        notice = [text_block(self._notice)]
        await self._report(MessageAdded(payload={"role": "system", "content": [*notice]}))
        self.messages.append(cast(BetaMessageParam, {"role": "system", "content": notice}))
        self._purse.added(notice)

    def _take(self, thread: Thread, *, has_history: bool) -> None:
        """Goes on with messages; where the requests before had their mark last, there is one again."""
        if not self._way.takes_notices:
            tell_in_text(thread)
        self._purse.goes_on(thread.known_tokens, is_exact=thread.is_exact)
        for message in thread.new:
            self._purse.added(cast(Any, message["content"]))
        self.messages = [*thread.messages]
        replies = [n for n, message in enumerate(self.messages) if message["role"] == "assistant"]
        if has_history and replies:
            sent = [message for message in self.messages[: replies[-1]] if message["role"] == "user"]
            if sent:
                content = cast(Any, sent[-1]["content"])
                content[-1] = {**content[-1], **CACHED}

    @staticmethod
    def _mark_context(message: BetaMessageParam) -> None:
        """Marks what other agents share of a task; after a compaction nothing of it is there."""
        content = cast(Any, message["content"])
        if message["role"] == "user" and content:
            content[0] = {**content[0], **CACHED}

    @property
    def holds_notices(self) -> bool:
        """Whether requests have system messages among the others."""
        return any(message["role"] == "system" for message in self.messages)

    def tell_in_text(self) -> None:
        """Sends notices as text of the user's messages from now on: not every service takes them otherwise."""
        self._way = replace(self._way, takes_notices=False)
        if self._marked is not None:
            content, unmarked = self._marked
            content[-1] = unmarked
            self._marked = None
        self.messages = without_notices(self.messages)
        self._mark(cast(Any, self.messages[-1]["content"]))

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
        await self._report(MessageAdded(payload={"role": "user", "content": list(content)}))
        self.messages.append(results)
        self._purse.added(content)
        self._mark(content)

    async def record(self, reply: BetaMessage) -> None:
        """Reports a reply, with what it came to, without keeping it."""
        payload = cast(JsonValue, reply.to_dict())
        await self._report(MessageAdded(payload=payload, paid=self._purse.paid()))

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
        repeated = [text_block(text) for text in (f"{GO_ON}{_cut(self._prompt)}", *_newest(self._from_people))]
        await self._add_user(repeated if self._notice is None else [*repeated, notice_block(self._notice)])

    async def _add_user(self, content: list[dict[str, Any]], *, from_person: bool = False) -> None:
        payload: JsonValue = {"role": "user", "content": list(content)}
        await self._report(MessageAdded(payload=payload, from_person=from_person))
        self.messages.append(cast(BetaMessageParam, {"role": "user", "content": content}))
        self._purse.added(content)
        self._mark(content)

    async def _report(self, message: MessageAdded) -> None:
        await self._reporter.report(replace(message, opening=self._opening))
        self._opening = None

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
