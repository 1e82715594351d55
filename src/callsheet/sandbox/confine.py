"""The child gives up all that a script could misuse, before it reads any script (DESIGN 3). Runs in the child."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyseccomp

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_M_ARENA_MAX = -8
_PROT_EXEC = 4

_OVERHEAD_BYTES = 512 * 1024 * 1024
"""Address space beside the scripts' heap: the interpreter, the thread's stack, messages under way."""
_OVERHEAD_CPU_S = 10

SYSTEM_CALLS = (
    "read", "write", "mmap", "munmap", "mremap", "madvise", "mprotect", "brk", "futex", "clock_gettime", "getrandom",
    "pread64", "restart_syscall", "rt_sigreturn", "exit", "exit_group",
)  # fmt: skip
"""What the child may ask of the kernel: memory that is not executable, its pipes, time, chance, and to end."""


def take_pipes() -> tuple[int, int]:
    """Moves the pipes from standard input and output to other numbers, so that nothing printed can mix with frames."""
    incoming, outgoing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    return incoming, outgoing


def die_with(parent: int) -> None:
    """Ends this process when its parent's thread does, even where that is killed; at once if it is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def confine(*, memory_bytes: int, cpu_s: float) -> tuple[bool, str]:
    """Drops everything, for all threads and for good. Import what is needed first: no file can be opened afterwards.

    Args:
        memory_bytes: The scripts' heap.
        cpu_s: The scripts' CPU seconds.

    Returns:
        Whether the kernel's system-call filter holds, and a line for people.
    """
    why = ""
    allowed = None
    try:
        allowed = _build_filter()
    except _UnavailableError as missing:
        why = str(missing)
    _limit_resources(memory_bytes=memory_bytes, cpu_s=cpu_s)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if allowed is None:
        return False, f"no system-call filter ({why}): engine and resource limits alone hold the script"
    try:
        allowed.load()
    except OSError as refused:
        return False, f"no system-call filter (the kernel refuses it: {refused}): engine and resource limits alone hold"
    return True, f"system-call filter: {len(SYSTEM_CALLS)} calls allowed, none for files, network or processes"


class _UnavailableError(Exception):
    """This system has no system-call filter."""


def _find_known(name: str) -> str | None:
    return {"seccomp": "libseccomp.so.2"}.get(name)  # None for the C library: what is loaded already


def _build_filter() -> pyseccomp.SyscallFilter:
    # A refused call fails with EPERM rather than ending the process: a library's unforeseen, harmless call is then like
    # on a machine without the right to it, and there is nothing that a refused call does.
    if sys.platform != "linux":
        raise _UnavailableError(f"{sys.platform} has none")
    # pyseccomp finds its libraries by running ldconfig twice: 15 ms, and processes in a child that should start none.
    find = ctypes.util.find_library
    ctypes.util.find_library = _find_known
    try:
        import pyseccomp
    except (ImportError, OSError) as missing:
        raise _UnavailableError(f"libseccomp is not installed: {missing}") from None
    finally:
        ctypes.util.find_library = find
    try:
        allowed = pyseccomp.SyscallFilter(defaction=pyseccomp.ERRNO(errno.EPERM))
        allowed.set_attr(pyseccomp.Attr.CTL_TSYNC, 1)
        never_executable = pyseccomp.Arg(2, pyseccomp.MASKED_EQ, _PROT_EXEC, 0)
        for name in SYSTEM_CALLS:
            conditions = [never_executable] if name in {"mmap", "mprotect"} else []
            allowed.add_rule(pyseccomp.ALLOW, name, *conditions)
    except OSError as refused:
        raise _UnavailableError(f"libseccomp cannot build it: {refused}") from None
    return allowed


def _limit_resources(*, memory_bytes: int, cpu_s: float) -> None:
    # Hard limits behind those that engine and host keep: they hold if both fail.
    if sys.platform == "linux":
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    for name, most in (
        ("RLIMIT_CPU", int(cpu_s) + _OVERHEAD_CPU_S),
        ("RLIMIT_AS", memory_bytes + _OVERHEAD_BYTES),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_NPROC", 0),
        ("RLIMIT_NOFILE", 0),
    ):
        try:
            resource.setrlimit(getattr(resource, name), (most, most))
        except (AttributeError, ValueError, OSError):
            continue  # not every system has every limit
