"""`callsheet do`: a task becomes workflows, agents, and one answer, over a Messages service on loopback."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import pytest
from anyio import to_thread

from tests.support.deadline import within
from tests.support.messages_replies import Say, tool_use
from tests.support.messages_service import MessagesService, open_messages_service
from tests.surfaces.command import Command, Done
from tests.surfaces.orchestra import (
    ONE_FAULT,
    TWO_FAULTS,
    UNDERSTAND,
    VERIFY,
    Orchestra,
    done,
    hanging,
    runs,
    step,
)
from tests.surfaces.terminal import Terminal

pytestmark = pytest.mark.anyio

T = TypeVar("T")

CONFLICT = {
    "about": "how often it is tried",
    "said": [{"agent": "a0002", "what": "three"}, {"agent": "a0003", "what": "five"}],
    "taken": "a0003",
    "why": "the doubt confirmed it",
}
FIVE = Say([tool_use("answer", id="toolu_five", says="five")], output_tokens=300)


async def aside(call: Callable[[], T]) -> T:
    return await to_thread.run_sync(call)


@asynccontextmanager
async def playing(command: Command, orchestra: Orchestra) -> AsyncIterator[MessagesService]:
    """The service, and a command that knows of it, in a workspace with two notes."""
    for name in ("a.txt", "b.txt"):
        (command.folder / name).write_text(f"{name} says three\n", encoding="utf-8")
    async with open_messages_service(orchestra) as service:
        command.environ |= orchestra.environ(service.base_url)
        with within(120):
            yield service


async def do(command: Command, *words: str) -> Done:
    return await aside(partial(command, "do", "compare a.txt with b.txt", *words))


async def test_a_task_with_a_faulty_script_ends_in_an_answer_that_cites_what_agents_found(command: Command) -> None:
    orchestra = Orchestra(
        turns=[
            Say([tool_use("read", id="toolu_read", file_path="a.txt")], output_tokens=100),
            runs(TWO_FAULTS, 1),
            runs(ONE_FAULT, 2),
            runs(UNDERSTAND, 3),
            runs(VERIFY, 4, args={"claim": "five times"}),
            done(5, "a0099", conflicts=[CONFLICT]),
            done(6, "a0002", "a0003", "doubt", conflicts=[CONFLICT], left_out=["c.txt"]),
        ],
        agents={"b.txt say": FIVE},
        budget=200_000,
    )
    async with playing(command, orchestra):
        terminal = Terminal(command, "do", "compare a.txt with b.txt", "--budget", "200k")

        def answers() -> str:
            with terminal:
                ahead = " ".join(terminal.next("run the script understand?", "answer:").split())
                assert "has up to 5 workflows run, one after the other (--rounds), each written for at most 25" in ahead
                assert "each script is shown before it runs; the budget of 200k output tokens holds for all" in ahead
                terminal.type("y\n")
                terminal.next("run the script verify?", "answer:")
                terminal.type("r\n")
                return terminal.end()

        shown = await aside(answers)
        assert terminal.process.returncode == 0, shown
    assert "line 2, column" in orchestra.told(3)
    assert "TypeScript" in orchestra.told(3)
    assert "give it a function, `() => agent" in orchestra.told(4)
    assert "Workflow 1 has returned" in orchestra.told(5)
    assert '\\"says\\": \\"five\\"' in orchestra.told(5)
    assert "a0002" in orchestra.told(5)
    assert "3 more workflows can be run" in orchestra.told(6)
    assert "'a0099' is cited and is no agent" in orchestra.told(7)
    assert [len(orchestra.asked), len(orchestra.worked)] == [7, 3]
    assert orchestra.prefixes_hold()
    assert orchestra.beyond == []
    for line in (
        "It is **three**.",
        "[a0002 read a.txt; a0003 read b.txt; a0005 doubt]",
        "  taken: a0003 read b.txt, since: the doubt confirmed it",
        "- c.txt",
    ):
        assert line in shown, line
    body = orchestra.asked[0].body
    assert {tool["name"] for tool in body["tools"]} == {"read", "glob", "grep", "answer"}
    first = json.dumps(body["messages"][0], ensure_ascii=False)
    for words in (
        "compare a.txt with b.txt",
        "declare function pipeline",
        "Never smooth a conflict over",
        "at most 25",
    ):
        assert words in first


async def test_what_changed_is_told_by_the_host_behind_the_prompt_of_each_further_turn(command: Command) -> None:
    orchestra = Orchestra(turns=[runs(UNDERSTAND, 1), done(2, "a0002")])
    async with playing(command, orchestra):
        ended = await do(command, "--yes", "--json", "--budget", "100k")
    assert ended.status == 0, ended.err
    shown, report = [await aside(partial(command, *words)) for words in (("show",), ("report", "--output", "-"))]
    assert shown.out.startswith("do: built in\n")
    answer = "It is **three**.\\n\\n## Evidence\\n\\n- "
    assert f'"result":"{answer}' in report.out, "the report shows the answer as text"
    *_, prompt, notice = orchestra.asked[1].messages
    assert (prompt["role"], notice["role"]) == ("user", "system")
    told = json.dumps(notice)
    assert "of 100,000 output tokens spent" in told
    assert 'a0002 \\"read a.txt\\": ok' in told
    assert "says" not in told, "what agents say travels as data"
    result = ended.json["result"]
    assert (result["ended"], result["workflows"]) == (
        "answered",
        [{"name": None, "why": "to know", "status": "returned"}],
    )
    assert result["evidence"] == [{"claim": "Both notes were read.", "agents": ["a0002"]}]


async def test_a_workflow_that_is_declined_with_words_is_written_anew_and_without_words_is_the_end(
    command: Command,
) -> None:
    orchestra = Orchestra(turns=[runs(UNDERSTAND, 1), runs(VERIFY, 2, args={"claim": "x"})])
    async with playing(command, orchestra):
        terminal = Terminal(command, "do", "compare a.txt with b.txt")

        def answers() -> str:
            with terminal:
                terminal.next("run the script understand?", "answer:")
                terminal.type("n only look at a.txt\n")
                terminal.next("run the script verify?", "answer:")
                terminal.type("n\n")
                return terminal.end()

        shown = await aside(answers)
    assert "only look at a.txt" in orchestra.told(2)
    assert "does not want this workflow run" in orchestra.told(2)
    assert "There is no answer: a workflow was declined." in shown
    assert terminal.process.returncode == 5
    assert orchestra.worked == []


async def test_beyond_its_budget_it_ends_with_what_there_is_and_goes_on_with_more(command: Command) -> None:
    said = [Say([tool_use("answer", id=f"toolu_{n}", says=f"{n}")], output_tokens=1_000) for n in range(2)]
    orchestra = Orchestra(
        turns=[
            runs(UNDERSTAND, 1, output_tokens=500),
            runs(UNDERSTAND, 2, output_tokens=500),
            done(3, "a0002"),
        ],
        agents={"a.txt say": said[0], "b.txt say": said[1]},
        budget=3_000,
    )
    async with playing(command, orchestra):
        short = await do(command, "--yes", "--json", "--budget", "3k")
        assert short.status == 4, short.err
        assert orchestra.beyond == []
        assert "the budget leaves" in orchestra.told(2)
        assert (len(orchestra.asked), len(orchestra.worked)) == (2, 2)
        result = short.json["result"]
        assert (result["answer"], result["ended"]) == (None, "over_budget")
        assert [each["says"] for each in result["workflows"][0]["result"]] == ["0", "1"]
        more = await aside(partial(command, "resume", "last", "--budget", "50k"))
    assert more.status == 0, more.err
    assert more.out.startswith("It is **three**.")
    assert (len(orchestra.asked), len(orchestra.worked)) == (3, 2), "nobody was asked again"
    assert "Workflow 1 has returned" in orchestra.told(3)


async def test_one_that_was_killed_goes_on_without_asking_anybody_again(command: Command) -> None:
    orchestra = Orchestra(turns=[runs(UNDERSTAND, 1), done(2, "a0002", "a0003")], agents={"b.txt say": hanging()})
    async with playing(command, orchestra) as service:
        first = Terminal(command, "do", "compare a.txt with b.txt")

        def approves() -> None:
            first.next("run the script understand?", "answer:")
            first.type("y\n")
            first.wait_for("1/2")

        with first:
            await aside(approves)
            await service.until(lambda _: len(orchestra.worked) == 2)
            os.kill(first.process.pid, signal.SIGKILL)
            await aside(first.end)
        orchestra.agents = {}
        again = Terminal(command, "resume", "last")

        def ends() -> str:
            with again:
                return again.end()

        shown = await aside(ends)
    assert again.process.returncode == 0, shown
    assert "run the script" not in shown
    assert "It is **three**." in shown
    assert len(orchestra.asked) == 2
    assert len(orchestra.worked) == 3, "the one that was cut off, and nobody else"


async def test_no_more_workflows_are_run_than_were_asked_for(command: Command) -> None:
    orchestra = Orchestra(turns=[runs(UNDERSTAND, 1), runs(UNDERSTAND, 2), runs(UNDERSTAND, 3)])
    async with playing(command, orchestra):
        ended = await do(command, "--yes", "--rounds", "1")
    assert ended.status == 1
    assert "No further workflow can be run" in orchestra.told(2)
    assert "No further workflow can be run" in orchestra.told(3)
    assert "the orchestrator (opus) has up to 1 workflow run, one after the other (--rounds)" in ended.err
    assert "scripts run without being shown first; there is no budget: at $25.00 it stops, resumable" in ended.err
    assert "There is no answer: more workflows were wanted than --rounds allows" in ended.out
    assert '"three"' in ended.out, "what there is"
    assert len(orchestra.worked) == 2


async def test_a_saved_workflow_is_run_by_name_and_one_that_fails_is_told(command: Command) -> None:
    folder = command.folder / ".claude" / "workflows"
    folder.mkdir(parents=True)
    fails = VERIFY.replace("return {", "if (verdict.says === 'three') throw new Error('no good')\nreturn {")
    (folder / "verify.js").write_text(fails, encoding="utf-8")
    asked: dict[str, Any] = {"name": "verify", "args": {"claim": "x"}, "why": "to know"}
    orchestra = Orchestra(turns=[step(1, workflow=asked), done(2, "a0002")])
    async with playing(command, orchestra):
        ended = await do(command, "--yes", "--json")
    assert "Workflow 1 did not return: Error" in orchestra.told(2)
    assert "no good" in orchestra.told(2)
    assert ended.json["result"]["workflows"] == [{"name": "verify", "why": "to know", "status": "failed"}]


async def test_the_last_script_is_kept_as_a_command(command: Command) -> None:
    args = '{"claim": "given as text"}'
    orchestra = Orchestra(turns=[runs(UNDERSTAND, 1), runs(VERIFY, 2, args=args), done(3, "a0002", "a0005")])
    async with playing(command, orchestra):
        ended = await do(command, "--yes", "--quiet", "--save-as", "doubt")
    assert ended.status == 0, ended.err
    assert "Is this so? given as text" in json.dumps(orchestra.worked[-1].messages[0]), "args are decoded"
    assert "run it: callsheet /doubt" in ended.err
    kept = (command.folder / ".claude" / "workflows" / "doubt.js").read_text(encoding="utf-8")
    assert kept == VERIFY.replace("'verify'", "'doubt'")


def test_without_a_key_the_whole_path_works(command: Command) -> None:
    for name in ("a.txt", "b.txt"):
        (command.folder / name).write_text(f"The price of {name} is 3.\n", encoding="utf-8")
    ended = command("do", "-", stdin=b"What do a.txt and b.txt say of prices?")
    assert ended.status == 0, ended.err
    assert "No model is behind this answer" in ended.out
    assert "[a0002 read a.txt; a.txt]" in ended.out
    assert "[a0004 merge]" in ended.out


def test_what_cannot_be_asked_for_is_said(command: Command) -> None:
    for words in (
        (),
        ("  ",),
        ("x", "--budget", "lots"),
        ("x", "--rounds", "0"),
        ("x", "--save-as", "a/../b:"),
        ("x", "--save-as", "a", "--detach"),
    ):
        assert command("do", *words).status == 2, words
