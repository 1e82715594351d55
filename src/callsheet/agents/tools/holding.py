"""What holds the commands of a run's agents: found by trying it, once, when a command first needs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from callsheet.model.dataclass import dataclass

if TYPE_CHECKING:
    from callsheet.confinement.probe import Probed
    from callsheet.ports import CommandConfinement


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What holds commands, and what a person is told of it.

    Attributes:
        is_needed: Commands that may run files of the workspace must be held, and are not (DESIGN 10).
        why: Why nothing holds them, for people; empty where something does, or nothing is meant to.
    """

    confinement: CommandConfinement
    is_needed: bool = False
    why: str = ""


class Holding:
    """Finds it.

    Attributes:
        probed: What was found; None while no command needed it.
    """

    def __init__(self, confinement: CommandConfinement | None, *, workspace: Path | None) -> None:
        """Makes it; nothing is imported or tried yet.

        Args:
            confinement: What holds commands; without one the best that works here.
            workspace: No program in it is used by the host; None for none.
        """
        self._confinement = confinement
        self._workspace = workspace
        self._probing = anyio.Lock()
        self.probed: Probed | None = None

    async def held(self, *, unconfined: bool) -> Held:
        """What holds commands; with `unconfined` nothing does, and nothing is tried."""
        if unconfined:
            from callsheet.confinement.unconfined import Unconfined

            return Held(confinement=Unconfined())
        if self._confinement is None:
            async with self._probing:
                if self._confinement is None:
                    find = await to_thread.run_sync(_import_probe, abandon_on_cancel=True)
                    self.probed = await find(outside=() if self._workspace is None else (self._workspace,))
                    self._confinement = self.probed.best
        if self._confinement.name != "none":
            return Held(confinement=self._confinement)
        tried = self.probed.failures if self.probed is not None else ()
        why = "; ".join(f"{name}: {reason}" for name, reason in tried) or "none was found"
        return Held(confinement=self._confinement, is_needed=True, why=why)


def _import_probe() -> Callable[..., Awaitable[Probed]]:
    from callsheet.confinement.probe import find_confinement

    return find_confinement
