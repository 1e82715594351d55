"""A forked command is what a new one would be; where it would not be, a new one is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.surfaces.command import LIMIT_S, Command
from tests.surfaces.forking import can_fork, forked

PROBE = """
import atexit, gc, json, os, random, signal, sys, threading, traceback

if "die" in sys.argv:
    os.kill(os.getpid(), signal.SIGKILL)
if "hang" in sys.argv:
    print(os.getpid(), flush=True)
    signal.pause()
if "late" in sys.argv:
    atexit.register(print, "at its end")
    threading.Thread(target=print, args=("a thread of its own",)).start()
    sys.exit("in words")
if "full" in sys.argv:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    print("lost")
    sys.exit()
if "random" in sys.argv:
    print(random.random(), os.getpid())
    sys.exit()
streams = [sys.stdin, sys.stdout, sys.stderr]
print(json.dumps({
    "argv": sys.argv,
    "path": sys.path,
    "folder": os.getcwd(),
    "environ": dict(os.environ),
    "flags": [str(each) for each in sys.flags],
    "given": sys.stdin.read(),
    "streams": [[each.encoding, each.errors, each.isatty(), each.line_buffering] for each in streams],
    "files": sorted(each for each in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{each}")),
    "signals": [str(signal.getsignal(each)) for each in signal.valid_signals()],
    "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "threads": threading.active_count(),
    "module": [__name__, __spec__.name, sys.modules["__main__"].__dict__ is globals()],
    "umask": os.umask(0),
    "gc": gc.isenabled(),
}))
print("an error", file=sys.stderr)
sys.exit(7)
"""


@pytest.fixture
def probe(command: Command, tmp_path: Path) -> Command:
    """The command, with a module beside it that tells what it finds."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "probe.py").write_text(PROBE, encoding="utf-8")
    command.environ["PYTHONPATH"] = str(tmp_path / "modules")
    return command


def line(*words: str) -> list[str]:
    return [sys.executable, "-m", "probe", *words]


def test_a_forked_process_finds_what_a_new_one_finds_and_ends_as_it_does(probe: Command) -> None:
    new = subprocess.run(
        line("one", "twö"), cwd=probe.folder, env=probe.environ, input=b"given", capture_output=True, timeout=LIMIT_S
    )
    done = forked(line("one", "twö"), folder=probe.folder, environ=probe.environ, stdin=b"given", limit_s=LIMIT_S)

    assert new.returncode == 7, new.stderr
    assert (done.returncode, done.stdout, done.stderr) == (7, new.stdout, b"an error\n")


@pytest.mark.parametrize(("word", "status"), [("late", 1), ("full", 120)])
def test_it_ends_as_python_does(probe: Command, word: str, status: int) -> None:
    new = subprocess.run(line(word), cwd=probe.folder, env=probe.environ, capture_output=True, timeout=LIMIT_S)
    done = forked(line(word), folder=probe.folder, environ=probe.environ, stdin=b"", limit_s=LIMIT_S)

    assert new.returncode == done.returncode == status
    assert (done.stdout, done.stderr.splitlines()[:1]) == (new.stdout, [b"in words"] if word == "late" else [])


def test_each_is_a_process_of_its_own_that_a_signal_ends_as_any(probe: Command) -> None:
    said = {
        forked(line("random"), folder=probe.folder, environ=probe.environ, stdin=b"", limit_s=LIMIT_S).stdout
        for _ in range(3)
    }
    assert len({word for words in said for word in words.split()}) == 6
    died = forked(line("die"), folder=probe.folder, environ=probe.environ, stdin=b"", limit_s=LIMIT_S)
    assert died.returncode == -9


def test_one_that_takes_too_long_is_ended(probe: Command) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        forked(line("hang"), folder=probe.folder, environ=probe.environ, stdin=b"", limit_s=0.2)


@pytest.mark.parametrize("name", ["PYTHONWARNINGS", "PYTHONUTF8", "LC_ALL", "TZ", "LANGUAGE"])
def test_what_python_would_start_otherwise_with_starts_anew(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("CALLSHEET_FORK", raising=False)
    assert can_fork(command.line("list"), command.environ, b"")
    assert not can_fork(command.line("list"), command.environ | {name: "1"}, b"")
    assert not can_fork(command.line("list"), command.environ, b"x" * 60_000)
    assert not can_fork(["callsheet", "list"], command.environ, b"")
