"""Kinds of agent that installed packages bring: a backend under the entry-point group `callsheet.agents`.

The entry point's name is the backend's name, in `backend: 'name'` and `--backend name`. It leads to something that is
called without arguments and gives an `AgentBackend`. It is loaded when the first agent of that kind starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from callsheet.model.call import AgentTask
from callsheet.model.outcome import AgentOutcome
from callsheet.ports import AgentBackend, AgentReporter

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "callsheet.agents"


@cache
def registered_backends() -> Mapping[str, EntryPoint]:
    """The backends of installed packages by name; none of their code is run to find them."""
    from importlib.metadata import entry_points  # 20 ms, and only needed for names that are not ours

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


class RegisteredBackend(AgentBackend):
    """A package's backend, loaded on use."""

    def __init__(self, name: str, load: Callable[[], Callable[[], AgentBackend]]) -> None:
        """Makes it; nothing is loaded yet.

        Args:
            name: Of the entry point.
            load: Loads what makes the backend.
        """
        self._name = name
        self._load = load
        self._backend: AgentBackend | None = None
        self._loading = anyio.Lock()

    @property
    def name(self) -> str:
        return self._name

    def default_model(self) -> str | None:
        return None if self._backend is None else self._backend.default_model()

    @property
    def takes_messages(self) -> bool:
        """As the package's backend says, from when it is loaded: with the first agent."""
        return self._backend is not None and self._backend.takes_messages

    @property
    def takes_earlier(self) -> bool:
        """Yes, for the package's backend: one that does not is told as text."""
        return True

    async def run(self, task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        async with self._loading:
            if self._backend is None:
                make = await to_thread.run_sync(self._load)
                self._backend = make()
        return await self._backend.run(task if self._backend.takes_earlier else task.told, reporter)

    async def aclose(self) -> None:
        backend, self._backend = self._backend, None
        if backend is not None:
            await backend.aclose()


class Backends(dict[str, AgentBackend]):
    """The backends of one run by name, those of packages among them as soon as somebody asks for one."""

    def __init__(self, backends: Iterable[AgentBackend]) -> None:
        super().__init__((backend.name, backend) for backend in backends)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in registered_backends()

    def __missing__(self, name: str) -> AgentBackend:
        backend = self[name] = RegisteredBackend(name, registered_backends()[name].load)
        return backend
