"""What of the host's environment an agent's command gets: little, and by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_USUAL = ("PATH", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME")
_USUAL_START = "LC_"
_PATH = "/usr/local/bin:/usr/bin:/bin"
_NEVER = re.compile(
    r"BASH_ENV|ENV|SHELLOPTS|BASHOPTS|BASH_FUNC_.*|PROMPT_COMMAND|PS4|CDPATH|GLOBIGNORE|IFS|POSIXLY_CORRECT"
    r"|LD_.*|DYLD_.*|GIT_.*|SSH_AUTH_SOCK|DBUS_.*|XDG_RUNTIME_DIR|DOCKER_HOST|CALLSHEET_.*"
)
"""They change what a command means after it was judged, or lead to what is kept from it."""
_CREDENTIAL = re.compile(
    r"KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|AUTH|COOKIE|SESSION|HEADERS|_PAT\Z|_DSN\Z|DATABASE_URL"
)


INSIDE_RUN = "CALLSHEET_INSIDE_RUN"
"""The mark of what agents start: it names their run. Neither agents nor what configures their programs choose it."""


def inside_run(environ: Mapping[str, str], run_id: str) -> dict[str, str]:
    """A host's environment as what hands it on to programs of a run's agents has it: with their mark."""
    return {**environ, INSIDE_RUN: run_id}


def mark_of(environ: Mapping[str, str]) -> dict[str, str]:
    """The mark alone, to be set over whatever else a program is given; empty where there is none."""
    return {INSIDE_RUN: environ[INSIDE_RUN]} if INSIDE_RUN in environ else {}


def command_environment(
    environ: Mapping[str, str], *, keep: Iterable[str] = (), workspace: Path | None = None
) -> dict[str, str]:
    """The environment of a command; the confinement adds `HOME` and `TMPDIR`.

    Args:
        environ: The host's, as `inside_run` makes it.
        keep: Names that the user lists; those that look like credentials, and those that change what a shell does, are
            left out all the same.
        workspace: Folders inside it are taken out of `PATH`: for commands that nothing confines, since an agent can
            put a program of any name there.
    """
    names = {name for name in environ if name in _USUAL or name.startswith(_USUAL_START)} | set(keep)
    kept = {name: environ[name] for name in sorted(names) if name in environ and may_be_kept(name)}
    folders = [each for each in environ.get("PATH", _PATH).split(":") if _is_safe(each, workspace)]
    return {**kept, "PATH": ":".join(folders) or _PATH, "TERM": "dumb", "SHELL": "/bin/bash", **mark_of(environ)}


def may_be_kept(name: str) -> bool:
    """Whether a variable may be handed to commands at all, if the user lists it."""
    return not _NEVER.fullmatch(name) and not _CREDENTIAL.search(name.upper()) and name.isidentifier()


def _is_safe(folder: str, workspace: Path | None) -> bool:
    if not Path(folder).is_absolute():
        return False
    return workspace is None or not Path(folder).resolve().is_relative_to(workspace.resolve())
