"""The command with runs that take scripts as text: `python -m tests.support.drafting run …`.

As use cases of the product have it that hand in what a model wrote; all else is the command's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from callsheet.app.plan import RunOrder
from callsheet.cli import order
from callsheet.cli.commands import run_command_line

_order_of = order.order_of


def _with_drafts(flags: Mapping[str, Any]) -> RunOrder:
    return replace(_order_of(flags), drafts=True)


if __name__ == "__main__":
    order.order_of = _with_drafts
    sys.exit(run_command_line(sys.argv[1:]))
