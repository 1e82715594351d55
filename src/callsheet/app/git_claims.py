"""What a repository's git configuration would have git run. Only told: no git that Callsheet runs obeys it (DESIGN 15).

Files are read as text; no git is started, so that an ordinary run pays nothing for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_LOOKED_AT = 256 * 1024
_SECTION = re.compile(r'^\s*\[\s*([\w.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]')
_ENTRY = re.compile(r"^\s*(?:\[[^\]]*\])?\s*([A-Za-z][\w-]*)\s*(?:=\s*(.*?))?\s*$")
_HARMLESS = frozenset({"", "true", "false", "cat", "1", "0", "yes", "no", "on", "off"})
_PROGRAMS = {
    "core": {"fsmonitor", "hookspath", "sshcommand", "pager", "editor", "askpass", "gitproxy", "alternaterefscommand"},
    "diff": {"command", "textconv", "external"},
    "filter": {"clean", "smudge", "process"},
    "merge": {"driver"},
    "credential": {"helper"},
    "gpg": {"program"},
    "sequence": {"editor"},
    "include": {"path"},
    "includeif": {"path"},
    "remote": {"uploadpack", "receivepack", "proxy"},
    "submodule": {"update"},
    "difftool": {"cmd"},
    "mergetool": {"cmd"},
    "trailer": {"command", "cmd"},
}


def git_lines(root: Path) -> Iterator[str]:
    """One line for each file of a repository that would make git do something."""
    git = root / ".git"
    folder = git
    if git.is_symlink():
        yield "ignored: .git is a symbolic link; git is not used here (.git)"
        return
    if git.is_file():
        named = _text(git).removeprefix("gitdir:").strip()
        folder = Path(os.path.realpath(root / named)) if named else git
        if named and folder.is_relative_to(os.path.realpath(root)):
            yield f"ignored: .git leads to {named} inside the workspace, which a repository can fill as it likes (.git)"
    common = _text(folder / "commondir").strip()
    for place in dict.fromkeys((folder, Path(os.path.realpath(folder / common)) if common else folder)):
        for name in ("config", "config.worktree"):
            if keys := _programs(_text(place / name)):
                yield f"ignored: what git would be made to do by {', '.join(keys)} ({_shown(root, place / name)})"
    modules = _text(root / ".gitmodules")
    if re.search(r"^\s*(?:update\s*=\s*!|url\s*=\s*(?:ext::|-))", modules, re.MULTILINE):
        yield "ignored: submodules that name programs; none is ever fetched (.gitmodules)"


def _programs(text: str) -> list[str]:
    """The settings that name programs, or other files of settings."""
    section, sub = "", None
    found: dict[str, None] = {}
    for line in text.splitlines():
        if (head := _SECTION.match(line)) is not None:
            section, sub = head[1].lower(), head[2]
            section, _, old_style = section.partition(".")
            sub = sub or old_style or None
            line = line[head.end() :]
        entry = _ENTRY.match(line)
        if entry is None:
            continue
        key, value = entry[1].lower(), (entry[2] or "").strip('"')
        is_alias = section == "alias" and value.startswith("!")
        if is_alias or (key in _PROGRAMS.get(section, ()) and value.lower() not in _HARMLESS):
            found[".".join(each for each in (section, sub, entry[1]) if each)] = None
    return [*found][:20]


def _shown(root: Path, path: Path) -> str:
    real = os.path.realpath(root)
    return str(path.relative_to(real)) if path.is_relative_to(real) else str(path)


def _text(path: Path) -> str:
    from callsheet.library.files import UnreadableError, read_start

    try:
        return read_start(path, limit_bytes=_LOOKED_AT).decode("utf-8", "replace")
    except UnreadableError:
        return ""
