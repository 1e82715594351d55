"""A workbench in a folder of its own, and what its tools say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.fence import unfenced
from callsheet.agents.tools.names import ToolFailure, ToolName
from callsheet.agents.tools.ripgrep import Ripgrep
from callsheet.agents.tools.workbench import Workbench
from callsheet.model.call import AgentType
from callsheet.permissions.sources import Flags, PermissionSettings, read_settings
from tests.support.agents import GENERAL, RecordingReporter, agent_task
from tests.support.deadline import within


class Bench:
    """The tools of one agent; further arguments are the call's options."""

    def __init__(
        self,
        root: Path,
        *,
        bounds: Bounds | None = None,
        reporter: RecordingReporter | None = None,
        kind: AgentType = GENERAL,
        **options: Any,
    ) -> None:
        self.root = root
        self.reporter = reporter or RecordingReporter()
        self.bounds = bounds or Bounds()
        self.bench = Workbench(
            bounds=self.bounds, task=agent_task(root, kind=kind, **options), ripgrep=Ripgrep(), reporter=self.reporter
        )

    async def __call__(self, name: ToolName, **value: Any) -> Any:
        """The foreign text of a result, without what is around it."""
        result = await self.told(name, **value)
        return unfenced(result) if isinstance(result, str) else result

    async def told(self, name: ToolName, **value: Any) -> Any:
        """A result as the model is told it."""
        with within(30):
            return await self.bench.call(name, value)

    async def refusal(self, name: ToolName, **value: Any) -> str:
        with pytest.raises(ToolFailure) as raised:
            await self(name, **value)
        return raised.value.message

    def put(self, path: str, text: str | bytes) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text if isinstance(text, bytes) else text.encode())
        return target

    def text(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")


READ_ONLY = AgentType(name="Explore", description="Looks.", read_only=True)


def settings(root: Path, **flags: Any) -> PermissionSettings:
    """Rules and a mode as if given by flags; no file is read."""
    nowhere = root / "no-such-folder"
    return read_settings(workspace=root, home=nowhere, managed=nowhere, flags=Flags(**flags))


async def appears(path: Path, *, within_s: float = 80) -> bool:
    """Whether a file comes to be there before the time is up."""
    with anyio.move_on_after(within_s):
        while not await anyio.Path(path).exists():  # noqa: ASYNC110 - another process makes it
            await anyio.sleep(0.01)  # who is to make it needs the processor more
        return True
    return False
