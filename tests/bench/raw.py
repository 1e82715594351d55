"""The baseline: the bare client sends as many streaming requests as the agents would, and nothing else.

python -m tests.bench.raw N PARALLEL [REQUEST]        (ANTHROPIC_BASE_URL says where)

REQUEST is a file with the body of a request, the last of an agent: the client sends the requests of that agent again,
one for each turn of the conversation in it, as often as N says.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anthropic
import anyio

SMALL: dict[str, Any] = {"model": "claude-haiku-5-5", "max_tokens": 1024, "system": "You are an agent."}


async def main(count: int, parallel: int, request: dict[str, Any] = SMALL) -> None:
    limiter = anyio.CapacityLimiter(parallel)
    messages: list[Any] = request.get("messages", [{"role": "user", "content": "a task"}])
    turns = [messages[: n + 1] for n, message in enumerate(messages) if message["role"] == "user"]
    async with anthropic.AsyncAnthropic() as client, anyio.create_task_group() as tasks:

        async def one() -> None:
            async with limiter:
                for turn in turns:
                    async with client.beta.messages.stream(**{**request, "messages": turn}) as stream:
                        await stream.get_final_message()

        for _ in range(count):
            tasks.start_soon(one)


if __name__ == "__main__":
    body = json.loads(Path(sys.argv[3]).read_text(encoding="utf-8")) if len(sys.argv) > 3 else SMALL
    body.pop("stream", None)
    anyio.run(main, int(sys.argv[1]), int(sys.argv[2]), body)
