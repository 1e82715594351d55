"""Finds workflows and agent types by name: the nearest wins, and nothing that is broken hides another (FORMATS 6)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from callsheet.errors import NotFoundError
from callsheet.library.agent_types import BUILT_IN, AgentTypeError, narrowed, read_agent_type, widens
from callsheet.library.files import UnreadableError, read_bytes
from callsheet.library.places import LEADS_OUT, Place, Places, bundled_place, files_in, package_places
from callsheet.library.plugins import Plugin, installed_plugins
from callsheet.library.workflows import SUFFIXES, Known, Listed, ReadScript, WorkflowFiles
from callsheet.model.call import AgentType
from callsheet.model.dataclass import dataclass
from callsheet.model.script import Script
from callsheet.ports import WorkflowLibrary

_MAX_NAMES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedType:
    """An agent type, as a list of them shows it. `problem` says why it cannot be used, None if it can."""

    name: str
    description: str
    source: str
    problem: str | None = None
    shadowed_by: str | None = None


class Library(WorkflowLibrary):
    """The workflows and agent types of one workspace, one user, the installed packages, and Callsheet.

    Files are looked at anew at each call, so that what is saved while a run goes on is found; what has not changed is
    not parsed twice.

    Args:
        workspace: The workspace's root.
        start: The folder that the caller is in; nearer folders win.
        home: The user's home folder.
        config_dir: The user's folder of such files (`CLAUDE_CONFIG_DIR`); None for `.claude` in `home`.
        read: `script.reader.read_script`.
        declared: Agent types of the settings; they are nearest of all.
        mapped: Names of agent types, and of those that are taken for them.
        trusted: The workspace's agent types hold as they are. Otherwise one that has the name of a type of the user's,
            or of a built-in one, has no more tools than that, and its model.
        known: What workflow files were found to say before; what is found is put there.
        has_bundled: The workflows that come with Callsheet are among them, after all others.
    """

    def __init__(
        self,
        *,
        workspace: Path,
        start: Path,
        home: Path,
        config_dir: Path | None,
        read: ReadScript,
        trusted: bool = False,
        declared: Iterable[AgentType] = (),
        mapped: Mapping[str, str] | None = None,
        known: Known | None = None,
        has_bundled: bool = True,
    ) -> None:
        self._mapped = mapped or {}
        self._has_bundled = has_bundled
        self._declared = {kind.name: kind for kind in declared}
        self._home = home
        self._config = config_dir or home / ".claude"
        self._trusted = trusted
        self._places = Places(workspace=workspace, start=start, config=self._config)
        self._files = WorkflowFiles(read, places=self._places, known=known)

    # --- workflows by name ------------------------------------------------------------------------------------------

    def workflow(self, name: str) -> Script:
        return self._files.script_of(self.named(name), origin=name)

    def named(self, name: str) -> Listed:
        """The workflow that a name means; one that cannot be run where no other has the name.

        Raises:
            NotFoundError: There is none, or several files are called so; names what looks alike.
        """
        found = self._named(name) or self._by_file(name)
        if found is None:
            raise self._no_workflow(name)
        return found

    def workflows(self) -> tuple[Listed, ...]:
        """Every workflow file there is, nearest first; those that are shadowed or cannot be run say so."""
        return self._marked(
            listed for place in (*self._near(), *package_places()) for listed in self._files.listed(place)
        )

    def workflow_folders(self) -> tuple[str, ...]:
        """Where workflows are looked for, nearest first, as people write it; those of packages are not among them."""
        return tuple(self._shown(place.folder) for place in self._near())

    def _marked(self, found: Iterable[Listed]) -> tuple[Listed, ...]:
        """The same with what shadows them. A workflow that cannot be run shadows none."""
        first: dict[str, str] = {}
        marked: list[Listed] = []
        for listed in found:
            if listed.problem is None:
                listed = replace(listed, shadowed_by=first.get(listed.name))
                first.setdefault(listed.name, listed.path)
            marked.append(listed)
        return tuple(marked)

    def _near(self) -> list[Place]:
        bundled = bundled_place() if self._has_bundled else None
        return self._places.of("workflows") + ([bundled] if bundled is not None else [])

    def _for_name(self, name: str) -> list[Place]:
        package, colon, _ = name.partition(":")
        return self._near() + (list(package_places(package)) if colon else [])

    def _named(self, name: str) -> Listed | None:
        """The nearest workflow with this `meta.name` that can be run."""
        for place in self._for_name(name):
            for listed in self._files.listed(place, named=name.removeprefix(place.prefix)):
                if listed.name == name and listed.problem is None:
                    return listed
        return None

    def _by_file(self, name: str) -> Listed | None:
        """The only workflow whose file has this name; one that cannot be run where no other has the name.

        Raises:
            NotFoundError: Several have it.
        """
        with_name = [
            listed
            for place in self._for_name(name)
            for listed in self._files.listed(place, named=name.removeprefix(place.prefix), or_file=True)
            if name in (listed.by_file, listed.name)
        ]
        usable = [listed for listed in with_name if listed.problem is None and self._named(listed.name) == listed]
        if len(usable) > 1:
            raise self._ambiguous(name, usable)
        return next(iter(usable or with_name), None)

    def _no_workflow(self, name: str) -> NotFoundError:
        listed = self.workflows()
        names = tuple(dict.fromkeys(one.name for one in listed if one.problem is None))
        broken = [self._shown(Path(one.path)) for one in listed if one.problem is not None]
        looked = self.workflow_folders()
        message = _not_found("workflow", name, names)
        if broken:
            message += f" Cannot be used: {_some(broken)}."
        return NotFoundError(f"{message} Looked in {', '.join(looked)}.", name=name, near=_near_names(name, names))

    def _ambiguous(self, name: str, named: list[Listed]) -> NotFoundError:
        names = tuple(dict.fromkeys(listed.name for listed in named))
        files = ", ".join(self._shown(Path(listed.path)) for listed in named)
        said = f'there is no workflow called "{name}", and several files are: {files}. Use {_quoted(names)}.'
        return NotFoundError(said, name=name, near=names)

    # --- workflows by path ------------------------------------------------------------------------------------------

    def workflow_at(self, script_path: str, *, relative_to: str | None) -> Script:
        if not script_path.endswith(SUFFIXES):
            raise self._not_at(script_path, "is no workflow file; its name ends in .js or .mjs")
        if "\0" in script_path:
            raise self._not_at(script_path, "is no path: it holds a NUL character")
        bases = [self._places.workspace]
        if relative_to is not None:
            bases.append(Path(relative_to).parent)
        reason = "does not exist"
        near: tuple[str, ...] = ()
        for base in bases:
            path = base / script_path
            real = Path(os.path.realpath(path))
            if not self._is_inside(real) or not real.name.endswith(SUFFIXES):
                reason = "leads out of the workspace and the workflow folders"
                continue
            if real.is_file():
                return self._files.script_at(real, origin=script_path)
            try:
                read_bytes(real, limit_bytes=0)
            except UnreadableError as error:
                reason = error.reason
            near = near or tuple(
                get_close_matches(real.name, [entry.name for entry in files_in(real.parent, SUFFIXES)], n=3)
            )
        raise self._not_at(script_path, reason, near=near)

    def _is_inside(self, path: Path) -> bool:
        if any(path.is_relative_to(folder) for folder in self._places.inside):
            return True
        return any(path.is_relative_to(place.folder) for place in package_places())

    def _not_at(self, script_path: str, reason: str, *, near: tuple[str, ...] = ()) -> NotFoundError:
        hint = f" Did you mean {_quoted(near)}?" if near else ""
        return NotFoundError(
            f"{script_path!r} {reason}. A scriptPath is relative to the workspace or to the calling script.{hint}",
            name=script_path,
            near=near,
        )

    # --- agent types ------------------------------------------------------------------------------------------------

    def agent_type(self, name: str) -> AgentType:
        name = self._mapped.get(name, name)
        if name in self._declared:
            return self._declared[name]
        broken: str | None = None
        for place in self._places.of("agents"):
            for entry in files_in(place.folder, (".md",)):
                path = Path(place.folder, entry.name)
                if path.stem != name and not _mentions(path, name):
                    continue
                try:
                    found = self._read_type(place, path)
                except AgentTypeError as error:
                    if path.stem == name:
                        broken = broken or f"{self._shown(path)} {error}"
                    continue
                if found.name == name:
                    behind = self._behind(place, name)
                    return found if self._trusted or behind is None else narrowed(found, behind)
        of_plugin = self._of_plugin(name)
        if of_plugin is not None:
            return of_plugin
        for found in BUILT_IN:
            if found.name == name:
                return found
        names = tuple(listed.name for listed in self.agent_types() if listed.problem is None)
        message = _not_found("agent type", name, tuple(dict.fromkeys(names)))
        if broken is not None:
            message += f" {broken}."
        raise NotFoundError(message, name=name, near=_near_names(name, names))

    def agent_types(self) -> tuple[ListedType, ...]:
        """Every agent type there is, nearest first, the built-in ones last."""
        first: dict[str, str] = {}
        listed = [_listed_type(found, first) for found in self._declared.values()]
        for place in self._places.of("agents"):
            for entry in files_in(place.folder, (".md",)):
                path = Path(place.folder, entry.name)
                try:
                    found = self._read_type(place, path)
                except AgentTypeError as error:
                    listed.append(ListedType(name=path.stem, description="", source=str(path), problem=str(error)))
                else:
                    listed.append(_listed_type(found, first))
        for plugin in self._plugins():
            for path in plugin.agents:
                try:
                    listed.append(_listed_type(_renamed(read_agent_type(path), plugin.name), first))
                except AgentTypeError as error:
                    name = f"{plugin.name}:{path.stem}"
                    listed.append(ListedType(name=name, description="", source=str(path), problem=str(error)))
        listed.extend(_listed_type(found, first) for found in BUILT_IN)
        return tuple(listed)

    def _of_plugin(self, name: str) -> AgentType | None:
        """The type `plugin:name` of an installed plugin."""
        prefix, colon, own = name.partition(":")
        for plugin in self._plugins(prefix) if colon else ():
            for path in plugin.agents:
                if path.stem == own or _mentions(path, own):
                    with suppress(AgentTypeError):
                        found = read_agent_type(path)
                        if found.name == own:
                            return _renamed(found, prefix)
        return None

    def _plugins(self, named: str | None = None) -> Iterator[Plugin]:
        return installed_plugins(self._config, self._places.workspace, named=named)

    def widened_types(self) -> tuple[tuple[Path, AgentType], ...]:
        """Files of the workspace that define a type with more than the user's, or the built-in one, of its name."""
        names = {each.name for each in BUILT_IN} | {each.name for each in self._user_types()}
        found: list[tuple[Path, AgentType]] = []
        for place in self._places.of("agents"):
            for entry in files_in(place.folder, (".md",)) if place.source == "project" else ():
                path = Path(place.folder, entry.name)
                if path.stem not in names and not any(_mentions(path, name) for name in names):
                    continue
                with suppress(AgentTypeError):
                    kind = self._read_type(place, path)
                    behind = self._behind(place, kind.name)
                    if behind is not None and widens(kind, behind):
                        found.append((path, kind))
        return tuple(found)

    def _behind(self, place: Place, name: str) -> AgentType | None:
        """The user's or built-in type whose name a type of a project has."""
        if place.source != "project":
            return None
        return next((each for each in (*self._user_types(name), *BUILT_IN) if each.name == name), None)

    def _user_types(self, name: str | None = None) -> Iterator[AgentType]:
        """The user's own types; with a name those that may have it."""
        for place in self._places.of("agents"):
            for entry in files_in(place.folder, (".md",)) if place.source == "user" else ():
                path = Path(place.folder, entry.name)
                if name is None or path.stem == name or _mentions(path, name):
                    with suppress(AgentTypeError):
                        yield self._read_type(place, path)

    def _read_type(self, place: Place, path: Path) -> AgentType:
        if self._places.leads_out(place, path):
            raise AgentTypeError(LEADS_OUT)
        return read_agent_type(path)

    def _shown(self, path: Path) -> str:
        return self._places.shown(path, self._home)


def _renamed(found: AgentType, plugin: str) -> AgentType:
    return replace(found, name=f"{plugin}:{found.name}")


def _listed_type(found: AgentType, first: dict[str, str]) -> ListedType:
    shadow = first.get(found.name)
    first.setdefault(found.name, found.source)
    return ListedType(name=found.name, description=found.description, source=found.source, shadowed_by=shadow)


def _mentions(path: Path, name: str) -> bool:
    """Whether a file holds the name at all; spares parsing those that do not."""
    try:
        data = read_bytes(path, limit_bytes=1024 * 1024)
    except UnreadableError:
        return False
    return name.encode("utf-8", "replace") in data


def _not_found(what: str, name: str, names: tuple[str, ...]) -> str:
    near = _near_names(name, names)
    message = f'there is no {what} "{name}".'
    if near:
        message += f" Did you mean {_quoted(near)}?"
    return f"{message} There are: {_some(names)}." if names else f"{message} There are none."


def _near_names(name: str, names: Iterable[str]) -> tuple[str, ...]:
    lowered = {known.lower(): known for known in names}
    return tuple(lowered[match] for match in get_close_matches(name.lower(), lowered, n=3, cutoff=0.6))


def _quoted(names: Iterable[str]) -> str:
    return " or ".join(f'"{name}"' for name in names)


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _MAX_NAMES} more" if len(listed) > _MAX_NAMES else ""
    return ", ".join(listed[:_MAX_NAMES]) + more
