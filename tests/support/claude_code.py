"""Claude Code's agents in a test: a home of their own, and no service but the one on the loopback."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import anyio
import psutil

from callsheet.agents.claude_code import ClaudeCodeBackend
from callsheet.agents.claude_code.toolbox import PREFIX
from callsheet.agents.tools.bounds import Bounds
from tests.support.messages_replies import Block, tool_use

_PROGRAM = """\
#!{python} -IBS
import json, os, sys, time, signal, subprocess
MODE = {mode!r}
def send(**message):
    print(json.dumps(message), flush=True)
def answered(frame, **response):
    send(type="control_response", response=dict(subtype="success", request_id=frame["request_id"], response=response))
if "--version" in sys.argv:
    print("{version} (Claude Code)")
    sys.exit(0)
{body}
"""


def fake_program(folder: Path, body: str, *, version: str = "9.9.9", mode: str = "") -> Path:
    """A program that speaks the SDK's protocol as far as `body` does; `send` and `answered` are there to do so."""
    program = folder / "claude"
    python = os.path.realpath(sys.executable)
    program.write_text(_PROGRAM.format(python=python, mode=mode, version=version, body=body), encoding="utf-8")
    program.chmod(0o755)
    return program


def claude_environ(home: Path, base_url: str = "http://127.0.0.1:9", **more: str) -> dict[str, str]:
    """A host's environment without any login but a key for the loopback service."""
    home.mkdir(exist_ok=True)
    plain = {"HOME": str(home), "PATH": os.environ["PATH"], "ANTHROPIC_BASE_URL": base_url}
    return {**plain, "ANTHROPIC_API_KEY": "sk-ant-test", **more}


def claude_backend(home: Path, base_url: str = "http://127.0.0.1:9", **more: Any) -> ClaudeCodeBackend:
    """The backend; further arguments are its own."""
    environ = more.pop("environ", None) or claude_environ(home, base_url)
    more.setdefault("bounds", Bounds(unconfined=True, scratch=home / "scratch"))
    return ClaudeCodeBackend(environ=environ, **more)


def call(name: str, /, id: str = "", **given: Any) -> Block:
    """A call of one of our tools, by the name that the program gives it."""
    return tool_use(f"{PREFIX}{name}", id or f"toolu_{name}", **given)


def programs_at(path: Path) -> list[psutil.Process]:
    """Processes that have this path among their words or are this program."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(path) in word for word in process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


async def none_at(path: Path) -> None:
    """Waits until there is no such process."""
    while running := programs_at(path):
        for process in running:
            await _ended(process.pid)


async def _ended(pid: int) -> None:
    """Waits for the end of a process that is not ours."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await anyio.wait_readable(descriptor)
    finally:
        os.close(descriptor)
