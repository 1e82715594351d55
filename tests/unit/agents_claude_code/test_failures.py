"""A program that does not do as it should: real processes that speak the SDK's protocol as far as each test needs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from callsheet.errors import BackendUnavailableError
from callsheet.model.outcome import AgentOutcome
from callsheet.model.reports import MessageAdded
from tests.support.agents import RecordingReporter, agent_task
from tests.support.claude_code import claude_backend, fake_program, none_at, programs_at
from tests.support.deadline import BUSY_S, within
from tests.support.workbench import appears

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("claude_sdk")]

TALK = """
def talk(on_user):
    for line in sys.stdin:
        frame = json.loads(line)
        if frame["type"] == "control_request":
            answered(frame, hook_on_failure_supported=True)
        elif frame["type"] == "user":
            on_user(frame)
def began(**more):
    send(**{**dict(type="system", subtype="init", tools=["mcp__callsheet__read"], apiKeySource="none"), **more})
def said(text):
    send(type="assistant", message=dict(id="m", model="claude-x", role="assistant",
         content=[dict(type="text", text=text)]), parent_tool_use_id=None, session_id="s")
def result(**more):
    send(**{**dict(type="result", subtype="success", duration_ms=1, duration_api_ms=1, is_error=False, num_turns=1,
         session_id="s", result="fine", stop_reason="end_turn", terminal_reason="completed"), **more})
"""


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """Whatever became of an agent, its program and all under it are gone."""
    yield
    assert programs_at(tmp_path) == []


async def run(
    tmp_path: Path, body: str, *, reporter: RecordingReporter | None = None, version: str = "9.9.9", **task: object
) -> AgentOutcome:
    from callsheet.agents.claude_code.machinery import Patience

    root = tmp_path / "ws"
    root.mkdir(exist_ok=True)
    backend = claude_backend(
        tmp_path / "home",
        program=fake_program(tmp_path, TALK + body, version=version),
        patience=Patience(started_s=1.5, interrupted_s=0.5),
    )
    with within(30):
        try:
            return await backend.run(agent_task(root, **task), reporter or RecordingReporter())  # type: ignore[arg-type]
        finally:
            await backend.aclose()


async def test_a_fake_that_answers_is_believed(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    outcome = await run(tmp_path, "talk(lambda _: (began(), said('partly'), result()))", reporter=reporter)
    assert (outcome.status, outcome.value, outcome.usage.cost_usd) == ("ok", "fine", 0.0)
    assert [report.payload for report in reporter.of(MessageAdded)][-1] == {
        "role": "assistant",
        "id": "m",
        "model": "claude-x",
        "content": [{"type": "text", "text": "partly"}],
    }


async def test_one_that_dies_in_the_middle_of_a_turn_fails_with_its_last_words(tmp_path: Path) -> None:
    dies = "talk(lambda _: (began(), said('half'), print('out of luck', file=sys.stderr, flush=True), os._exit(3)))"
    outcome = await run(tmp_path, dies)
    assert outcome.status == "failed"
    assert outcome.error == "Claude Code's program failed: it ended with exit status 3: out of luck"


async def test_rubbish_ends_the_agent_and_lines_that_are_no_messages_are_passed_over(tmp_path: Path) -> None:
    outcome = await run(tmp_path, "talk(lambda _: (print('[debug] hm'), print('{oops', flush=True), time.sleep(60)))")
    assert outcome.status == "failed"
    assert "it sent what is no message: '{oops'" in (outcome.error or "")
    chatty = await run(tmp_path, "talk(lambda _: (print('[debug] hm'), began(), send(type='odd', a=1), result()))")
    assert chatty.status == "ok"


async def test_a_message_without_end_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from callsheet.agents.claude_code import program

    monkeypatch.setattr(program, "LINE_LIMIT_BYTES", 100_000)
    outcome = await run(tmp_path, "talk(lambda _: (sys.stdout.write('{' + 'x' * 10_000_000), time.sleep(60)))")
    assert outcome.status == "failed"
    assert "more than 100000 bytes" in (outcome.error or "")


async def test_one_that_hangs_and_cannot_be_interrupted_times_out(tmp_path: Path) -> None:
    hangs = "talk(lambda _: (began(), time.sleep(1000)))"
    outcome = await run(tmp_path, hangs, stall_ms=300)
    assert outcome.status == "timed_out"
    assert "its program does not answer" in (outcome.error or "")


@pytest.mark.contract("K05")
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("print('no such library', file=sys.stderr); sys.exit(127)", "exit status 127: no such library"),
        ("time.sleep(1000)", "no sign of it for 1.5 s"),
    ],
)
async def test_one_that_does_not_start_is_the_runs_failure_not_a_null(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(BackendUnavailableError) as raised:
        await run(tmp_path, body)
    assert raised.value.cause == "program"
    assert not raised.value.is_passing
    assert said in raised.value.message


async def test_one_that_is_too_old_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError, match=r"is version 2\.1\.100, and 2\.1\.\d+ is needed\. Update it"):
        await run(tmp_path, "talk(lambda _: result())", version="2.1.100")


async def test_one_that_has_tools_of_its_own_is_stopped_before_it_asks_the_model(tmp_path: Path) -> None:
    outcome = await run(tmp_path, "talk(lambda _: (began(tools=['mcp__callsheet__read', 'Bash']), time.sleep(60)))")
    assert outcome.status == "failed"
    assert "has tools that Callsheet does not decide about: Bash" in (outcome.error or "")


async def test_a_failed_turn_without_a_request_is_the_agents_own(tmp_path: Path) -> None:
    broken = "result(subtype='error_during_execution', is_error=True, errors=['it broke'], terminal_reason=None)"
    outcome = await run(tmp_path, f"talk(lambda _: (began(), {broken}))")
    assert (outcome.status, outcome.error) == ("failed", "it broke")


STUBBORN = """
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
def begin(_):
    began()
    sleep = "import time; time.sleep(1000)"
    subprocess.Popen([sys.executable, "-c", sleep, os.environ["HOME"]], start_new_session=True)
    open(os.path.join(os.environ["HOME"], "began"), "w").close()
    while True:
        time.sleep(1000)
talk(begin)
"""


async def test_cancelling_ends_one_that_heeds_no_signal_and_what_it_started_apart(tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, tmp_path, STUBBORN)
        assert await appears(tmp_path / "home" / "began")
        began_s = time.monotonic()
        tasks.cancel_scope.cancel()
    assert time.monotonic() - began_s < BUSY_S
    assert programs_at(tmp_path) == []


HOST = """
import sys
from pathlib import Path
import anyio
from tests.support.agents import RecordingReporter, agent_task
from tests.support.claude_code import claude_backend
base = Path(sys.argv[1])
backend = claude_backend(base / "home", program=base / "claude")
anyio.run(backend.run, agent_task(base / "ws"), RecordingReporter())
"""


async def test_killing_the_host_leaves_no_program_behind(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    (tmp_path / "home").mkdir()
    fake_program(tmp_path, TALK + STUBBORN)
    with within(30):
        async with await anyio.open_process([sys.executable, "-c", HOST, str(tmp_path)]) as host:
            assert await appears(tmp_path / "home" / "began")
            assert len(programs_at(tmp_path)) >= 3
            host.kill()
            await host.wait()
        await none_at(tmp_path)
