"""What settings say of a run's calls: who serves them, and what their agents may do (FORMATS 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from callsheet.model.call import Effort
from callsheet.model.dataclass import dataclass

ORCHESTRATOR = "orchestrator"
"""The model that writes scripts. Where routing names it no call is meant: nothing in a run is called so."""

FileAccess = Literal["scoped", "workspace", "read-only"]
ExternalApi = Literal["deny", "allow"]
ShellExec = Literal["deny", "restricted", "allow"]

_BY_FREEDOM: tuple[FileAccess, ...] = ("read-only", "scoped", "workspace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How calls are served whose phase or label is like a pattern; None leaves what is asked otherwise.

    Attributes:
        pattern: A glob: `verify:*`.
        speed: `fast` is the service's fast mode; `standard` is none, also where a script asks for it.
    """

    pattern: str
    model: str | None = None
    effort: Effort | None = None
    speed: Literal["fast", "standard"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPermissions:
    """What one file of settings says that agents may do; None where it says nothing.

    Attributes:
        source: The file, as people know it.
        file_access: `scoped`: an agent changes files in the scope that its call declares, and none without one;
            `workspace`: it reads and changes files there; `read-only`: it changes nothing.
        external_api: Whether agents and their commands reach anything but the model.
        hosts: The only hosts that they reach; None for no such list.
        shell_exec: `restricted`: harmless commands and `shell_allow`; `allow`: all that no rule denies or asks about.
        shell_allow: Commands that are allowed, as in the brackets of a rule: `npm test`, `pytest *`.
        is_granted: What it allows is allowed. Else it restricts and no more: nobody trusts the file.
    """

    source: str
    file_access: FileAccess | None = None
    external_api: ExternalApi | None = None
    hosts: tuple[str, ...] | None = None
    shell_exec: ShellExec | None = None
    shell_allow: tuple[str, ...] = ()
    is_granted: bool = True


def file_access_of(said: Sequence[AgentPermissions]) -> FileAccess | None:
    """The strictest that any of them says; None where none says anything."""
    named = {each.file_access for each in said}
    return next((access for access in _BY_FREEDOM if access in named), None)
