"""Skills: instructions that an agent reads when it needs them, listed to it by name (FORMATS 6)."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from callsheet.errors import NotFoundError
from callsheet.library.files import UnreadableError, read_text
from callsheet.library.front import FrontMatterError, read_front
from callsheet.library.places import LEADS_OUT, Place, Places
from callsheet.model.dataclass import dataclass

FILE = "SKILL.md"
MAX_FILE_BYTES = 256 * 1024
MAX_SKILLS = 500
"""Of one folder of skills."""

DESCRIPTION_CHARS = 1024
LIST_CHARS = 16_000
"""Of the list that agents are shown; each description is shown shorter where there are many."""

_SHORT_CHARS = 120
_NAME_CHARS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSkill:
    """A skill, as a list of them shows it.

    Attributes:
        name: Of the front matter, else of the folder.
        description: When to use it, on one line.
        source: The file.
        problem: Why it cannot be used, None if it can.
        shadowed_by: The file of the nearer skill of the same name.
        for_people: Agents are not shown it: only people call it up.
    """

    name: str
    description: str
    source: str
    problem: str | None = None
    shadowed_by: str | None = None
    for_people: bool = False

    @property
    def is_offered(self) -> bool:
        """Whether agents are shown it."""
        return self.problem is None and self.shadowed_by is None and not self.for_people


class _UnusableError(Exception):
    pass


class Skills:
    """The skills of one workspace and user. Files are looked at anew at each call.

    Args:
        workspace: The workspace's root.
        start: The folder that the agent is in; nearer folders win.
        home: The user's home folder.
        config_dir: The user's folder of such files (`CLAUDE_CONFIG_DIR`); None for `.claude` in `home`.
    """

    def __init__(self, *, workspace: Path, start: Path, home: Path, config_dir: Path | None = None) -> None:
        self._places = Places(workspace=workspace, start=start, config=config_dir or home / ".claude")

    def skills(self) -> tuple[ListedSkill, ...]:
        """Every skill there is, nearest first; those that cannot be used with the reason, hiding none."""
        first: dict[str, str] = {}
        found: list[ListedSkill] = []
        for place, path in self._files():
            try:
                listed = self._listed(place, path, first)
            except _UnusableError as error:
                listed = ListedSkill(
                    name=_one_line(path.parent.name, _NAME_CHARS), description="", source=str(path), problem=str(error)
                )
            found.append(listed)
        return tuple(found)

    def listing(self) -> str:
        """The skills as an agent is shown them, one a line; empty where there are none."""
        offered = [skill for skill in self.skills() if skill.is_offered]
        if not offered:
            return ""
        lines = [f"- {skill.name}: {skill.description}" for skill in offered]
        if sum(map(len, lines)) > LIST_CHARS:
            lines = [f"- {skill.name}: {_one_line(skill.description, _SHORT_CHARS)}" for skill in offered]
        most = LIST_CHARS // (_SHORT_CHARS + _NAME_CHARS)
        if len(lines) > most:
            lines = [*lines[:most], f"- and {len(lines) - most} more that are not shown"]
        return "\n".join(lines)

    def read(self, name: str) -> str:
        """The whole text of a skill, with the folder that its own files are in.

        Raises:
            NotFoundError: There is no such skill, or it cannot be used; names those that look alike.
        """
        skills = self.skills()
        for skill in skills:
            if skill.name != name or skill.shadowed_by is not None:
                continue
            if skill.problem is not None:
                raise NotFoundError(f'the skill "{name}" ({skill.source}) {skill.problem}', name=name)
            path = Path(skill.source)
            try:
                _, body = read_front(read_text(path, limit_bytes=MAX_FILE_BYTES))
            except (UnreadableError, FrontMatterError) as error:
                raise NotFoundError(f'the skill "{name}" ({path}) {error}', name=name) from None
            return f"Folder of this skill: {path.parent}\n\n{body.strip()}"
        names = [skill.name for skill in skills if skill.is_offered]
        near = tuple(get_close_matches(name, names, n=3, cutoff=0.6))
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise NotFoundError(f'there is no skill "{_one_line(name, _NAME_CHARS)}".{hint}', name=name, near=near)

    def folders(self) -> tuple[Path, ...]:
        """The folders of all skills that agents are shown, links followed: what an agent needs to read of them."""
        return tuple(Path(os.path.realpath(Path(skill.source).parent)) for skill in self.skills() if skill.is_offered)

    # --- files --------------------------------------------------------------------------------------------------------

    def _files(self) -> Iterator[tuple[Place, Path]]:
        for place in self._places.of("skills"):
            try:
                with os.scandir(place.folder) as entries:
                    names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
            except OSError:
                continue
            for name in names[:MAX_SKILLS]:
                path = place.folder / name / FILE
                if os.path.lexists(path):
                    yield place, path

    def _listed(self, place: Place, path: Path, first: dict[str, str]) -> ListedSkill:
        if self._places.leads_out(place, path):
            raise _UnusableError(LEADS_OUT)
        try:
            values, body = read_front(read_text(path, limit_bytes=MAX_FILE_BYTES))
        except UnreadableError as error:
            raise _UnusableError(error.reason) from None
        except FrontMatterError as error:
            raise _UnusableError(str(error)) from None
        name = _text(values, "name") or path.parent.name
        if not name.isprintable() or len(name) > _NAME_CHARS or any(char.isspace() for char in name):
            raise _UnusableError(f"has a name that is not one word of at most {_NAME_CHARS} characters")
        first_line = next((line for line in body.splitlines() if line.strip(" \t#")), "")
        description = _one_line(_text(values, "description") or first_line.strip(" \t#"), DESCRIPTION_CHARS)
        if not description:
            raise _UnusableError("has no description: add a line `description: …` that says when to use it")
        shadow = first.get(name)
        first.setdefault(name, str(path))
        return ListedSkill(
            name=name,
            description=description,
            source=str(path),
            shadowed_by=shadow,
            for_people=str(values.get("disable-model-invocation", "")).lower() == "true",
        )


def _text(values: Mapping[str, Any], key: str) -> str | None:
    value = values.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise _UnusableError(f"has `{key}` that is not text")
    return value.strip()


def _one_line(text: str, most_chars: int) -> str:
    """Text as one line of a list, without what people do not see and models read."""
    line = " ".join("".join(" " if char.isspace() else char for char in text if _is_seen(char)).split())
    return line if len(line) <= most_chars else f"{line[: most_chars - 1]}…"


def _is_seen(char: str) -> bool:
    return char.isspace() or unicodedata.category(char) not in ("Cc", "Cf", "Co", "Cs")
