"""What a failed turn of Claude Code means: the end of this agent, or a failure for every agent (CONTRACT K05)."""

from __future__ import annotations

from datetime import UTC, datetime

from callsheet.errors import BackendUnavailableError
from callsheet.model.dataclass import dataclass

_REMEDIES = {
    "authentication": "Log in with `claude` (/login), or set CLAUDE_CODE_OAUTH_TOKEN (`claude setup-token`) "
    "or ANTHROPIC_API_KEY.",
    "credit": "Add credit, or raise the limit of the account.",
    "model": "Name a model that this plan or account has (--model).",
}
_CAUSES = {
    "authentication_failed": "authentication",
    "oauth_org_not_allowed": "authentication",
    "billing_error": "credit",
    "model_not_found": "model",
    "rate_limit": "rate_limit",
    "overloaded": "outage",
    "server_error": "outage",
}
"""By what the program says went wrong."""

_BY_STATUS = {401: "authentication", 402: "credit", 403: "authentication", 404: "model", 429: "rate_limit"}
_PASSING_STATUS = (408, 409)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A turn that failed.

    Attributes:
        text: What the program said.
        kind: In a word, as the program puts it; None where it did not.
        status: Of the service's answer; None where there was none.
        resets_at: When the limit that was reached is reset, Unix time; None where that is not known.
        is_request: A request to the service failed, rather than something of the program's own.
    """

    text: str
    kind: str | None = None
    status: int | None = None
    resets_at: float | None = None
    is_request: bool = False


def unavailable(failure: Failure) -> BackendUnavailableError | None:
    """The error for a failure that the next agent would meet too; None for one of this agent's own."""
    cause = _cause(failure)
    if cause is None:
        return None
    remedy = _REMEDIES.get(cause)
    said = failure.text.strip().rstrip(".") or "the model service failed"
    message = f"Claude Code: {said}. {remedy}" if remedy else f"Claude Code: {said}"
    retry_at = None
    if failure.resets_at is not None and cause == "rate_limit":
        moment = datetime.fromtimestamp(failure.resets_at, UTC)
        retry_at = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return BackendUnavailableError(message, cause=cause, retry_at=retry_at)


def _cause(failure: Failure) -> str | None:
    # Older services report missing credit as a bad request, told apart by its words alone.
    if "credit balance is too low" in failure.text.lower():
        return "credit"
    if failure.kind in _CAUSES:
        return _CAUSES[failure.kind]
    status = failure.status
    if status is None:
        return "outage" if failure.is_request and failure.kind in (None, "unknown") else None
    if status in _PASSING_STATUS or status >= 500:
        return "outage"
    return _BY_STATUS.get(status)
