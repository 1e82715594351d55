"""Runs one command as a process of its own: limits, confines, watches, and ends it with everything under it.

Started as `python -I -S -B supervise.py PLAN COMMAND…`: standard library only, nothing of this package. Standard input
is the host's hold on it: when that closes, the host is gone or has had enough, and all is killed.

It is the subreaper of what it starts: whatever the command leaves behind, with a session of its own or not, becomes
its child, so that "no child is left" means that nothing is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import stat
import struct
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_RULE_PATH_BENEATH = 1
_PATH_ONLY = 0o10000000
_WATCH_S = 0.05
_DISK_EVERY = 4
_END_WITHIN_S = 5.0
_SETUP_FAILED = 126

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> NoReturn:
    """Runs the command named on the command line as the plan says, and exits with its status."""
    plan: dict[str, Any] = json.loads(sys.argv[1])
    command = sys.argv[2:]
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        _report(plan, "setup", "the system has no subreapers")
        os._exit(_SETUP_FAILED)
    plan["priority"] = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(OSError):
        os.nice(-5)  # to notice a fork bomb while it has the machine; only root may
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the host closes our input; a signal to its group is not for us
    child = os.fork()
    if child == 0:
        _become(plan, command)
    status = _watch(plan, child, woken)
    _end_everything()
    os._exit(status)


# --- in the child -----------------------------------------------------------------------------------------------------


def _become(plan: dict[str, Any], command: list[str]) -> NoReturn:
    """Turns this process into the command. Nothing returns from here."""
    try:
        parent = os.getppid()
        os.setsid()
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(_SETUP_FAILED)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.setpriority(os.PRIO_PROCESS, 0, plan["priority"])
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.close(null)
        _limit(plan["limits"])
        for number in plan["close"]:
            os.set_inheritable(number, False)
        os.chdir(plan["cwd"])
        if plan["landlock"] is not None:
            _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
            _landlock(**plan["landlock"])
        if plan["filter_fd"] is not None:
            _load_filter(plan["filter_fd"])
        os.execv(command[0], command)
    except BaseException as error:  # noqa: BLE001 - the fork's boundary: what escaped would run the parent's code twice
        _report(plan, "setup", f"{type(error).__name__}: {error}")
    os._exit(_SETUP_FAILED)


def _limit(limits: dict[str, int]) -> None:
    for name, most in limits.items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(number, (most, most))


def _landlock(handled: list[int], grants: list[list[Any]], files: int) -> None:
    attributes = struct.pack("=QQQ", *handled)
    ruleset = _check(_libc.syscall(_LANDLOCK_CREATE, attributes, len(attributes), 0), "Landlock ruleset")
    for path, access in grants:
        try:
            place = os.open(path, _PATH_ONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            access &= files
        rule = struct.pack("=Qi", access, place)
        _check(_libc.syscall(_LANDLOCK_ADD, ruleset, _RULE_PATH_BENEATH, rule, 0), f"Landlock rule for {path}")
        os.close(place)
    _check(_libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0), "Landlock")
    os.close(ruleset)


def _load_filter(descriptor: int) -> None:
    program = os.pread(descriptor, 1 << 20, 0)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    _check(_libc.prctl(_PR_SET_SECCOMP, 2, header, 0, 0), "system-call filter")


def _check(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


# --- in the supervisor ------------------------------------------------------------------------------------------------


def _watch(plan: dict[str, Any], child: int, woken: int) -> int:
    """Waits for the command's end, the host's, or a limit's; answers the status to exit with."""
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    poll.register(woken, select.POLLIN)
    free = _free(plan["disk_folders"])
    status: int | None = None
    for turn in range(sys.maxsize):
        ready = dict(poll.poll(_WATCH_S * 1000))
        if woken in ready:
            with contextlib.suppress(OSError):
                os.read(woken, 4096)
        status = _reap(child, status)
        if status is not None:
            return status
        if 0 in ready and not os.read(0, 1):
            return 128 + signal.SIGKILL
        over = _over(plan, free if turn % _DISK_EVERY == 0 else ())
        if over is not None:
            _report(plan, *over)
            return 128 + signal.SIGKILL
    raise AssertionError


def _reap(child: int, status: int | None) -> int | None:
    """Takes away the dead; the command's own status once it is among them."""
    while True:
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == child:
            code = os.waitstatus_to_exitcode(ended)
            status = code if code >= 0 else 128 - code


def _over(plan: dict[str, Any], free: tuple[int, ...]) -> tuple[str, str] | None:
    pids = _descendants(os.getpid(), plan["processes"] + 1)
    if len(pids) > plan["processes"]:
        return "processes", f"more than {plan['processes']} at one time"
    page = resource.getpagesize()
    used = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 - this starts faster without pathlib
            numbers = file.read().split()
            used += (int(numbers[1]) - int(numbers[2])) * page
    if used > plan["memory_bytes"]:
        return "memory", f"more than {plan['memory_bytes']} bytes resident"
    for before, now in zip(free, _free(plan["disk_folders"]) if free else (), strict=True):
        if before - now > plan["disk_bytes"]:
            return "disk", f"more than {plan['disk_bytes']} bytes of it used up"
    return None


def _free(folders: list[str]) -> tuple[int, ...]:
    # A folder that has gone counts as unchanged: what was in it is free again.
    found = []
    for folder in folders:
        try:
            system = os.statvfs(folder)
        except OSError:
            found.append(0)
        else:
            found.append(system.f_bavail * system.f_frsize)
    return tuple(found)


def _descendants(of: int, most: int) -> list[int]:
    """Processes beneath one, those in namespaces of their own too; stops looking once there are `most`."""
    found: list[int] = []
    waiting = [of]
    while waiting and len(found) < most:
        children = list(_children(waiting.pop()))
        found += children
        waiting += children
    return found


def _children(pid: int) -> Iterator[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return
    for thread in threads:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123
            yield from map(int, file.read().split())


def _end_everything() -> None:
    """Kills what is left until nothing is, within a few seconds.

    The first pass stops everyone, so that what forks cannot run ahead of what kills.
    """
    until = time.monotonic() + _END_WITHIN_S
    while time.monotonic() < until:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in _descendants(os.getpid(), 1 << 20):
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def _report(plan: dict[str, Any], word: str, detail: str) -> None:
    with contextlib.suppress(OSError):
        os.pwrite(plan["report_fd"], f"{word}\n{detail}\n".encode("utf-8", "replace"), 0)


if __name__ == "__main__":
    main()
