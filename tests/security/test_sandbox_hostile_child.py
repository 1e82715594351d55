"""A child that is no longer ours: whatever it sends, the host ends it and goes on (DESIGN 16, CONTRACT L03)."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from callsheet.errors import SandboxError
from callsheet.model.counts import MAX_CALLS, MAX_LOG_LINES, MAX_TIMERS, MAX_WAITING_BYTES
from callsheet.model.sandbox import (
    AgentCalled,
    Clock,
    Dropped,
    Idle,
    Logged,
    ResolveCall,
    SandboxLimits,
    ScriptMessage,
    StartScript,
    TimerSet,
)
from callsheet.sandbox import wire
from callsheet.sandbox.host import SandboxHost, Session
from tests.support.deadline import within
from tests.support.drive import start

pytestmark = [pytest.mark.anyio, pytest.mark.contract("L03")]

# Plays the child: says hello, waits for the first delivery, then does as the test says.
PRELUDE = """
import os, signal, struct, sys, time
from callsheet.sandbox import wire
out = sys.stdout.buffer
def frame(body): return struct.pack('>I', len(body)) + body
def say(*message): out.write(wire.encode(message))
def agent(call, prompt='p', options='{}'): say('agent', 0, call, prompt, 'string', options, None, '[]', None, 1)
say('hello', wire.VERSION, '0', True, 'fake'); out.flush()
os.read(0, 65536)
"""


async def meet(tmp_path: Path, program: str, *, silence_s: float = 10) -> tuple[list[ScriptMessage], SandboxError]:
    """Runs a hostile child, to its end soon; what got through, and how it ended."""
    fake = tmp_path / "child.py"
    fake.write_text(f"import sys; sys.path[:0] = {sys.path!r}\n{PRELUDE}\n{program}\nout.flush()", encoding="utf-8")
    host = SandboxHost(command=[sys.executable, "-I", str(fake)], silence_s=silence_s)
    said: list[ScriptMessage] = []
    with within(20):
        async with host.open(SandboxLimits()) as session:
            await session.deliver(start("return 1"), Clock(now_ms=0))
            try:
                while True:
                    said.extend(await session.receive())
            except SandboxError as error:
                return said, error


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("out.write(b'GET / HTTP/1.1\\r\\n\\r\\n' * 100)", "must not send"),
        ("out.write(os.urandom(65536))", "must not send"),
        ("out.write(struct.pack('>I', 0x7fffffff))", "must not send"),
        ("out.write(struct.pack('>I', 0xffffffff) + b'x' * 70000)", "must not send"),
        ("out.write(frame(b''))", "must not send"),
        ("out.write(frame(b'\\x92\\xa3log' + b'\\x80' * 4000000))", "must not send"),
        ("out.write(frame(b'\\xdd\\x00\\x3d\\x09\\x00' + b'\\x80' * 4000000))", "must not send"),
        ("say('log', 0, 'info', b'bytes')", "must not send"),
        ("say('log', 0, 'fatal', 'x')", "must not send"),
        ("say('log', -1, 'info', 'x')", "must not send"),
        ("say('log', 7, 'info', 'x')", "does not run"),
        ("say('log', 0, 'info', 'x' * 20000)", "must not send"),
        ("say('compiled', None, None, None); say('hello', wire.VERSION, '0', True, 'again')", "must not send"),
        ("say('exec', 'rm -rf /')", "must not send"),
        ("say('resolve', 0, 1, '1', 0, 0, 0)", "must not send"),
        ("agent(2)", "call 2 after call 0"),
        ("agent(1); agent(1)", "call 1 after call 1"),
        ("agent(1, options='[]')", "options"),
        ("agent(1, options='{')", "not JSON"),
        ("agent(1, options='{\"label\": NaN}')", "not JSON"),
        ("agent(1, options='{\"__proto__\": 1}')", "options"),
        ("agent(1, prompt='é' * 2100000)", "a prompt over"),
        ("say('slot', 0, 'parallel', 1, 0, 'E', 'm', 1, 5)", "a call that was not made"),
        ("say('timer', 0, 1, 5.0); say('timer', 0, 1, 5.0)", "number twice"),
        ("say('timer', 0, 1, float('nan'))", "must not send"),
        ("say('timer', 0, 1, float('inf'))", "must not send"),
        ("say('returned', 0, '1'); say('returned', 0, '2')", "ended twice"),
        ("say('workflow', 0, 1, 'a', 'b', None, None, None, None, None)", "exactly one"),
        ("say('workflow', 0, 1, 'a', None, 'b', None, None, None, None)", "exactly one"),
        ("say('workflow', 0, 1, None, None, None, None, None, None, None)", "exactly one"),
        ("say('workflow', 0, 1, None, None, 'x' * 524289, None, None, None, None)", "not what it may be"),
        ("say('workflow', 0, 1, None, None, 'é' * 300000, None, None, None, None)", "too large"),
        ("for i in range(100): "
        "out.write(struct.pack('>I', 0x80000000 | 4000000) + b'x' * 4000000)", "a message of more than"),
        ("for i in range(25000): say('log', 0, 'info', 'flood')", "a flood: more than 20000 log lines"),
        ("for i in range(25000): say('slot', "
        "0, 'parallel', 1, 0, 'E', 'm', 1, None)", "a flood: more than 20000 slots"),
        ("for i in range(2500): say('phase', 0, str(i))", "a flood: more than 2000 phases"),
        ("for i in range(45000): agent(i + 1)", "a flood: more than 40000 calls"),
        ("for i in range(200): agent(i + 1, prompt='x' * 2000000)", "calls under way of more than"),
        ("out.write(struct.pack('>I', 500) + b'half a frame'); out.flush(); time.sleep(60)", "said nothing for 0.5 s"),
        ("out.flush(); time.sleep(60)", "said nothing for 0.5 s"),
        ("say('over', 'memory', '')", "--memory-limit"),
        ("say('over', 'fault', 'KeyError: x')", "KeyError: x"),
        ("os._exit(7)", "exit status 7"),
        ("sys.stderr.write('Fatal: segment'); "
        "sys.stderr.flush(); os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV.: Fatal: segment"),
        ("os.kill(os.getpid(), signal.SIGXCPU)", "--cpu-total"),
        ("os.close(1); time.sleep(60)", "died"),
        ("sys.stderr.write('x' * 10000000)", "said nothing|died"),
        ("raise SystemExit(3)", "exit status 3"),
    ],
)  # fmt: skip
async def test_a_hostile_child_is_ended_with_an_error(tmp_path: Path, program: str, says: str) -> None:
    before = psutil.Process().memory_info().rss
    _, error = await meet(tmp_path, program, silence_s=0.5 if "said nothing" in says else 10)
    assert any(part in error.message.replace("(", ".").replace(")", ".") for part in says.split("|"))
    assert error.kind == ("limit" if "--" in says else "sandbox")
    assert psutil.Process().memory_info().rss - before < MAX_WAITING_BYTES + (100 << 20)


async def test_what_is_over_a_count_is_left_out_and_reported_once(tmp_path: Path) -> None:
    said, _ = await meet(
        tmp_path,
        f"for i in range({MAX_LOG_LINES} + 100): say('log', 0, 'info', 'é' * 10000 if i == 0 else 'x')\n"
        f"for i in range({MAX_TIMERS} + 100): say('timer', 0, i + 1, 5)\n"
        "agent(1, options='{\"label\": \"' + 'l' * 300 + '\"}')\n"
        "for i in range(3): say('dropped', 0, 'text', 'again')\nsay('dropped', 0, 'calls', 'first')",
    )
    assert len([message for message in said if isinstance(message, Logged)]) == MAX_LOG_LINES
    assert len([message for message in said if isinstance(message, TimerSet)]) == MAX_TIMERS
    assert [message.sort for message in said if isinstance(message, Dropped)] == ["text", "logs", "timers", "calls"]
    (call,) = [message for message in said if isinstance(message, AgentCalled)]
    assert call.options == {"label": "l" * 200}
    first = next(message for message in said if isinstance(message, Logged))
    assert len(first.message.encode()) == 16 * 1024


async def test_calls_over_their_count_are_left_out(tmp_path: Path) -> None:
    said, _ = await meet(tmp_path, f"for i in range({MAX_CALLS} + 10): agent(i + 1)")
    assert len([message for message in said if isinstance(message, AgentCalled)]) == MAX_CALLS
    assert [message.sort for message in said if isinstance(message, Dropped)] == ["calls"]


async def test_everything_before_the_rubbish_still_counts(tmp_path: Path) -> None:
    said, error = await meet(
        tmp_path, "say('log', 0, 'info', 'good'); say('log', 0, 'info', 'too'); out.write(b'\\xff' * 9)"
    )
    assert [message.message for message in said if isinstance(message, Logged)] == ["good", "too"]
    assert error.kind == "sandbox"


async def test_a_child_that_never_says_hello_or_speaks_another_version_is_ended(tmp_path: Path) -> None:
    old = wire.encode(("hello", 200, "0", True, "fake"))
    for program, says in (
        ("import time; time.sleep(60)", "said nothing for 0.5 s"),
        ("import sys; sys.stdout.write('Python 2.7'); sys.stdout.flush(); input()", "must not send"),
        ("raise SystemExit('no module named msgpack')", "exit status 1.: no module named msgpack"),
        (
            f"import sys; sys.stdout.buffer.write({old!r}); sys.stdout.flush(); input()",
            f"wire version 200, not {wire.VERSION}",
        ),
    ):
        fake = tmp_path / "child.py"
        fake.write_text(program, encoding="utf-8")
        host = SandboxHost(command=[sys.executable, "-I", str(fake)], silence_s=0.5)
        with within():
            async with host.open(SandboxLimits()) as session:
                with pytest.raises(SandboxError) as caught:
                    await session.ready()
        assert any(part in caught.value.message.replace(")", ".") for part in says.split("|"))


async def test_a_child_that_burns_the_cpu_in_silence_is_ended_at_its_limit(tmp_path: Path) -> None:
    fake = tmp_path / "child.py"
    fake.write_text(f"import sys; sys.path[:0] = {sys.path!r}\n{PRELUDE}\nwhile True: pass", encoding="utf-8")
    host = SandboxHost(command=[sys.executable, "-I", str(fake)], silence_s=0.5)
    with within():
        async with host.open(SandboxLimits(cpu_limit_s=0.3)) as session:
            await session.deliver(start("return 1"), Clock(now_ms=0))
            with pytest.raises(SandboxError, match="--cpu-limit"):
                await session.receive()


async def test_a_child_that_stops_reading_in_the_middle_of_a_large_value_is_ended() -> None:
    body = "await agent('a')"
    clock = Clock(now_ms=0)
    async with SandboxHost(silence_s=0.5).open(SandboxLimits()) as session:
        assert isinstance(session, Session)
        with within():
            assert await session.compile(body) is None
            await session.deliver(StartScript(context=0, body=body, meta={}, args_json=None, seed=1), clock)
            while not any(isinstance(message, Idle) for message in await session.receive()):
                pass
        os.kill(session.child.pid, signal.SIGSTOP)
        with within(), pytest.raises(SandboxError, match=r"said nothing for 0\.5 s"):
            await session.deliver(ResolveCall(context=0, call=1, value_json=f'"{"x" * 2**20}"'), clock)
