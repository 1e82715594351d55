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

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 22, 24, 36, 38
_CAPABILITIES, _CAPABILITY_VERSION = 64, 0x20080522
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
    group = _make_group(plan)
    child = os.fork()
    if child == 0:
        _become(plan, command, group)
    status = _watch(plan, child, woken)
    _end_everything(child, group)
    os._exit(status)


# --- in the child -----------------------------------------------------------------------------------------------------


def _become(plan: dict[str, Any], command: list[str], group: str | None) -> NoReturn:
    """Turns this process into the command. Nothing returns from here."""
    try:
        if group is not None:
            with contextlib.suppress(OSError):
                _write(f"{group}/cgroup.procs", "0")
        parent = os.getppid()
        os.setsid()
        if plan["landlock"] is not None:
            _drop_capabilities()
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


def _drop_capabilities() -> None:
    # Root would keep them, and with them ways around Landlock (CAP_PERFMON reads the environment of any process).
    # Who is not root has none to drop, and may not drop what could be gained: no new privileges sees to that.
    for capability in range(_CAPABILITIES):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    _check(_libc.capset(header, bytes(24)), "capabilities")


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
    look_at, reaped = time.monotonic(), 0
    for turn in range(sys.maxsize):
        ready = dict(poll.poll(max(0.0, look_at - time.monotonic()) * 1000))
        if woken in ready:
            with contextlib.suppress(OSError):
                os.read(woken, 4096)
        status, number = _reap(child, plan["processes"])
        reaped += number
        if status is not None:
            return status
        if 0 in ready and not os.read(0, 1):
            return 128 + signal.SIGKILL
        over = _too_many(plan) if reaped > plan["processes"] else None
        if over is None and time.monotonic() >= look_at:
            over = _over(plan, free if turn % _DISK_EVERY == 0 else ())
            look_at, reaped = time.monotonic() + _WATCH_S, 0
        if over is not None:
            _report(plan, *over)
            return 128 + signal.SIGKILL
    raise AssertionError


def _reap(child: int, most: int) -> tuple[int | None, int]:
    """Takes away the dead; the command's own status if it is among them, and how many there were.

    No more than `most`, and one: those of a fork bomb come faster than they can be taken away.
    """
    for number in range(most + 1):
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None, number
        if pid == 0:
            return None, number
        if pid == child:
            code = os.waitstatus_to_exitcode(ended)
            return code if code >= 0 else 128 - code, number + 1
    return None, most + 1


def _too_many(plan: dict[str, Any]) -> tuple[str, str]:
    return "processes", f"more than {plan['processes']} at one time, or left behind within a moment"


def _over(plan: dict[str, Any], free: tuple[int, ...]) -> tuple[str, str] | None:
    pids = _descendants(os.getpid(), plan["processes"] + 1)
    if len(pids) > plan["processes"]:
        return _too_many(plan)
    page = resource.getpagesize()
    used = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm", "rb") as file:
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
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for thread in threads:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
            yield from map(int, file.read().split())


def _end_everything(child: int, group: str | None) -> None:
    """Kills what is left until nothing is, within a few seconds.

    A whole process group first: the kernel signals it in one step, in which nobody can fork (a fork bomb outruns any
    list of processes). Then those with groups of their own, stopped before they are killed, for the same reason.
    """
    until = time.monotonic() + _END_WITHIN_S
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            os.killpg(child, signal.SIGKILL)
        if group is not None:
            with contextlib.suppress(OSError):
                _write(f"{group}/cgroup.kill", "1")
        left = {*_descendants(os.getpid(), 1 << 16), *_members(group)}
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
        try:
            while time.monotonic() < until and os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            break
        time.sleep(0.002)
    if group is not None:
        for _ in range(100):
            try:
                os.rmdir(group)
            except OSError:
                time.sleep(0.002)
            else:
                break


# --- a control group, where one may be made: its limit on processes is the kernel's own -------------------------------


def _make_group(plan: dict[str, Any]) -> str | None:
    for parent in plan["group_parents"]:
        made = f"{parent}/callsheet-{os.getpid()}"
        try:
            os.mkdir(made, 0o755)
        except OSError:
            continue
        try:
            _write(f"{made}/pids.max", str(plan["processes"] + 1))
        except OSError:
            os.rmdir(made)
        else:
            return made
    return None


def _members(group: str | None) -> list[int]:
    if group is not None:
        with contextlib.suppress(OSError), open(f"{group}/cgroup.procs", "rb") as file:
            return list(map(int, file.read().split()))
    return []


def _write(path: str, text: str) -> None:
    place = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(place, text.encode("ascii"))
    finally:
        os.close(place)


def _report(plan: dict[str, Any], word: str, detail: str) -> None:
    with contextlib.suppress(OSError):
        os.pwrite(plan["report_fd"], f"{word}\n{detail}\n".encode("utf-8", "replace"), 0)


if __name__ == "__main__":
    main()
