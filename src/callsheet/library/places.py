"""Where saved workflows, agent types and skills lie, nearest first (FORMATS 6), and which files of a place count."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

from callsheet.model.dataclass import dataclass

Source = Literal["project", "user", "package", "bundled"]

ENTRY_POINTS = "callsheet.workflows"
"""The entry-point group of installed packages: a name, which becomes the prefix, and the package that has the files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder of workflows or agent types.

    Attributes:
        prefix: Stands in front of the names found there: `package:`; empty elsewhere.
    """

    folder: Path
    source: Source
    prefix: str = ""


class Places:
    """The folders of one workspace and user.

    Args:
        workspace: The workspace's root; nothing above it is a project's.
        start: Where to look first.
        config: The user's own folder, `~/.claude`.
    """

    def __init__(self, *, workspace: Path, start: Path, config: Path) -> None:
        self.workspace = Path(os.path.realpath(workspace))
        self._config = Path(os.path.realpath(config))
        here = Path(os.path.realpath(start))
        if not here.is_relative_to(self.workspace):
            here = self.workspace
        above = [here, *here.parents]
        self._project = above[: above.index(self.workspace) + 1]

    def of(self, kind: Literal["workflows", "agents", "skills"]) -> list[Place]:
        """The project's folders from the nearest up to the root, then the user's; whether they exist or not."""
        mine = self._config / kind
        project = [folder / ".claude" / kind for folder in self._project]
        return [
            *(Place(folder=folder, source="project") for folder in project if folder != mine),
            Place(folder=mine, source="user"),
        ]

    @cached_property
    def inside(self) -> tuple[Path, ...]:
        """The workspace and the folders of workflows and agent types outside it, links resolved."""
        others = [*self.of("workflows"), *self.of("agents")]
        mine = (Path(os.path.realpath(place.folder)) for place in others if place.source == "user")
        bundled = bundled_place()
        return (self.workspace, *mine, *([bundled.folder] if bundled is not None else []))

    def leads_out(self, place: Place, path: Path) -> bool:
        """Whether a file of a project is a link to somewhere that is none of the project's business.

        The user's own folder may link to wherever the user likes.
        """
        if place.source != "project":
            return False
        real = Path(os.path.realpath(path))
        return not any(real.is_relative_to(folder) for folder in self.inside)

    def shown(self, path: Path, home: Path) -> str:
        """A path as people write it: relative to the workspace, or with `~`."""
        if path.is_relative_to(self.workspace):
            return str(path.relative_to(self.workspace))
        real_home = os.path.realpath(home)
        return f"~/{path.relative_to(real_home)}" if path.is_relative_to(real_home) else str(path)


def bundled_place() -> Place | None:
    """The workflows that come with this package, None where there are none."""
    folder = Path(os.path.realpath(__file__)).parent.parent / "workflows"
    return Place(folder=folder, source="bundled") if folder.is_dir() else None


def package_places(prefix: str | None = None) -> Iterator[Place]:
    """The workflow folders of installed packages, by name; only that of one prefix where it is given.

    No code of the packages is run to find them.
    """
    from importlib.metadata import entry_points  # 20 ms, and only needed for names with a colon

    found = entry_points(group=ENTRY_POINTS)
    for entry in sorted(found, key=lambda entry: entry.name):
        if prefix in (None, entry.name):
            folder = _package_folder(entry.module)
            if folder is not None:
                yield Place(folder=folder, source="package", prefix=f"{entry.name}:")


def _package_folder(module: str) -> Path | None:
    from importlib.util import find_spec

    top, *below = module.split(".")
    try:
        spec = find_spec(top)  # a top-level name is only located, not imported
    except (ImportError, ValueError):
        return None
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(location, *below)
        if folder.is_dir():
            return Path(os.path.realpath(folder))
    return None


LEADS_OUT = "is a link out of the workspace; put the file itself there"


def files_in(folder: Path, suffixes: tuple[str, ...]) -> list[os.DirEntry[str]]:
    """The files of a folder by name, links among them; hidden ones do not count. Empty where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if entry.name.endswith(suffixes) and not entry.name.startswith(".")]
    except OSError:
        return []
    return sorted(found, key=lambda entry: entry.name)
