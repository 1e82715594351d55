"""Which places of a system are nobody's business but the user's, and which are needed to run programs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from callsheet.confinement.supervised import user_home
from callsheet.model.confinement import CommandProfile

_HIDDEN = ("/home", "/root", "/tmp", "/var/tmp", "/run", "/var/run", "/media", "/lost+found", "/dev/shm")
_SECRET_FILES = (
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/krb5.keytab",
    "/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_ed25519_key",
)  # fmt: skip
_NEEDED = ("/run/current-system", "/run/opengl-driver")
"""Programs of systems that keep them there (NixOS)."""


def hidden_folders(profile: CommandProfile) -> tuple[Path, ...]:
    """Folders that a command sees nothing of, outermost only, without what the profile adds."""
    found = {Path(each).resolve() for each in _HIDDEN if Path(each).is_dir()} | {user_home(profile)}
    return tuple(sorted(each for each in found if not any(other in each.parents for other in found)))


def secret_files() -> tuple[Path, ...]:
    """Files of the system that only root may read, and root's agents need not."""
    return tuple(path for each in _SECRET_FILES if os.access(path := Path(each), os.R_OK))


def visible_places(profile: CommandProfile) -> tuple[Path, ...]:
    """What is to be seen although it lies in a hidden place."""
    return (*existing(profile.visible), *existing(Path(each) for each in _NEEDED))


def existing(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Those that are there, without links, each once, outermost first."""
    found = {path.resolve() for path in paths if os.path.lexists(path)}
    return tuple(sorted((path for path in found if path.exists()), key=lambda path: (len(path.parts), path)))


def name_servers() -> Path | None:
    """The file that says where names are resolved, where it lies in a hidden place."""
    real = Path("/etc/resolv.conf").resolve()
    return real if real.is_file() and real.parts[1:2] == ("run",) else None
