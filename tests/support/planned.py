"""A model that does what its task says: the task's last line is a list of tool calls as JSON."""

from __future__ import annotations

import json
from typing import Any

from tests.support.messages_replies import Received, Reply, Say, text, tool_use


def plan(*calls: tuple[str, dict[str, Any]], goal: str = "work") -> str:
    """A task for `planned`."""
    return f"{goal}\n{json.dumps(calls)}"


def planned(request: Received) -> Reply:
    """Makes the calls one by one, whatever comes of them; then says what came of the last."""
    messages = request.messages
    task = next(block["text"] for block in reversed(messages[0]["content"]) if block["type"] == "text")
    calls = json.loads(task.splitlines()[-1])
    done = sum(message["role"] == "assistant" for message in messages)
    if done < len(calls):
        name, given = calls[done]
        return Say([tool_use(name, id=f"toolu_{done}", **given)])
    return Say([text(f"done: {results(messages)[-1]}" if calls else "done")])


def results(messages: list[dict[str, Any]]) -> list[str]:
    """The text of every tool result so far, in order."""
    found = []
    for message in messages:
        blocks = message["content"] if isinstance(message["content"], list) else []
        for block in blocks:
            if block["type"] == "tool_result":
                content = block["content"]
                found.append(content if isinstance(content, str) else "".join(part.get("text", "") for part in content))
    return found
