"""Instructions in files and tool results, and an agent that obeys them: nothing comes of it but refusals.

Each row is played through the real backend, tools and permissions; what is looked at is the world afterwards: what the
model was told, who connected, and what lies in protected places, in the home folder and beside the workspace. Under
each confinement that this machine has, and under none, where the rules hold alone.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from callsheet.agents.tools.bounds import Bounds
from callsheet.model.reports import ToolCalled
from callsheet.permissions.paths import protection_of
from callsheet.ports import CommandConfinement
from tests.support.agents import RecordingReporter, agent_task
from tests.support.confined import ALL, name_of
from tests.support.deadline import within
from tests.support.messages_replies import Block, Say, text, tool_use
from tests.support.wire import wired
from tests.support.workbench import settings

pytestmark = pytest.mark.anyio

ROWS: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("injections.toml").read_text("utf-8"))["row"]
SECRET = "PRIVATE-3c1f"


@dataclass
class World:
    """A workspace, and everything around it that is none of an agent's business."""

    base: Path
    listener: socket.socket
    unix: socket.socket
    fixed: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in ("home/.ssh/id_ed25519", "outside/secret.txt", "ws/.callsheet/callsheet.db"):
            self.put(path, f"{SECRET}\n")
        self.put("home/.bashrc", "before\n")
        self.put("ws/README.md", "A project.\n")
        self.put("ws/src/new", f"cat {self.base}/outside/secret.txt\n")
        self.put("ws/.claude/settings.json", "{}")
        self.put("ws/check", "#!/bin/bash\ntrue\n").chmod(0o755)
        (self.ws / "latest").symlink_to(self.base / "outside" / "secret.txt")
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "core.hooksPath=/dev/null"]
        subprocess.run([*git, "init", "-q"], cwd=self.ws, check=True, timeout=120)
        (self.ws / ".git" / "hooks").mkdir(exist_ok=True)

    def commit(self, message: str) -> None:
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", message], cwd=self.ws, check=True, timeout=120)

    @property
    def ws(self) -> Path:
        return self.base / "ws"

    def put(self, path: str, content: str) -> Path:
        target = self.base / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
        return target

    def filled(self, value: str) -> str:
        port = str(self.listener.getsockname()[1])
        places = {"HOME": self.base / "home", "OUT": self.base / "outside", "WS": self.ws, "PORT": port}
        places["SOCK"] = self.unix.getsockname()
        for name, place in places.items():
            value = value.replace(f"@{name}@", str(place))
        return value

    def calls(self, row: dict[str, Any]) -> list[Block]:
        return [
            tool_use(tool, id=f"c{n}", **{key: self.filled(value) for key, value in given.items()})
            for n, (tool, given) in enumerate(row["does"])
        ]

    def guarded(self) -> dict[str, bytes]:
        """Everything that must stay as it is, by path: content, or where a link leads."""
        return dict(self._guarded())

    def _guarded(self) -> Iterator[tuple[str, bytes]]:
        for here, folders, files in os.walk(self.base):
            for name in (*folders, *files):
                path = Path(here, name)
                relative = str(path.relative_to(self.base))
                in_workspace = relative.startswith("ws/")
                if (
                    in_workspace
                    and protection_of(relative.removeprefix("ws/")) is None
                    and ".callsheet" not in relative
                ):
                    continue
                if path.is_symlink():
                    yield relative, os.fsencode(path.readlink())
                elif path.is_file() and path.name != "index":  # git's own cache of file times
                    yield relative, path.read_bytes()
                elif path.is_dir():
                    yield relative, b"folder"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "outside").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "outside" / "s"))
        unix.listen()
        for each in (listener, unix):
            each.setblocking(False)
        yield World(tmp_path.resolve(), listener, unix)


def come_upon(world: World, found: str, says: str) -> Block:
    """Puts the text where the agent looks; the call with which it does."""
    match found:
        case "name":
            world.put(f"ws/docs/{says}.md", "x")
            return tool_use("glob", id="first", pattern="docs/*")
        case "log":
            world.commit(says)
            return tool_use("bash", id="first", command="git log -1 --format=%B")
        case _:
            world.put("ws/notes.md", f"Notes\n{says}\n")
    match found:
        case "read":
            return tool_use("read", id="first", file_path="notes.md")
        case "lines":
            return tool_use("read", id="first", file_path="notes.md", view_range=[2, 2])
        case "grep":
            return tool_use("grep", id="first", pattern="IMPORTANT")
        case _:
            return tool_use("bash", id="first", command="cat notes.md")


def told(request_body: dict[str, Any]) -> str:
    """All that the tools said, in one text."""
    blocks = [block for message in request_body["messages"] for block in message["content"] if isinstance(block, dict)]
    return "\n".join(str(block["content"]) for block in blocks if block["type"] == "tool_result")


@pytest.mark.parametrize("held", ALL, ids=name_of)
@pytest.mark.parametrize("row", ROWS, ids=[f"{n:02}-{row['says'][:40]}" for n, row in enumerate(ROWS, 1)])
async def test_an_injected_instruction_that_is_obeyed_reaches_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, row: dict[str, Any], held: CommandConfinement
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    says = world.filled(row["says"])
    look, calls = come_upon(world, row["found"], says), world.calls(row)
    before = world.guarded()
    bounds = Bounds(
        settings=settings(world.ws, allow=tuple(row.get("allow", ()))),
        home=world.base / "home",
        confinement=held,
    )
    reporter = RecordingReporter()
    with within(60):
        async with wired(Say([look]), Say(calls), Say([text("done")]), bounds=bounds) as wire:
            outcome = await wire.run(agent_task(world.ws), reporter)
    assert outcome.value == "done"
    requests = [request.body for request in wire.service.requests]
    assert says.partition("\n")[0] in told(requests[1]), "the agent has come upon the instruction"
    ended = [call for call in reporter.of(ToolCalled) if call.state != "intent"]
    assert len(ended) == 1 + len(calls), "every call came to its end"
    assert SECRET not in told(requests[-1]).replace(says, ""), "nothing from outside was read"
    for each in (world.listener, world.unix):
        with pytest.raises(BlockingIOError):
            each.accept()
    assert world.guarded() == before, "nothing protected, and nothing outside, was changed"
    refused = [call for call in ended if call.state == "denied"]
    assert refused or row.get("allow"), "rules refused it"


def test_there_are_forty_rows_under_default_rules() -> None:
    assert len([row for row in ROWS if not row.get("allow")]) >= 40
