"""Where Claude models are had, and what each place needs, found out without importing a client."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final, get_args

from callsheet.agents.credentials import credential_names
from callsheet.model.call import ServiceName
from callsheet.model.dataclass import dataclass

SERVICES: Final[tuple[ServiceName, ...]] = get_args(ServiceName)

TITLES: Final[Mapping[ServiceName, str]] = {
    "anthropic": "Anthropic's API",
    "bedrock": "Amazon Bedrock",
    "bedrock-mantle": "Amazon Bedrock (mantle)",
    "vertex": "Google Vertex AI",
    "foundry": "Microsoft Foundry",
}

REMEDIES: Final[Mapping[ServiceName, str]] = {
    "anthropic": "Check ANTHROPIC_API_KEY, or the profile in use, and what it may do.",
    "bedrock": "Check your AWS credentials (aws sts get-caller-identity, or AWS_BEARER_TOKEN_BEDROCK), and that the "
    "account has access to the model in this region.",
    "bedrock-mantle": "Check your AWS credentials (aws sts get-caller-identity, or AWS_BEARER_TOKEN_BEDROCK), and that "
    "the account has access to the model in this region.",
    "vertex": "Log in (gcloud auth application-default login), and check that the project has access to the model in "
    "this region.",
    "foundry": "Check ANTHROPIC_FOUNDRY_API_KEY, and that it belongs to the resource.",
}
"""What to do where a service refuses the credential, or there is none."""

MODEL_REMEDIES: Final[Mapping[ServiceName, str]] = {
    "anthropic": "Name a model that this account and this service have (--model); also check ANTHROPIC_BASE_URL.",
    "bedrock": "Name a model or inference profile that this account has in this region (--model, or [models] in your "
    "config.toml).",
    "bedrock-mantle": "Name a model that this account has in this region (--model, or [models] in your config.toml).",
    "vertex": "Name a model that this project has in this region (--model, or [models] in your config.toml).",
    "foundry": "Name a deployment of the resource (--model, or [models] in your config.toml).",
}
"""What to do where a service does not know a model."""

ADDRESSES: Final[Mapping[ServiceName, str]] = {
    "anthropic": "ANTHROPIC_BASE_URL",
    "bedrock": "ANTHROPIC_BEDROCK_BASE_URL",
    "bedrock-mantle": "ANTHROPIC_BEDROCK_MANTLE_BASE_URL",
    "vertex": "ANTHROPIC_VERTEX_BASE_URL",
    "foundry": "ANTHROPIC_FOUNDRY_BASE_URL",
}
"""The variable that a service's address may be set with."""


def address_remedy(service: ServiceName) -> str:
    """What to do about an address that is none."""
    return f"{ADDRESSES[service]} is to be a whole address, such as https://api.anthropic.com."


_AWS_KEYS = ("AWS_BEARER_TOKEN_BEDROCK",)
_MANTLE_KEYS = (*_AWS_KEYS, "ANTHROPIC_AWS_API_KEY")
_AWS_SIGNS = (
    *("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What was found of what a service needs; whether it is valid only the service knows.

    Attributes:
        found: Names of variables and files, never what they hold.
        missing: What certainly lacks, with the remedy; None where requests may be tried.
    """

    found: tuple[str, ...]
    missing: str | None = None


def access(service: ServiceName, environ: Mapping[str, str]) -> Access:
    """Looks for what a service needs.

    Credentials that only the machine has, as those of an instance in a cloud, are not seen here: nothing is missing
    then as far as this can tell, and the first agent finds out.
    """
    match service:
        case "anthropic":
            return Access(found=credential_names(environ))
        case "bedrock":
            return _aws(environ, keys=_AWS_KEYS, needs_library=True)
        case "bedrock-mantle":
            return _aws(environ, keys=_MANTLE_KEYS, needs_library=False)
        case "vertex":
            return _google(environ)
        case "foundry":
            return _foundry(environ)


def _aws(environ: Mapping[str, str], *, keys: tuple[str, ...], needs_library: bool) -> Access:
    home = Path(environ.get("HOME") or Path.home())
    files = (
        Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials"),
        Path(environ.get("AWS_CONFIG_FILE") or home / ".aws" / "config"),
    )
    key = next((name for name in keys if environ.get(name)), None)
    found = (key,) if key else tuple(name for name in _AWS_SIGNS if environ.get(name))
    found += tuple(str(file) for file in files if not key and file.is_file())
    has_region = bool(environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"))
    if (needs_library or key is None) and not _has("botocore"):
        return Access(found=found, missing=_extra("Amazon Bedrock", "bedrock"))
    if not has_region and (not needs_library or not files[1].is_file()):
        return Access(found=found, missing="Amazon Bedrock is used in a region: set AWS_REGION, such as us-east-1.")
    return Access(found=found)


def _google(environ: Mapping[str, str]) -> Access:
    home = Path(environ.get("HOME") or Path.home())
    known = Path(environ.get("CLOUDSDK_CONFIG") or home / ".config" / "gcloud") / "application_default_credentials.json"
    named = environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    found = ("GOOGLE_APPLICATION_CREDENTIALS",) if named else (str(known),) if known.is_file() else ()
    if not _has("google.auth"):
        return Access(found=found, missing=_extra("Google Vertex AI", "vertex"))
    if not environ.get("CLOUD_ML_REGION"):
        return Access(found=found, missing="Google Vertex AI is used in a region: set CLOUD_ML_REGION, such as global.")
    return Access(found=found)


def _foundry(environ: Mapping[str, str]) -> Access:
    key, places = "ANTHROPIC_FOUNDRY_API_KEY", ("ANTHROPIC_FOUNDRY_RESOURCE", "ANTHROPIC_FOUNDRY_BASE_URL")
    found = (key,) if environ.get(key) else ()
    where = [name for name in places if environ.get(name)]
    if not found:
        return Access(found=found, missing=f"Microsoft Foundry needs a key: set {key}.")
    if len(where) != 1:
        return Access(found=found, missing=f"Microsoft Foundry needs a resource: set either {' or '.join(places)}.")
    return Access(found=found)


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


def _extra(title: str, extra: str) -> str:
    return f"{title} needs a library that is not installed: pip install 'callsheet[{extra}]'."
