"""Scripts of many shapes, as models write them, are taken as they are: each handed in by a model, over the wire.

The turns are those of a model that looks around once and hands in its script; the service plays them. Everything from
`callsheet author`'s order to the script that it would write out is the real path: plan, run, agent, answer tool, judge,
rehearsal, record.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import anyio
import pytest

from callsheet.app.authoring import AuthorOrder, Written, order_of, written
from callsheet.app.plan import Surroundings, plan_run
from callsheet.app.run import open_run
from callsheet.model.run import RunResult
from tests.support.deadline import within
from tests.support.messages_replies import Received, Reply, Say, tool_use
from tests.support.messages_service import open_messages_service

pytestmark = [pytest.mark.anyio, pytest.mark.contract("C01")]

FOLDER = Path(__file__).resolve().parents[2] / "authored"
AUTHORED = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.js"))}
AT_ONCE = 3
SHARES = [tuple(AUTHORED)[first::4] for first in range(4)]


def named(request: Received) -> str:
    return json.dumps(request.messages[0]).partition("for this: ")[2].partition(".")[0]


def replayed(request: Received) -> Reply:
    """The recorded turns of the model whose task names a script: a look at the workspace, then that script."""
    name = named(request)
    if len(request.messages) == 1:
        return Say([tool_use("glob", id=f"toolu_{request.n}", pattern="**/*")])
    return Say([tool_use("answer", id=f"toolu_{request.n}", script=AUTHORED[name], notes=name)], output_tokens=900)


def repository(folder: Path) -> None:
    """A repository with a commit, which worktrees need."""
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    for words in (("init", "-q"), (*author, "commit", "-q", "--allow-empty", "-m", "first")):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, timeout=120)


async def authored(name: str, around: Surroundings) -> tuple[RunResult, Written]:
    """What `callsheet author` makes of a task, but for its printing."""
    order = AuthorOrder(task=f"Write something for this: {name}.", size="large")
    async with open_run(plan_run(order_of(order, around), around)) as opened:
        result = await opened.run.result()
    assert result.status == "completed", (name, result.error)
    return result, await written(result.result, order, around)


def test_there_are_thirty_and_more() -> None:
    assert len(AUTHORED) >= 30


@pytest.mark.parametrize("names", SHARES, ids=lambda names: f"{names[0]} and {len(names) - 1} more")
async def test_authored_scripts_are_taken_at_once_over_the_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    plain, tracked = tmp_path / "plain", tmp_path / "tracked"
    for folder in (plain, tracked):
        folder.mkdir()
    repository(tracked)
    taken: dict[str, Written] = {}
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def one(name: str) -> None:
        folder = tracked if "isolation" in AUTHORED[name] else plain
        around = Surroundings(start=folder, home=tmp_path / "home")
        async with limiter:
            result, taken[name] = await authored(name, around)
            assert result.usage.output_tokens == 905

    async with open_messages_service(replayed) as service:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-of-this-test")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", service.base_url)  # its client reads the process's own
        with within(120):
            async with anyio.create_task_group() as group:
                for name in names:
                    group.start_soon(one, name)
    assert {name: each.script.text for name, each in taken.items()} == {name: AUTHORED[name] for name in names}
    assert [name for name, each in taken.items() if each.told.error or each.told.violations or each.told.warnings] == []
    assert all(1 <= each.told.agents <= 150 and each.notes == name for name, each in taken.items())
    assert Counter(map(named, service.requests)) == dict.fromkeys(names, 2), "a script was sent back"
