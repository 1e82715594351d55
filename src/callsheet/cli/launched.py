"""The process that a run is started in for a program: `python -m callsheet.cli.launched`, its order on standard input.

It becomes two, as `callsheet run --detach` does: one goes on with the run, the other says as JSON that it has started,
or why not, and ends. What is asked stands in no command line, which every user of the machine could read.
"""

from __future__ import annotations

import sys

from callsheet.cli.boundary import guarded
from callsheet.cli.streams import prepare_streams


def main() -> int:
    """Starts the run, and gives the exit status of `callsheet run --detach`; one of its own for a workspace in use."""
    import json
    from functools import partial

    from pydantic import ValidationError

    from callsheet.app.launching import IN_USE_STATUS
    from callsheet.app.plan import Surroundings
    from callsheet.app.tool_order import LaunchOrder, run_order_of
    from callsheet.cli.run_command import Manner, RunCommand
    from callsheet.errors import LeaseHeldError, UsageError

    def work() -> int:
        try:
            launch = LaunchOrder.model_validate(json.loads(sys.stdin.buffer.read()))
        except (ValueError, ValidationError):
            raise UsageError("standard input holds no order for a run: callsheet mcp says it by itself.") from None
        manner = Manner(output="json", is_quiet=True, is_headless=launch.is_headless, is_detached=True)
        order = partial(run_order_of, launch, Surroundings())
        approved = None if launch.approved is None else launch.approved.approved
        command = RunCommand(order, script=launch.script or "", manner=manner, approved=approved)
        status = command.run()
        return IN_USE_STATUS if isinstance(command.fault, LeaseHeldError) else status

    return guarded(work)


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
