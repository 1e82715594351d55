"""The script of a run, kept as a command in the workspace that it ran in."""

from __future__ import annotations

from callsheet.app.plan import Surroundings
from callsheet.app.records import Where, open_runs
from callsheet.app.shelving import Target, saved


def saved_as(where: Where, run_id: str, name: str, *, own: str) -> str:
    """Saves it; gives what came of it, in words.

    Args:
        where: Whose record the run is in.
        run_id: The run.
        name: What the command is called.
        own: The name that the script has.

    Raises:
        CallsheetError: It cannot be saved so; says why.
    """
    around = Surroundings()
    root = where.root
    target = Target(start=root, home=around.home, environ=where.environ, workspace=root)
    with open_runs(where, is_checked=False, as_written=True) as runs:
        shelved = saved(runs, runs.find(run_id), target, name=None if name == own else name)
    verb = "saved" if shelved.is_new else "there already"
    return "\n".join([f"{verb}: {shelved.path}", f"run it: callsheet /{shelved.name}", *shelved.notes])
