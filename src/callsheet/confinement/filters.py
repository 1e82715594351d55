"""The system-call filter of agents' commands, as the program that the kernel takes; built once a process.

Commands are any program, so this is a list of what is refused: what leads out of namespaces, looks into other
processes, talks to the kernel's more dangerous parts, or reaches sockets that no other bound covers.
"""

from __future__ import annotations

import ctypes.util
import errno
import functools
import os
import socket
import sys
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING

from callsheet.errors import ConfinementError

if TYPE_CHECKING:
    import pyseccomp

REFUSED_CALLS = (
    # namespaces and mounts
    "unshare", "setns", "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree",
    "open_tree_attr", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
    "open_by_handle_at", "name_to_handle_at",
    # other processes
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
    # keys, kernel, machine
    "add_key", "request_key", "keyctl", "bpf", "perf_event_open", "userfaultfd", "init_module", "finit_module",
    "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct", "quotactl",
    "quotactl_fd", "syslog", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname",
    "setdomainname", "iopl", "ioperm", "vhangup", "fanotify_init", "lookup_dcookie", "nfsservctl",
)  # fmt: skip

_HIDDEN_CALLS = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
"""Answered as by a kernel that lacks them, so that programs use the old ways, whose arguments can be judged here."""

_NEW_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
_INT = 0xFFFFFFFF
_AF_NETLINK = 16
_TYPE = 0xF
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX


@functools.cache
def command_filter(*, internet: bool) -> bytes:
    """The filter's program.

    Args:
        internet: IPv4, IPv6 and netlink sockets may be made; all other kinds, Unix sockets first, never.

    Raises:
        ConfinementError: This system has no such filter.
    """
    allowed = _library()
    try:
        rules = _rules(allowed, internet=internet)
        program = os.memfd_create("callsheet-filter", os.MFD_CLOEXEC)
        with os.fdopen(program, "rb+") as file:
            rules.export_bpf(file)
            file.seek(0)
            return file.read()
    except OSError as refused:
        raise ConfinementError(f"The system-call filter cannot be built: {refused}.") from None


def _rules(library: ModuleType, *, internet: bool) -> pyseccomp.SyscallFilter:
    rules = library.SyscallFilter(defaction=library.ALLOW)
    arg, masked = library.Arg, library.MASKED_EQ
    refuse, absent = library.ERRNO(errno.EPERM), library.ERRNO(errno.ENOSYS)
    closed = library.ERRNO(errno.EACCES)

    def add(action: int, name: str, *conditions: object) -> None:
        with suppress(OSError, ValueError):  # a call that this machine's library does not know, or the kernel lacks
            rules.add_rule(action, name, *conditions)

    for name in REFUSED_CALLS:
        add(refuse, name)
    for name in _HIDDEN_CALLS:
        add(absent, name)
    for flag in _NEW_NAMESPACES:
        add(refuse, "clone", arg(0, masked, flag, flag))
    for request in _TERMINAL_INPUT:
        add(refuse, "ioctl", arg(1, masked, _INT, request))
    # The kernel looks at the low 32 bits of an `int`, a plain comparison at all 64: each is compared under a mask.
    families = {socket.AF_INET, socket.AF_INET6, _AF_NETLINK} if internet else set()
    for family in set(range(64)) - families:
        rules.add_rule(closed, "socket", arg(0, masked, _INT, family))
    for bit in range(6, 32):
        rules.add_rule(closed, "socket", arg(0, masked, 1 << bit, 1 << bit))
    # Both ends of such a pair could be connected anew, to any Unix socket; those of the other types cannot.
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        rules.add_rule(closed, "socketpair", arg(1, masked, _TYPE, kind))
    return rules


def _library() -> ModuleType:
    if sys.platform != "linux":
        raise ConfinementError(f"{sys.platform} has no system-call filter.")
    find = ctypes.util.find_library
    ctypes.util.find_library = lambda name: {"seccomp": "libseccomp.so.2"}.get(name)  # without running ldconfig
    try:
        import pyseccomp
    except (ImportError, OSError) as missing:
        raise ConfinementError(f"libseccomp is not installed ({missing}); install it (Debian: libseccomp2).") from None
    finally:
        ctypes.util.find_library = find
    module: ModuleType = pyseccomp
    return module
