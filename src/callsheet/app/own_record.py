"""Whether a record is one's own: one that came with the repository is nobody's word."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from callsheet.errors import GitRefusedError, UsageError


async def check_own(record: Path, root: Path, environ: Mapping[str, str]) -> None:
    """Sees that git does not track a record, or anything beside it, that lies in the workspace.

    Callsheet keeps its folder out of git. A repository that brings one along would say by it which script goes on, what
    agents have answered, how much may be spent, and what the files were before.

    Args:
        record: The record's file; it need not be there.
        root: The workspace.
        environ: The host's.

    Raises:
        UsageError: It came with the repository.
    """
    from callsheet.workspace.git import Git, git_place

    folder = record.parent
    if not folder.is_relative_to(root) or folder == root:
        return
    try:
        git = Git(await git_place(root, environ), environ)
        answer = await git.run("ls-files", "-z", "--", f"{folder.relative_to(root)}/")
    except GitRefusedError:
        return  # no repository, or one that git is not used on at all
    tracked = answer.output.split(b"\0")[0].decode("utf-8", "replace")
    if tracked:
        raise UsageError(
            f"The record {record} came with the repository: git tracks {tracked}. Whoever wrote that could have put "
            f"anything in it. If it is yours, take it out of git (git rm -r --cached {folder.relative_to(root)}) and "
            "try again; else move the folder away."
        )
