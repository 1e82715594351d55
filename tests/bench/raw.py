"""The baseline: the bare client sends as many streaming requests as the agents would, and nothing else.

python -m tests.bench.raw N PARALLEL        (ANTHROPIC_BASE_URL says where)
"""

from __future__ import annotations

import sys

import anthropic
import anyio
from anthropic.types.beta import BetaToolParam

TOOLS: list[BetaToolParam] = [
    {
        "name": name,
        "description": "Does something with a file.",
        "input_schema": {"type": "object", "properties": {"file_path": {"type": "string"}}, "required": ["file_path"]},
    }
    for name in ("read", "write", "edit", "glob", "grep")
]


async def main(count: int, parallel: int) -> None:
    limiter = anyio.CapacityLimiter(parallel)
    async with anthropic.AsyncAnthropic() as client, anyio.create_task_group() as tasks:

        async def one(number: int) -> None:
            async with (
                limiter,
                client.beta.messages.stream(
                    model="claude-haiku-5-5",
                    max_tokens=1024,
                    system="You are an agent.",
                    tools=TOOLS,
                    messages=[{"role": "user", "content": f"task {number}"}],
                ) as stream,
            ):
                await stream.get_final_message()

        for number in range(count):
            tasks.start_soon(one, number)


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]), int(sys.argv[2]))
