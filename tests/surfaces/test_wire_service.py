"""The loopback Messages service in a process of its own, as the benchmark runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import anthropic
import pytest

from callsheet.agents.anthropic import AnthropicBackend
from tests.support.agents import RecordingReporter, agent_task
from tests.support.deadline import within

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


@pytest.fixture
def service() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.support.messages_service", "--port", "0", "--reply", "tool"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().split()[-1]}"
        process.communicate(timeout=120)
        assert process.returncode == 0, "the service ends when its standard input does"


def _stats(service: str) -> dict[str, int]:
    with urlopen(f"{service}/__stats", timeout=60) as answer:
        counts: dict[str, int] = json.load(answer)
    return counts


async def test_a_tool_turn_over_two_processes_takes_two_requests(service: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Read me", encoding="utf-8")
    backend = AnthropicBackend(
        clients=lambda: [anthropic.AsyncAnthropic(base_url=service, api_key="k", max_retries=0)],
        price=lambda _model, **_tokens: 0.0,
    )
    with within():
        outcome = await backend.run(agent_task(tmp_path), RecordingReporter())
        await backend.aclose()
    assert (outcome.status, outcome.value) == ("ok", "The work is done.")
    assert outcome.files_read == ("README.md",)
    stats = _stats(service)
    assert (stats["requests"], stats["in_flight"], stats["abandoned"]) == (2, 0, 0)
