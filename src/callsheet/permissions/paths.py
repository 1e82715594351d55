"""Which paths an agent may read and write: the workspace, its scope, and what is protected (DESIGN 9)."""

from __future__ import annotations

import os
import stat
import tomllib
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from callsheet.errors import UsageError
from callsheet.model.call import Scope
from callsheet.model.dataclass import dataclass
from callsheet.permissions.globs import Globs

_RECORD = ".callsheet"
_MAX_LINKS = 40
_SAY_SO = "say in your answer what should be changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PathDecision:
    """Whether an agent may touch a path.

    Attributes:
        path: Where it leads, all links followed; None where it leads nowhere or out of the workspace.
        relative: The same, relative to the root of the workspace, `.` for the root.
        reason: For the agent: why, and what it can do instead.
        rule: What decided, in a few words (FORMATS 1, `denials`).
    """

    allowed: bool
    path: Path | None
    relative: str | None
    reason: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """One entry of the protected paths: names in a row, in the form of `folded`."""

    name: str
    parts: tuple[str, ...]
    why: str


class PathPolicy:
    """Decides for one agent what it may read and write. Follows links as they are at that moment and changes nothing.

    What is opened afterwards must be opened beneath the root without following links (`callsheet.workspace.files`),
    since a link can be put there in between.

    Args:
        root: The workspace.
        cwd: The agent's folder, relative to the root: where its relative paths begin.
        scope: Globs that narrow what it may touch; None for no narrowing.
        read_only: It may change nothing.

    Raises:
        UsageError: `cwd` is not a folder inside the workspace.
    """

    def __init__(self, root: Path, cwd: str = ".", scope: Scope | None = None, read_only: bool = False) -> None:
        self._root = self._cwd = str(root.resolve())
        self._read_only = read_only
        self._read_scope = scope.read if scope is not None else None
        self._write_scope = scope.write if scope is not None else None
        self._read_globs = None if self._read_scope is None else Globs(self._read_scope)
        self._write_globs = None if self._write_scope is None else Globs(self._write_scope)
        found = self._resolve(cwd)
        if not isinstance(found, _Found) or not found.is_folder or self._is_record(found.relative):
            raise UsageError(f"The folder {cwd!r} is not a folder inside the workspace {self._root}; name one that is.")
        self._cwd = found.path

    @property
    def root(self) -> Path:
        """The root of the workspace, all links followed: what `PathDecision.relative` is relative to."""
        return Path(self._root)

    @property
    def folder(self) -> Path:
        """The agent's folder, all links followed."""
        return Path(self._cwd)

    def read(self, path: str) -> PathDecision:
        """Whether a file may be read, or a folder listed. A folder that may hold files of the scope may be listed."""
        found = self._resolve(path)
        if isinstance(found, PathDecision):
            return found
        globs = self._read_globs
        if self._is_record(found.relative):
            return self._record_denied(found)
        if globs is None:
            return found.allowed("workspace")
        if globs.match(found.relative) or (found.is_folder and globs.reach(found.relative)):
            return found.allowed("scope")
        return found.denied(
            f"{found.relative} is not in the scope that this agent may read ({_shown(self._read_scope)}). "
            "Work with what is in it.",
            rule="scope",
        )

    def write(self, path: str) -> PathDecision:
        """Whether a file or folder may be made, changed or removed."""
        found = self._resolve(path)
        if isinstance(found, PathDecision):
            return found
        if self._is_record(found.relative):
            return self._record_denied(found)
        if self._read_only:
            return found.denied(f"This agent may change nothing; {_SAY_SO}.", rule="read-only agent")
        protected = protection_of(found.relative)
        if protected is not None:
            return found.denied(
                f"{found.relative} is protected: {protected.name} may not be changed by agents, because "
                f"{protected.why}. Leave it as it is, and {_SAY_SO} there.",
                rule=f"protected path {protected.name}",
            )
        if self._write_globs is None:
            return found.allowed("workspace")
        if self._write_globs.match(found.relative):
            return found.allowed("scope")
        return found.denied(
            f"{found.relative} is not in the scope that this agent may write ({_shown(self._write_scope)}). "
            f"Change what is in it, and {_SAY_SO} elsewhere.",
            rule="scope",
        )

    def _resolve(self, path: str) -> _Found | PathDecision:
        fault = _fault_in(path)
        if fault is not None:
            return _nowhere(fault, rule="not a path")
        try:
            real, is_folder = _follow(self._cwd, path)
        except _UnreachableError as error:
            if self._relative(error.path) is None:
                return self._outside(path)
            return _nowhere(f"{path} leads nowhere: {error.reason}.", rule="not a path")
        relative = self._relative(real)
        if relative is None:
            return self._outside(path)
        return _Found(path=real, relative=relative, is_folder=is_folder)

    def _relative(self, real: str) -> str | None:
        if real == self._root:
            return "."
        prefix = self._root.rstrip("/") + "/"
        return real.removeprefix(prefix) if real.startswith(prefix) else None

    def _outside(self, path: str) -> PathDecision:
        return _nowhere(
            f"{path} lies outside the workspace {self._root}. Give a path inside it.", rule="outside the workspace"
        )

    @staticmethod
    def _is_record(relative: str) -> bool:
        return _RECORD in map(folded, relative.split("/"))

    @staticmethod
    def _record_denied(found: _Found) -> PathDecision:
        return found.denied(
            f"{_RECORD} holds the record of the run, which agents do not see. Leave it alone.", rule=_RECORD
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A path inside the workspace, resolved."""

    path: str
    relative: str
    is_folder: bool

    def allowed(self, rule: str) -> PathDecision:
        return PathDecision(
            allowed=True, path=Path(self.path), relative=self.relative, reason=f"It lies in the {rule}.", rule=rule
        )

    def denied(self, reason: str, *, rule: str) -> PathDecision:
        return PathDecision(allowed=False, path=Path(self.path), relative=self.relative, reason=reason, rule=rule)


def _nowhere(reason: str, *, rule: str) -> PathDecision:
    return PathDecision(allowed=False, path=None, relative=None, reason=reason, rule=rule)


def _shown(scope: tuple[str, ...] | None) -> str:
    return ", ".join(scope or ()) or "nothing"


def _fault_in(path: str) -> str | None:
    """Why a text is no path at all, None if it may be one."""
    if not path:
        return "The path is empty. Give one relative to the workspace."
    if path.startswith("~"):
        return f"{path}: ~ is not expanded. Give a path relative to the workspace."
    if "\0" in path:
        return "The path holds a NUL character. Give one without it."
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return "The path holds half a character (a lone surrogate). Give one that is text."
    return None


# --- where a path leads -----------------------------------------------------------------------------------------------


def where(start: Path, path: str) -> Path | None:
    """Where a path leads from a folder, all links followed, inside a workspace or not; None where it cannot be told."""
    try:
        return Path(_follow(os.path.realpath(start), path)[0])
    except (_UnreachableError, ValueError):
        return None


class _UnreachableError(Exception):
    """A path cannot be followed beyond `path`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


def as_written(folder: Path, path: str) -> Path:
    """A path from a folder as it is written, without following links."""
    plain = os.path.normpath(folder / path)
    return Path("/" + plain.lstrip("/"))


def _follow(start: str, path: str) -> tuple[str, bool]:
    """Where a path leads from a real folder, and whether a folder is there. What does not exist is taken as written.

    With text instead of `Path`, which would take five times as long: each tool call comes through here.

    Raises:
        _UnreachableError: A file in place of a folder, links in a circle, no permission.
    """
    here = "/" if path.startswith("/") else start
    is_folder = True
    pending = path.split("/")[::-1]
    links = 0
    while pending:
        name = pending.pop()
        if name in ("", "."):
            continue
        if name == "..":
            here, is_folder = here.rpartition("/")[0] or "/", True
            continue
        step = f"{here.rstrip('/')}/{name}"
        try:
            mode = os.lstat(step).st_mode
            target = str(Path(step).readlink()) if stat.S_ISLNK(mode) else None
        except FileNotFoundError:
            here, is_folder = step, False
            continue
        except OSError as error:
            raise _UnreachableError(step, os.strerror(error.errno or 0).lower()) from None
        if target is None:
            here, is_folder = step, stat.S_ISDIR(mode)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise _UnreachableError(step, "its links go in a circle")
        if target.startswith("/"):
            here = "/"
        pending.extend(target.split("/")[::-1])
    return here, is_folder


# --- protected paths --------------------------------------------------------------------------------------------------


def folded(name: str) -> str:
    """A name in the form in which file systems that are not exact would find the same file by it."""
    if name.isascii():
        return name.lower().rstrip(". ")
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", name).casefold())
    return "".join(char for char in plain if unicodedata.category(char) != "Cf").rstrip(". ")


@cache
def protected_paths() -> dict[str, tuple[Protected, ...]]:
    """The entries of `protected.toml`, by their first part."""
    text = Path(__file__).with_name("protected.toml").read_text(encoding="utf-8")
    found: dict[str, tuple[Protected, ...]] = {}
    for entry in _entries(tomllib.loads(text)["protected"]):
        found[entry.parts[0]] = (*found.get(entry.parts[0], ()), entry)
    return found


def _entries(groups: list[dict[str, object]]) -> Iterator[Protected]:
    for group in groups:
        names = group["names"]
        assert isinstance(names, list)
        for name in names:
            yield Protected(name=name, parts=tuple(map(folded, name.split("/"))), why=str(group["why"]))


def protection_of(relative: str) -> Protected | None:
    """The entry that protects a path, relative to the workspace and without links; None where none does."""
    names = tuple(map(folded, relative.split("/")))
    for at, name in enumerate(names):
        for entry in protected_paths().get(name, ()):
            if names[at : at + len(entry.parts)] == entry.parts:
                return entry
    return None


def begins_protected(path: str) -> bool:
    """Whether a path ends in the beginning of an entry of several names, such as `.github` of `.github/workflows`."""
    name = folded(path.rstrip("/").rpartition("/")[2])
    return any(name in entry.parts[:-1] for entries in protected_paths().values() for entry in entries)
