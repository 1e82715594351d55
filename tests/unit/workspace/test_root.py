from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from callsheet.errors import UsageError
from callsheet.workspace.root import Workspace, branch_of, find_workspace
from tests.support.users import unprivileged

ROOT = Path(__file__).parents[3]
FIRST = "1" * 40
SECOND = "2" * 40


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def repository(tree: Path, *, head: str = "ref: refs/heads/main\n") -> Path:
    write(tree / ".git" / "HEAD", head)
    (tree / ".git" / "refs" / "heads").mkdir(parents=True)
    (tree / ".git" / "objects").mkdir()
    return tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return repository(tmp_path.resolve() / "ws")


def git(folder: Path, *arguments: str) -> str:
    """Runs the real git, as a person would; with nothing from this machine's settings."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "x@x.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environ, check=True, capture_output=True, encoding="utf-8", timeout=120
    )
    return done.stdout.strip()


# --- which folder -----------------------------------------------------------------------------------------------------


def test_the_root_of_the_working_tree_is_found_from_any_folder_in_it(tree: Path) -> None:
    write(tree / ".git" / "refs" / "heads" / "main", f"{FIRST}\n")
    (tree / "src" / "deep").mkdir(parents=True)
    expected = Workspace(root=tree, git=True, head=FIRST, note=None)
    assert find_workspace(tree / "src" / "deep") == expected
    assert find_workspace(tree) == expected
    assert find_workspace(tree / "src", explicit=tree) == expected


def test_the_nearest_working_tree_counts(tree: Path) -> None:
    inner = repository(tree / "inner")
    assert find_workspace(inner).root == inner


def test_a_folder_that_is_reached_by_a_link_is_the_one_behind_it(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(tree)
    assert find_workspace(tmp_path / "alias").root == tree


def test_an_empty_git_folder_is_passed_by_as_git_does(tree: Path) -> None:
    (tree / "sub" / ".git").mkdir(parents=True)
    assert find_workspace(tree / "sub").root == tree


def test_without_git_it_is_the_folder_itself_and_the_note_says_what_is_missing(tmp_path: Path) -> None:
    found = find_workspace(tmp_path)
    assert (found.root, found.git, found.head) == (tmp_path.resolve(), False, None)
    assert found.note == (
        f"{tmp_path.resolve()} is not in a git working tree: agents in worktrees of their own and changes shown "
        "against a commit are not available."
    )


def test_a_folder_that_is_asked_for_is_taken_as_it_is(tree: Path) -> None:
    (tree / "src").mkdir()
    found = find_workspace(tree, explicit=tree / "src")
    assert (found.root, found.git) == (tree / "src", False)
    assert found.note is not None
    assert f"is not the root of its git working tree, which is {tree}:" in found.note


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"/missing does not exist; name a folder with --workspace"):
        find_workspace(tmp_path / "missing")


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"/file is not a folder; name one with --workspace"):
        find_workspace(tmp_path, explicit=write(tmp_path / "file", ""))


def test_links_in_a_circle_are_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("one")
    with pytest.raises(UsageError, match="name another with --workspace"):
        find_workspace(tmp_path / "one")


@pytest.mark.parametrize("mode", [0o000, 0o100, 0o400])
def test_a_folder_that_may_not_be_read_is_named(shared_path: Path, mode: int) -> None:
    with unprivileged():
        closed = shared_path / "closed"
        closed.mkdir()
        closed.chmod(mode)
        with pytest.raises(UsageError, match=r"/closed may not be read: permission denied. Allow it, or name another"):
            find_workspace(closed)
        closed.chmod(0o700)


# --- which commit -----------------------------------------------------------------------------------------------------


def test_the_commit_is_that_of_git_itself_in_every_kind_of_working_tree(tmp_path: Path) -> None:
    main = tmp_path.resolve() / "main"
    main.mkdir()
    git(main, "init", "--quiet", "--initial-branch", "main")
    assert find_workspace(main).head is None
    git(main, "commit", "--quiet", "--allow-empty", "--message", "one")
    first = git(main, "rev-parse", "HEAD")
    assert find_workspace(main) == Workspace(root=main, git=True, head=first, note=None)
    git(main, "pack-refs", "--all")
    assert find_workspace(main).head == first
    git(main, "worktree", "add", "--quiet", "-b", "side/branch", "../linked")
    linked = tmp_path.resolve() / "linked"
    git(linked, "commit", "--quiet", "--allow-empty", "--message", "two")
    second = git(linked, "rev-parse", "HEAD")
    assert find_workspace(linked) == Workspace(root=linked, git=True, head=second, note=None)
    git(linked, "pack-refs", "--all")
    assert find_workspace(linked).head == second
    git(linked, "checkout", "--quiet", "--detach", first)
    assert find_workspace(linked).head == first
    assert find_workspace(main).head == first


def test_a_branch_of_its_own_file_wins_over_the_packed_one(tree: Path) -> None:
    write(tree / ".git" / "packed-refs", f"# pack-refs with: peeled\n{SECOND} refs/heads/main\n^{FIRST}\n")
    assert find_workspace(tree).head == SECOND
    write(tree / ".git" / "refs" / "heads" / "main", f"{FIRST}\n")
    assert find_workspace(tree).head == FIRST


def test_a_commit_of_a_sha256_repository_is_read(tmp_path: Path) -> None:
    assert find_workspace(repository(tmp_path / "ws", head="a" * 64 + "\n")).head == "a" * 64


def test_before_the_first_commit_there_is_git_and_no_head(tree: Path) -> None:
    found = find_workspace(tree)
    assert (found.git, found.head) == (True, None)
    assert found.note is not None
    assert "has no commit yet, or none that can be read" in found.note


@pytest.mark.parametrize(
    "head",
    [
        "ref: refs/heads/../../../../secret",
        "ref: ../../secret",
        "ref: /etc/hostname",
        "ref: refs/heads/loop",
        "ref: refs/heads/a\0b",
        "ref: refs/heads/",
        "not a reference",
        "",
        "A" * 40,
        "1" * 39,
        "1" * 10_000,
    ],
)
def test_a_head_that_is_none_leads_nowhere(tmp_path: Path, head: str) -> None:
    tree = repository(tmp_path / "ws", head=head + "\n")
    write(tree / ".git" / "refs" / "heads" / "loop", "ref: refs/heads/loop\n")
    write(tmp_path / "secret", f"{FIRST}\n")
    assert find_workspace(tree).head is None


@pytest.mark.parametrize(
    "content", ["gitdir: /nowhere\n", "gitdir: a\0b\n", "rubbish", "", "gitdir: .git\n", "x" * 10_000]
)
def test_a_git_file_that_names_nothing_is_said_and_not_passed_by(tree: Path, content: str) -> None:
    write(tree / "sub" / ".git", content)
    found = find_workspace(tree / "sub")
    assert (found.root, found.git) == (tree / "sub", False)
    assert found.note is not None
    assert "has a .git that names no git data" in found.note


def test_a_pipe_in_place_of_a_git_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".git")
    assert not find_workspace(tmp_path).git


# --- what a repository says makes nothing happen ----------------------------------------------------------------------

WATCHED = """
import sys
from pathlib import Path
from callsheet.workspace.root import find_workspace

def watch(event, arguments):
    if event.split(".")[0] in ("subprocess", "socket", "ctypes") or event in (
        "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.remove", "os.rename", "os.mkdir"
    ):
        raise SystemExit(f"it did {event} {arguments}")
    if event == "open" and isinstance(arguments[0], (str, bytes)) and "config" in str(arguments[0]):
        raise SystemExit(f"it read {arguments[0]}")

sys.addaudithook(watch)
print(find_workspace(Path(sys.argv[1])).head)
"""

HOSTILE_CONFIG = """
[core]
    fsmonitor = touch pwned; false
    hooksPath = hooks
    sshCommand = touch pwned
    pager = touch pwned
    worktree = /
[include]
    path = /etc/passwd
[alias]
    status = !touch pwned
[filter "x"]
    process = touch pwned
"""


@pytest.mark.parametrize("through_file", [True, False])
def test_a_hostile_repository_makes_nothing_happen(tmp_path: Path, through_file: bool) -> None:
    tree = repository(tmp_path / "ws", head=f"{FIRST}\n")
    write(tree / ".git" / "config", HOSTILE_CONFIG)
    for name in ("post-checkout", "pre-commit", "reference-transaction"):
        write(tree / ".git" / "hooks" / name, "#!/bin/sh\ntouch pwned\n").chmod(0o755)
    if through_file:
        (tree / ".git").rename(tree / "evil")
        write(tree / ".git", "gitdir: evil\n")
    before = sorted(os.walk(tree))
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tree)], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120
    )
    assert (done.stdout, done.stderr) == (f"{FIRST}\n", "")
    assert sorted(os.walk(tree)) == before


# --- branch -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "branch"),
    [
        ("ref: refs/heads/main\n", "main"),
        ("ref: refs/heads/feature/a-b\n", "feature/a-b"),
        (f"{FIRST}\n", None),
        ("ref: refs/tags/v1\n", None),
        ("ref: refs/heads/two words\n", None),
        ("ref: refs/heads/a\x1b[31m\n", None),
    ],
)
def test_the_branch_is_read_from_a_file_and_only_a_proper_name_counts(
    tmp_path: Path, head: str, branch: str | None
) -> None:
    assert branch_of(repository(tmp_path / "ws", head=head)) == branch
