"""`callsheet.apply`: what agents left on branches, merged from Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import callsheet
from callsheet.errors import CallsheetError
from tests.support.deadline import within
from tests.unit.workspace.test_git import by_hand
from tests.unit.workspace.test_worktree import write

pytestmark = pytest.mark.anyio

SCRIPT = """export const meta = { name: 'case', description: 'a case' }
return await agent('p', { label: 'one', isolation: 'worktree' })
"""


@pytest.mark.contract("A07")
async def test_a_branch_is_merged_once_and_told_the_second_time(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, "a.txt", "a\n")
    write(root, "case.js", SCRIPT)
    answers = {"answers": [{"label": "one", "result": "done", "writes": {"a.txt": "agent\n"}}]}
    write(root, "answers.json", json.dumps(answers))
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "start")):
        by_hand(root, *words)
    write(root, "mine.txt", "uncommitted\n")
    with within(120):
        await callsheet.run(root / "case.js", backend=f"scripted:{root / 'answers.json'}", workspace=root)
        done = await callsheet.apply(workspace=root, agents=["one"])
        again = await callsheet.apply("last", workspace=root)
        with pytest.raises(CallsheetError, match="nobody"):
            await callsheet.apply("last", workspace=root, agents=["nobody"])
    assert done.is_whole and [(one.fate, one.files) for one in done.branches] == [("applied", ("a.txt",))]
    assert again.is_whole and [one.fate for one in again.branches] == ["already"]
    assert (root / "a.txt").read_text() == "agent\n" and (root / "mine.txt").read_text() == "uncommitted\n"
    assert (done.before, again.before) == (0, None)
