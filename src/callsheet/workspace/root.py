"""Which folder agents work in: the root of the git working tree, found by reading files (DESIGN 17).

No git is run here, no configuration read and no hook known: what a repository says cannot make anything happen.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from callsheet.errors import UsageError
from callsheet.model.dataclass import dataclass

_NOT_AVAILABLE = "agents in worktrees of their own and changes shown against a commit are not available"
_HASH = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF = re.compile(rb"refs/[^\x00-\x20\x7f~^:?*\[\\]+")
_BRANCHES = b"refs/heads/"
_MAX_LINKS = 5
_SMALL_BYTES = 4 * 1024
_PACKED_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The folder that agents work in.

    Attributes:
        root: Absolute, all links followed.
        git: It is the root of a git working tree.
        head: The commit it stands at; None without git, before the first commit, or where files do not say it.
        note: For people: what is not available here, and why; None where all is.
    """

    root: Path
    git: bool
    head: str | None
    note: str | None


def find_workspace(start: Path, explicit: Path | None = None) -> Workspace:
    """The root of the git working tree that holds `start`, else `start`; or the folder that was asked for, as it is.

    Args:
        start: The current folder.
        explicit: What `--workspace` says.

    Raises:
        UsageError: The folder does not exist, is none, or may not be read.
    """
    folder = _checked(start if explicit is None else explicit)
    tree = next((each for each in (folder, *folder.parents) if _is_tree(each)), None)
    if tree is None:
        return _without_git(folder, "is not in a git working tree")
    if explicit is not None and tree != folder:
        return _without_git(folder, f"is not the root of its git working tree, which is {tree}")
    git_folder = _git_folder(tree)
    if git_folder is None:
        return _without_git(tree, "has a .git that names no git data (a worktree or submodule that was moved?)")
    head = _head(git_folder)
    note = None if head else f"{tree} has no commit yet, or none that can be read: {_NOT_AVAILABLE}."
    return Workspace(root=tree, git=True, head=head, note=note)


def branch_of(tree: Path) -> str | None:
    """The branch that is checked out; None where none is, or files do not say it.

    Args:
        tree: The root of a git working tree.
    """
    git_folder = _git_folder(tree)
    named = _small(git_folder / "HEAD") if git_folder is not None else None
    if named is None or not named.startswith(b"ref:"):
        return None
    name = named.removeprefix(b"ref:").strip()
    if not _REF.fullmatch(name) or not name.startswith(_BRANCHES):
        return None
    return name.removeprefix(_BRANCHES).decode("utf-8", "replace")


def _without_git(root: Path, why: str) -> Workspace:
    return Workspace(root=root, git=False, head=None, note=f"{root} {why}: {_NOT_AVAILABLE}.")


def _checked(folder: Path) -> Path:
    try:
        folder = folder.resolve(strict=True)
        with os.scandir(folder):
            pass
        if not os.access(folder, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionError
    except FileNotFoundError:
        raise UsageError(f"The workspace {folder} does not exist; name a folder with --workspace PATH.") from None
    except NotADirectoryError:
        raise UsageError(f"The workspace {folder} is not a folder; name one with --workspace PATH.") from None
    except PermissionError:
        raise UsageError(
            f"The workspace {folder} may not be read: permission denied. Allow it, or name another folder with "
            "--workspace PATH."
        ) from None
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise UsageError(
            f"The workspace {folder} cannot be used ({error}); name another with --workspace PATH."
        ) from None
    return folder


# --- what .git says ---------------------------------------------------------------------------------------------------


def _is_tree(folder: Path) -> bool:
    """Whether git would stop here when it looks for a working tree: it passes by a `.git` folder with nothing in it."""
    dot_git = folder / ".git"
    return os.path.lexists(dot_git) and (not dot_git.is_dir() or _git_folder(folder) is not None)


def _git_folder(tree: Path) -> Path | None:
    """The folder with the git data of a working tree: `.git`, or what a file `.git` names; None where it is neither."""
    dot_git = tree / ".git"
    if not dot_git.is_dir():
        named = _small(dot_git)
        if named is None or not named.startswith(b"gitdir: "):
            return None
        dot_git = tree / os.fsdecode(named.removeprefix(b"gitdir: "))
    return dot_git if _small(dot_git / "HEAD") is not None else None


def _head(git_folder: Path) -> str | None:
    """The commit that HEAD leads to."""
    common = _small(git_folder / "commondir")  # in a linked worktree: where branches are
    places = [git_folder, *([git_folder / os.fsdecode(common)] if common else [])]
    name = b"HEAD"
    for _ in range(_MAX_LINKS):
        content = next((found for place in places if (found := _small(place / os.fsdecode(name))) is not None), None)
        if content is None:
            return _packed(places[-1], name)
        if _HASH.fullmatch(content):
            return content.decode("ascii")
        name = content.removeprefix(b"ref:").strip()
        if not _REF.fullmatch(name) or b".." in name or name.endswith((b"/", b".lock")):
            return None
    return None


def _packed(git_folder: Path, name: bytes) -> str | None:
    for line in _lines(git_folder / "packed-refs", limit_bytes=_PACKED_BYTES):
        commit, _, ref = line.rstrip().partition(b" ")
        if ref == name and _HASH.fullmatch(commit):
            return commit.decode("ascii")
    return None


def _small(path: Path) -> bytes | None:
    """The first line of a small file; None where there is none, or something that is no file."""
    line = next(_lines(path, limit_bytes=_SMALL_BYTES), None)
    return None if line is None else line.rstrip(b"\r\n")


def _lines(path: Path, *, limit_bytes: int) -> Iterator[bytes]:
    """The lines of a regular file that is not larger than the limit; nothing of any other (a pipe never ends)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_size <= limit_bytes:
            yield from file
