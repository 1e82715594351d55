"""Runs a command and writes, as the last line of stderr, the CPU seconds and peak memory the system booked for it."""

import os
import resource
import sys

pid = os.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, own = os.wait4(pid, 0)
# RUSAGE_CHILDREN holds the command and every child that it has itself waited for.
total = resource.getrusage(resource.RUSAGE_CHILDREN)
sys.stderr.write(f"\nbooked {total.ru_utime + total.ru_stime:.4f} {own.ru_maxrss / 1024:.1f}\n")
sys.exit(os.waitstatus_to_exitcode(status))
