"""Programs that speak the Agent Client Protocol are programs of strangers: what they see, reach and leave behind."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from callsheet.agents.acp import AcpBackend
from callsheet.agents.acp.launch import launching
from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.shell import HeldProgram
from callsheet.confinement.unconfined import Unconfined
from callsheet.model.call import AcpProgram
from callsheet.model.confinement import CommandProfile, NetworkHosts, NetworkOff, NetworkOpen
from callsheet.model.reports import ToolCalled
from tests.support.agents import RecordingReporter, agent_task
from tests.support.deadline import within
from tests.support.processes import ended
from tests.support.workbench import appears

AGENT = Path(__file__).parents[1] / "support" / "acp_agent.py"


def steps(*each: Sequence[object]) -> str:
    return f"DO: {json.dumps(each)}"


@pytest.mark.anyio
async def test_it_gets_the_variables_that_were_named_and_no_other_secret(tmp_path: Path) -> None:
    host = {
        "PATH": "/usr/bin:/bin",
        "ANTHROPIC_API_KEY": "sk-secret",
        "SMALL_KEY": "its own",
        "GITHUB_TOKEN": "ghp",
        "SSH_AUTH_SOCK": "/run/agent",
        "CALLSHEET_X": "1",
    }
    bounds = Bounds(unconfined=True, home=tmp_path / "home", environ=host)
    program = AcpProgram(command=(sys.executable, str(AGENT)), environment=("SMALL_KEY",))
    backend = AcpBackend("small", program, bounds=bounds, environ=host)
    with within(30):
        outcome = await backend.run(agent_task(tmp_path, steps(["environ"])), RecordingReporter())
    given = json.loads(str(outcome.value))
    assert given["SMALL_KEY"] == "its own"
    assert given["HOME"] == str(tmp_path / "home")
    assert not {"ANTHROPIC_API_KEY", "GITHUB_TOKEN", "SSH_AUTH_SOCK", "CALLSHEET_X"} & set(given)
    assert "secret" not in json.dumps(given)


@pytest.mark.anyio
async def test_its_files_are_ours_to_refuse_outside_the_workspace_and_at_protected_paths(tmp_path: Path) -> None:
    root = tmp_path / "ws"
    (root / ".git" / "hooks").mkdir(parents=True)
    (root / ".callsheet").mkdir()
    (root / ".callsheet" / "runs.db").write_text("record", encoding="utf-8")
    (tmp_path / "outside").write_text("SECRET", encoding="utf-8")
    (root / "link").symlink_to(tmp_path / "outside")
    reporter = RecordingReporter()
    wanted: list[list[str]] = [
        ["read", str(root / "link")],
        ["read", str(root / ".callsheet" / "runs.db")],
        ["write", str(tmp_path / "outside"), "x"],
        ["write", str(root / "link"), "x"],
        ["write", str(root / ".git" / "hooks" / "pre-commit"), "x"],
        ["write", "../outside", "x"],
        ["write", str(root / ".callsheet" / "runs.db"), "x"],
    ]
    backend = AcpBackend(
        "small",
        AcpProgram(command=(sys.executable, str(AGENT))),
        bounds=Bounds(unconfined=True, home=tmp_path / "home"),
    )
    with within(30):
        outcome = await backend.run(agent_task(root, steps(*wanted)), reporter)
    assert {call.state for call in reporter.of(ToolCalled)} == {"denied"}
    assert len(reporter.of(ToolCalled)) == len(wanted)
    assert "SECRET" not in str(outcome)
    assert (tmp_path / "outside").read_text(encoding="utf-8") == "SECRET"
    assert not (root / ".git" / "hooks" / "pre-commit").exists()


@pytest.mark.parametrize(
    ("said", "most", "reached"),
    [
        (None, None, NetworkOff()),
        (("a.com",), None, NetworkHosts(hosts=("a.com",))),
        (("a.com", "b.com"), ("b.com",), NetworkHosts(hosts=("b.com",))),
        (("x.b.com",), ("*.b.com",), NetworkHosts(hosts=("x.b.com",))),
        (("b.com",), ("*.b.com",), NetworkOff()),
        (("*",), ("b.com",), NetworkHosts(hosts=("b.com",))),
        (("*",), (), NetworkOff()),
        (("*",), None, NetworkOpen()),
    ],
)
def test_what_was_declared_reaches_no_further_than_the_run_allows(
    tmp_path: Path, said: tuple[str, ...] | None, most: tuple[str, ...] | None, reached: object
) -> None:
    profiles: list[CommandProfile] = []

    class Seen(Unconfined):
        def open(self, line: object, profile: CommandProfile) -> object:  # type: ignore[override]
            profiles.append(profile)
            raise NotImplementedError

    held = HeldProgram(
        confinement=Seen(),
        is_confined=True,
        profile=CommandProfile(scratch=tmp_path),
        environ={"PATH": "/usr/bin:/bin"},
    )
    made = launching(
        AcpProgram(command=("sh",), hosts=said),
        held,
        folder=tmp_path,
        root=tmp_path,
        home=tmp_path,
        host={},
        hosts=most,
    )

    async def start() -> None:
        async with made.launcher(made.program, 0):
            pass

    with pytest.raises(NotImplementedError):
        anyio.run(start)
    assert profiles[0].network == reached


HOST = """
import anyio, sys
from collections.abc import Sequence
from pathlib import Path
from callsheet.agents.acp import AcpBackend
from callsheet.agents.tools.bounds import Bounds
from callsheet.model.call import AcpProgram
from tests.support.agents import RecordingReporter, agent_task
root = Path(sys.argv[1])
backend = AcpBackend("small", AcpProgram(command=(sys.executable, sys.argv[2])), bounds=Bounds(unconfined=True))
anyio.run(backend.run, agent_task(root, sys.argv[3]), RecordingReporter())
"""


@pytest.mark.anyio
async def test_it_ends_with_all_that_it_started_when_the_host_is_killed(tmp_path: Path) -> None:
    words = [sys.executable, "-c", HOST, str(tmp_path), str(AGENT), steps(["child", "pids"], ["ignore"])]
    with within(30), (tmp_path / "said").open("wb") as said:
        async with await anyio.open_process(words, cwd=AGENT.parents[2], stdout=said, stderr=said) as host:
            is_there = await appears(tmp_path / "pids")
            assert is_there, f"{host.returncode}: {(tmp_path / 'said').read_text(encoding='utf-8')}"
            pids = [int(pid) for pid in (tmp_path / "pids").read_text(encoding="utf-8").split()]
            assert len(pids) == 2
            host.send_signal(signal.SIGKILL)
            await ended(pids)
