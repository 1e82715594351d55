"""What is told of a run in a list, as time goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from callsheet.app.records import RUNNING, Listed
from callsheet.control.places import Reach
from callsheet.store.record import RunLine
from callsheet.tui.runs import RunEntry, run_cells

RUN = "run_01"


def a_minute_ago() -> str:
    return (datetime.now(UTC) - timedelta(minutes=1)).isoformat()


def listed(status: str) -> Listed:
    began = a_minute_ago()
    line = RunLine(
        run_id=RUN,
        workflow="a",
        script_path="a.js",
        parent_run_id=None,
        status=RUNNING,
        started_at=began,
        ended_at=None,
        last_at=began,
        agents=0,
        input_tokens=0,
        output_tokens=0,
        cache_read_tokens=0,
        cache_write_tokens=0,
        cost_usd=0.0,
        unpriced=0,
    )
    return Listed(line=line, status=status)


def test_a_run_that_goes_on_has_taken_the_time_until_now_and_one_that_died_until_its_last_word() -> None:
    assert (listed(RUNNING).duration_ms or 0) >= 60_000
    assert listed("interrupted").duration_ms == 0


def test_the_dashboards_list_says_how_long_a_run_goes_on_also_where_its_record_cannot_be_read() -> None:
    reach = Reach(
        run_id=RUN,
        token="t",
        pid=1,
        process_start="1",
        host="command",
        workspace="/elsewhere",
        record="/elsewhere/x.db",
        workflow="a",
        started_at=a_minute_ago(),
        folder=Path("/elsewhere"),
    )
    for known in (listed(RUNNING), None):
        entry = RunEntry(run_id=RUN, reach=reach, listed=known, is_here=known is not None)
        assert run_cells(entry, 100)[-2].text.startswith("1 m ")
