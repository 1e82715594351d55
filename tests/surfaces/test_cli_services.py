"""The command with models that are had elsewhere, over a real socket to a service that speaks as those platforms do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from anyio import to_thread
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.deadline import within
from tests.support.messages_replies import Refuse, Reply, Say, in_order, text, tool_use
from tests.support.messages_service import MessagesService, open_messages_service
from tests.surfaces.command import Command, Done

pytestmark = pytest.mark.anyio

Environ = Callable[[str, Path], Mapping[str, str]]


def bedrock(base_url: str, _folder: Path) -> Mapping[str, str]:
    return {
        "ANTHROPIC_BEDROCK_BASE_URL": base_url,
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    }


def bedrock_by_key(base_url: str, _folder: Path) -> Mapping[str, str]:
    return {
        "ANTHROPIC_BEDROCK_BASE_URL": base_url,
        "AWS_REGION": "eu-west-1",
        "AWS_BEARER_TOKEN_BEDROCK": "bedrock-key-of-this-test",
    }


def mantle(base_url: str, _folder: Path) -> Mapping[str, str]:
    signed = {**bedrock(base_url, _folder), "ANTHROPIC_BEDROCK_MANTLE_BASE_URL": base_url}
    return {name: value for name, value in signed.items() if name != "ANTHROPIC_BEDROCK_BASE_URL"}


def vertex(base_url: str, folder: Path) -> Mapping[str, str]:
    """A service account of our own making, whose tokens the service on loopback gives out."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "project_id": "project-of-this-test",
        "private_key": key.decode(),
        "client_email": "agents@project-of-this-test.iam.gserviceaccount.com",
        "token_uri": f"{base_url}/token",
    }
    file = folder.parent / "account.json"
    file.write_text(json.dumps(account), encoding="utf-8")
    return {
        "ANTHROPIC_VERTEX_BASE_URL": base_url,
        "CLOUD_ML_REGION": "europe-west1",
        "GOOGLE_APPLICATION_CREDENTIALS": str(file),
    }


def foundry(base_url: str, _folder: Path) -> Mapping[str, str]:
    return {"ANTHROPIC_FOUNDRY_BASE_URL": base_url, "ANTHROPIC_FOUNDRY_API_KEY": "foundry-key-of-this-test"}


async def run(
    command: Command, service: str, environ: Environ, *replies: Reply, body: str = "", words: tuple[str, ...] = ()
) -> tuple[Done, MessagesService]:
    name = command.script(body or "return await agent('What is in a.txt?', { model: 'haiku' })")
    (command.folder / "a.txt").write_text("alpha", encoding="utf-8")
    async with open_messages_service(in_order(*replies)) as loopback:
        variables = {**environ(loopback.base_url, command.folder), "CALLSHEET_SERVICE": service}
        call = partial(command, "run", name, "--output", "json", *words, environ=variables)
        with within(60):
            return await to_thread.run_sync(call), loopback


@pytest.mark.parametrize(
    ("service", "environ", "path", "proof"),
    [
        (
            "bedrock",
            bedrock,
            "/model/global.anthropic.claude-haiku-5-5/invoke-with-response-stream",
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/",
        ),
        (
            "bedrock",
            bedrock_by_key,
            "/model/global.anthropic.claude-haiku-5-5/invoke-with-response-stream",
            "Bearer bedrock-key-of-this-test",
        ),
        ("bedrock-mantle", mantle, "/v1/messages", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/"),
        (
            "vertex",
            vertex,
            "/projects/project-of-this-test/locations/europe-west1/publishers/anthropic/models/"
            "claude-haiku-5-5:streamRawPredict",
            "Bearer vertex-token",
        ),
        ("foundry", foundry, "/v1/messages", "foundry-key-of-this-test"),
    ],
)
async def test_a_run_goes_through_on_every_platform_with_tools_and_a_price(
    command: Command, service: str, environ: Environ, path: str, proof: str
) -> None:
    done, loopback = await run(
        command,
        service,
        environ,
        Say([tool_use("read", file_path="a.txt")], output_tokens=7, model="claude-haiku-5-5"),
        Say([text("It says alpha.")], output_tokens=5, model="claude-haiku-5-5"),
    )

    assert done.status == 0, done.err
    assert (done.json["status"], done.json["result"]) == ("completed", "It says alpha.")
    (agent,) = done.json["agents"]
    assert (agent["backend"], agent["tools_called"]) == ("anthropic", ["read"])
    assert agent["usage"]["cost_usd"] > 0, "the platform's price is known"
    first, second = loopback.requests
    assert first.path == second.path == path
    assert proof in first.headers.get("authorization", first.headers.get("x-api-key", ""))
    assert "alpha" in str(second.messages)
    assert "thread" not in first.body


async def test_on_bedrock_a_throttled_stream_is_tried_again_and_what_it_has_not_is_said(command: Command) -> None:
    done, loopback = await run(
        command,
        "bedrock",
        bedrock,
        Say([text("cut")], cut_after=3, cut="error", error="throttlingException"),
        Say([text("done")]),
        body="return await agent('x', { model: 'claude-opus-4-8', speed: 'fast' })",
    )

    assert (done.status, done.json["result"]) == (0, "done"), done.err
    assert loopback.count == 2
    assert "speed" not in loopback.requests[0].body
    assert "claude-opus-4-8 has no fast mode at Amazon Bedrock" in done.err


@pytest.mark.contract("K05")
async def test_a_model_that_bedrock_does_not_have_interrupts_the_run_with_the_remedy(command: Command) -> None:
    no_model = Refuse(400, "ValidationException", "The provided model identifier is invalid.")
    done, loopback = await run(command, "bedrock", bedrock_by_key, *[no_model] * 3)

    assert (done.status, done.json["status"]) == (6, "interrupted"), done.err
    assert "Name a model or inference profile" in done.json["error"]["message"]
    assert loopback.count <= 3


async def test_without_a_credential_the_run_is_interrupted_and_says_what_to_do(command: Command) -> None:
    def nobody(base_url: str, _folder: Path) -> Mapping[str, str]:
        return {
            "ANTHROPIC_BEDROCK_BASE_URL": base_url,
            "AWS_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    done, loopback = await run(command, "bedrock", nobody)

    assert (done.status, done.json["status"]) == (6, "interrupted"), done.err
    assert "there are no AWS credentials. Check your AWS credentials" in done.json["error"]["message"]
    assert loopback.count == 0


async def test_what_certainly_lacks_is_said_before_anything_starts_and_by_doctor(command: Command) -> None:
    done, _ = await run(command, "foundry", lambda _url, _folder: {"ANTHROPIC_FOUNDRY_API_KEY": "k"})

    assert done.status == 2
    assert "service foundry: Microsoft Foundry needs a resource: set either" in done.err

    examined = command("doctor", environ={"CALLSHEET_SERVICE": "vertex"})
    assert "Google Vertex AI is used in a region: set CLOUD_ML_REGION" in examined.out


async def test_a_record_does_not_say_where_a_resumed_run_has_its_models(command: Command) -> None:
    done, _ = await run(command, "foundry", foundry, Say([text("done")]))
    assert done.status == 0, done.err

    again = command("resume", "--output", "json", environ={"ANTHROPIC_API_KEY": "k"})

    assert (again.status, again.json["result"]) == (0, "done"), again.err
    assert (
        "had its models at foundry, now they are had at anthropic: to go on there, pass --service foundry" in again.err
    )
