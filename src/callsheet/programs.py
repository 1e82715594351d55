"""Which folders the host itself takes programs from. Pure path work; imports nothing of ours."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

USUAL = "/usr/local/bin:/usr/bin:/bin"


def host_path(path: str | None, *, outside: Sequence[Path]) -> str:
    """A search path for programs that the host runs unconfined, such as git and bwrap.

    Tools put folders of a repository on `PATH` (`node_modules/.bin`, direnv), and agents may make files there: a
    program of a well-known name would then be run with all that the user may.

    Args:
        path: `PATH` as it is.
        outside: Workspaces, of which no folder counts. The whole system as a workspace excludes nothing.

    Returns:
        Its absolute folders that, all links followed, lie outside; the usual ones where none is left.
    """
    roots = [root for each in outside if (root := each.resolve()) != Path(root.anchor)]
    folders = [each for each in (path or "").split(os.pathsep) if _is_outside(each, roots)]
    return os.pathsep.join(folders) or USUAL


def _is_outside(folder: str, roots: Sequence[Path]) -> bool:
    if not os.path.isabs(folder):  # noqa: PTH117 - runs for every entry of PATH at start-up
        return False
    place = Path(folder).resolve()
    return not any(place.is_relative_to(root) for root in roots)
