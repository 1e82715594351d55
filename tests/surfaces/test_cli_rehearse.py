"""`callsheet rehearse`, `run --dry-run`, and the line about a large run, as processes of their own."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from anyio import to_thread

from tests.support.deadline import within
from tests.support.messages_replies import Say, in_order, text
from tests.support.messages_service import open_messages_service
from tests.surfaces.command import Command

FORTY = "return await parallel(Array.from({ length: 40 }, (_, n) => () => agent('read file ' + n, { label: 'f' + n })))"


def _files(command: Command) -> set[Path]:
    return set(command.folder.rglob("*")) | set(Path(command.environ["HOME"]).rglob("*"))


@pytest.mark.parametrize("words", [("rehearse",), ("run", "--dry-run")], ids=" ".join)
def test_the_report_says_what_would_be_and_nothing_is_touched(command: Command, words: tuple[str, ...]) -> None:
    script = command.script(FORTY)
    before = _files(command)
    done = command(*words, script)

    assert done.status == 0, done.err
    assert "agents: 40, whatever agents answer" in done.out
    assert "at most 16 at once" in done.out
    assert "claude-sonnet-5-5" in done.out
    assert "40 answers made up" in done.out
    assert done.err == ""
    assert _files(command) == before


def test_the_object_is_alone_on_standard_output(command: Command) -> None:
    done = command("rehearse", command.script(FORTY), "--output", "json", "--model", "opus")

    told = done.json
    assert (told["version"], told["agents"]["planned"], told["agents"]["exact"]) == (1, 40, True)
    assert told["groups"][0]["model"] == "claude-opus-5-5"
    assert told["estimate"]["cost_known"] is True
    assert told["breaches"] == []


def test_what_may_go_beyond_a_limit_is_said_in_a_line_each_and_has_a_status_of_its_own(command: Command) -> None:
    script = command.script(FORTY)
    done = command("rehearse", script, "--fail-over", "agents=39,cost=0.01", "--output", "json")

    assert done.status == 4
    assert [line.split(":")[0] for line in done.err.splitlines()] == ["over agents", "over cost"]
    assert [breach["name"] for breach in done.json["breaches"]] == ["agents", "cost"]
    assert command("run", script, "--dry-run", "--fail-over", "agents=40", "-q").status == 0


def test_a_folder_that_cannot_be_written_is_rehearsed_all_the_same(command: Command) -> None:
    script = command.script(FORTY)
    command.folder.chmod(0o500)
    try:
        assert command("rehearse", script).status == 0
    finally:
        command.folder.chmod(0o700)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--fail-over", "agnts=2"), "there is no limit 'agnts'. Did you mean agents?"),
        (("--answers-from", "none.json"), "none.json"),
        (("--answers-from", "last"), "there is none yet"),
        (("--output", "jsonl"), "Take text or json"),
        (("--budget", "much"), "--budget: 'much' is no budget"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_refused_with_what_to_do(command: Command, words: tuple[str, ...], told: str) -> None:
    done = command("rehearse", command.script("return 1"), *words)
    assert done.status in (1, 2)
    assert told in done.err
    assert "Traceback" not in done.err


def test_the_options_of_a_rehearsal_need_one(command: Command) -> None:
    done = command("run", command.script("return 1"), "--fail-over", "agents=2", "--backend", command.answers())
    assert done.status == 2
    assert "--fail-over goes with --dry-run" in done.err


def test_a_refused_script_is_refused_with_its_place_and_as_an_object(command: Command) -> None:
    done = command("rehearse", command.script("const = 1"), "--output", "json")
    assert done.status == 2
    assert "case.js:2:" in done.err
    assert done.json["error"]["kind"] == "refused"


def test_a_script_that_throws_ends_with_1_and_the_report_is_there(command: Command) -> None:
    done = command("rehearse", command.script("await agent('a'); throw new Error('no')"))
    assert done.status == 1
    assert "the script did not return with these answers (line 2): Error: no" in done.out


def test_answers_of_a_run_decide_as_they_did(command: Command) -> None:
    body = "const r = await agent('ask', { label: 'ask' }); if (r === 'go') await agent('more')"
    script = command.script(body)
    backend = command.answers({"label": "ask", "result": "go"})
    run = command("run", script, "--backend", backend, "--output", "json").json["run_id"]
    done = command("rehearse", script, "--backend", backend, "--answers-from", run, "--output", "json")

    assert done.json["agents"]["planned"] == 2
    assert done.json["answers"] == {"from": run, "by_source": {"recorded": 2}}
    assert done.json["decisions"] == [{"line": 2, "text": body}]


# --- a large run that nobody is asked about ---------------------------------------------------------------------------


@pytest.mark.anyio
async def test_without_a_person_a_large_run_that_costs_says_so_in_a_line_and_goes_on(command: Command) -> None:
    reply = Say([text("read")])
    async with open_messages_service(in_order(*[reply] * 40), latency_s=0.5) as service:
        environ = {"ANTHROPIC_API_KEY": "sk-ant-of-this-test-0123456789abcdef", "ANTHROPIC_BASE_URL": service.base_url}
        words = ("--output", "json", "--max-parallel", "2")  # so that it goes on for ten seconds
        call = partial(command, "run", command.script(FORTY), *words, environ=environ)
        with within(60):
            done = await to_thread.run_sync(call)

    assert done.status == 0, done.err
    assert "this is a large run: more than 25 agents are planned" in done.err
    assert len(json.loads(done.out)["agents"]) == 40
