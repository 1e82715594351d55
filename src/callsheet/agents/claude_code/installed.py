"""Whether Claude Code can be used here: its SDK, and its program. Nothing of either is loaded to find out."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from callsheet.errors import ConfigError
from callsheet.programs import host_path

NAME = "claude_code"
OLDEST_VERSION = (2, 1, 330)
"""Older programs do not keep all that is asked of them here, and say nothing of it."""

_SDK = "claude_agent_sdk"
_PROGRAM = "claude"
_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})")
_ANSWERS_WITHIN_S = 20.0

NO_SDK = (
    "the backend claude_code needs Claude Code's SDK, which is not installed. "
    "Install it: pip install 'callsheet[claude-code]'."
)
NO_PROGRAM = (
    "the backend claude_code needs the program of Claude Code: this package of its SDK brings none for this machine, "
    "and there is no `claude` on PATH outside the workspace. Install it: npm install -g @anthropic-ai/claude-code."
)


def is_installed() -> bool:
    """Whether the SDK is there; it may still find no program."""
    return find_spec(_SDK) is not None


def find_program(environ: Mapping[str, str], *, outside: Sequence[Path] = ()) -> Path:
    """The program: the one that came with the SDK, else `claude` on `PATH`.

    Args:
        environ: For `PATH`.
        outside: Workspaces; no program in them is taken, since agents could put one there.

    Raises:
        ConfigError: There is no SDK, or no program; says how to get it.
    """
    spec = find_spec(_SDK)
    if spec is None or spec.origin is None:
        raise ConfigError(NO_SDK)
    bundled = Path(spec.origin).parent / "_bundled" / _PROGRAM
    if bundled.is_file():
        return bundled
    found = shutil.which(_PROGRAM, path=host_path(environ.get("PATH"), outside=outside))
    if found is None:
        raise ConfigError(NO_PROGRAM)
    return Path(found)


def require_version(program: Path, environ: Mapping[str, str]) -> str:
    """The program's version, which is new enough; runs it where nothing beside it says so. Takes up to 20 s.

    Raises:
        ConfigError: It is too old, or does not run; says what to do.
    """
    text = _version_text(program, environ)
    found = _VERSION.search(text)
    if found is None:
        raise ConfigError(f"{program} did not say its version but {text[:200]!r}. Install Claude Code anew.")
    if tuple(int(part) for part in found.groups()) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise ConfigError(f"{program} is version {found[0]}, and {oldest} is needed. Update it: claude update.")
    return found[0]


def _version_text(program: Path, environ: Mapping[str, str]) -> str:
    beside = program.with_name("claude.version")
    if beside.is_file():
        return beside.read_text(encoding="utf-8", errors="replace")
    try:
        ran = subprocess.run(
            [program, "--version"],
            env=dict(environ),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWERS_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise ConfigError(f"{program} cannot be run: {fault}. Install Claude Code anew.") from None
    return (ran.stdout + ran.stderr).decode("utf-8", "replace").strip()
