"""A run's control socket, as the run has it: served while it goes on, out of agents' sight (DESIGN 12)."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from callsheet.groups import lone_error
from callsheet.model.approval import Answer, Question
from callsheet.model.dataclass import dataclass
from callsheet.ports import Approver, RunControls

if TYPE_CHECKING:
    from callsheet.agents.tools.bounds import Bounds
    from callsheet.control.server import ControlServer


class Elsewhere(Approver):
    """Stands for people who answer over the socket, and may come at any time until the time for an answer is up.

    Attributes:
        takes_cost: They pay, or know who does.
        takes_scripts: They say whether scripts run that nobody has seen.
    """

    takes_cost = True

    def __init__(self, *, takes_scripts: bool = False) -> None:
        self.takes_scripts = takes_scripts

    async def answer(self, question: Question) -> Answer:
        await anyio.sleep_forever()
        raise AssertionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The socket of a run.

    Attributes:
        note: Why there is none, for the run's notes; None where there is one.
    """

    server: ControlServer | None
    note: str | None = None

    def serve(self, run: RunControls) -> None:
        """Lets those in who have connected by now, and who do later."""
        if self.server is not None:
            self.server.serve(run)

    @contextmanager
    def trusting(self, pid: int) -> Iterator[None]:
        """Within it a process that this one has started for its user may talk to the run."""
        if self.server is None:
            yield
            return
        self.server.trusted.add(pid)
        try:
            yield
        finally:
            self.server.trusted.discard(pid)


@asynccontextmanager
async def open_serving(
    run_id: str,
    *,
    workflow: str,
    workspace: Path,
    record: Path,
    bounds: Bounds,
    environ: Mapping[str, str],
    end_at_once: Callable[[], object] | None,
) -> AsyncGenerator[Serving]:
    """Serves a run within the context. Where that cannot be the run goes on, and says so once.

    Args:
        run_id: Of the run.
        workflow: Its name.
        workspace: Where its agents work.
        record: Where its record lies.
        bounds: Of its agents, who must not see the socket.
        environ: For `XDG_RUNTIME_DIR`.
        end_at_once: Ends this process without a farewell; None where it is a program of somebody else's.
    """
    from callsheet.control.places import folders
    from callsheet.control.server import open_server

    with lone_error():
        async with AsyncExitStack() as stack:
            try:
                server = await stack.enter_async_context(
                    open_server(
                        run_id,
                        host="program" if end_at_once is None else "command",
                        workspace=workspace,
                        record=record,
                        workflow=workflow,
                        environ=environ,
                        end_at_once=end_at_once,
                    )
                )
            except OSError as fault:
                note = f"the run cannot be controlled from elsewhere: {fault.strerror or fault}."
                yield Serving(server=None, note=note)
                return
            bounds.hidden = (*bounds.hidden, *_outside(workspace, folders(environ)))
            yield Serving(server=server)


def _outside(workspace: Path, places: Iterable[Path]) -> tuple[Path, ...]:
    """Those that can be hidden with every confinement: Landlock takes nothing out of what may be written."""
    inside = os.path.realpath(workspace)
    return tuple(place for place in places if not Path(os.path.realpath(place)).is_relative_to(inside))
