from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from callsheet.errors import GitRefusedError
from callsheet.workspace.worktree import Outcome, Worktree
from tests.support.deadline import within
from tests.unit.workspace.test_git import by_hand

pytestmark = pytest.mark.anyio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout in the middle of somebody's work."""
    folder = tmp_path / "repo"
    folder.mkdir()
    by_hand(folder, "init", "-q", "-b", "main")
    for name, text in {
        "a.txt": "one\n", "staged.txt": "one\n", "gone.txt": "one\n", "removed.txt": "one\n", "run.sh": "#!/bin/sh\n",
        "src/deep/b.py": "b\n", ".gitignore": "*.log\nbuild/\n", "src/kept.log": "kept\n",
    }.items():  # fmt: skip
        write(folder, name, text)
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("a.txt")
    by_hand(folder, "add", ".")
    by_hand(folder, "add", "-f", "src/kept.log")
    by_hand(folder, "commit", "-q", "-m", "first")
    write(folder, "a.txt", "one\nuncommitted\n")
    write(folder, "staged.txt", "staged\n")
    write(folder, "added.txt", "added\n")
    by_hand(folder, "add", "staged.txt", "added.txt")
    write(folder, "staged.txt", "staged and changed again\n")
    (folder / "gone.txt").unlink()
    by_hand(folder, "rm", "-q", "removed.txt")
    write(folder, "new/untracked.txt", "untracked\n")
    write(folder, "new/mäh \n\x01.txt", "odd\n")
    write(folder, "ignored.log", "ignored\n")
    write(folder, "build/out", "ignored\n")
    (folder / "src" / "deep" / "b.py").chmod(0o755)
    return folder


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def content(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below but git's own: its mode, and its bytes or what it links to."""
    found = {}
    for path in root.rglob("*"):
        relative = path.relative_to(root)
        if relative.parts[0] in {".git", "wt"} or (path.is_dir() and not path.is_symlink()):
            continue
        said = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        found[os.fspath(relative)] = (path.lstat().st_mode, said)
    return found


def state(root: Path) -> tuple[object, ...]:
    """All of a checkout that a person would miss."""
    index = (root / ".git" / "index").read_bytes()
    return content(root), index, by_hand(root, "status", "--porcelain=v2"), by_hand(root, "rev-parse", "HEAD")


async def made(root: Path, name: str = "run_1") -> Worktree:
    return await Worktree.make(root, folder=root.parent / "wt", name=name, environ=os.environ)


async def closed(root: Path, work: Callable[[Path], object], name: str = "run_1") -> Outcome:
    with within(60):
        tree = await made(root, name)
        work(tree.path)
        return await tree.close()


def nothing(path: Path) -> None:
    pass


async def test_it_starts_with_head_and_everything_uncommitted_and_nothing_ignored(root: Path) -> None:
    before = state(root)
    with within(60):
        tree = await made(root)
        expected = content(root)
        for name in ("ignored.log", "build/out"):
            del expected[name]
        assert content(tree.path) == expected
        assert by_hand(tree.path, "status", "--porcelain") == by_hand(root, "status", "--porcelain")
        assert by_hand(tree.path, "diff") == by_hand(root, "diff")
        assert by_hand(tree.path, "diff", "--cached") == by_hand(root, "diff", "--cached")
        assert by_hand(tree.path, "symbolic-ref", "HEAD").strip() == "refs/heads/callsheet/run_1"
        assert tree.notes == ()
        await tree.close()
    assert state(root) == before


@pytest.mark.parametrize("named", [None, "[user]\n\tname = a\n[core]\n\texcludesFile = ~/mine\n"])
async def test_what_the_user_ignores_everywhere_is_not_in_it_either(
    root: Path, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    home = root.parent / "home"
    write(home, ".config/git/ignore" if named is None else "mine", ".secret\n")
    if named is not None:
        write(home, ".gitconfig", named)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    write(root, ".secret", "x")
    with within(60):
        tree = await made(root)
        assert not (tree.path / ".secret").exists() and (tree.path / "new" / "untracked.txt").exists()
        write(tree.path, ".secret", "x")
        assert await tree.close() == Outcome(changed=False)


async def test_one_that_nobody_changed_is_removed_with_its_branch(root: Path) -> None:
    before = state(root)
    outcome = await closed(root, nothing)
    assert outcome == Outcome(changed=False)
    assert by_hand(root, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert by_hand(root, "branch", "--list", "callsheet/*") == ""
    assert list((root.parent / "wt").iterdir()) == []
    assert state(root) == before


async def test_touched_files_and_ignored_ones_are_no_changes(root: Path) -> None:
    def work(path: Path) -> None:
        write(path, "a.txt", "one\nuncommitted\n")
        write(path, "more.log", "ignored")
        write(path, "build/out", "ignored")

    assert await closed(root, work) == Outcome(changed=False)


async def test_changes_are_kept_on_a_branch_and_can_be_taken_over(root: Path) -> None:
    before = state(root)

    def work(path: Path) -> None:
        write(path, "a.txt", "one\nuncommitted\nagent's\n")
        write(path, "made/by agent.txt", "new\n")
        write(path, "src/kept.log", "changed\n")
        (path / "run.sh").unlink()
        (path / "staged.txt").chmod(0o755)
        (path / "new" / "untracked.txt").unlink()
        (path / "link").unlink()
        (path / "link").symlink_to("staged.txt")

    outcome = await closed(root, work)
    assert (outcome.changed, outcome.branch, outcome.folder, outcome.note) == (True, "callsheet/run_1", None, None)
    assert list((root.parent / "wt").iterdir()) == []
    assert state(root) == before
    assert outcome.base is not None
    assert by_hand(root, "rev-parse", f"{outcome.base}^").strip() == by_hand(root, "rev-parse", "HEAD").strip()
    changed = by_hand(root, "diff", "--name-status", "--no-renames", outcome.base, "callsheet/run_1").splitlines()
    assert changed == ["M\ta.txt", "M\tlink", "A\tmade/by agent.txt", "D\tnew/untracked.txt", "D\trun.sh",
                       "M\tsrc/kept.log", "M\tstaged.txt"]  # fmt: skip
    (root.parent / "patch").write_text(
        by_hand(root, "diff", "--binary", outcome.base, "callsheet/run_1"), encoding="utf-8"
    )
    by_hand(root, "apply", "../patch")
    assert (root / "a.txt").read_text(encoding="utf-8") == "one\nuncommitted\nagent's\n"
    assert os.access(root / "staged.txt", os.X_OK) and not (root / "run.sh").exists()


async def test_a_folder_that_became_a_link_is_a_change_like_others(root: Path) -> None:
    def link(path: Path) -> None:
        (path / "src" / "deep" / "b.py").unlink()
        (path / "src" / "deep").rmdir()
        (path / "src" / "deep").symlink_to("..")

    outcome = await closed(root, link)
    assert outcome.branch is not None and outcome.base is not None and outcome.note is None
    changed = by_hand(root, "diff", "--name-status", outcome.base, outcome.branch)
    assert changed.split() == ["A", "src/deep", "D", "src/deep/b.py"]
    link(root)
    with within(60):
        tree = await made(root, "run_2")
        assert (tree.path / "src" / "deep").is_symlink()
        assert await tree.close() == Outcome(changed=False)


async def test_without_uncommitted_state_the_branch_starts_at_head(root: Path) -> None:
    by_hand(root, "add", "-A")
    by_hand(root, "commit", "-q", "-m", "all of it")
    head = by_hand(root, "rev-parse", "HEAD").strip()
    outcome = await closed(root, lambda path: write(path, "x", "x"))
    assert outcome.base == head == by_hand(root, "rev-parse", "callsheet/run_1^").strip()
    by_hand(root, "merge", "-q", "--ff-only", "callsheet/run_1")
    assert (root / "x").exists()


async def test_commits_of_agents_stay_on_the_branch(root: Path) -> None:
    def work(path: Path) -> None:
        write(path, "own.txt", "x")
        by_hand(path, "add", "own.txt")
        by_hand(path, "commit", "-q", "-m", "an agent's own")
        write(path, "more.txt", "x")

    outcome = await closed(root, work)
    assert "an agent's own" in by_hand(root, "log", "--format=%s", "callsheet/run_1")
    files = by_hand(root, "ls-tree", "--name-only", "callsheet/run_1").splitlines()
    assert {"own.txt", "more.txt", "added.txt"} <= set(files)
    assert outcome.folder is None


async def test_two_at_a_time_know_nothing_of_each_other(root: Path) -> None:
    with within(60):
        one, two = await made(root), await made(root, "run_2")
        write(one.path, "x", "1")
        write(two.path, "x", "2")
        assert [(await tree.close()).branch for tree in (one, two)] == ["callsheet/run_1", "callsheet/run_2"]
    assert by_hand(root, "show", "callsheet/run_1:x") == "1"
    assert by_hand(root, "show", "callsheet/run_2:x") == "2"


async def test_submodules_and_nested_repositories_are_empty_and_it_says_so(root: Path) -> None:
    other = root.parent / "other"
    other.mkdir()
    by_hand(other, "init", "-q", "-b", "main")
    write(other, "inner.txt", "inner\n")
    by_hand(other, "add", ".")
    by_hand(other, "commit", "-q", "-m", "inner")
    by_hand(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "sub")
    by_hand(root, "commit", "-q", "-m", "with a submodule")
    write(root, "sub/inner.txt", "changed\n")
    by_hand(root, "clone", "-q", str(other), "nested")
    before = state(root)
    with within(60):
        tree = await made(root)
        assert list((tree.path / "sub").iterdir()) == []
        assert not (tree.path / "nested").exists()
        assert tree.notes == ("submodules and nested repositories are empty in the worktree: sub, nested",)
        write(tree.path, "a.txt", "changed")
        outcome = await tree.close()
    assert (outcome.changed, outcome.folder, outcome.note) == (True, None, None)
    assert by_hand(root, "diff", "--name-only", str(outcome.base), "callsheet/run_1") == "a.txt\n"
    assert state(root) == before


async def test_what_a_branch_cannot_hold_keeps_the_folder(root: Path) -> None:
    def work(path: Path) -> None:
        (path / "clone").mkdir()
        by_hand(path / "clone", "init", "-q")
        write(path, "clone/x", "x")

    outcome = await closed(root, work)
    assert outcome.changed and outcome.branch is None and outcome.folder is not None
    assert (outcome.folder / "clone" / "x").exists()
    assert outcome.note is not None and str(outcome.folder) in outcome.note and "clone/x" in outcome.note


async def test_a_merge_in_progress_starts_one_all_the_same(root: Path) -> None:
    by_hand(root, "stash", "-q", "-u")
    by_hand(root, "checkout", "-q", "-b", "side")
    write(root, "a.txt", "side\n")
    by_hand(root, "commit", "-qam", "side")
    by_hand(root, "checkout", "-q", "main")
    write(root, "a.txt", "main\n")
    by_hand(root, "commit", "-qam", "main")
    with pytest.raises(Exception, match="returned non-zero"):
        by_hand(root, "merge", "side")
    before = state(root)
    outcome = await closed(root, lambda path: write(path, "x", "x"))
    assert by_hand(root, "diff", "--name-only", str(outcome.base), "callsheet/run_1") == "x\n"
    assert state(root) == before


# --- hostile agents ---------------------------------------------------------------------------------------------------


def _rewritten_git_file(path: Path) -> None:
    evil = path / "evil"
    by_hand(path, "init", "-q", "--bare", "evil")
    with (evil / "config").open("a", encoding="utf-8") as file:
        file.write(f"[core]\n\tbare = false\n\tfsmonitor = touch {path.parent}/sprung\n")
    (path / ".git").write_text(f"gitdir: {evil}\n", encoding="utf-8")


def _removed_git_file(path: Path) -> None:
    (path / ".git").unlink()


def _repository_in_its_place(path: Path) -> None:
    (path / ".git").unlink()
    by_hand(path, "init", "-q")
    by_hand(path, "config", "core.fsmonitor", f"touch {path.parent}/sprung")


@pytest.mark.parametrize("attack", [_rewritten_git_file, _removed_git_file, _repository_in_its_place])
async def test_a_rewritten_git_file_runs_nothing_and_loses_nothing(root: Path, attack: Callable[[Path], None]) -> None:
    before = state(root)

    def work(path: Path) -> None:
        write(path, "work.txt", "worth keeping\n")
        attack(path)

    outcome = await closed(root, work)
    assert outcome.changed and outcome.folder is not None
    assert (outcome.folder / "work.txt").exists()
    assert outcome.note is not None and str(outcome.folder) in outcome.note
    assert not (outcome.folder.parent / "sprung").exists()
    assert state(root) == before


async def test_filters_and_attributes_that_an_agent_writes_run_nothing(root: Path) -> None:
    def work(path: Path) -> None:
        write(path, ".gitattributes", "* filter=evil diff=evil merge=evil\n")
        write(path, "work.txt", "x\n")

    by_hand(root, "config", "filter.evil.clean", f"touch {root.parent}/sprung; cat")
    outcome = await closed(root, work)
    assert (outcome.branch, outcome.note) == ("callsheet/run_1", None)
    assert not (root.parent / "sprung").exists()


async def test_configuration_that_changes_meanwhile_keeps_the_folder(root: Path) -> None:
    with within(60):
        tree = await made(root)
        write(tree.path, "work.txt", "x\n")
        by_hand(root, "config", "branch.main.remote", "origin")
        outcome = await tree.close()
    assert outcome.folder == tree.path and (tree.path / "work.txt").exists()
    assert outcome.note is not None and "configuration changed" in outcome.note


# --- what cannot be ---------------------------------------------------------------------------------------------------


async def test_without_git_or_a_commit_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(GitRefusedError, match="not the root of a git working tree"):
        await made(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    by_hand(tmp_path / "empty", "init", "-q")
    with pytest.raises(GitRefusedError, match="has no commit yet"):
        await made(tmp_path / "empty")


async def test_one_that_cannot_be_filled_is_taken_away_again(root: Path) -> None:
    before = state(root)
    folder = root.parent / "wt"
    folder.mkdir()
    (folder / "run_1").write_text("in the way", encoding="utf-8")
    with within(60), pytest.raises(GitRefusedError, match="could not make a worktree"):
        await made(root)
    (folder / "run_1").unlink()
    (root / ".git" / "sharedindex.x").mkdir()
    with within(60), pytest.raises(OSError):
        await made(root)
    (root / ".git" / "sharedindex.x").rmdir()
    assert by_hand(root, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert by_hand(root, "branch", "--list", "callsheet/*") == ""
    assert state(root) == before


async def test_a_split_index_is_read(root: Path) -> None:
    by_hand(root, "update-index", "--split-index")
    write(root, "a.txt", "again\n")
    before = state(root)
    outcome = await closed(root, lambda path: write(path, "x", "x"))
    assert by_hand(root, "diff", "--name-only", str(outcome.base), "callsheet/run_1") == "x\n"
    assert state(root) == before


async def test_cancelled_while_it_is_made_it_is_taken_away_again(root: Path) -> None:
    before = state(root)
    finished = 0
    with within(90):
        for number in range(20):
            with anyio.move_on_after(0.01 * 1.25**number) as scope:
                tree = await made(root, f"run_{number}")
                finished += 1
            if not scope.cancelled_caught:
                await tree.close()
    assert finished < 20
    assert by_hand(root, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert by_hand(root, "branch", "--list", "callsheet/*") == ""
    assert state(root) == before
