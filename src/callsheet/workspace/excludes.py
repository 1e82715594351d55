"""The user's own file of what git ignores everywhere: editors' folders, notes, secrets that no repository lists."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

_LINE = re.compile(r"[ \t]*(?:\[(?P<section>[^\]\n]*)\][ \t]*)?(?:excludesfile[ \t]*=[ \t]*(?P<path>.*?)[ \t]*)?", re.I)
_MOST_BYTES = 1024 * 1024


def user_excludes(environ: Mapping[str, str]) -> Path | None:
    """The file that `core.excludesFile` of the user's own configuration names, else git's default; None without one.

    Read as text, so that no git need run in the user's name; files that the configuration includes are not looked at.

    Args:
        environ: For `HOME` and `XDG_CONFIG_HOME`.
    """
    home = environ.get("HOME")
    base = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else None)
    if base is None:
        return None
    files = [Path(base) / "git" / "config", *([Path(home) / ".gitconfig"] if home else [])]
    named = next((path for file in reversed(files) if (path := _named(file)) is not None), None)
    if named is None:
        found = Path(base) / "git" / "ignore"
    else:
        found = Path(home + named[1:] if home and named.startswith("~/") else named)
    return found if found.is_absolute() and found.is_file() else None


def _named(file: Path) -> str | None:
    try:
        text = os.fsdecode(file.read_bytes()[:_MOST_BYTES])
    except OSError:
        return None
    section, named = "", None
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            section = section if not line.lstrip().startswith("[") else ""
            continue
        section = section if match["section"] is None else match["section"].strip().lower()
        if match["path"] and section == "core":
            named = match["path"].strip('"')
    return named
