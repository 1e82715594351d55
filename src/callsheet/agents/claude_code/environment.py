"""What of the host's environment Claude Code's program gets, and what it is told not to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from callsheet.model.call import ServiceName
from callsheet.shell.environment import command_environment

_USUAL = (
    *("HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
    *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "no_proxy", "all_proxy"),
    *("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "CLAUDE_CODE_CERT_STORE", "API_TIMEOUT_MS"),
    *("CLAUDE_CODE_CLIENT_CERT", "CLAUDE_CODE_CLIENT_KEY", "CLAUDE_CODE_CLIENT_KEY_PASSPHRASE"),
    *("CLAUDE_CODE_MAX_RETRIES", "CLAUDE_STREAM_IDLE_TIMEOUT_MS"),
)
"""Where it finds its login, and how it reaches the network."""

_LOGIN = ("CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL")
_LOGIN_MORE = ("ANTHROPIC_CUSTOM_HEADERS",)
_CLOUDS: dict[str, tuple[str, ...]] = {
    "CLAUDE_CODE_USE_BEDROCK": ("AWS_", "ANTHROPIC_", "CLAUDE_CODE_SKIP_BEDROCK_AUTH"),
    "CLAUDE_CODE_USE_VERTEX": (
        *("GOOGLE_", "CLOUDSDK_", "CLOUD_ML_", "VERTEX_", "GCLOUD_", "ANTHROPIC_"),
        "CLAUDE_CODE_SKIP_VERTEX_AUTH",
    ),
    "CLAUDE_CODE_USE_FOUNDRY": ("AZURE_", "ANTHROPIC_", "CLAUDE_CODE_SKIP_FOUNDRY_AUTH"),
}
"""Beginnings of what each cloud's client needs, where it is switched on."""

_SERVICES: dict[str, ServiceName] = {
    "CLAUDE_CODE_USE_BEDROCK": "bedrock",
    "CLAUDE_CODE_USE_VERTEX": "vertex",
    "CLAUDE_CODE_USE_FOUNDRY": "foundry",
}

_ALWAYS = {
    # Nothing but requests for the agent.
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": "1",
    # Nothing that reads, writes or runs by itself.
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1",
    "CLAUDE_CODE_DISABLE_FILE_MENTIONS": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    "CLAUDE_CODE_DISABLE_FILE_CHECKPOINTING": "1",
    "CLAUDE_CODE_SKIP_PROMPT_HISTORY": "1",
    # A refusal of the model is the agent's end, and a reply that breaks off is asked for again as it was.
    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    # Tools as they are: all of them shown, none given up while a person is asked, no result put elsewhere.
    "ENABLE_TOOL_SEARCH": "false",
    "MCP_TOOL_TIMEOUT": "2000000000",
    "MAX_MCP_OUTPUT_TOKENS": "1000000",
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
}


def program_environment(
    environ: Mapping[str, str], *, temporary: Path, workspace: Path, output_tokens: int | None = None
) -> dict[str, str]:
    """The environment of the program: what finds its login and its service, nothing else of the host's.

    Args:
        environ: The host's.
        temporary: For its temporary files.
        workspace: No program in it is found by name.
        output_tokens: The most that one request may ask for; None for the program's own limit.
    """
    given = command_environment(environ, workspace=workspace)
    names = [*_USUAL, *_LOGIN, *_LOGIN_MORE, *(switch for switch in _CLOUDS if environ.get(switch))]
    starts = tuple(start for switch in _CLOUDS if environ.get(switch) for start in _CLOUDS[switch])
    names += [name for name in environ if starts and name.startswith(starts)]
    given |= {name: environ[name] for name in names if name in environ}
    given |= {**_ALWAYS, "TMPDIR": str(temporary), "CLAUDE_CODE_TMPDIR": str(temporary)}
    if output_tokens is not None:
        given["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(output_tokens)
    return given


def service_of(environ: Mapping[str, str]) -> ServiceName:
    """Where the program has its models: with Anthropic, unless one of the clouds is switched on."""
    found = (service for switch, service in _SERVICES.items() if environ.get(switch))
    return next(found, "anthropic")


def must_be_unpriced(environ: Mapping[str, str]) -> bool:
    """Whether it can be told from the host's environment alone that nobody knows what tokens cost.

    A login that the program keeps by itself says so only when it runs.
    """
    has_key = environ.get("ANTHROPIC_API_KEY") or environ.get("ANTHROPIC_AUTH_TOKEN")
    return service_of(environ) != "anthropic" or bool(environ.get("CLAUDE_CODE_OAUTH_TOKEN") and not has_key)


def is_unpriced(key_source: object, environ: Mapping[str, str]) -> bool:
    """Whether what tokens cost is not known: a plan pays for them, or a cloud has prices of its own.

    Args:
        key_source: What the program says its key comes from.
        environ: The host's.
    """
    if service_of(environ) != "anthropic":
        return True
    return key_source in ("none", "oauth", None) and not environ.get("ANTHROPIC_AUTH_TOKEN")
