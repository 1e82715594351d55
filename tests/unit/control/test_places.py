"""Where sockets lie, who can be reached, and what the dead leave behind."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from callsheet.control.client import open_client
from callsheet.control.peers import ancestors, process_start
from callsheet.control.places import Reach, find, folders, make_folder, publish, reachable, withdraw
from callsheet.errors import ControlLostError
from tests.support.controlled import RUN, PlayedRun, runtime_folder, served
from tests.support.deadline import within
from tests.support.users import unprivileged

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]


def reach(folder: Path, run_id: str = RUN, *, pid: int | None = None, start: str | None = None) -> Reach:
    pid = os.getpid() if pid is None else pid
    return Reach(
        run_id=run_id,
        token="t",
        pid=pid,
        process_start=process_start(pid) if start is None else start,
        host="command",
        workspace="/nowhere",
        record="/nowhere/r.db",
        workflow="case",
        started_at="2026-11-21T08:00:00.123Z",
        folder=folder,
    )


async def test_folder_socket_and_key_are_the_users_alone_and_gone_with_the_run(runtime: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(runtime)}
    with within():
        async with served(PlayedRun(), runtime) as server:
            here = server.reach
            modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (here.folder, here.socket, here.file)}
            assert set(modes.values()) == {0o700, 0o600}
            assert modes["callsheet"] == 0o700
            (found,) = (each for each in reachable(environ) if each.folder == here.folder)
            assert found == here
            assert here.token not in repr(here)
    assert not [each for each in reachable(environ) if each.folder == here.folder]
    assert list(here.folder.iterdir()) == []


def test_a_folder_that_is_open_to_others_is_closed_and_one_of_somebody_elses_is_not_used(runtime: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(runtime)}
    ours = runtime / "callsheet"
    ours.mkdir(mode=0o777)
    assert make_folder(environ, run_id=RUN, outside=Path("/nowhere")) == ours
    assert stat.S_IMODE(ours.stat().st_mode) == 0o700
    runtime.chmod(0o777)
    with unprivileged():
        if os.geteuid() != ours.stat().st_uid:
            assert make_folder(environ, run_id=RUN, outside=Path("/nowhere")) != ours
            with pytest.raises(OSError, match="ermission"):
                list(ours.iterdir())


def test_a_link_a_long_address_and_the_workspace_itself_are_passed_over(runtime: Path) -> None:
    with runtime_folder() as other:
        (other / "real").mkdir()
        (other / "callsheet").symlink_to(other / "real")
        assert make_folder({"XDG_RUNTIME_DIR": str(other)}, run_id=RUN, outside=Path("/nowhere")).parent != other
    long = runtime / ("x" * 90)
    long.mkdir()
    assert make_folder({"XDG_RUNTIME_DIR": str(long)}, run_id=RUN, outside=Path("/nowhere")).parent != long
    assert make_folder({"XDG_RUNTIME_DIR": str(runtime)}, run_id=RUN, outside=runtime).parent != runtime
    with pytest.raises(OSError, match="cannot be used"):
        make_folder({"XDG_RUNTIME_DIR": str(runtime)}, run_id=RUN, outside=Path("/"))
    assert folders({"XDG_RUNTIME_DIR": "relative"})[0].is_absolute()


def killed(work: Callable[[int], None]) -> None:
    """Does something on behalf of another process, which is killed then."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        work(process.pid)
    finally:
        process.kill()
        process.communicate(timeout=120)


async def test_a_socket_that_nobody_listens_on_is_said_to_be_gone(runtime: Path) -> None:
    folder = runtime / "callsheet"
    folder.mkdir(mode=0o700)
    publish(left := reach(folder)).close()
    with within(), pytest.raises(ControlLostError, match="its process is gone") as gone:
        async with open_client(left):
            pass
    assert gone.value.why == "gone"


def test_what_a_killed_process_left_is_taken_away_and_its_name_can_be_used_again(runtime: Path) -> None:
    folder, environ = runtime / "callsheet", {"XDG_RUNTIME_DIR": str(runtime)}
    folder.mkdir(mode=0o700)

    def publish_for(pid: int) -> None:
        publish(reach(folder, "run_01LEFT", pid=pid)).close()
        assert [each.run_id for each in reachable(environ, prefix="run_01LEFT")] == ["run_01LEFT"]

    killed(publish_for)
    assert len(list(folder.iterdir())) == 2
    publish(again := reach(folder, "run_01LEFT")).close()
    withdraw(again)

    killed(publish_for)
    assert reachable(environ, prefix="run_01LEFT") == ()
    assert list(folder.iterdir()) == []
    with pytest.raises(ControlLostError, match="cannot be reached"):
        find(environ, "run_01LEFT")


def test_who_saw_a_run_dead_does_not_take_away_what_it_has_made_since_it_was_resumed(runtime: Path) -> None:
    folder = runtime / "callsheet"
    folder.mkdir(mode=0o700)
    left: list[Reach] = []

    def publish_for(pid: int) -> None:
        left.append(reach(folder, pid=pid))
        publish(left[0]).close()

    killed(publish_for)
    with publish(again := reach(folder)):
        withdraw(left[0])
        assert find({"XDG_RUNTIME_DIR": str(runtime)}, RUN) == again
        assert again.socket.is_socket()
    withdraw(again)
    assert list(folder.iterdir()) == []


def test_a_run_that_somebody_serves_is_not_served_twice(runtime: Path) -> None:
    folder = runtime / "callsheet"
    folder.mkdir(mode=0o700)
    listener = publish(one := reach(folder))
    try:
        with pytest.raises(FileExistsError, match="already"):
            publish(reach(folder))
        elsewhere = reach(folder, pid=one.pid, start="0")  # as seen from another container: nobody of that number
        assert elsewhere.is_alive()
    finally:
        listener.close()
        withdraw(one)
    assert not elsewhere.is_alive()


def test_whoever_finds_a_run_can_connect_to_it_from_the_first_moment(runtime: Path) -> None:
    folder = runtime / "callsheet"
    folder.mkdir(mode=0o700)
    publish_looked_at = f"""
import os, socket, sys
from pathlib import Path
from callsheet.control.places import publish
from tests.unit.control.test_places import reach

def look(event, what):
    if event == "open" and what[0] == str(one.file) and what[2] & os.O_CREAT:  # a moment before it is there
        with socket.socket(socket.AF_UNIX) as peer:
            print(peer.connect_ex(str(one.socket)))

one = reach(Path({str(folder)!r}))
sys.addaudithook(look)
with publish(one):
    pass
"""
    done = subprocess.run([sys.executable, "-c", publish_looked_at], cwd=ROOT, capture_output=True, check=False)

    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_files_that_are_none_of_ours_are_passed_over(runtime: Path) -> None:
    folder = runtime / "callsheet"
    folder.mkdir(mode=0o700)
    good = json.dumps({"run_id": "run_01B"})
    for name, text in {"run_01A": "[]", "run_01B": good, "run_01C": "{", "run_01D": '{"pid": "x"}'}.items():
        (folder / f"{name}.callsheet-key").write_text(text, encoding="utf-8")
    (folder / "run_01E.callsheet-key").symlink_to("/etc/passwd")
    os.mkfifo(folder / "run_01F.callsheet-key")
    (folder / "run_01G.callsheet-key").mkdir()
    mine = [each for each in reachable({"XDG_RUNTIME_DIR": str(runtime)}) if each.folder == folder]
    assert mine == []
    assert len(list(folder.iterdir())) == 7, "what is not known to be ours is left alone"


def test_those_above_a_process_are_named_nearest_first() -> None:
    above = ancestors(os.getpid())
    assert above is not None
    assert above[:2] == [os.getpid(), os.getppid()]
    assert above[-1] == 1
    assert ancestors(2**22 + 1) is None
    assert process_start(2**22 + 1) == ""


def test_a_socket_is_made_without_a_moment_in_which_others_could_connect(runtime: Path) -> None:
    folder = runtime / "callsheet"
    folder.mkdir(mode=0o700)
    before = os.umask(0)
    try:
        listener = publish(one := reach(folder))
    finally:
        os.umask(before)
    with listener:
        assert stat.S_IMODE(one.socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(one.file.stat().st_mode) == 0o600
        assert listener.family == socket.AF_UNIX
    withdraw(one)
