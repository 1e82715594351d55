"""Whether a model can be used at all, found out without importing the client, which takes a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def credential_names(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Where credentials were found: names of variables and files, never what they hold. Empty where there are none."""
    names = (
        *("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE"),
        *("ANTHROPIC_IDENTITY_TOKEN", "ANTHROPIC_IDENTITY_TOKEN_FILE"),
    )
    found = [name for name in names if environ.get(name)]
    if not has_credentials(environ):
        return ()
    return tuple(found) or (str(_config_folder(environ)),)


def has_credentials(environ: Mapping[str, str]) -> bool:
    """True where the Anthropic client would find a credential: a key, a token, workload identity or a profile.

    Follows the client's own order of search (`anthropic.lib.credentials`). Says nothing of whether it is valid. A
    profile that is named and does not exist counts as a credential: the client then says what is wrong with it, which
    helps more than an offline run would.

    Args:
        environ: The environment to look in, `HOME` included.
    """
    if any(environ.get(name) for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE")):
        return True
    identity = environ.get("ANTHROPIC_IDENTITY_TOKEN") or environ.get("ANTHROPIC_IDENTITY_TOKEN_FILE")
    if identity and environ.get("ANTHROPIC_FEDERATION_RULE_ID") and environ.get("ANTHROPIC_ORGANIZATION_ID"):
        return True
    folder = _config_folder(environ)
    try:
        if (folder / "active_config").is_file() and (folder / "active_config").read_text(encoding="utf-8").strip():
            return True
        return (folder / "configs" / "default.json").is_file()
    except (OSError, UnicodeDecodeError):
        return False


def _config_folder(environ: Mapping[str, str]) -> Path:
    configured = environ.get("ANTHROPIC_CONFIG_DIR")
    if configured:
        return Path(configured)
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".config" / "anthropic"
