"""What git says and is told, taken apart and put together."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from callsheet.errors import GitRefusedError
from callsheet.workspace.git import Git, GitAnswer


def checked(answer: GitAnswer, what: str) -> GitAnswer:
    """The answer, where git did it.

    Raises:
        GitRefusedError: It did not; `what` says what it was to do.
    """
    if answer.exit_status != 0:
        said = answer.errors.strip().splitlines()
        raise GitRefusedError(f"git could not {what}: {said[-1] if said else f'status {answer.exit_status}'}")
    return answer


def line(answer: GitAnswer) -> str:
    """An answer of one line."""
    return answer.output.decode("ascii", "replace").strip()


def split(output: bytes) -> list[str]:
    """An answer of paths, each ended by a NUL."""
    return [os.fsdecode(each) for each in output.split(b"\0") if each]


def lines(paths: Iterable[str]) -> bytes:
    """Paths as git reads them, each ended by a NUL."""
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


async def update_index(git: Git, paths: Iterable[str], index: Path) -> None:
    """Puts files as they are now, or that they are gone, into an index.

    Raises:
        GitRefusedError: Git would not.
    """
    paths = list(paths)
    beyond = _beyond_links(git.place.work_tree, paths)
    if beyond:  # git looks at none of them, not even to see that they are gone
        gone = await git.run("update-index", "--force-remove", "-z", "--stdin", stdin=lines(beyond), index=index)
        checked(gone, "look at the files")
        paths = [path for path in paths if path not in beyond]
    if paths:
        words = ("--add", "--remove", "--replace", "-z", "--stdin")
        checked(await git.run("update-index", *words, stdin=lines(paths), index=index), "look at the files")


def _beyond_links(root: Path, paths: Iterable[str]) -> set[str]:
    """Those that a folder of theirs which is a link now would lead to elsewhere."""
    known = {"": False}

    def is_link(folder: str) -> bool:
        if folder not in known:
            known[folder] = is_link(folder.rpartition("/")[0]) or (root / folder).is_symlink()
        return known[folder]

    return {path for path in paths if is_link(path.rpartition("/")[0])}


async def written_tree(git: Git, index: Path) -> str:
    """The tree of an index.

    Raises:
        GitRefusedError: Git would not.
    """
    return line(checked(await git.run("write-tree", index=index), "write down the files"))


async def tree_of(git: Git, commit: str) -> str:
    """The tree of a commit.

    Raises:
        GitRefusedError: Git would not.
    """
    return line(checked(await git.run("rev-parse", f"{commit}^{{tree}}"), "read a commit"))


async def committed(git: Git, tree: str, parents: Iterable[str], message: str) -> str:
    """A new commit, on no branch yet.

    Raises:
        GitRefusedError: Git would not.
    """
    words = [word for parent in parents for word in ("-p", parent)]
    return line(checked(await git.run("commit-tree", tree, *words, "-m", message), "commit the changes"))
