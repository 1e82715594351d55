"""The bounds of one run's agents, made of what was settled before it, and what a person grants while it goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from anyio import to_thread

from callsheet.app.ground import Ground
from callsheet.app.trusting import Site, one_line
from callsheet.errors import ConfigError
from callsheet.model.approval import OnGrant

if TYPE_CHECKING:
    from callsheet.agents.tools.bounds import Bounds
    from callsheet.agents.tools.watching import Changes, Watch
    from callsheet.permissions.sources import PermissionSettings

LOCKS = "locks"
OUTPUTS = "outputs"
QUARANTINE = "quarantine"
MAX_SKILL_NOTES = 20


def bounds_of(
    site: Site,
    permissions: PermissionSettings,
    *,
    ground: Ground | None,
    state_folder: Path,
    run_id: str,
    unconfined: bool,
    opens_network: bool = False,
    log: Path | None = None,
) -> Bounds:
    """What the agents of a run may do.

    Args:
        site: Where it takes place.
        permissions: Mode and rules at its start.
        ground: Where its agents work; None for the workspace itself.
        state_folder: Where runs on the workspace know of each other; never seen by agents.
        run_id: Names what is kept of this run there.
        unconfined: The machine is the boundary: commands are not confined.
        opens_network: Commands have this machine's network.
        log: A file that the host itself writes meanwhile; None for none.
    """
    from callsheet.agents.tools.bounds import Bounds
    from callsheet.model.confinement import NetworkOpen

    visible: tuple[Path, ...] = ()
    if ground is not None:
        visible = ground.visible
        if ground.root != site.root:
            from callsheet.permissions.moving import moved_settings

            permissions = moved_settings(permissions, root=site.root, copy=ground.root)
    return Bounds(
        visible=visible,
        settings=permissions,
        home=site.home,
        environ=site.environ,
        workspace=site.root,
        unconfined=unconfined,
        network=NetworkOpen() if opens_network else None,
        hidden=(state_folder, site.config_dir),
        outputs=state_folder / OUTPUTS,
        locks=state_folder / LOCKS,
        watch=_watch(state_folder / QUARANTINE / run_id, log),
    )


def hide_record(bounds: Bounds, record: Path) -> None:
    """Keeps the files of a record out of agents' sight, wherever it lies."""
    if any(folder in record.parents for folder in bounds.hidden):
        return
    beside = tuple(record.with_name(f"{record.name}{ending}") for ending in ("", "-wal", "-shm", "-journal"))
    bounds.hidden = (*bounds.hidden, *beside)


def offer_skills(bounds: Bounds, site: Site, *, root: Path) -> tuple[str, ...]:
    """Lets agents read the skills of workspace and user. Looks at their files.

    Args:
        bounds: Of the run's agents.
        site: Where the run takes place.
        root: Where its agents work.

    Returns:
        A line for each skill that cannot be used, for the run's notes.
    """
    from callsheet.agents.tools.bounds import Shelf
    from callsheet.library.skills import Skills

    folder, start = site.project.folder, site.start
    if folder == site.root != root:
        folder, start = root, root / start.relative_to(folder) if start.is_relative_to(folder) else root
    skills = Skills(workspace=folder, start=start, home=site.home, config_dir=site.user_dir)
    found = skills.skills()
    listing = skills.listing()
    if listing:
        inside = folder.resolve()
        own = tuple(each for each in skills.folders() if not each.is_relative_to(inside))
        bounds.offer_skills(Shelf(listing=listing, read=skills.read), folders=own, root=root)
    notes = [f"the skill {each.name} is left out: {each.source} {each.problem}" for each in found if each.problem]
    if len(notes) > MAX_SKILL_NOTES:
        notes = [*notes[:MAX_SKILL_NOTES], f"… and {len(notes) - MAX_SKILL_NOTES} more skills are left out"]
    return tuple(one_line(note) for note in notes)


def granting(bounds: Bounds, site: Site, *, root: Path) -> OnGrant:
    """Makes what a person grants hold for every agent at once, and keeps it where it is for the project.

    Args:
        bounds: Of the run's agents.
        site: Where the run takes place.
        root: Where its agents work.
    """

    async def grant(rules: tuple[str, ...], verdict: Literal["run", "project"]) -> str | None:
        bounds.grant(rules, root=root)
        if verdict == "run":
            return None
        store = site.store
        if store is None:
            return f"{site.config_dir} lies in the workspace: nothing is kept there. Set CALLSHEET_CONFIG_DIR."
        try:
            await to_thread.run_sync(store.keep, site.root, rules)
        except ConfigError as error:
            return error.message
        return None

    return grant


def _watch(quarantine: Path, log: Path | None) -> Watch:
    """Tells what a command changed, and moves protected files that it made to where nothing runs them.

    What the host writes to its log meanwhile is no change of the command's.
    """

    @asynccontextmanager
    async def watch(root: Path) -> AsyncIterator[Changes]:
        from callsheet.agents.tools.watching import Changes
        from callsheet.workspace.changes import watch_changes

        changes, watched = Changes(), None
        try:
            async with watch_changes(root, protected=_is_protected, quarantine=quarantine) as watched:
                yield changes
        finally:
            if watched is not None:
                paths = watched.changes.all
                if log is not None and log.is_relative_to(root):
                    own = str(log.relative_to(root))
                    paths = tuple(path for path in paths if path != own)
                changes.paths, changes.notes = paths, watched.notes

    return watch


def _is_protected(path: str) -> bool:
    from callsheet.permissions.paths import protection_of

    return protection_of(path) is not None
