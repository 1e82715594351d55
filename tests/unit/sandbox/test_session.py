"""The life of a child: start, confinement, turns, the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import anyio
import psutil
import pytest

from callsheet.errors import SandboxClosedError, SandboxError
from callsheet.model.sandbox import (
    Clock,
    Confinement,
    Delivery,
    Idle,
    Logged,
    ResolveCall,
    Returned,
    SandboxLimits,
    ScriptMessage,
)
from callsheet.ports import ScriptSession
from callsheet.sandbox import process
from callsheet.sandbox.host import SandboxHost, Session
from tests.support.deadline import within
from tests.support.drive import drive, start, turn

pytestmark = pytest.mark.anyio

CLOCK = Clock(now_ms=0)


def pid_of(session: object) -> int:
    assert isinstance(session, Session)
    return session.child.pid


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


def look_at(pid: int) -> tuple[str, list[str], list[str]]:
    """A process's status, that of its threads, and what its descriptors are."""
    folder = Path(f"/proc/{pid}")
    status = (folder / "status").read_text(encoding="ascii")
    threads = [(task / "status").read_text(encoding="ascii") for task in (folder / "task").iterdir()]
    return status, threads, sorted(link.readlink().name.partition(":")[0] for link in (folder / "fd").iterdir())


async def test_a_child_says_once_what_holds_it_and_is_gone_afterwards() -> None:
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            first = await session.ready()
            assert await session.ready() is first
            pid = pid_of(session)
            assert not is_gone(pid)
    assert isinstance(first, Confinement)
    assert first.system_calls is (sys.platform == "linux")
    assert "QuickJS" in first.detail
    assert is_gone(pid)


@pytest.mark.contract("D02")
async def test_a_child_is_isolated_small_and_filtered() -> None:
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            await turn(session, start("await agent('x')"), CLOCK)
            child = psutil.Process(pid_of(session))
            assert child.cwd() == "/"
            assert child.environ() == {}
            assert child.memory_info().rss < 30 * 1024 * 1024
            assert os.getsid(child.pid) == child.pid
            status, threads, targets = look_at(child.pid)
            assert "NoNewPrivs:\t1" in status
            assert len(threads) == 2
            assert all("Seccomp:\t2" in thread for thread in threads)
            assert targets == ["null", "null", "pipe", "pipe", "pipe", "status"]
            limits = {
                name: child.rlimit(getattr(psutil, f"RLIMIT_{name}")) for name in ("NOFILE", "NPROC", "FSIZE", "CORE")
            }
            assert set(limits.values()) == {(0, 0)}


async def test_required_confinement_that_is_not_to_be_had_is_refused(tmp_path: Path) -> None:
    fake = tmp_path / "child.py"
    fake.write_text(
        "import sys; sys.path[:0] = sys.argv[1:]\nfrom callsheet.sandbox import wire\n"
        "sys.stdout.buffer.write(wire.encode(('hello', wire.VERSION, '0', False, 'no filter on this system')))\n"
        "sys.stdout.flush(); sys.stdin.read()",
        encoding="utf-8",
    )
    host = SandboxHost(command=[sys.executable, "-I", str(fake), *sys.path])
    with within():
        async with host.open(SandboxLimits()) as session:
            assert (await session.ready()).system_calls is False
        async with host.open(SandboxLimits(require_confinement=True)) as session:
            with pytest.raises(SandboxError, match=r"--require-confinement .*no filter on this system") as caught:
                await session.deliver(start("return 1"), CLOCK)
            with pytest.raises(SandboxError, match="--require-confinement"):
                await session.ready()
    assert caught.value.kind == "config"


async def test_a_missing_installation_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "_PACKAGE", tmp_path / "src" / "callsheet")
    with pytest.raises(SandboxError, match="incomplete installation: no runtime_js"):
        async with SandboxHost().open(SandboxLimits()):
            pass
    with pytest.raises(SandboxError, match="cannot be started"):
        async with SandboxHost(command=[str(tmp_path / "none")]).open(SandboxLimits()):
            pass


async def test_the_workspace_has_no_say_in_what_the_child_imports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("msgpack", "json", "sitecustomize", "usercustomize", "_quickjs", "pyseccomp"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the workspace')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "json.py"))
    assert (await drive("return 1")).result == 1


async def test_turns_end_with_idle_and_count_the_cpu_of_the_child() -> None:
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            said = await turn(session, start("for (let i = 0; i < 3e6; i++); await agent('x'); return 1"), CLOCK)
            first = said[-1]
            said = await turn(session, ResolveCall(context=0, call=1, value_json="2"), CLOCK)
    assert isinstance(first, Idle)
    assert [type(message) for message in said] == [Returned, Idle]
    assert isinstance(said[-1], Idle)
    assert 0.01 < first.cpu_s <= said[-1].cpu_s < 5


def answers(*texts: str, at: int = 1_000) -> list[tuple[Delivery, Clock]]:
    """Results of the calls from the second on, each a second later."""
    said = enumerate(texts, 2)
    return [
        (ResolveCall(context=0, call=n, value_json=f'"{text}"'), Clock(now_ms=at * n, spent_tokens=n))
        for n, text in said
    ]


async def until_idle(session: ScriptSession, times: int) -> list[ScriptMessage]:
    """What the script says in so many turns."""
    said: list[ScriptMessage] = []
    while sum(isinstance(message, Idle) for message in said) < times:
        said.extend(await session.receive())
    return said


async def test_what_is_handed_in_ahead_is_worked_off_turn_by_turn_each_with_its_own_clock() -> None:
    body = """const seen = []
    const one = n => agent(String(n)).then(x => { seen.push([x, Date.now(), budget.spent()]) })
    await Promise.all([one(1), one(2), one(3)])
    return seen"""
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            await turn(session, start(body), CLOCK)
            first = ResolveCall(context=0, call=1, value_json='"a"')
            assert await session.deliver(first, Clock(now_ms=1_000, spent_tokens=1), answers("b", "c")) == 2
            said = await until_idle(session, 3)
    assert [type(message) for message in said] == [Idle, Idle, Returned, Idle]
    assert [message.has_spoken for message in said if isinstance(message, Idle)] == [False, False, True]
    assert isinstance(said[2], Returned)
    assert json.loads(said[2].value_json) == [["a", 1_000, 1], ["b", 2_000, 2], ["c", 3_000, 3]]


async def test_of_what_is_handed_in_ahead_nothing_is_delivered_once_the_script_has_said_something() -> None:
    body = """const got = []
    const one = n => agent(String(n)).then(x => { got.push(x); if (x === 'speak') log(got.join()) })
    await Promise.all([one(1), one(2), one(3), one(4)])
    return got"""
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            await turn(session, start(body), CLOCK)
            first = ResolveCall(context=0, call=1, value_json='"a"')
            assert await session.deliver(first, CLOCK, answers("speak", "never", "never")) == 3
            said = await until_idle(session, 2)
            rest = []
            for call, clock in answers("", "c", "d", at=9_000)[1:]:
                rest += await turn(session, call, clock)
    assert [type(message) for message in said] == [Idle, Logged, Idle]
    assert isinstance(said[1], Logged) and said[1].message == "a,speak"
    assert [type(message) for message in rest] == [Idle, Returned, Idle]
    assert isinstance(rest[1], Returned) and json.loads(rest[1].value_json) == ["a", "speak", "c", "d"]


async def test_no_more_is_handed_in_ahead_than_a_pipe_takes_at_once() -> None:
    body = "await Promise.all([agent('1'), agent('2'), agent('3'), agent('4')]); return 'all'"
    large = "x" * 9_000
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            await turn(session, start(body), CLOCK)
            first = ResolveCall(context=0, call=1, value_json='"a"')
            assert await session.deliver(first, CLOCK, answers("b", large, large)) == 2
            assert len(await until_idle(session, 3)) == 3
            said = await turn(session, *answers("", "", "d", at=9_000)[2])
    assert [type(message) for message in said] == [Returned, Idle]


async def test_a_receive_that_was_cancelled_loses_nothing() -> None:
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            await session.ready()
            for _ in range(3):
                with anyio.move_on_after(0.01):
                    await session.receive()
            async with anyio.create_task_group() as group:

                async def deliver() -> None:
                    await session.deliver(start("log('a'); return 1"), CLOCK)

                group.start_soon(deliver)
                said = [*await session.receive()]
                while not isinstance(said[-1], Idle):
                    said.extend(await session.receive())
    assert [type(message).__name__ for message in said] == ["Logged", "Returned", "Idle"]


async def test_compiling_goes_on_beside_a_pending_receive() -> None:
    with within():
        async with SandboxHost().open(SandboxLimits()) as session, anyio.create_task_group() as group:
            group.start_soon(session.receive)
            assert await session.compile("return 1") is None
            fault = await session.compile("return )")
            assert fault is not None
            group.cancel_scope.cancel()


async def test_a_closed_session_says_so() -> None:
    async with SandboxHost().open(SandboxLimits()) as session:
        pass
    with within():
        for use in (session.ready(), session.receive(), session.compile(""), session.deliver(start(""), CLOCK)):
            with pytest.raises(SandboxClosedError):
                await use
        assert isinstance(session, Session)
        await session.aclose()


@pytest.mark.parametrize("body", ["for (;;) {}", "await agent('x')", "return new Array(2 ** 32 - 1).join('')"])
async def test_leaving_in_the_middle_of_anything_leaves_no_process(body: str) -> None:
    with within(8):
        async with SandboxHost().open(SandboxLimits()) as session:
            await session.deliver(start(body), CLOCK)
            pid = pid_of(session)
    assert is_gone(pid)


async def test_leaving_while_the_child_starts_or_by_cancelling_leaves_no_process() -> None:
    pids = []
    with within(8):
        async with SandboxHost().open(SandboxLimits()) as session:
            pids.append(pid_of(session))
        with anyio.move_on_after(0.1):
            async with SandboxHost().open(SandboxLimits()) as session:
                pids.append(pid_of(session))
                await session.deliver(start("for (;;) {}"), CLOCK)
                await session.receive()
        with contextlib.suppress(KeyError):
            async with SandboxHost().open(SandboxLimits()) as session:
                pids.append(pid_of(session))
                raise KeyError
    assert all(is_gone(pid) for pid in pids)


async def test_a_child_that_ignores_its_end_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    fake = tmp_path / "child.py"
    fake.write_text(
        f"import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nalive = open({str(alive)!r}, 'w')\n"
        "if os.fork() == 0: alive.write('up'); alive.flush()\ntime.sleep(60)",
        encoding="utf-8",
    )
    # Open for writing as long as one of the two lives.
    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with within(8):
            async with SandboxHost(command=[sys.executable, "-I", str(fake)]).open(SandboxLimits()) as session:
                pid = pid_of(session)
                await anyio.wait_readable(reader)
                assert os.read(reader, 2) == b"up"
            assert is_gone(pid)
            await anyio.wait_readable(reader)
            assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


async def test_the_death_of_a_child_names_its_signal() -> None:
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            await turn(session, start("await agent('x')"), CLOCK)
            os.kill(pid_of(session), signal.SIGKILL)
            with pytest.raises(SandboxError, match=r"died [(]signal SIGKILL[)]") as caught:
                await turn(session, ResolveCall(context=0, call=1, value_json="1"), CLOCK)
    assert caught.value.kind == "sandbox"
