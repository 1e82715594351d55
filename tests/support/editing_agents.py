"""A process with fifty agents that edit the same files as those of other such processes.

    python -m tests.support.editing_agents WORKSPACE NAME

It prints a line before the first half of its agents and one before the second, and each time waits for a line on
standard input, so that the halves of all processes are at work together. Each agent counts up a number in two files and
adds its name: in one by an edit, in one by writing the whole, as often as it takes until nobody was in between.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import anyio
from anyio import to_thread

from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.fence import unfenced
from callsheet.agents.tools.names import ToolFailure
from callsheet.agents.tools.ripgrep import Ripgrep
from callsheet.agents.tools.workbench import Workbench
from tests.support.agents import RecordingReporter, agent_task

AGENTS = 50
EDITED = tuple(f"edited-{n}.txt" for n in range(5))
WRITTEN = tuple(f"written-{n}.txt" for n in range(5))


async def _agent(root: Path, bounds: Bounds, n: int, name: str) -> None:
    bench = Workbench(bounds=bounds, task=agent_task(root), ripgrep=Ripgrep(), reporter=RecordingReporter())
    await _until_done(bench, EDITED[n % len(EDITED)], name, is_edit=True)
    await _until_done(bench, WRITTEN[n % len(WRITTEN)], name, is_edit=False)


async def _until_done(bench: Workbench, file: str, name: str, *, is_edit: bool) -> None:
    """Adds a name to a file and counts on: by an edit of the count, or by writing the whole."""
    while True:
        text = unfenced(str(await bench.call("read", {"file_path": file})))
        count = re.search(r"count (\d+)\n", text)
        assert count is not None
        more = f"count {int(count[1]) + 1}\n{name}\n"
        try:
            if is_edit:
                await bench.call("edit", {"file_path": file, "old_string": count[0], "new_string": more})
            else:
                await bench.call("write", {"file_path": file, "content": text.replace(count[0], more)})
        except ToolFailure as failure:
            assert "changed by somebody else" in failure.message, failure.message
        else:
            return


async def _main(root: Path, name: str) -> None:
    bounds = Bounds(locks=root / ".callsheet" / "locks")
    for half in (range(AGENTS // 2), range(AGENTS // 2, AGENTS)):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await to_thread.run_sync(sys.stdin.readline)
        async with anyio.create_task_group() as tasks:
            for n in half:
                tasks.start_soon(_agent, root, bounds, n, f"{name}{n:02}")


if __name__ == "__main__":
    anyio.run(_main, Path(sys.argv[1]), sys.argv[2])
