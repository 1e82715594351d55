"""How an agent's program is started: found outside the workspace, held as agents' commands are, with its own login."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from callsheet.agents.mcp.launch import Launcher, ServerProgram, confined_by
from callsheet.agents.tools.shell import HeldProgram
from callsheet.errors import BackendUnavailableError
from callsheet.model.call import AcpProgram
from callsheet.model.confinement import CommandLimits, CommandNetwork, NetworkHosts, NetworkOff, NetworkOpen
from callsheet.model.dataclass import dataclass
from callsheet.programs import host_path

_OPEN_USUAL = (
    *("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
    *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "no_proxy", "all_proxy"),
)
"""Where nothing confines it: its login, and how it reaches the network."""

_USUAL = ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR")
_CPU_S = 30 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Launching:
    """What is ready to be started.

    Attributes:
        environ: What of its environment stands whatever the confinement says.
    """

    program: ServerProgram
    launcher: Launcher
    environ: dict[str, str]


def launching(
    said: AcpProgram,
    held: HeldProgram,
    *,
    folder: Path,
    root: Path,
    home: Path,
    host: Mapping[str, str],
    hosts: tuple[str, ...] | None,
) -> Launching:
    """How a program is started.

    Args:
        said: As it was declared.
        held: What holds it.
        folder: Where its agent works.
        root: The workspace.
        home: The user's folder.
        host: The host's environment.
        hosts: What may be reached at most; None for no such limit.

    Raises:
        BackendUnavailableError: There is no such program.
    """
    environ = dict(held.environ)
    names = [*_USUAL, *(() if held.is_confined else _OPEN_USUAL), *said.environment]
    environ |= {name: host[name] for name in names if name in host}
    found = _found(said.command[0], environ["PATH"], root=root, home=home, is_confined=held.is_confined)
    own = tuple(_expanded(each, home) for each in said.folders)
    places = tuple(each.resolve() for each in own if each.exists())
    profile = held.profile
    profile = replace(
        profile,
        writable=(*profile.writable, *places),
        visible=(*profile.visible, *places, *_program_places(found)),
        network=_network(said.hosts, hosts, otherwise=profile.network),
        limits=_limits(profile.limits),
    )
    return Launching(
        program=ServerProgram(argv=(str(found), *said.command[1:]), environ=environ, folder=folder),
        launcher=confined_by(held.confinement, lambda _: profile),
        # Its home is the user's where its login is: of a confined one nothing is there but the folders it was given.
        environ={"HOME": str(home)} if own or not held.is_confined else {},
    )


def _limits(limits: CommandLimits) -> CommandLimits:
    """A command's, for a program that lives as long as an agent."""
    return replace(limits, cpu_s=_CPU_S)


def _found(word: str, path: str, *, root: Path, home: Path, is_confined: bool) -> Path:
    """The program. Where nothing confines it none of the workspace is found by name, since agents may put one there."""
    if "/" in word:
        found = shutil.which(root / _expanded(word, home))
    else:
        found = shutil.which(word, path=path if is_confined else host_path(path, outside=[root]))
    if found is None:
        raise BackendUnavailableError(
            f"there is no program {word!r}; install it, or correct its name in settings", cause="program"
        )
    return Path(found)


def _expanded(name: str, home: Path) -> Path:
    return home / name[2:] if name.startswith("~/") else Path(name)


def _program_places(program: Path) -> tuple[Path, ...]:
    """Where a program and what belongs to it lie: a virtual environment with its base, the packages of Node."""
    resolved = program.resolve()
    found = [program.parent, resolved.parent]
    found += [each for each in resolved.parents if each.name == "node_modules"][:1]
    if (program.parent.parent / "pyvenv.cfg").is_file():
        found += [program.parent.parent, resolved.parent.parent]
    return tuple(dict.fromkeys(found))


def _network(
    said: tuple[str, ...] | None, most: tuple[str, ...] | None, *, otherwise: CommandNetwork
) -> CommandNetwork:
    """What it may reach: what was declared, as far as the run allows that."""
    if said is None:
        return otherwise
    if "*" in said:
        if most is None:
            return NetworkOpen()
        return NetworkHosts(hosts=most) if most else NetworkOff()
    kept = said if most is None else tuple(host for host in said if any(_covers(each, host) for each in most))
    return NetworkHosts(hosts=kept) if kept else NetworkOff()


def _covers(wide: str, narrow: str) -> bool:
    return wide == narrow or (wide.startswith("*.") and narrow.endswith(wide[1:]))
