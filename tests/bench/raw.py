"""The baseline: the bare client sends as many streaming requests as the agents would, and nothing else.

python -m tests.bench.raw N PARALLEL [REQUEST]        (ANTHROPIC_BASE_URL says where)

REQUEST is a file with the body of a request, which all repeat with a task of their own.
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
    async with anthropic.AsyncAnthropic() as client, anyio.create_task_group() as tasks:

        async def one(number: int) -> None:
            messages: Any = [{"role": "user", "content": f"task {number}"}]
            async with limiter, client.beta.messages.stream(**{**request, "messages": messages}) as stream:
                await stream.get_final_message()

        for number in range(count):
            tasks.start_soon(one, number)


if __name__ == "__main__":
    body = json.loads(Path(sys.argv[3]).read_text(encoding="utf-8")) if len(sys.argv) > 3 else SMALL
    body.pop("stream", None)
    anyio.run(main, int(sys.argv[1]), int(sys.argv[2]), body)
