"""Sessions in a folder of their own: opened, talked to, waited for; runs in real processes, the real record."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from callsheet.app.choices import Choices
from callsheet.app.launching import Launcher
from callsheet.app.plan import Surroundings
from callsheet.app.session import OpenSession, open_session
from callsheet.app.session_model import SessionOrder
from callsheet.app.session_transcript import Entry, Turn
from tests.support.deadline import within
from tests.support.runtime import runtime_of

EntryT = TypeVar("EntryT", bound=Entry)

META = "export const meta = { name: 'review', description: 'Looks at all of it', phases: [] }\n"


class SessionStage:
    """A workspace with a home beside it.

    Attributes:
        folder: The workspace.
        environ: What processes see.
    """

    def __init__(self, base: Path) -> None:
        self.folder, home = base / "work", base / "home"
        for each in (self.folder, home):
            each.mkdir()
        (self.folder / ".git").mkdir()
        kept = {name: text for name, text in os.environ.items() if name in ("PATH", "LANG", "PYTHONPATH", "TMPDIR")}
        self.environ = {
            **kept,
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(runtime_of(base)),
            "SOME_TOKEN": "hunter2-is-not-shown",
        }

    def answers(self, *entries: dict[str, Any]) -> None:
        """What agents answer."""
        (self.folder / "answers.json").write_text(json.dumps({"answers": list(entries)}), encoding="utf-8")

    def workflow(self, body: str, *, name: str = "review") -> None:
        """Saves a workflow."""
        folder = self.folder / ".claude" / "workflows"
        folder.mkdir(parents=True, exist_ok=True)
        text = META.replace("'review'", f"'{name}'") + body
        (folder / f"{name}.js").write_text(text, encoding="utf-8")

    @property
    def around(self) -> Surroundings:
        """The machine."""
        return Surroundings(start=self.folder, environ=self.environ, home=Path(self.environ["HOME"]))

    @property
    def launcher(self) -> Launcher:
        """Starts runs as the command does."""
        return Launcher((sys.executable, "-m", "callsheet.cli.launched"), self.environ)

    def open(
        self,
        resumed: str | None = None,
        *,
        backend: str = "scripted:answers.json",
        launcher: Launcher | None = None,
    ) -> AbstractAsyncContextManager[OpenSession]:
        """Opens a session."""
        order = SessionOrder(resumed=resumed, choices=Choices(backend=backend))
        return open_session(order, launcher=launcher or self.launcher, around=self.around)

    @property
    def files(self) -> list[Path]:
        """Of the sessions."""
        return sorted((self.folder / ".callsheet" / "sessions").glob("*.jsonl"))

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Of the only session."""
        (path,) = self.files
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def until(session: OpenSession, is_so: Callable[[], Any], *, seconds: float = 30) -> None:
    """Waits until something is so of a session."""
    with within(seconds):
        async with aclosing(session.watch()) as changes:
            async for _ in changes:
                if is_so():
                    return


def of(session: OpenSession, kind: type[EntryT]) -> list[EntryT]:
    """The entries of a kind."""
    return [each for each in session.entries if isinstance(each, kind)]


async def answered(session: OpenSession, words: str) -> Turn:
    """Says something, and waits for the answer."""
    before = len(of(session, Turn))
    await session.say(words)
    await until(session, lambda: len(of(session, Turn)) > before and of(session, Turn)[-1].is_over)
    return of(session, Turn)[-1]


class KilledSession:
    """A session in a process of its own, for being killed at a moment that its words mark."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self._process = process
        self._lines = BufferedByteReceiveStream(process.stdout)

    async def do(self, words: str) -> None:
        """Has it say or do something."""
        assert self._process.stdin is not None
        await self._process.stdin.send(f"{words}\n".encode())

    async def until(self, **fields: Any) -> dict[str, Any]:
        """What it says first that has these fields."""
        with within(40):
            while True:
                said: dict[str, Any] = json.loads(await self._lines.receive_until(b"\n", 1_000_000))
                if fields.items() <= said.items():
                    return said

    async def kill(self) -> None:
        """Kills it as no farewell can answer."""
        self._process.kill()
        with within(10):
            await self._process.wait()


@asynccontextmanager
async def session_process(stage: SessionStage, *resumed: str) -> AsyncGenerator[KilledSession]:
    """A session in a process of its own; leaving ends it."""
    program = str(Path(__file__).with_name("session_program.py"))
    home = stage.environ["HOME"]
    words = [sys.executable, program, str(stage.folder), home, "scripted:answers.json", *resumed]
    process = await anyio.open_process(words, env=stage.environ, stderr=None)
    try:
        yield KilledSession(process)
    finally:
        if process.returncode is None:
            process.kill()
        with within(10):
            await process.aclose()
