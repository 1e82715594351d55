"""Project memory: what a project, and the person at this machine, tell every agent (FORMATS 6).

Memory takes effect by itself, trusted or not, for it is text: it informs what agents do and widens nothing that they
may do. So it is read with care all the same: a project's files come from the project, whatever links and imports say.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from callsheet.library.files import UnreadableError, read_text
from callsheet.model.dataclass import dataclass

NAMES = ("CLAUDE.local.md", "CLAUDE.md", ".claude/CLAUDE.md", "AGENTS.md")
"""Memory of a folder, in the order in which it is shown."""

USER_NAME = "CLAUDE.md"
MAX_FILE_BYTES = 128 * 1024
MAX_BYTES = 384 * 1024
MAX_FILES = 64
MAX_DEPTH = 5
_MOST_NOTES = 8

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_CODE = re.compile(r"(`+)(?:.|\n)*?\1")
_IMPORT = re.compile(r"(?:^|(?<=\s))@((?:~/|\.{0,2}/)?[\w.][^\s`'\"<>()]*)")
_LEADS_UP = ("~", "/", "../")
_DOCUMENTS = (".md", ".mdx", ".txt", ".rst")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryText:
    """The memory of one folder.

    Attributes:
        text: Every file with its name, nearest first; empty where there is none.
        files: Their names, as people know them.
        digest: A hash of `text`, for the record (CONTRACT R02); None where there is none.
        left_out: What was not taken, and why, a few words each.
    """

    text: str = ""
    files: tuple[str, ...] = ()
    digest: str | None = None
    left_out: tuple[str, ...] = ()

    def note(self) -> str | None:
        """One line on what was left out; None where nothing was."""
        if not self.left_out:
            return None
        more = len(self.left_out) - _MOST_NOTES
        rest = f"; and {more} more" if more > 0 else ""
        return f"project memory: left out: {'; '.join(self.left_out[:_MOST_NOTES])}{rest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Where files come from: none is read that lies elsewhere in the end.

    Attributes:
        inside: All links followed.
        name: A path as it is shown.
        is_project: It is the project's, not the user's own.
    """

    inside: Path
    name: Callable[[Path], str]
    is_project: bool = True


class Memory:
    """The memory of one run. Each file is read once, so that every agent of the run is told the same.

    Attributes:
        shown: The workspace, by whose paths agents know the project's files.

    Args:
        folder: Where the project's files are read: the workspace, or a copy of what a commit has.
        shown: As the attribute.
        user: The user's own folder, `~/.claude`; None for no memory of the user's.
        home: The user's home folder, for imports that begin with `~/`.
        is_copy: `folder` is a copy, which has not all files of the project.
    """

    def __init__(self, *, folder: Path, shown: Path, user: Path | None, home: Path, is_copy: bool = False) -> None:
        root = Path(os.path.realpath(folder))
        self._root = root
        self.shown = shown
        self._home = home
        self._is_copy = is_copy
        self._project = _Source(inside=root, name=lambda path: str(shown / path.relative_to(root)))
        self._user: _Source | None = None
        if user is not None:
            own = Path(os.path.realpath(user))
            self._user = _Source(inside=own, name=str, is_project=False)
        self._texts: dict[str, MemoryText] = {}
        self._read: dict[Path, str | UnreadableError] = {}

    def of(self, cwd: str = ".") -> MemoryText:
        """The memory for agents that work in a folder of the workspace. The first call for a folder reads files.

        Args:
            cwd: Relative to the workspace; one that leads out of it has the memory of its root.
        """
        known = self._texts.get(cwd)
        if known is None:
            known = self._texts[cwd] = self._gather(cwd)
        return known

    def _gather(self, cwd: str) -> MemoryText:
        taken = _Taken()
        for folder in self._folders(cwd):
            for name in NAMES:
                self._take(folder / name, self._project, taken, depth=0, asked_by=None)
        if self._user is not None:
            self._take(self._user.inside / USER_NAME, self._user, taken, depth=0, asked_by=None)
        text = "\n\n".join(f'<memory file="{name}">\n{body.strip()}\n</memory>' for name, body in taken.files)
        return MemoryText(
            text=text,
            files=tuple(name for name, _ in taken.files),
            digest=hashlib.sha256(text.encode()).hexdigest() if text else None,
            left_out=tuple(dict.fromkeys(taken.left_out)),
        )

    def _folders(self, cwd: str) -> Iterator[Path]:
        """From the agent's folder up to the root."""
        here = Path(os.path.realpath(self._root / cwd))
        if not here.is_relative_to(self._root):
            here = self._root
        yield here
        while here != self._root:
            here = here.parent
            yield here

    def _take(self, path: Path, source: _Source, taken: _Taken, *, depth: int, asked_by: str | None) -> None:
        """Takes one file, and what it imports after it."""
        real = Path(os.path.realpath(path))
        if real in taken.seen:
            return
        name = source.name(path) if path.is_relative_to(source.inside) else str(path)
        shown = name if asked_by is None else f"@{name} of {asked_by}"
        if not real.is_relative_to(source.inside):
            if os.path.lexists(path):
                taken.left_out.append(f"{shown} lies outside")
            return
        body = self._body(real)
        if isinstance(body, UnreadableError):
            if os.path.lexists(path) and not real.is_dir():
                taken.left_out.append(f"{shown} {body.reason}")
            return
        taken.seen.add(real)
        if not body.strip() or body in taken.bodies:
            return
        if len(taken.files) >= MAX_FILES or taken.size_bytes + len(body.encode()) > MAX_BYTES:
            taken.left_out.append(f"{shown} is more than {MAX_BYTES // 1024} KiB or {MAX_FILES} files in all")
            return
        taken.add(name, body)
        for target in _imports(body):
            self._import(target, path, name, source, taken, depth=depth + 1)

    def _import(self, target: str, path: Path, name: str, source: _Source, taken: _Taken, *, depth: int) -> None:
        is_claimed = path in (self._root / name for name in NAMES)
        if is_claimed and target.startswith(_LEADS_UP) and self._leads_out(path, target):
            return  # what a workspace's own files ask for and never get is said with the rest of that, before the run
        base, below = (self._home, target[2:]) if target.startswith("~/") else (path.parent, target)
        place = Path(os.path.normpath(base / below))
        if depth > MAX_DEPTH:
            if place.is_file():
                taken.left_out.append(f"@{target} of {name} is imported too deep")
            return
        if self._is_copy and source.is_project and target.endswith(_DOCUMENTS) and not os.path.lexists(place):
            taken.left_out.append(f"@{target} of {name} is not among what is copied from a ref")
            return
        self._take(place, source, taken, depth=depth, asked_by=name)

    def _leads_out(self, path: Path, target: str) -> bool:
        return target.startswith("~") or not Path(os.path.realpath(path.parent / target)).is_relative_to(self._root)

    def _body(self, real: Path) -> str | UnreadableError:
        found = self._read.get(real)
        if found is None:
            try:
                found = read_text(real, limit_bytes=MAX_FILE_BYTES)
            except UnreadableError as error:
                found = error
            self._read[real] = found
        return found


class _Taken:
    """What was taken so far, in order."""

    def __init__(self) -> None:
        self.files: list[tuple[str, str]] = []
        self.left_out: list[str] = []
        self.seen: set[Path] = set()
        self.bodies: set[str] = set()
        self.size_bytes = 0

    def add(self, name: str, body: str) -> None:
        self.files.append((name, body))
        self.bodies.add(body)
        self.size_bytes += len(body.encode())


def _imports(text: str) -> Iterator[str]:
    """The paths that a text imports, each once; not what stands in code, nor names of people and packages."""
    plain = _CODE.sub(" ", "\n".join(_without_blocks(text)))
    for target in dict.fromkeys(found.rstrip(".,;:!?") for found in _IMPORT.findall(plain)):
        if target and "\0" not in target:
            yield target


def _without_blocks(text: str) -> Iterator[str]:
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if fence:
            if mark is not None and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            continue
        if mark is not None:
            fence = mark[1]
            continue
        yield line
