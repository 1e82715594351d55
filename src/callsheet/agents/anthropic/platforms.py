"""The SDK's clients for Claude on other platforms, with their credentials looked at before the first agent needs them.

The SDK signs each request while it prepares it; what goes wrong there it lets through as the cloud's library raised it.
Here it becomes what every other failed request is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
from anthropic.lib.bedrock import AsyncAnthropicBedrock, AsyncAnthropicBedrockMantle
from anthropic.lib.foundry import AsyncAnthropicFoundry
from anthropic.lib.vertex import AsyncAnthropicVertex

from callsheet.agents.services import REMEDIES
from callsheet.errors import BackendUnavailableError

if TYPE_CHECKING:
    from callsheet.model.call import ServiceName

GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class _Bedrock(AsyncAnthropicBedrock):
    async def _prepare_request(self, request: httpx2.Request) -> None:
        with _aws_faults(request) if self.api_key is None else nullcontext():
            await super()._prepare_request(request)


class _Mantle(AsyncAnthropicBedrockMantle):
    async def _prepare_request(self, request: httpx2.Request) -> None:
        with _aws_faults(request) if self.api_key is None else nullcontext():
            await super()._prepare_request(request)


class _Vertex(AsyncAnthropicVertex):
    async def _prepare_request(self, request: httpx2.Request) -> None:
        with _google_faults(request):
            await super()._prepare_request(request)


def open_bedrock(http_client: httpx2.AsyncClient) -> AsyncAnthropicBedrock:
    """A client for Bedrock's own interface (`InvokeModelWithResponseStream`).

    Raises:
        BackendUnavailableError: There is no region, no credential, or no library for them.
    """
    with _opening("bedrock"):
        client = _Bedrock(max_retries=0, open_telemetry=False, http_client=http_client)
        if client.api_key is None:
            _find_aws_credentials("bedrock")
        return client


def open_mantle(http_client: httpx2.AsyncClient) -> AsyncAnthropicBedrockMantle:
    """A client for Bedrock's Messages API.

    Raises:
        BackendUnavailableError: There is no region, no credential, or no library for them.
    """
    with _opening("bedrock-mantle"):
        client = _Mantle(max_retries=0, open_telemetry=False, http_client=http_client)
        if client.api_key is None:
            _find_aws_credentials("bedrock-mantle")
        return client


def open_vertex(http_client: httpx2.AsyncClient) -> AsyncAnthropicVertex:
    """A client for Vertex AI. All copies share one access token.

    Raises:
        BackendUnavailableError: There is no region, project, credential, or no library for them.
    """
    with _opening("vertex"):
        import google.auth
        from google.auth.exceptions import GoogleAuthError

        try:
            credentials, project = google.auth.default(scopes=[GOOGLE_SCOPE])
        except GoogleAuthError as error:
            raise _unavailable("vertex", str(error)) from error
        client = _Vertex(credentials=credentials, max_retries=0, open_telemetry=False, http_client=http_client)
        if not client.project_id:
            if not project:
                raise _unavailable("vertex", "there is no project. Set ANTHROPIC_VERTEX_PROJECT_ID")
            client.project_id = project
        return client


def open_foundry(http_client: httpx2.AsyncClient) -> AsyncAnthropicFoundry:
    """A client for Microsoft Foundry, with the key of the environment.

    Raises:
        BackendUnavailableError: There is no key, or no resource.
    """
    with _opening("foundry"):
        return AsyncAnthropicFoundry(max_retries=0, open_telemetry=False, http_client=http_client)


@contextmanager
def _opening(service: ServiceName) -> Iterator[None]:
    """What the SDK refuses to be opened with, as an error with a remedy."""
    try:
        yield
    except (anthropic.AnthropicError, ValueError, ImportError) as error:
        raise _unavailable(service, str(error)) from error


def _unavailable(service: ServiceName, why: str) -> BackendUnavailableError:
    message = f"the credential for {service} cannot be used: {why.rstrip('.')}. {REMEDIES[service]}"
    return BackendUnavailableError(message, cause="authentication")


def _find_aws_credentials(service: ServiceName) -> None:
    """Looks for AWS credentials wherever AWS's library looks; also asks the machine, where it is one of theirs."""
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        found: Any = boto3.Session().get_credentials()
    except BotoCoreError as error:
        raise _unavailable(service, str(error)) from error
    if found is None:
        raise _unavailable(service, "there are no AWS credentials")


@contextmanager
def _aws_faults(request: httpx2.Request) -> Iterator[None]:
    """What AWS's library raises while it signs a request: credentials may have to be fetched or renewed for it."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    try:
        yield
    except HTTPClientError as error:
        raise anthropic.APIConnectionError(request=request) from error
    except (BotoCoreError, ClientError, RuntimeError) as error:  # a RuntimeError: no credentials any more
        raise anthropic.CredentialsError(str(error)) from error


@contextmanager
def _google_faults(request: httpx2.Request) -> Iterator[None]:
    """What Google's library raises while it fetches an access token."""
    from google.auth.exceptions import GoogleAuthError, TransportError

    try:
        yield
    except TransportError as error:
        raise anthropic.APIConnectionError(request=request) from error
    except (GoogleAuthError, RuntimeError) as error:  # a RuntimeError: an answer without a token
        raise anthropic.CredentialsError(str(error)) from error
