from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from callsheet.errors import GitRefusedError
from callsheet.workspace.git import Git, git_place
from tests.support.deadline import within
from tests.support.starting import left_by_cancelled_starts

pytestmark = pytest.mark.anyio

_PLAIN = {
    "PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
}  # fmt: skip


def by_hand(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, env=_PLAIN, check=True, capture_output=True, timeout=120)
    return done.stdout.decode()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    by_hand(folder, "init", "-q", "-b", "main")
    (folder / "a.txt").write_text("one\n", encoding="utf-8")
    (folder / "b.bin").write_text("two\n", encoding="utf-8")
    by_hand(folder, "add", ".")
    by_hand(folder, "commit", "-q", "-m", "first")
    (folder / "a.txt").write_text("one\nmore\n", encoding="utf-8")
    return folder


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A program that leaves a mark wherever it is run from, with any arguments."""
    program = tmp_path / "trap.sh"
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/sprung'\ncat\n", encoding="utf-8")
    program.chmod(0o755)
    return program


async def use(git: Git) -> dict[str, int]:
    """All that a run asks of git."""
    asked = {
        "status": ["--porcelain=v2"], "diff": ["HEAD"], "log": ["-p", "-1"], "show": ["HEAD"],
        "add": ["--", "a.txt", "b.bin"], "write-tree": [], "ls-files": ["-m"], "branch": ["--list"],
        "hash-object": ["-w", "--", "b.bin"], "checkout-index": ["-f", "--", "a.txt"], "for-each-ref": [],
        "diff-index": ["-p", "HEAD"], "update-ref": ["refs/callsheet/x", "HEAD"],
    }  # fmt: skip
    return {command: (await git.run(command, *words, timeout_s=20)).exit_status for command, words in asked.items()}


async def test_ordinary_questions_are_answered(tree: Path) -> None:
    with within(60):
        git = Git(await git_place(tree, os.environ), os.environ)
        status = await git.run("status", "--porcelain")
        patch = await git.run("diff")
        tree_id = await git.run("write-tree")
        made = await git.run("commit-tree", tree_id.output.decode().strip(), "-m", "x")
        assert set((await use(git)).values()) == {0}
    assert status.output == b" M a.txt\n"
    assert b"+more" in patch.output
    assert tree_id.output.strip().decode() == by_hand(tree, "rev-parse", "HEAD^{tree}").strip()
    assert (made.exit_status, made.errors) == (0, "")


async def test_a_worktree_is_made_and_looked_at(tree: Path, tmp_path: Path) -> None:
    with within(60):
        git = Git(await git_place(tree, os.environ), os.environ)
        made = await git.run("worktree", "add", "--detach", str(tmp_path / "other"), "HEAD")
        other = Git(await git_place(tmp_path / "other", os.environ), os.environ)
        (tmp_path / "other" / "b.bin").write_text("changed", encoding="utf-8")
        status = await other.run("status", "--porcelain")
    assert made.exit_status == 0, made.errors
    assert status.output == b" M b.bin\n"


def _config(*pairs: str) -> Callable[[Path, Path], object]:
    def arrange(tree: Path, trap: Path) -> None:
        for pair in pairs:
            key, _, value = pair.partition("=")
            by_hand(tree, "config", "--local", key, value.format(trap=trap, tree=tree))

    return arrange


def _attributes(*lines: str) -> Callable[[Path, Path], object]:
    def arrange(tree: Path, trap: Path) -> None:
        (tree / ".gitattributes").write_text("\n".join(lines) + "\n", encoding="utf-8")

    return arrange


def _hooks(tree: Path, trap: Path) -> None:
    for name in ("pre-commit", "post-checkout", "post-index-change", "reference-transaction", "fsmonitor-watchman"):
        (tree / ".git" / "hooks").mkdir(exist_ok=True)
        (tree / ".git" / "hooks" / name).write_bytes(trap.read_bytes())
        (tree / ".git" / "hooks" / name).chmod(0o755)


def _included(tree: Path, trap: Path) -> None:
    (tree / "more.cfg").write_text(f"[core]\n\tfsmonitor = {trap}\n", encoding="utf-8")
    by_hand(tree, "config", "--local", "include.path", "../more.cfg")


def _worktree_config(tree: Path, trap: Path) -> None:
    by_hand(tree, "config", "--local", "extensions.worktreeConfig", "true")
    (tree / ".git" / "config.worktree").write_text(f"[core]\n\tfsmonitor = {trap}\n", encoding="utf-8")


def _dot_git_file(tree: Path, trap: Path) -> None:
    hostile = tree.parent / "hostile"
    (tree / ".git").rename(hostile)
    (tree / ".git").write_text(f"gitdir: {hostile}\n", encoding="utf-8")
    with (hostile / "config").open("a", encoding="utf-8") as file:
        file.write(f"[core]\n\tfsmonitor = {trap}\n")


def _dot_git_link(tree: Path, trap: Path) -> None:
    hostile = tree.parent / "hostile"
    (tree / ".git").rename(hostile)
    (tree / ".git").symlink_to(hostile)
    with (hostile / "config").open("a", encoding="utf-8") as file:
        file.write(f"[core]\n\tfsmonitor = {trap}\n")


def _nested(tree: Path, trap: Path) -> None:
    nested = tree / "nested"
    nested.mkdir()
    by_hand(nested, "init", "-q", "-b", "main")
    (nested / "x").write_text("x", encoding="utf-8")
    by_hand(nested, "add", ".")
    by_hand(nested, "commit", "-q", "-m", "nested")
    by_hand(tree, "-c", "advice.addEmbeddedRepo=false", "add", "nested")
    by_hand(tree, "commit", "-q", "-m", "with nested")
    (nested / "x").write_text("changed", encoding="utf-8")
    (tree / ".gitmodules").write_text(
        '[submodule "nested"]\n\tpath = nested\n\turl = ./nested\n\tignore = none\n', encoding="utf-8"
    )
    by_hand(tree, "config", "--local", "submodule.nested.ignore", "none")
    by_hand(nested, "config", "--local", "core.fsmonitor", str(trap))
    by_hand(nested, "config", "--local", "filter.f.clean", str(trap))


def _all(*steps: Callable[[Path, Path], object]) -> Callable[[Path, Path], object]:
    def arrange(tree: Path, trap: Path) -> None:
        for step in steps:
            step(tree, trap)

    return arrange


_HOSTILE: dict[str, Callable[[Path, Path], object]] = {
    "core.fsmonitor": _config("core.fsmonitor={trap}"),
    "core.fsmonitor and its version": _config("core.fsmonitor={trap}", "core.fsmonitorHookVersion=2"),
    "core.pager": _config("core.pager={trap}", "pager.log={trap}", "pager.status={trap}", "pager.branch={trap}"),
    "diff.external": _config("diff.external={trap}"),
    "diff driver's command": _all(_config("diff.d.command={trap}"), _attributes("* diff=d")),
    "diff driver's textconv": _all(_config("diff.d.textconv={trap}"), _attributes("* diff=d")),
    "filter's clean": _all(_config("filter.f.clean={trap}"), _attributes("* filter=f")),
    "filter's smudge": _all(_config("filter.f.smudge={trap}"), _attributes("* filter=f")),
    "filter's process": _all(_config("filter.f.process={trap}"), _attributes("* filter=f")),
    "required filter": _all(_config("filter.f.clean={trap}", "filter.f.required=true"), _attributes("* filter=f")),
    "filter with an odd name": _all(_config("filter.o=d.d.clean=x"), _attributes("* filter=f")),
    "filter in info/attributes": _all(
        _config("filter.f.clean={trap}"),
        lambda tree, trap: (tree / ".git" / "info" / "attributes").write_text("* filter=f\n", encoding="utf-8"),
    ),
    "filter in core.attributesFile": _all(
        _config("filter.f.clean={trap}", "core.attributesFile={tree}/attrs"),
        lambda tree, trap: (tree / "attrs").write_text("* filter=f\n", encoding="utf-8"),
    ),
    "merge driver": _all(_config("merge.m.driver={trap}"), _attributes("* merge=m")),
    "hooks": _hooks,
    "core.hooksPath": _all(_hooks, _config("core.hooksPath=.git/hooks")),
    "aliases": _config("alias.status=!{trap}", "alias.log=!{trap}", "alias.ls-files=!{trap}"),
    "include.path": _included,
    "core.sshCommand": _config("core.sshCommand={trap}", "core.gitProxy={trap}", "remote.origin.url=ssh://x/y"),
    "core.worktree": _config("core.worktree=/"),
    "credential.helper": _config("credential.helper=!{trap}", "core.askPass={trap}"),
    "gpg": _config("gpg.program={trap}", "log.showSignature=true", "commit.gpgSign=true"),
    "editor": _config("core.editor={trap}", "sequence.editor={trap}"),
    "alternate refs": _config("core.alternateRefsCommand={trap}"),
    "worktree's own configuration": _worktree_config,
    "rewritten .git file": _dot_git_file,
    "nested repository": _nested,
    "upload pack": _config("remote.origin.uploadpack={trap}", "uploadpack.packObjectsHook={trap}"),
}


@pytest.mark.parametrize("what", _HOSTILE)
async def test_what_was_configured_before_runs_no_program(what: str, tree: Path, trap: Path) -> None:
    _HOSTILE[what](tree, trap)
    with within(60):
        git = Git(await git_place(tree, os.environ), {**os.environ, "GIT_EXTERNAL_DIFF": str(trap), "GIT_DIR": "/"})
        ended = await use(git)
    assert not (trap.parent / "sprung").exists()
    assert ended["log"] == 0


@pytest.mark.parametrize("what", [*_HOSTILE, "symbolic link"])
async def test_what_an_agent_configures_runs_no_program_and_stops_git(what: str, tree: Path, trap: Path) -> None:
    with within(60):
        git = Git(await git_place(tree, os.environ), os.environ)
        ({**_HOSTILE, "symbolic link": _dot_git_link}[what])(tree, trap)
        try:
            await use(git)
        except GitRefusedError as error:
            refused = error.message
        else:
            refused = ""
    assert not (trap.parent / "sprung").exists()
    # Hooks do not configure: they are off, whenever they came.
    assert ("configuration changed" in refused or "cannot be read" in refused) is (what != "hooks")


def test_the_traps_do_spring_for_git_as_it_is(tree: Path, trap: Path) -> None:
    _HOSTILE["core.fsmonitor"](tree, trap)
    by_hand(tree, "status")
    assert (trap.parent / "sprung").exists()


async def test_a_file_that_configuration_includes_is_watched_too(tree: Path, trap: Path) -> None:
    (tree / "more.cfg").write_text("[core]\n\tautocrlf = false\n", encoding="utf-8")
    by_hand(tree, "config", "--local", "include.path", "../more.cfg")
    with within(60):
        git = Git(await git_place(tree, os.environ), os.environ)
        assert (await git.run("status")).exit_status == 0
        (tree / "more.cfg").write_text("[core]\n\tautocrlf = input\n", encoding="utf-8")
        with pytest.raises(GitRefusedError, match="configuration changed"):
            await git.run("status")


async def test_long_answers_and_long_waits_are_ended(tree: Path) -> None:
    (tree / "big").write_bytes(b"x\n" * 2_000_000)
    with within(60):
        git = Git(await git_place(tree, os.environ), os.environ)
        await git.run("add", "--", "big")
        with pytest.raises(GitRefusedError, match="more than 100000 bytes"):
            await git.run("cat-file", "-p", ":big", limit_bytes=100_000)
        with pytest.raises(GitRefusedError, match="did not end within"):
            await git.run("log", timeout_s=0.0001)


async def test_cancelling_ends_git(tree: Path) -> None:
    with within(60):
        git = Git(await git_place(tree, os.environ), os.environ)
        with anyio.move_on_after(0.01) as scope:
            await git.run("log")
            await anyio.sleep_forever()
        assert scope.cancelled_caught


def test_cancelled_at_any_moment_of_its_start_git_leaves_nothing(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = Git(anyio.run(git_place, tree, os.environ), os.environ)
    assert left_by_cancelled_starts(monkeypatch, lambda: git.run("status"), starts=1) == []


async def test_a_command_that_is_not_listed_is_refused(tree: Path) -> None:
    git = Git(await git_place(tree, os.environ), os.environ)
    with pytest.raises(GitRefusedError, match="not a command"):
        await git.run("fetch")


async def test_a_folder_without_git_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GitRefusedError, match="not the root"):
        await git_place(tmp_path, os.environ)
