from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from callsheet.errors import LeaseHeldError
from callsheet.workspace.lease import this_process
from callsheet.workspace.presence import FOLDER, living, present


def test_a_run_is_alive_for_as_long_as_it_is_shown(tmp_path: Path) -> None:
    assert living(tmp_path) == frozenset()
    with present(tmp_path, "run_1"), present(tmp_path, "run_2"):
        assert living(tmp_path) == {"run_1", "run_2"}
    assert living(tmp_path) == frozenset()


def test_a_run_that_is_alive_is_not_shown_twice(tmp_path: Path) -> None:
    with (
        present(tmp_path, "run_1"),
        pytest.raises(LeaseHeldError, match="run_1 is still going on"),
        present(tmp_path, "run_1"),
    ):
        raise AssertionError
    with present(tmp_path, "run_1"):
        assert living(tmp_path) == {"run_1"}


def left(folder: Path, **changes: object) -> Path:
    """The file of a process that is not there any more."""
    holder = replace(this_process("run_1", "shared"), **changes)  # type: ignore[arg-type]
    (folder / FOLDER).mkdir()
    path = folder / FOLDER / "run_1.run"
    path.write_text(json.dumps(asdict(holder)), encoding="utf-8")
    return path


@pytest.mark.parametrize("changes", [{"boot_id": "another"}, {"process_start": "1"}, {"pid": 2**22 + 1}])
def test_what_a_dead_process_left_counts_for_nothing_and_the_next_run_takes_it_away(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    path = left(tmp_path, **changes)

    assert living(tmp_path) == frozenset()
    assert path.exists()  # reading takes nothing away
    with present(tmp_path, "run_2"):
        assert not path.exists()


def test_a_run_on_another_machine_counts_until_it_is_a_week_old(tmp_path: Path) -> None:
    path = left(tmp_path, host=f"not-{socket.gethostname()}")

    assert living(tmp_path) == {"run_1"}
    os.utime(path, (0, 0))
    assert living(tmp_path) == frozenset()


def test_rubbish_is_no_run(tmp_path: Path) -> None:
    path = left(tmp_path)
    path.write_bytes(b"\xff[]")
    os.utime(path, (0, 0))

    assert living(tmp_path) == frozenset()
