"""A run's events in a file besides: how much of them, and what happens when the disk does not take them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from callsheet.app.choices import LogAmount
from callsheet.app.log_file import LogFile, is_wanted, open_log
from callsheet.errors import ConfigError
from callsheet.model.events import AgentProgress, AgentQueued, BudgetWarning, Event, EventBody, Log
from callsheet.model.run import RunSettings

pytestmark = pytest.mark.anyio

PROGRESS = AgentProgress(agent_id="a0001", tool=None, tool_summary=None, tokens=1)
QUEUED = AgentQueued(agent_id="a0001", call=1, label="x", phase=None, workflow=None)


def event(body: EventBody, seq: int = 1) -> Event:
    return Event(run_id="run_1", seq=seq, at="2026-11-21T08:00:00.000Z", body=body)


@pytest.mark.parametrize(
    ("amount", "wanted"),
    [
        ("quiet", [False, False, False, True, True]),
        ("normal", [False, True, True, True, True]),
        ("verbose", [True] * 5),
    ],
)
def test_the_level_says_which_events_are_written(amount: LogAmount, wanted: list[bool]) -> None:
    bodies = (
        PROGRESS,
        QUEUED,
        Log(level="info", message="m"),
        Log(level="warn", message="m"),
        BudgetWarning(kind="tokens", share=0.5, spent=1, total=2),
    )
    assert [is_wanted(event(body), amount) for body in bodies] == wanted


async def test_every_event_is_on_its_line_in_order_when_the_log_is_left(tmp_path: Path) -> None:
    settings = RunSettings(log_file="logs/deep/run.json", log_level="verbose")

    for _ in range(2):
        async with open_log(settings, root=tmp_path) as log:
            for seq in range(1, 501):
                log.on_event(event(Log(level="info", message="ünïcode \ud800"), seq))
        assert log.fault is None

    lines = (tmp_path / "logs/deep/run.json").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [*range(1, 501)] * 2


def test_a_disk_that_is_full_is_noted_and_ends_nothing() -> None:
    log = LogFile(Path("/dev/full"), os.open("/dev/full", os.O_WRONLY), "verbose")

    for _ in range(3):
        log.on_event(event(QUEUED))
    log.close()

    assert log.fault == "No space left on device"


@pytest.mark.parametrize("name", ["../x.json", ".git/hooks/x", ".callsheet/x", "pipe", "folder", "/dev/null"])
async def test_what_is_no_place_for_a_log_is_refused(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()

    with pytest.raises(ConfigError, match="the log file"):
        async with open_log(RunSettings(log_file=name), root=tmp_path):
            pass


async def test_git_ignores_a_folder_of_logs_that_is_new_in_the_workspace_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "ws/there").mkdir(parents=True)

    for name in ("logs/a.json", "logs/b.json", "there/a.json", str(tmp_path / "elsewhere/a.json")):
        async with open_log(RunSettings(log_file=name), root=tmp_path / "ws"):
            pass

    assert (tmp_path / "ws/logs/.gitignore").read_text(encoding="utf-8") == "*\n"
    assert not (tmp_path / "ws/there/.gitignore").exists()
    assert not (tmp_path / "elsewhere/.gitignore").exists()


async def test_a_log_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to(tmp_path / "b.json")

    with pytest.raises(ConfigError, match="cannot be written"):
        async with open_log(RunSettings(log_file="a.json"), root=tmp_path):
            pass
    assert [each.name for each in os.scandir(tmp_path)] == ["a.json"]
