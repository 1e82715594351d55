"""A run that is started in a process of its own: what its program says, and how long it is waited for."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from callsheet.app.launching import IN_USE_STATUS, Launcher
from callsheet.app.tool_order import LaunchOrder
from callsheet.errors import LeaseHeldError, NotStartedError
from tests.support.deadline import within

pytestmark = pytest.mark.anyio

SAYS = f"import sys; print({json.dumps({'error': {'kind': 'config', 'message': 'in use'}})!r}); "


def launcher(program: str, *words: str, start_s: float = 60.0) -> Launcher:
    return Launcher((sys.executable, "-c", program, *words), dict(os.environ), start_s=start_s)


async def test_a_workspace_in_use_is_told_from_other_reasons(tmp_path: Path) -> None:
    order = LaunchOrder(workspace=str(tmp_path))
    with within(30), pytest.raises(LeaseHeldError, match="in use"):
        await launcher(f"{SAYS} sys.exit({IN_USE_STATUS})").launch(order)
    with within(30), pytest.raises(NotStartedError, match="in use"):
        await launcher(f"{SAYS} sys.exit(2)").launch(order)


async def test_who_gives_up_after_a_time_is_told_that_it_may_yet_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    waits = launcher("import sys; open(sys.argv[1]).read()", str(tmp_path / "gate"), start_s=0.2)
    with within(30), pytest.raises(NotStartedError, match="It may yet"):
        await waits.launch(LaunchOrder(workspace=str(tmp_path)))
