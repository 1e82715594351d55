"""Worktrees of agents: one for a call, or shared by name; kept on branches, merged, and taken away."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest

from callsheet.errors import WorktreeError
from callsheet.executors.local import LocalExecutor
from callsheet.model.call import AgentTask
from callsheet.model.outcome import AgentOutcome, AgentWorktree
from callsheet.model.reports import Remark, Waiting
from callsheet.ports import AgentReporter
from callsheet.workspace.journal import Journal, TreeState
from callsheet.workspace.trees import Trees
from callsheet.workspace.worktree import Extras, Worktree
from tests.support.agents import RecordingReporter, agent_task
from tests.support.deadline import within
from tests.support.fake_backend import FakeBackend, ok
from tests.unit.workspace.test_git import by_hand
from tests.unit.workspace.test_worktree import content, root, state, write

pytestmark = [pytest.mark.anyio, pytest.mark.contract("A07", "A16")]

__all__ = ["root"]


def trees_of(root: Path, extras: Extras | None = None, made: Callable[[Worktree], None] = lambda tree: None) -> Trees:
    return Trees(
        root,
        folder=root.parent / "trees",
        patches=root.parent / "patches",
        run_id="run_1",
        branches="run_1/",
        environ=os.environ,
        extras=lambda task, reporter: extras or Extras(includes=True),
        hold=lambda path: nullcontext(),
        made=made,
    )


async def run(
    root: Path,
    *calls: tuple[str, dict[str, Any], Callable[[Path], object]],
    extras: Extras | None = None,
    before: tuple[AgentWorktree, ...] = (),
) -> tuple[list[AgentOutcome], tuple[AgentWorktree, ...], list[RecordingReporter]]:
    """Has calls done one after another by agents that do something in their folder."""

    acts = {}
    for label, _, work in calls:

        async def act(task: AgentTask, reporter: AgentReporter, work: Callable[[Path], object] = work) -> AgentOutcome:
            work(Path(task.workspace.root))
            return ok(task.workspace.root)

        acts[label] = act
    trees = trees_of(root, extras)
    trees.bring_back(before)
    await trees.prepare()
    outcomes, reporters = [], []
    with within(60):
        async with LocalExecutor({"anthropic": FakeBackend(acts=acts)}, workspaces=trees) as executor:
            for number, (label, options, _) in enumerate(calls, start=1):
                reporters.append(RecordingReporter())
                task = agent_task(root, label=label, agent_id=f"a000{number}", **options)
                outcomes.append(await (await executor.submit(task, reporters[-1])).outcome())
        return outcomes, await trees.end(), reporters


def branches(root: Path) -> list[str]:
    return by_hand(root, "for-each-ref", "--format=%(refname:short)", "refs/heads/callsheet").split()


def worktrees(root: Path) -> int:
    return by_hand(root, "worktree", "list", "--porcelain").count("worktree ")


async def test_a_call_with_isolation_works_on_the_uncommitted_state_and_its_changes_are_kept_on_a_branch(
    root: Path,
) -> None:
    before = state(root)
    (outcome,), _, _ = await run(root, ("w", {"isolation": "worktree"}, lambda path: write(path, "made.txt", "x")))
    kept = outcome.worktree
    assert outcome.status == "ok" and kept is not None
    assert str(outcome.value).startswith(str(root.parent / "trees"))
    assert (kept.branch, kept.path, kept.merged, kept.name) == ("callsheet/run_1/a0001", None, False, None)
    assert state(root) == before
    assert branches(root) == ["callsheet/run_1/a0001"] and worktrees(root) == 1
    assert by_hand(root, "diff", "--name-status", f"{kept.base}", f"{kept.branch}").split() == ["A", "made.txt"]
    by_hand(root, "apply", str(kept.patch))
    assert (root / "made.txt").read_text() == "x"
    assert [path.name for path in (root.parent / "trees").rglob("*")] == ["journals"]


async def test_one_in_which_nothing_was_changed_leaves_nothing(root: Path) -> None:
    before = state(root)
    (outcome,), ends, _ = await run(root, ("w", {"isolation": "worktree"}, lambda path: None))
    assert outcome.worktree is None and ends == ()
    assert branches(root) == [] and worktrees(root) == 1 and state(root) == before


async def test_calls_with_one_name_share_a_worktree_in_which_what_was_done_is_committed(root: Path) -> None:
    seen: list[str] = []

    def test(path: Path) -> None:
        seen.append((path / "made.txt").read_text())
        seen.append(by_hand(path, "status", "--porcelain"))
        write(path, "tested.txt", "yes")

    calls = (
        ("write", {"worktree": "fix"}, lambda path: write(path, "made.txt", "x")),
        ("test", {"worktree": "fix"}, test),
        ("other", {"worktree": "other"}, lambda path: seen.append(str((path / "made.txt").exists()))),
    )
    (first, second, third), ends, _ = await run(root, *calls)
    assert seen == ["x", "", "False"]
    assert first.value == second.value != third.value
    assert first.worktree is not None and first.worktree.name == "fix" and third.worktree is None
    assert branches(root) == ["callsheet/run_1/fix"] and worktrees(root) == 1
    (end,) = ends
    assert (end.branch, end.path, end.note) == ("callsheet/run_1/fix", None, None)
    assert by_hand(root, "diff", "--name-only", f"{end.base}", f"{end.branch}").split() == ["made.txt", "tested.txt"]


async def test_one_agent_at_a_time_works_in_a_named_worktree_and_the_others_wait_aside(root: Path) -> None:
    backend = FakeBackend(held=("one", "two"))
    trees = trees_of(root)
    await trees.prepare()
    aside: list[str] = []

    class Aside(RecordingReporter):
        def aside(self) -> Any:
            aside.append("aside")
            return nullcontext()

    with within(60):
        async with LocalExecutor({"anthropic": backend}, workspaces=trees) as executor:
            first = await executor.submit(agent_task(root, label="one", worktree="x"), RecordingReporter())
            await backend.begun("one")
            heard = Aside()
            second = await executor.submit(agent_task(root, label="two", agent_id="a0002", worktree="x"), heard)
            while not heard.of(Waiting):
                await anyio.lowlevel.checkpoint()
            assert heard.of(Waiting)[0].why == "worktree" and backend.peak == 1
            backend.finish("one")
            assert (await first.outcome()).status == "ok"
            await backend.begun("two")
            backend.finish("two")
            assert (await second.outcome()).status == "ok"
        await trees.end()
    assert backend.peak == 1 and aside == ["aside"]


async def test_what_ended_ok_is_merged_beside_uncommitted_work_and_index_and_head_stay(root: Path) -> None:
    index, head = (root / ".git" / "index").read_bytes(), by_hand(root, "rev-parse", "HEAD")
    files = content(root)

    def work(path: Path) -> None:
        write(path, "sub/made.txt", "x")
        (path / "src" / "kept.log").unlink()
        (path / "new" / "untracked.txt").write_text("agent's\n")
        (path / "toadd").symlink_to("a.txt")
        (path / "added.txt").chmod(0o755)

    (outcome,), _, _ = await run(root, ("w", {"isolation": "worktree", "merge": True}, work))
    assert outcome.status == "ok" and outcome.worktree is not None
    assert outcome.worktree.merged and outcome.worktree.branch is None
    assert set(outcome.files_changed) == {"sub/made.txt", "src/kept.log", "new/untracked.txt", "toadd", "added.txt"}
    after = content(root)
    changed = {path for path in {*files, *after} if files.get(path) != after.get(path)}
    assert changed == set(outcome.files_changed)
    assert after["added.txt"][0] & 0o111 and (root / "toadd").is_symlink()
    assert (root / ".git" / "index").read_bytes() == index and by_hand(root, "rev-parse", "HEAD") == head
    assert branches(root) == [] and worktrees(root) == 1


async def test_both_sides_of_a_file_are_merged_and_a_conflict_leaves_the_workspace_and_names_the_branch(
    root: Path,
) -> None:
    write(root, "long.txt", "".join(f"{n}\n" for n in range(20)))

    def first(path: Path) -> None:
        text = (path / "long.txt").read_text()
        (path / "long.txt").write_text(text.replace("2\n", "two\n", 1))
        ours = (root / "long.txt").read_text()
        (root / "long.txt").write_text(ours.replace("18\n", "eighteen\n"))

    def second(path: Path) -> None:
        (path / "a.txt").write_text("agent's\n")
        (root / "a.txt").write_text("person's\n")

    options = {"isolation": "worktree", "merge": True}
    (good, bad), _, _ = await run(root, ("one", options, first), ("two", options, second))
    assert good.status == "ok"
    text = (root / "long.txt").read_text()
    assert "two\n" in text and "eighteen\n" in text
    assert bad.status == "conflict" and bad.value is None
    assert "both sides changed a.txt" in (bad.error or "") and "callsheet/run_1/a0002" in (bad.error or "")
    assert (root / "a.txt").read_text() == "person's\n"
    assert bad.worktree is not None and bad.worktree.branch == "callsheet/run_1/a0002" and not bad.worktree.merged
    assert branches(root) == ["callsheet/run_1/a0002"]


async def test_a_named_worktree_is_merged_again_with_what_came_since(root: Path) -> None:
    calls = (
        ("one", {"worktree": "fix"}, lambda path: write(path, "one.txt", "1")),
        ("two", {"worktree": "fix", "merge": True}, lambda path: write(path, "two.txt", "2")),
        ("three", {"worktree": "fix", "merge": True}, lambda path: write(path, "one.txt", "3")),
        ("four", {"worktree": "fix", "merge": True}, lambda path: None),
    )
    outcomes, (end,), _ = await run(root, *calls)
    assert [outcome.status for outcome in outcomes] == ["ok"] * 4
    assert ((root / "one.txt").read_text(), (root / "two.txt").read_text()) == ("3", "2")
    assert end.merged and end.branch is None and branches(root) == []


async def test_an_agent_that_did_not_end_ok_is_not_merged_and_keeps_its_changes(root: Path) -> None:
    async def fails(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        write(Path(task.workspace.root), "half.txt", "x")
        return AgentOutcome(status="failed", error="no")

    trees = trees_of(root)
    await trees.prepare()
    with within(60):
        async with LocalExecutor({"anthropic": FakeBackend(acts={"w": fails})}, workspaces=trees) as executor:
            task = agent_task(root, label="w", isolation="worktree", merge=True)
            outcome = await (await executor.submit(task, RecordingReporter())).outcome()
        await trees.end()
    assert outcome.status == "failed" and outcome.worktree is not None
    assert outcome.worktree.branch == "callsheet/run_1/a0001" and not (root / "half.txt").exists()


async def test_what_a_cancelled_agent_changed_is_on_its_branch(root: Path) -> None:
    began = anyio.Event()

    async def hangs(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        write(Path(task.workspace.root), "half.txt", "x")
        began.set()
        await anyio.sleep_forever()
        raise AssertionError

    trees = trees_of(root)
    await trees.prepare()
    with within(60):
        async with LocalExecutor({"anthropic": FakeBackend(acts={"w": hangs})}, workspaces=trees) as executor:
            handle = await executor.submit(agent_task(root, label="w", isolation="worktree"), RecordingReporter())
            await began.wait()
            await handle.cancel("person")
            assert (await handle.outcome()).status == "cancelled"
        await trees.end()
    assert branches(root) == ["callsheet/run_1/a0001"] and worktrees(root) == 1
    assert by_hand(root, "show", "callsheet/run_1/a0001:half.txt") == "x"


async def test_files_of_worktreeinclude_are_copied_and_never_committed(root: Path) -> None:
    write(root, ".worktreeinclude", "# mine\n.env\nconf/*.secret\n!conf/b.secret\n")
    write(root, ".gitignore", ".env\nconf/\n")
    for name in (".env", "conf/a.secret", "conf/b.secret", "conf/c.txt"):
        write(root, name, name)
    seen: list[bool] = []

    def work(path: Path) -> None:
        seen.extend((path / name).exists() for name in (".env", "conf/a.secret", "conf/b.secret", "conf/c.txt"))
        write(path, ".env", "changed")

    (outcome,), _, _ = await run(root, ("w", {"isolation": "worktree"}, work))
    assert seen == [True, True, False, False]
    assert outcome.worktree is None


async def test_linked_folders_are_readable_links_and_no_change(root: Path) -> None:
    write(root, ".gitignore", "node_modules/\n")
    write(root, "node_modules/left/pad.js", "pad")
    seen: list[object] = []
    extras = Extras(links=("node_modules", "missing"))

    def work(path: Path) -> None:
        seen.append(((path / "node_modules").is_symlink(), (path / "node_modules/left/pad.js").read_text()))

    (outcome,), _, _ = await run(root, ("w", {"isolation": "worktree"}, work), extras=extras)
    assert seen == [(True, "pad")] and outcome.worktree is None
    assert (root / "node_modules/left/pad.js").read_text() == "pad"


async def test_what_setup_does_in_a_new_one_is_no_change_of_the_agents(root: Path) -> None:
    times: list[Path] = []

    async def prepare(tree: Worktree) -> None:
        times.append(tree.path)
        write(tree.path, "generated.txt", "by setup")

    calls = (
        ("one", {"worktree": "x"}, lambda path: None),
        ("two", {"worktree": "x"}, lambda path: write(path, "own.txt", "agent's")),
    )
    (first, second), _, _ = await run(root, *calls, extras=Extras(prepare=prepare))
    assert len(times) == 1
    assert first.worktree is None and second.worktree is not None
    base, branch = str(second.worktree.base), str(second.worktree.branch)
    assert by_hand(root, "diff", "--name-only", base, branch).split() == ["own.txt"]


async def test_a_setup_that_fails_fails_the_call_and_leaves_nothing(root: Path) -> None:
    async def prepare(tree: Worktree) -> None:
        raise WorktreeError("npm: not found")

    (outcome,), _, _ = await run(
        root, ("w", {"isolation": "worktree"}, lambda path: None), extras=Extras(prepare=prepare)
    )
    assert outcome.status == "failed" and "npm: not found" in (outcome.error or "")
    assert branches(root) == [] and worktrees(root) == 1


async def test_without_git_the_call_fails_and_says_why(tmp_path: Path) -> None:
    (outcome,), _, _ = await run(tmp_path, ("w", {"isolation": "worktree"}, lambda path: None))
    assert outcome.status == "failed"
    assert "is not the root of a git working tree" in (outcome.error or "")


async def test_names_that_are_no_branches_and_names_of_agents_do_not_meet(root: Path) -> None:
    by_hand(root, "branch", "callsheet/run_1/x")
    calls = tuple(
        (name, {"worktree": name}, lambda path: write(path, "made.txt", "x"))
        for name in ("a0004", "b..c", "x", "d.lock")
    )
    last = ("w", {"isolation": "worktree"}, lambda path: write(path, "made.txt", "x"))
    outcomes, _, _ = await run(root, *calls[:1], *calls[1:], last)
    assert [outcome.status for outcome in outcomes] == ["ok"] * 5
    assert branches(root) == [f"callsheet/run_1/{name}" for name in ("a0004", "a0005", "b-c", "d-", "x", "x-2")]


@pytest.mark.contract("R07")
async def test_a_worktree_of_a_name_begins_with_what_an_earlier_attempt_kept_of_it(root: Path) -> None:
    named = {"worktree": "feature"}
    (first,), kept, _ = await run(root, ("writer", named, lambda tree: write(tree, "new.txt", "written\n")))
    assert first.worktree is not None and first.worktree.branch == "callsheet/run_1/feature"
    seen: list[str] = []
    (second,), ends, _ = await run(
        root, ("tester", named, lambda tree: seen.append((tree / "new.txt").read_text())), before=kept
    )
    assert seen == ["written\n"]
    assert second.status == "ok"
    (end,) = ends
    assert end.branch == "callsheet/run_1/feature-2"
    assert by_hand(root, "show", f"{end.branch}:new.txt") == "written\n"


@pytest.mark.contract("R07")
async def test_where_the_branch_is_gone_the_worktree_begins_without_it_and_that_is_said(root: Path) -> None:
    named = {"worktree": "feature"}
    gone = AgentWorktree(name="feature", branch="callsheet/run_1/gone", base="HEAD")
    (outcome,), _, (reporter,) = await run(root, ("tester", named, lambda tree: None), before=(gone,))
    assert outcome.status == "ok"
    assert any("is gone" in remark.message for remark in reporter.of(Remark))


async def test_a_journal_that_cannot_be_written_at_the_end_takes_nothing_from_what_agents_did(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = Journal.note

    def fails(self: Journal, state: TreeState, *, path: Path, branch: str, agent_id: str | None = None) -> None:
        note(self, state, path=path, branch=branch, agent_id=agent_id)
        if state in ("gone", "over"):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Journal, "note", fails)
    outcomes, came, _ = await run(
        root,
        ("one", {"isolation": "worktree"}, lambda folder: write(folder, "a.txt", "one")),
        ("two", {"worktree": "fix"}, lambda folder: write(folder, "a.txt", "two")),
    )
    assert [outcome.status for outcome in outcomes] == ["ok", "ok"]
    assert sorted(tree.branch or "" for tree in came) == branches(root)
