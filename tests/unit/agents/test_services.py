"""What each service needs, looked for without its client."""

from __future__ import annotations

from pathlib import Path

import pytest

from callsheet.agents.services import MODEL_REMEDIES, REMEDIES, SERVICES, TITLES, access
from callsheet.model.call import ServiceName

AWS = {"AWS_REGION": "eu-west-1"}
GOOGLE = {"CLOUD_ML_REGION": "global"}
KEY = {"ANTHROPIC_FOUNDRY_API_KEY": "k"}


@pytest.mark.parametrize(
    ("service", "environ", "found", "missing"),
    [
        ("bedrock", AWS | {"AWS_BEARER_TOKEN_BEDROCK": "k"}, ("AWS_BEARER_TOKEN_BEDROCK",), None),
        ("bedrock", AWS | {"AWS_PROFILE": "work"}, ("AWS_PROFILE",), None),
        ("bedrock", AWS, (), None),
        ("bedrock", {}, (), "AWS_REGION"),
        ("bedrock-mantle", AWS | {"ANTHROPIC_AWS_API_KEY": "k"}, ("ANTHROPIC_AWS_API_KEY",), None),
        ("bedrock-mantle", {"ANTHROPIC_AWS_API_KEY": "k"}, ("ANTHROPIC_AWS_API_KEY",), "AWS_REGION"),
        ("vertex", GOOGLE | {"GOOGLE_APPLICATION_CREDENTIALS": "f"}, ("GOOGLE_APPLICATION_CREDENTIALS",), None),
        ("vertex", {}, (), "CLOUD_ML_REGION"),
        ("foundry", KEY | {"ANTHROPIC_FOUNDRY_RESOURCE": "r"}, ("ANTHROPIC_FOUNDRY_API_KEY",), None),
        ("foundry", KEY, ("ANTHROPIC_FOUNDRY_API_KEY",), "ANTHROPIC_FOUNDRY_RESOURCE or ANTHROPIC_FOUNDRY_BASE_URL"),
        ("foundry", {}, (), "ANTHROPIC_FOUNDRY_API_KEY"),
    ],
)
def test_what_is_there_is_named_and_what_certainly_lacks_is_said(
    service: ServiceName, environ: dict[str, str], found: tuple[str, ...], missing: str | None, tmp_path: Path
) -> None:
    looked = access(service, environ | {"HOME": str(tmp_path)})

    assert looked.found == found
    assert (looked.missing is None) == (missing is None)
    assert (missing or "") in (looked.missing or "")


def test_files_of_the_users_own_are_found(tmp_path: Path) -> None:
    aws = tmp_path / ".aws"
    aws.mkdir()
    (aws / "config").write_text("[default]\nregion = eu-west-1\n", encoding="utf-8")
    google = tmp_path / ".config" / "gcloud"
    google.mkdir(parents=True)
    (google / "application_default_credentials.json").write_text("{}", encoding="utf-8")
    home = {"HOME": str(tmp_path)}

    assert access("bedrock", home).missing is None, "the region may be in the file"
    assert access("bedrock", home).found == (str(aws / "config"),)
    assert access("vertex", home | GOOGLE).found == (str(google / "application_default_credentials.json"),)


@pytest.mark.parametrize(
    ("service", "extra"), [("bedrock", "bedrock"), ("bedrock-mantle", "bedrock"), ("vertex", "vertex")]
)
def test_an_extra_that_is_not_installed_is_named(
    service: ServiceName, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callsheet.agents.services.find_spec", lambda _name: None)

    assert f"pip install 'callsheet[{extra}]'" in (access(service, AWS | GOOGLE | {"HOME": "/nowhere"}).missing or "")


def test_mantle_needs_no_library_where_a_key_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callsheet.agents.services.find_spec", lambda _name: None)

    environ = AWS | {"AWS_BEARER_TOKEN_BEDROCK": "k", "HOME": "/nowhere"}
    assert access("bedrock-mantle", environ).missing is None
    assert access("bedrock", environ).missing is not None, "its stream is read by AWS's library"


def test_every_service_has_a_title_and_remedies() -> None:
    assert set(TITLES) == set(REMEDIES) == set(MODEL_REMEDIES) == set(SERVICES)
