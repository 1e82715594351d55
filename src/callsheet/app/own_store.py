"""Where settings files want the record, for those who only read it. Without such files nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_MOST_BYTES = 1024 * 1024
_FILES = ("callsheet.toml", "pyproject.toml")


def store_of_settings(root: Path, start: Path, environ: Mapping[str, str]) -> str | None:
    """The `store` of the user's or a trusted workspace's settings; None where none says anything.

    Raises:
        ConfigError: A settings file cannot be read.
    """
    config = _config_dirs(environ)
    if not any(map(_may_say, [*(root / name for name in _FILES), *(folder / "config.toml" for folder in config)])):
        return None
    from callsheet.app import compose
    from callsheet.app.plan import Surroundings, site_of
    from callsheet.app.settings import Choices
    from callsheet.app.trusting import PermissionChoices, settle

    around = Surroundings(start=start, environ=environ)
    site = site_of(around, root)
    library = compose.library(root, start=start, home=site.home, environ=environ)
    settled = settle(site, PermissionChoices(), Choices(), library, start=start, needs_hooks=False)
    return settled.resolved.store


def _config_dirs(environ: Mapping[str, str]) -> list[Path]:
    """The folders that the user's own settings may lie in."""
    named = [Path(environ[name]) for name in ("CALLSHEET_CONFIG_DIR",) if environ.get(name)]
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    base = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return [*named, base / "callsheet", home / ".config" / "callsheet"]


def _may_say(file: Path) -> bool:
    """Whether a settings file may name a place for the record."""
    try:
        with file.open("rb") as opened:
            text = opened.read(_MOST_BYTES)
    except OSError:
        return False
    return b"store" in text and (file.name != "pyproject.toml" or b"callsheet" in text)
