"""What counts as a credential, compared with what the client itself finds in the same environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import anthropic
import pytest

from callsheet.agents.credentials import has_credentials

PROFILE = {"version": "1.0", "authentication": {"type": "user_oauth"}}


def write_profile(folder: Path, name: str = "default") -> None:
    """A profile as `ant auth login` leaves it."""
    (folder / "configs").mkdir(parents=True)
    (folder / "credentials").mkdir()
    (folder / "configs" / f"{name}.json").write_text(json.dumps(PROFILE), encoding="utf-8")
    token = {"version": "1.0", "type": "oauth_token", "access_token": "t"}
    (folder / "credentials" / f"{name}.json").write_text(json.dumps(token), encoding="utf-8")


def client_finds_one(environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> bool:
    for name in list(os.environ):
        if name.startswith("ANTHROPIC_"):
            monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    client = anthropic.Anthropic()
    found = client.api_key is not None or client.auth_token is not None or client.credentials is not None
    client.close()
    return found


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, False),
        ({"ANTHROPIC_API_KEY": "k"}, True),
        ({"ANTHROPIC_AUTH_TOKEN": "t"}, True),
        ({"ANTHROPIC_BASE_URL": "http://localhost:1"}, False),
        ({"ANTHROPIC_FEDERATION_RULE_ID": "r", "ANTHROPIC_ORGANIZATION_ID": "o"}, False),
        (
            {
                "ANTHROPIC_FEDERATION_RULE_ID": "r",
                "ANTHROPIC_ORGANIZATION_ID": "o",
                "ANTHROPIC_IDENTITY_TOKEN": "t",
                "ANTHROPIC_SERVICE_ACCOUNT_ID": "s",
            },
            True,
        ),
    ],
)
def test_variables_count_where_the_client_takes_them(
    variables: dict[str, str], found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"HOME": str(tmp_path), **variables}
    assert has_credentials(environ) is found
    assert client_finds_one(environ, monkeypatch) is found


@pytest.mark.parametrize("by", ["home", "config dir", "pointer", "name"])
def test_a_profile_on_disk_counts(by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"HOME": str(tmp_path)}
    folder = tmp_path / ".config" / "anthropic"
    match by:
        case "home":
            write_profile(folder)
        case "config dir":
            folder = tmp_path / "elsewhere"
            write_profile(folder)
            environ["ANTHROPIC_CONFIG_DIR"] = str(folder)
        case "pointer":
            write_profile(folder, "work")
            (folder / "active_config").write_text("work\n", encoding="utf-8")
        case _:
            write_profile(folder, "work")
            environ["ANTHROPIC_PROFILE"] = "work"
    assert has_credentials(environ)
    assert client_finds_one(environ, monkeypatch)


def test_another_profile_than_the_active_one_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_profile(tmp_path / ".config" / "anthropic", "work")
    environ = {"HOME": str(tmp_path)}
    assert not has_credentials(environ)
    assert not client_finds_one(environ, monkeypatch)
