"""A record that is damaged, on a full disk, or that may only be read: each command says so, and uses what is there."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.live_run import live_run
from tests.support.recorded import assert_sound, record_of
from tests.support.small_disk import full_disk, read_only
from tests.surfaces.command import Command, Done

pytestmark = pytest.mark.contract("R06")

PAGE_BYTES = 4096
AGENTS = 30
BODY = f"""
const one = i => agent('x'.repeat(3000) + i, {{ label: 'w' + i }})
return await parallel(Array.from({{ length: {AGENTS} }}, (_, i) => () => one(i)))
"""
READING = (("runs",), ("show", "RUN"), ("show", "RUN", "a0001"), ("export", "RUN", "-o", "-"), ("cost", "RUN"))

Damage = Callable[[bytes], bytes]


def cut(part: float) -> Damage:
    return lambda data: data[: int(len(data) * part)]


def without_header(data: bytes) -> bytes:
    return bytes(100) + data[100:]


def one_page(data: bytes) -> bytes:
    """A page of agents is another's: in the middle, where neither schema nor runs stand."""
    at = len(data) // PAGE_BYTES // 2 * PAGE_BYTES
    return data[:at] + random.Random(1).randbytes(PAGE_BYTES) + data[at + PAGE_BYTES :]


def one_letter(data: bytes) -> bytes:
    """One answer has another letter, which no page shows."""
    return data.replace(b'"synthetic answer to: w7"', b'"synthetic bnswer to: w7"')


def ran(command: Command) -> str:
    done = command.run(BODY, "--output", "json")
    assert done.status == 0, done.err
    return str(done.json["run_id"])


def reads(command: Callable[..., Done], run_id: str) -> list[Done]:
    """What the commands that read say of a run."""
    found = [command(*(run_id if word == "RUN" else word for word in words)) for words in READING]
    assert all("Traceback" not in done.err for done in found)
    return found


@pytest.mark.parametrize(
    ("damage", "reused"),
    [(cut(0.5), 0), (cut(0.97), 20), (without_header, AGENTS), (one_page, 20), (one_letter, AGENTS - 1)],
    ids=["cut in half", "cut at the end", "without a header", "a page", "a letter"],
)
def test_damage_is_said_with_the_place_and_what_can_be_read_is_shown_and_answers_again(
    command: Command, record: Path, damage: Damage, reused: int
) -> None:
    run_id = ran(command)
    damaged = damage(record.read_bytes())
    record.write_bytes(damaged)

    shown = command("show", run_id)
    assert shown.status == 0, shown.err
    assert f"The record {record} is damaged" in shown.err
    assert run_id in shown.out

    done = command("resume", run_id, "--output", "json")
    if "--script FILE" in done.err:  # the row of the run lay on what is lost
        assert done.status == 2
        done = command(
            "resume", run_id, "--script", "./case.js", "--backend", "scripted:answers.json", "--output", "json"
        )
    assert done.status == 0, done.err
    assert done.json["result"] == [f"synthetic answer to: w{i}" for i in range(AGENTS)]
    assert reused <= done.json["resumed"]["reused"] <= AGENTS
    assert f"The record {record} is damaged" in done.err
    assert_sound(record)


def test_a_run_that_begins_on_a_damaged_record_moves_it_aside_and_keeps_what_can_be_read(
    command: Command, record: Path
) -> None:
    before = ran(command)
    damaged = one_page(record.read_bytes())
    record.write_bytes(damaged)

    done = command.run("return 1", "--output", "json")

    assert (done.status, done.json["status"]) == (0, "completed"), done.err
    assert f"The record {record} is damaged" in done.err and "goes on in a new one" in done.err
    (aside,) = record.parent.glob("callsheet.db.damaged-*")
    assert aside.read_bytes() == damaged
    assert_sound(record)
    assert before in command("runs").out


@pytest.mark.anyio
async def test_on_a_full_disk_all_is_read_and_a_resume_says_what_is_the_matter(command: Command, record: Path) -> None:
    async with live_run(command, BODY, answers=({"label": "w9", "result": "late", "delay_ms": 600_000},)) as run:
        await run.until("agent.finished", nth=AGENTS - 1)
        run.kill_all()
        await run.ended()
    command.answers()
    with full_disk(command) as limited:
        listed, *others = reads(limited, run.run_id)
        resumed = limited("resume", run.run_id)
    assert run.run_id in listed.out and "interrupted" in listed.out
    assert all(done.status == 0 for done in others), [done.err for done in others]
    assert resumed.status in (1, 6), resumed.err
    assert str(record) in resumed.err and ("make room" in resumed.err or "no file grow further" in resumed.err)
    assert "Traceback" not in resumed.err

    done = command("resume", run.run_id, "--output", "json")
    assert done.status == 0, done.err
    assert done.json["resumed"]["reused"] == AGENTS - 1


def test_where_nothing_may_be_written_all_is_read_and_runs_say_where_else_they_can_be_recorded(
    command: Command, record: Path
) -> None:
    run_id = ran(command)
    with read_only(record.parent):
        found = reads(command, run_id)
        failed = [command("resume", run_id), command.run("return 1")]
        elsewhere = command.run("return 1", "--store", str(command.folder.parent / "elsewhere.db"))
    assert all(done.status == 0 for done in found), [done.err for done in found]
    for done in failed:
        assert done.status in (1, 2), done.err
        assert str(record.parent) in done.err and "--store PATH" in done.err
        assert "Traceback" not in done.err
    assert elsewhere.status == 0, elsewhere.err
    assert record_of(command) == record
