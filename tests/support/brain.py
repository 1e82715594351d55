"""A model for whole runs: each task is played by a part, a generator that reads like the work itself.

::

    def mends(task: Task) -> Part:
        told = yield use("bash", command="./check")
        assert "2 + 3 is not 5" in told.text
        yield use("edit", file_path="sum.sh", old_string="-", new_string="+")
        return "mended"

    async with open_messages_service(Brain(mend=mends)) as service: ...

A task says in its first line which part plays it: `mend: the sum is wrong`. Each request is answered from nothing
but what it holds, by playing the part anew with what its tools have said so far; so a request that is sent again is
answered again, and it does not matter in which order agents ask. What a part finds wrong fails its agent, and the run's
own words say what it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from callsheet.agents.tools.fence import unfenced
from tests.support.messages_replies import Block, Received, Refuse, Reply, Say, compaction, text, tool_use

INPUT_TOKENS, OUTPUT_TOKENS = 100, 10
"""What each reply uses, unless it says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What an agent was asked to do.

    Attributes:
        text: After the name of its part.
        summary: What an earlier stretch of its conversation came to, where that was compacted.
        system: The system prompt.
        tools: The names of the tools that it is offered.
    """

    text: str
    summary: str | None
    system: str
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What the tools of a turn said; `data` is what of it is not the tool's own words, without the marks around it."""

    text: str
    is_error: bool

    @property
    def data(self) -> str:
        return unfenced(self.text)


Part: TypeAlias = Generator[Say | Block, Told, str | None]
"""Gives turns, or single tool calls, gets what the tools said, and returns the final text.

None where its last answer is accepted.
"""
Play: TypeAlias = Callable[[Task], Part]


def use(tool: str, /, **given: Any) -> Block:
    """A call of a tool."""
    return tool_use(tool, **given)


def bash(command: str) -> Block:
    """A call of the shell."""
    return tool_use("bash", command=command)


def answer(**value: Any) -> Block:
    """A structured answer."""
    return tool_use("answer", **value)


class Brain:
    """Plays parts by name.

    Attributes:
        said: What it replied, in the order of the requests; without those that found something wrong.
    """

    def __init__(
        self, parts: Mapping[str, Play] | None = None, *, summary: str = "It was summed up.", **more: Play
    ) -> None:
        self._parts = {**(parts or {}), **more}
        self._summary = summary
        self._begins = re.compile(rf"^({'|'.join(self._parts)}): ?(.*)", re.MULTILINE)
        self.said: list[Say] = []

    def __call__(self, request: Received) -> Reply:
        if request.body.get("compaction") is not None:
            say = Say([compaction(self._summary)], stop_reason="compaction")
        else:
            try:
                say = self._turn(request)
            except AssertionError as error:
                return Refuse(400, "invalid_request_error", f"the part found something else: {error}")
        say = replace(say, input_tokens=max(say.input_tokens, INPUT_TOKENS), output_tokens=OUTPUT_TOKENS)
        self.said.append(say)
        return say

    def _turn(self, request: Received) -> Say:
        name, task = self._task(request)
        part = self._parts[name](task)
        messages = request.messages
        done = [n for n, message in enumerate(messages) if message["role"] == "assistant" and not _is_summary(message)]
        try:
            turn = next(part)
            for n in done:
                turn = part.send(_told(messages[n + 1]["content"]))
        except StopIteration as end:
            return Say([text(str(end.value))])
        say = turn if isinstance(turn, Say) else Say([turn])
        return replace(say, blocks=[_numbered(block, len(done), n) for n, block in enumerate(say.blocks)])

    def _task(self, request: Received) -> tuple[str, Task]:
        opening = next(message for message in request.messages if message["role"] == "user")
        words = "\n".join(block["text"] for block in opening["content"] if block["type"] == "text")
        found = self._begins.search(words)
        assert found is not None, f"no part of {list(self._parts)} plays: {words}"
        sums = [
            block["content"] for message in request.messages if _is_summary(message) for block in message["content"]
        ]
        return found[1], Task(
            text=found[2],
            summary=sums[0] if sums else None,
            system="".join(block["text"] for block in request.body["system"]),
            tools=tuple(tool["name"] for tool in request.body["tools"]),
        )


def _is_summary(message: dict[str, Any]) -> bool:
    return any(block["type"] == "compaction" for block in message["content"])


def _told(content: Sequence[dict[str, Any]]) -> Told:
    results = [block for block in content if block["type"] == "tool_result"]
    said = [_text(block["content"]) for block in results] or [block["text"] for block in content]
    return Told("\n".join(said), any(block.get("is_error", False) for block in results))


def _text(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _numbered(block: Block, turn: int, n: int) -> Block:
    return block | {"id": f"toolu_{turn}_{n}"} if block["type"] == "tool_use" else block
