"""The conversation as it is kept: messages put together again that the program sends in pieces (FORMATS 4)."""

from __future__ import annotations

from typing import Any, assert_never

from claude_agent_sdk import (
    AssistantMessage,
    ContentBlock,
    ServerToolResultBlock,
    ServerToolUseBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from callsheet.model.reports import MessageAdded
from callsheet.model.spending import Paid
from callsheet.model.values import JsonValue
from callsheet.ports import AgentReporter


class Transcript:
    """Reports the messages of one agent, whole and in order.

    Attributes:
        last_text: What the model said last.
    """

    def __init__(self, reporter: AgentReporter) -> None:
        self._reporter = reporter
        self._id: str | None = None
        self._role = ""
        self._model: str | None = None
        self._blocks: list[JsonValue] = []
        self.last_text = ""

    async def said(self, content: list[dict[str, Any]], *, from_person: bool = False) -> None:
        """What is sent to the model by us."""
        await self.flush()
        await self._reporter.report(
            MessageAdded(payload={"role": "user", "content": list(content)}, from_person=from_person)
        )

    async def reply(self, message: AssistantMessage) -> None:
        """A part of a reply: each block comes by itself, under the reply's id."""
        if self._role != "assistant" or self._id != message.message_id:
            await self.flush()
            self._role, self._id, self._model = "assistant", message.message_id, message.model
        self._blocks += [block_json(block) for block in message.content]
        texts = [block.text for block in message.content if isinstance(block, TextBlock)]
        self.last_text = "".join(texts) or self.last_text

    async def came(self, message: UserMessage) -> None:
        """What the program told the model: results of tools, each by itself, and notes of its own."""
        if self._role != "user":
            await self.flush()
            self._role = "user"
        content = message.content
        if isinstance(content, str):
            self._blocks.append({"type": "text", "text": content})
        else:
            self._blocks += [block_json(block) for block in content]

    async def flush(self, paid: Paid | None = None) -> None:
        """Reports what has come so far, and with a reply what it was paid with: in one transaction."""
        blocks, self._blocks = self._blocks, []
        role, self._role = self._role, ""
        if paid is not None and (not blocks or role != "assistant"):
            await self._reporter.report(paid)
            paid = None
        if not blocks:
            return
        payload: dict[str, JsonValue] = {"role": role, "content": blocks}
        if role == "assistant":
            payload |= {"id": self._id, "model": self._model}
        await self._reporter.report(MessageAdded(payload=payload, paid=paid))


def block_json(block: ContentBlock) -> JsonValue:
    """A block as the Messages API writes it."""
    match block:
        case TextBlock(text=text):
            return {"type": "text", "text": text}
        case ThinkingBlock(thinking=thinking, signature=signature):
            return {"type": "thinking", "thinking": thinking, "signature": signature}
        case ToolUseBlock(id=id, name=name, input=given):
            return {"type": "tool_use", "id": id, "name": name, "input": given}
        case ToolResultBlock(tool_use_id=id, content=content, is_error=is_error):
            result: dict[str, JsonValue] = {"type": "tool_result", "tool_use_id": id}
            result["content"] = content if content is None or isinstance(content, str) else list(content)
            return {**result, "is_error": True} if is_error else result
        case ServerToolUseBlock(id=id, name=name, input=given):
            return {"type": "server_tool_use", "id": id, "name": name, "input": given}
        case ServerToolResultBlock(tool_use_id=id, content=content):
            return {"type": "server_tool_result", "tool_use_id": id, "content": dict(content)}
        case _:
            assert_never(block)
