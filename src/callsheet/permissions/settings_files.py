"""Settings files as they lie on disk, read with care and checked. Apart, because loading Pydantic takes time."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from callsheet.errors import ConfigError

MAX_SETTINGS_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class PermissionsTable(BaseModel):
    """The key `permissions`; entries of its lists are read one by one later."""

    model_config = ConfigDict(extra="ignore", strict=True)

    allow: list[Any] = Field(default_factory=list)
    ask: list[Any] = Field(default_factory=list)
    deny: list[Any] = Field(default_factory=list)
    default_mode: str | None = Field(default=None, alias="defaultMode")
    additional_directories: list[str] = Field(default_factory=list, alias="additionalDirectories")
    disable_bypass: Literal["disable"] | None = Field(default=None, alias="disableBypassPermissionsMode")


class SettingsFile(BaseModel):
    """What of a settings file has a meaning here, and the names of all that it says."""

    model_config = ConfigDict(extra="allow", strict=True)

    permissions: PermissionsTable = Field(default_factory=PermissionsTable)
    managed_rules_only: bool = Field(default=False, alias="allowManagedPermissionRulesOnly")
    hooks: dict[str, Any] = Field(default_factory=dict)

    @property
    def other_keys(self) -> tuple[str, ...]:
        """What it says that has no meaning here."""
        return tuple(self.model_extra or ())


def read_settings_file(path: Path, *, name: str) -> SettingsFile:
    """Reads one file.

    Args:
        path: A regular file; links are followed.
        name: What it is called in messages.

    Raises:
        ConfigError: It cannot be read as settings: its rules might deny something.
    """
    data = read_small_file(path, name=name)
    try:
        return SettingsFile.model_validate_json(data.removeprefix(_BOM))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        at = f" at {place}" if place else ""
        raise ConfigError(f"{name} cannot be read as settings{at}: {first['msg']}. Mend or remove it.") from None


def read_small_file(path: Path, *, name: str) -> bytes:
    """The bytes of a regular file of settings. Returns at once, whatever the path leads to.

    Raises:
        ConfigError: It cannot be read, is something else than a file, or is larger than settings are.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise ConfigError(f"{name} cannot be read: {why}. Mend or remove it.") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError(f"{name} cannot be read: it is no regular file. Mend or remove it.")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_SETTINGS_BYTES + 1)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise ConfigError(f"{name} cannot be read: {why}. Mend or remove it.") from None
    finally:
        os.close(descriptor)
    if len(data) > MAX_SETTINGS_BYTES:
        raise ConfigError(f"{name} is larger than {MAX_SETTINGS_BYTES} bytes; settings are not. Mend or remove it.")
    return data
