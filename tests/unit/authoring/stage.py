"""The judge of scripts, as a run in which one is written has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from callsheet.app.authoring import AuthorOrder, judge_for, order_of
from callsheet.app.plan import Surroundings, plan_run
from callsheet.authoring.briefing import authoring_script
from callsheet.script.reader import read_script
from tests.support.agents import agent_task


class Stage:
    """One run in which a script is written; nothing of it is started."""

    def __init__(self, folder: Path, **order: Any) -> None:
        (folder / "home").mkdir(exist_ok=True)
        around = Surroundings(start=folder, environ={}, home=folder / "home")
        plan = plan_run(order_of(AuthorOrder(task="Look at a.txt", **order), around), around)
        judge = judge_for(plan, read_script(authoring_script().encode(), origin="-", path=None))
        assert judge is not None
        self._judge, self._task = judge, agent_task(folder)

    async def told(self, script: str) -> tuple[str, ...]:
        """What the author is told of a script; nothing where it is taken."""
        return await self._judge(self._task, {"script": script, "notes": ""})
