"""What agents are told of a workspace's git: where it stands, and whether something in it is not committed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anyio
from anyio import to_thread

from callsheet.errors import GitRefusedError
from callsheet.workspace.excludes import user_excludes
from callsheet.workspace.git import Git, git_place
from callsheet.workspace.root import branch_of, find_workspace

STATUS_WITHIN_S = 3.0
_SHOWN_CHARS = 12
_STATUS_BYTES = 64 * 1024 * 1024


async def git_state(root: Path, environ: Mapping[str, str], *, within_s: float = STATUS_WITHIN_S) -> str | None:
    """One line: `branch main, commit 0123456789ab, with uncommitted changes`; None where there is no git.

    Branch and commit are read from files. Whether something is not committed is asked of git, in the one way in which
    the host uses it; where that takes too long, or git is not used, the line says nothing of it.

    Args:
        root: The root of a working tree.
        environ: For the search for git and the user's own ignored files.
        within_s: The most that the question may take.
    """
    found = await to_thread.run_sync(find_workspace, root, root)
    if not found.git:
        return None
    branch = await to_thread.run_sync(branch_of, root)
    words = [f"branch {branch}" if branch else "no branch checked out"]
    words.append(f"commit {found.head[:_SHOWN_CHARS]}" if found.head else "no commit yet")
    is_dirty: bool | None = None
    with anyio.move_on_after(within_s):
        is_dirty = await _is_dirty(root, environ)
    if is_dirty is not None:
        words.append("with uncommitted changes" if is_dirty else "nothing uncommitted")
    return ", ".join(words)


async def _is_dirty(root: Path, environ: Mapping[str, str]) -> bool | None:
    try:
        git = Git(await git_place(root, environ), environ, excludes=user_excludes(environ))
        answer = await git.run("status", "--porcelain", "--untracked-files=normal", limit_bytes=_STATUS_BYTES)
    except (GitRefusedError, OSError):
        return None
    return bool(answer.output) if answer.exit_status == 0 else None
