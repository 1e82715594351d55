"""What a failed request means: try again, the end of this agent, or a failure for every agent (CONTRACT K01, K05)."""

from __future__ import annotations

import asyncio
import email.utils
import os
import socket
from dataclasses import replace
from datetime import datetime
from typing import Literal

import anthropic
import httpx2

from callsheet.agents.services import ADDRESSES, MODEL_REMEDIES, REMEDIES, address_remedy
from callsheet.model.call import ServiceName
from callsheet.model.dataclass import dataclass

FaultKind = Literal["again", "stalled", "agent", "run"]
Cause = Literal["authentication", "credit", "model", "address", "rate_limit", "outage", "request"]

_CREDIT_CODES = frozenset(
    {
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "linked_organization_spend_limit_reached",
        "linked_organization_billing_unavailable",
    }
)
_LIMITS = ("requests", "tokens", "input-tokens", "output-tokens", "unified")
"""What the service counts, each with a header for what is left and one for when it is reset."""

_CREDENTIAL_KINDS = ("authentication_error", "permission_error")
_ACCOUNT_CODES = frozenset({"organization_on_hold", "organization_type_not_supported"})
_CREDIT_REMEDY = "Add credit, or raise the limit of the account."

_AWS_PASSING = ("internalServerException", "modelStreamErrorException", "modelTimeoutException", "serviceUnavailable")
"""How the kinds of error begin that Bedrock puts into a stream and that may pass."""

_AWS_NO_MODEL = ("model identifier", "on-demand throughput", "end of its life")
"""Bedrock reports a model that is not to be had as a bad request, told apart by its words alone."""


_NOT_CONNECTED = (httpx2.ConnectError, httpx2.ConnectTimeout)


LONGEST_NAMED_S = 366 * 24 * 3600.0
"""A wait that is longer is a mistake of the service, such as milliseconds for seconds, and no date."""


BAD_ADDRESS = "the address of the model service cannot be used"


class BrokenStreamError(Exception):
    """A stream that ended early, or did not hold to the protocol."""


SERVICE_ERRORS = (anthropic.AnthropicError, httpx2.TransportError, BrokenStreamError)
"""All that a request can raise because of the service, the network or the credential."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failed request, judged.

    Attributes:
        kind: `again` may pass by itself, `stalled` is silence, `agent` ends this agent, `run` ends them all.
        message: For people: what happened, with the remedy where there is one.
        retry_after_s: When the service says it may go on.
    """

    kind: FaultKind
    cause: Cause
    message: str
    retry_after_s: float | None = None

    @property
    def is_passing(self) -> bool:
        """Whether it may pass by itself; a key, credit or model that is wrong stays so (CONTRACT K05)."""
        return self.cause in ("rate_limit", "outage")


def judge(error: Exception, now: float, *, service: ServiceName = "anthropic") -> Fault:
    """What to make of one of `SERVICE_ERRORS`.

    Args:
        error: One of them.
        now: Unix time, for dates in `retry-after`.
        service: Whose error it is.
    """
    fault = _judge(error, now)
    match fault.cause:
        case "authentication":
            remedy = REMEDIES[service]
        case "model":
            remedy = MODEL_REMEDIES[service]
        case "credit":
            remedy = _CREDIT_REMEDY
        case "address":
            remedy = address_remedy(service)
        case "outage" if isinstance(error.__cause__, _NOT_CONNECTED):
            remedy = f"Check the network, the proxy if there is one (HTTPS_PROXY), and {ADDRESSES[service]}"
        case _:
            return fault
    return replace(fault, message=f"{fault.message.rstrip('.')}. {remedy}")


def name_of(error: BaseException) -> str:
    """What a request broke off with, in a word: the service's name for it, its status, or the kind of error."""
    match error:
        case anthropic.APIStatusError():
            return error.type or str(error.status_code)
        case asyncio.CancelledError():
            return "cancelled"
        case _:
            return type(error).__name__


def _judge(error: Exception, now: float) -> Fault:
    match error:
        case anthropic.APIStatusError():
            return _judge_status(error, now)
        case httpx2.ReadTimeout() | anthropic.APITimeoutError(__cause__=httpx2.ReadTimeout()):
            return Fault(kind="stalled", cause="outage", message="the model service went silent")
        case anthropic.APIConnectionError(__cause__=httpx2.UnsupportedProtocol() as wrong):
            return _fault("run", "address", f"{BAD_ADDRESS}: {wrong}")
        case anthropic.APIConnectionError(__cause__=(httpx2.ConnectError() | httpx2.ConnectTimeout()) as failure):
            return _fault("again", "outage", f"no connection to {_address(failure.request.url)}: {_reason(failure)}")
        case anthropic.APIConnectionError() | httpx2.TransportError() | BrokenStreamError():
            reason = error.__cause__ or error
            return Fault(kind="again", cause="outage", message=f"the connection to the model service failed: {reason}")
        case anthropic.CredentialsError() | anthropic.WorkloadIdentityError():
            return _fault("run", "authentication", f"the credential cannot be used: {error}")
        case _:
            return _fault("agent", "request", f"the model client failed: {error}")


def _address(url: httpx2.URL) -> str:
    """Where a request went, without what may be secret of it."""
    return f"{url.scheme}://{url.host}" + (f":{url.port}" if url.port is not None else "")


def _reason(error: BaseException) -> str:
    """Why no connection came about, as the system names it; libraries wrap that several times."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, socket.gaierror) and inner.strerror:
            return inner.strerror
        if isinstance(inner, ConnectionError) and inner.errno is not None:
            return os.strerror(inner.errno)
        inner = inner.__cause__ or inner.__context__
    return str(error) or "no answer in time"


def _judge_status(error: anthropic.APIStatusError, now: float) -> Fault:
    # An error inside a stream comes with status 200 and its true kind in the body.
    status, kind = error.status_code, error.type or ""
    what = f"{status} {kind}".strip() if status != 200 else kind
    text = f"{error.api_message or error.message} ({what})"
    wait = _retry_after_s(error.response.headers, now) if status != 200 else None
    # Older services report missing credit as a bad request, told apart by its words alone.
    if (
        status == 402
        or kind == "billing_error"
        or error.error_code in _CREDIT_CODES
        or "credit balance is too low" in text
    ):
        return _fault("run", "credit", f"the model service has no credit left for this account: {text}", wait)
    if status in (401, 403) or kind in _CREDENTIAL_KINDS or error.error_code in _ACCOUNT_CODES:
        return _fault("run", "authentication", f"the model service refused the credential: {text}")
    if status == 404 or kind == "not_found_error" or (status == 400 and any(part in text for part in _AWS_NO_MODEL)):
        return _fault("run", "model", f"the model service does not know what was asked for: {text}")
    final = error.response.headers.get("x-should-retry") == "false"
    if status == 429 or kind in ("rate_limit_error", "throttlingException"):
        return _fault("run" if final else "again", "rate_limit", f"the model service limits the rate: {text}", wait)
    if (
        status in (408, 409)
        or status >= 500
        or kind in ("overloaded_error", "api_error", "timeout_error")
        or kind.startswith(_AWS_PASSING)
    ):
        return _fault("run" if final else "again", "outage", f"the model service failed: {text}", wait)
    return _fault("agent", "request", f"the model service refused the request: {text}")


def _fault(kind: FaultKind, cause: Cause, message: str, retry_after_s: float | None = None) -> Fault:
    return Fault(kind=kind, cause=cause, message=message, retry_after_s=retry_after_s)


def _retry_after_s(headers: httpx2.Headers, now: float) -> float | None:
    """Seconds until the service may be asked again, as it says; None where nothing makes sense."""
    try:
        wait_s = _named_s(headers, now)
    except (ValueError, OverflowError):
        return None
    return wait_s if wait_s is not None and wait_s <= LONGEST_NAMED_S else None


def _named_s(headers: httpx2.Headers, now: float) -> float | None:
    """Seconds from `retry-after-ms` or `retry-after` (seconds or a date), else until a limit that is used up is reset.

    Raises:
        ValueError, OverflowError: A date that no calendar has.
    """
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * unit_s)
        except (KeyError, ValueError):
            continue
    moment = email.utils.parsedate_tz(headers.get("retry-after", ""))
    if moment:
        return max(0.0, email.utils.mktime_tz(moment) - now)
    resets_s = [
        at_s
        for limit in _LIMITS
        if headers.get(f"anthropic-ratelimit-{limit}-remaining") == "0"
        or headers.get(f"anthropic-ratelimit-{limit}-status") == "rejected"
        if (at_s := _unix_s(headers.get(f"anthropic-ratelimit-{limit}-reset", ""))) is not None
    ]
    return max(0.0, max(resets_s) - now) if resets_s else None


def _unix_s(text: str) -> float | None:
    """A moment as the service writes it: RFC 3339, or seconds since the epoch."""
    try:
        return float(text) if text.replace(".", "", 1).isdigit() else datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
