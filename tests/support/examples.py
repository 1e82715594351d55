"""How many examples a property is tried with: few in every run of the suite, more where somebody asks for them."""

from __future__ import annotations

import os


def times(few: int) -> int:
    """A number of examples; `CALLSHEET_EXAMPLES=10` has ten times as many of each tried."""
    return few * int(os.environ.get("CALLSHEET_EXAMPLES", "1"))
