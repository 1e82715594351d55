"""Who serves a call, as settings have it: by its phase or label, and by its agent type (FORMATS 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from callsheet.model.call import AgentType, CallOptions, Scope
from callsheet.model.policy import ORCHESTRATOR, Route, file_access_of
from callsheet.model.run import RunSettings


def route_of(routes: Sequence[Route], *, label: str, phase: str | None) -> Route:
    """How a call is served: of model, effort and speed each as the first route says that means the call and says it.

    A route means a call whose phase or label is its pattern, or is like it.
    """
    texts = (label,) if phase is None else (phase, label)
    meant = [route for route in routes if route.pattern != ORCHESTRATOR and _means(route.pattern, texts)]
    return Route(
        pattern="",
        model=next((route.model for route in meant if route.model is not None), None),
        effort=next((route.effort for route in meant if route.effort is not None), None),
        speed=next((route.speed for route in meant if route.speed is not None), None),
    )


def _means(pattern: str, texts: Sequence[str]) -> bool:
    return any(text == pattern or fnmatchcase(text, pattern) for text in texts)


class Routing:
    """What settings make of calls.

    Args:
        settings: Of the run.
    """

    def __init__(self, settings: RunSettings) -> None:
        self._routes = settings.mode_routing
        self._models = {name.casefold(): model for name, model in settings.type_models.items() if name != ORCHESTRATOR}
        self._file_access = file_access_of(settings.agent_permissions)

    def route(self, *, label: str, phase: str | None) -> Route:
        """How a call is served; see `route_of`."""
        return route_of(self._routes, label=label, phase=phase)

    def type_model(self, asked: str, kind: AgentType) -> str | None:
        """The model of an agent type, by the name that a call asks for or the one that it has; None for no such."""
        return self._models.get(asked.casefold()) or self._models.get(kind.name.casefold())

    def held(self, options: CallOptions, kind: AgentType) -> tuple[CallOptions, AgentType]:
        """A call's options and its agent's type, held to `file_access`: a call can only narrow (CONTRACT A14)."""
        if self._file_access is None or self._file_access == "workspace":
            return options, kind
        scope = options.scope
        if self._file_access == "read-only" or scope is None or (scope.read is None and scope.write is None):
            return options, replace(kind, read_only=True)
        return replace(options, scope=Scope(read=scope.read, write=scope.write or scope.read)), kind
