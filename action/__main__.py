"""The steps of `action.yml`, one a word: install, place, run, outcome. Needs Python alone, no library."""

from __future__ import annotations

import sys

from joblog import Refused, annotate


def main(word: str) -> int:
    """Does a step, and gives its exit status."""
    if word == "install":
        from installing import install as step
    elif word == "place":
        from placing import place as step
    elif word == "run":
        from running import run as step
    else:
        from ending import outcome as step
    try:
        return step()
    except Refused as fault:
        annotate("error", str(fault))
        return 2


sys.exit(main(sys.argv[1]))
