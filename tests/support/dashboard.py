"""The dashboard's server in this event loop, on loopback, and those who talk to it over real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx2

from callsheet.web.app import Dashboard, create_app
from callsheet.web.server import listen, serving

TOKEN = "t0ken-" * 8
OURS = {"Authorization": f"Bearer {TOKEN}"}
DEED = {"X-Callsheet": "1", "Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One event of a stream."""

    name: str
    data: Any
    number: str | None = None


class Door:
    """A server, and requests to it: with the token, where nothing else is said."""

    def __init__(self, base: str, client: httpx2.AsyncClient, app: Dashboard | None = None) -> None:
        self.base = base
        self.port = int(base.rpartition(":")[2])
        self.client = client
        self.headers: Mapping[str, str] = OURS
        self._app = app

    @property
    def app(self) -> Dashboard:
        """What is served, where that is in this process."""
        assert self._app is not None
        return self._app

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """Asks for something."""
        return await self.client.get(path, headers=dict(self.headers if headers is None else headers))

    async def json(self, path: str) -> Any:
        """Asks for something that is there."""
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """Has something done."""
        sent = {**self.headers, **DEED} if headers is None else dict(headers)
        return await self.client.post(path, content=json.dumps(body or {}).encode(), headers=sent)

    @asynccontextmanager
    async def stream(
        self, path: str, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[AsyncGenerator[Heard]]:
        """Listens to a stream."""
        async with self.client.stream("GET", path, headers={**self.headers, **(headers or {})}) as answer:
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield heard(answer)

    async def raw(self, data: bytes) -> bytes:
        """Sends bytes as they are; what comes until the server closes."""
        async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
            await stream.send(data)
            found = b""
            try:
                while True:
                    found += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return found


async def heard(answer: httpx2.Response) -> AsyncGenerator[Heard]:
    """The events of a stream."""
    said: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            said[name] = value
        elif "event" in said:
            yield Heard(name=said["event"], data=json.loads(said["data"]), number=said.get("id"))
            said = {}
        else:
            said = {}


@asynccontextmanager
async def client_of(base: str) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client that knows no proxy, and waits no longer than a test does."""
    async with httpx2.AsyncClient(base_url=base, trust_env=False, timeout=120) as client:
        yield client


@asynccontextmanager
async def dashboard(**options: Any) -> AsyncGenerator[Door]:
    """Serves the runs of the current folder, with `create_app`'s options."""
    listener = listen("127.0.0.1", 0)
    with listener:
        port = listener.getsockname()[1]
        app = create_app(port=port, **{"token": TOKEN, **options})
        base = f"http://127.0.0.1:{port}"
        async with client_of(base) as client, serving(app, listener, at_end=app.end_streams):
            yield Door(base, client, app)
