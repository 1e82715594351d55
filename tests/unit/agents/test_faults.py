"""What a failed request means, without a network."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import pytest

from callsheet.agents.anthropic import AnthropicBackend
from callsheet.agents.anthropic.faults import BrokenStreamError, judge
from callsheet.errors import BackendUnavailableError
from tests.support.agents import FakeTime, RecordingReporter, agent_task
from tests.support.deadline import within

REQUEST = httpx2.Request("POST", "https://service.test/v1/messages")
NOW = 1_793_000_000.0


def status_error(status: int, kind: str = "api_error", code: str | None = None, **headers: str) -> Exception:
    body = {"error": {"type": kind, "message": "said", "details": {"error_code": code} if code else None}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx2.Response(status, headers=named, request=REQUEST)
    return anthropic.APIStatusError("no", response=response, body=body)


@pytest.mark.parametrize(
    ("error", "kind", "cause"),
    [
        (status_error(429, "rate_limit_error"), "again", "rate_limit"),
        (status_error(429, "rate_limit_error", "enforced_spend_limit_reached"), "run", "credit"),
        (status_error(402, "billing_error", "linked_organization_spend_limit_reached"), "run", "credit"),
        (status_error(400, "invalid_request_error", "organization_on_hold"), "run", "authentication"),
        (status_error(400, "invalid_request_error"), "agent", "request"),
        (status_error(529, "overloaded_error"), "again", "outage"),
        (status_error(502, "nonsense"), "again", "outage"),
        (status_error(503, "api_error", x_should_retry="false"), "run", "outage"),
        (status_error(200, "overloaded_error"), "again", "outage"),
        (status_error(200, "authentication_error"), "run", "authentication"),
        (status_error(200, "invalid_request_error"), "agent", "request"),
        (httpx2.ReadTimeout("silent", request=REQUEST), "stalled", "outage"),
        (httpx2.RemoteProtocolError("cut", request=REQUEST), "again", "outage"),
        (anthropic.APIConnectionError(request=REQUEST), "again", "outage"),
        (BrokenStreamError("cut"), "again", "outage"),
        (anthropic.CredentialsError("no such profile"), "run", "authentication"),
        (anthropic.WorkloadIdentityError("exchange refused"), "run", "authentication"),
        (anthropic.AnthropicError("something else"), "agent", "request"),
    ],
)
def test_each_failure_has_one_meaning(error: Exception, kind: str, cause: str) -> None:
    fault = judge(error, NOW)
    assert (fault.kind, fault.cause) == (kind, cause)
    assert fault.message


async def failing_at(base_url: str) -> Exception:
    """What a request to an address raises, with the real client."""
    async with anthropic.AsyncAnthropic(api_key="k", base_url=base_url, max_retries=0) as client:
        with within(), pytest.raises(anthropic.APIConnectionError) as raised:
            await client.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}])
    return raised.value


@pytest.mark.anyio
async def test_without_a_connection_address_reason_and_what_to_check_are_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        port = taken.getsockname()[1]
        fault = judge(await failing_at(f"http://me:secret@127.0.0.1:{port}/at?key=secret"), NOW)
    assert (fault.kind, fault.cause) == ("again", "outage")
    assert fault.message == (
        f"no connection to http://127.0.0.1:{port}: Connection refused. "
        "Check the network, the proxy if there is one (HTTPS_PROXY), and ANTHROPIC_BASE_URL"
    )


@pytest.mark.anyio
@pytest.mark.parametrize("address", ["localhost:9", "127.0.0.1:9", "ftp://service.test"])
async def test_an_address_that_is_none_is_the_end_of_the_run_at_once(address: str) -> None:
    fault = judge(await failing_at(address), NOW)
    assert (fault.kind, fault.cause, fault.is_passing) == ("run", "address", False)
    assert "ANTHROPIC_BASE_URL is to be a whole address, such as https://" in fault.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "12"}, 12),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after_ms": "250", "retry_after": "12"}, 0.25),
        ({"retry_after": "Mon, 26 Oct 2026 05:34:20 GMT"}, 1_792_992_860 - 1_792_992_800),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-3"}, 0),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "1792992860000"}, None),
        ({"retry_after": "Mon, 26 Foo 99999 05:34:20 GMT"}, None),
        ({"retry_after": "Mon, 99 Oct 99999 05:34:20 GMT"}, None),
        (
            {"anthropic_ratelimit_unified_status": "rejected", "anthropic_ratelimit_unified_reset": "1792992900000"},
            None,
        ),
        (
            {
                "anthropic_ratelimit_requests_remaining": "0",
                "anthropic_ratelimit_requests_reset": "2026-10-26T05:34:20Z",
                "anthropic_ratelimit_tokens_remaining": "17",
                "anthropic_ratelimit_tokens_reset": "2026-10-27T05:34:20Z",
            },
            60,
        ),
        ({"anthropic_ratelimit_unified_status": "rejected", "anthropic_ratelimit_unified_reset": "1792992900"}, 100),
        ({"anthropic_ratelimit_requests_remaining": "0", "anthropic_ratelimit_requests_reset": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_milliseconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    fault = judge(status_error(429, "rate_limit_error", **headers), 1_792_992_800.0)
    assert fault.retry_after_s == seconds


# --- answers that are no Messages stream


class Gateway(httpx2.AsyncBaseTransport):
    """Something that answers every request with the same bytes."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.count = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.count += 1
        headers = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=headers, content=self._body, request=request)


def event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


START = event(
    "message_start",
    '{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"model":"m",'
    '"usage":{"input_tokens":1,"output_tokens":1}}}',
)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Sign in</html>",
        event("message_start", "not json"),
        event("message_start", '{"type":"message_start"}'),
        START + event("content_block_delta", '{"type":"content_block_delta","index":7,"delta":{"type":"text_delta"}}'),
        START + event("message_delta", '{"type":"message_delta"}'),
        START,
    ],
)
async def test_what_is_no_messages_stream_is_an_outage_and_no_crash(
    body: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gateway = Gateway(body)
    backend = _backend(gateway)
    with within(), pytest.raises(BackendUnavailableError) as raised:
        await backend.run(agent_task(tmp_path_factory.mktemp("ws")), RecordingReporter())
    await backend.aclose()
    assert raised.value.cause == "outage"
    assert gateway.count == 11


def _backend(transport: httpx2.AsyncBaseTransport) -> AnthropicBackend:
    def clients() -> list[anthropic.AsyncAnthropic]:
        http_client = anthropic.DefaultAsyncHttpxClient(transport=transport)
        return [anthropic.AsyncAnthropic(api_key="k", base_url="http://gw", max_retries=0, http_client=http_client)]

    free: Callable[..., Any] = lambda _model, **_tokens: 0.0  # noqa: E731
    return AnthropicBackend(clients=clients, price=free, timing=FakeTime().timing)


def bedrock_error(status: int, message: str, kind: str | None = None) -> Exception:
    body = {"error": {"type": kind, "message": message}} if kind else {"message": message}
    return anthropic.APIStatusError(message, response=httpx2.Response(status, request=REQUEST), body=body)


@pytest.mark.parametrize(
    ("error", "kind", "cause", "remedy"),
    [
        (bedrock_error(200, "slow down", "throttlingException"), "again", "rate_limit", ""),
        (bedrock_error(200, "broke", "modelStreamErrorException"), "again", "outage", ""),
        (bedrock_error(200, "away", "serviceUnavailableException"), "again", "outage", ""),
        (bedrock_error(403, "You don't have access to the model"), "run", "authentication", "aws sts"),
        (bedrock_error(400, "The provided model identifier is invalid."), "run", "model", "inference profile"),
        (bedrock_error(400, "on-demand throughput isn't supported"), "run", "model", "[models] in your config.toml"),
        (bedrock_error(400, "messages: too long"), "agent", "request", ""),
        (anthropic.CredentialsError("the SSO session has expired"), "run", "authentication", "aws sts"),
    ],
)
def test_failures_of_bedrock_mean_what_they_say_and_name_its_own_remedies(
    error: Exception, kind: str, cause: str, remedy: str
) -> None:
    fault = judge(error, NOW, service="bedrock")
    assert (fault.kind, fault.cause) == (kind, cause)
    assert remedy in fault.message
    assert "ANTHROPIC_API_KEY" not in fault.message
