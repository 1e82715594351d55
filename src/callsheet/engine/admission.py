"""A call as it arrives: checked by value and by name, before it counts for anything (CONTRACT A04, A07–A09, A14)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from callsheet.engine.options import MisuseError, check_options, check_prompt, default_label
from callsheet.engine.routing import Routing
from callsheet.engine.text import to_json
from callsheet.errors import NotFoundError, SchemaUnusableError
from callsheet.model.call import AgentType, CallOptions, Effort
from callsheet.model.dataclass import dataclass
from callsheet.model.run import RunSettings
from callsheet.model.sandbox import AgentCalled
from callsheet.model.spending import Budget
from callsheet.model.values import JsonValue
from callsheet.ports import WorkflowLibrary

DEFAULT_AGENT_TYPE = "general-purpose"
_MAX_KNOWN_SCHEMAS = 256

COMMAND_BACKEND = "command"
"""The backend of agents that are programs."""

CheckSchema = Callable[[JsonValue], object]
"""Raises SchemaUnusableError for a schema that can never be met, or must not be used; what it returns is ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one call asks, checked and completed from agent type and settings."""

    prompt: str
    label: str
    phase: str | None
    options: CallOptions
    agent_type: AgentType
    model: str | None
    effort: Effort | None
    backend: str
    cwd: str
    max_turns: int


class Admission:
    """Turns calls into what they ask, or into a refusal."""

    def __init__(
        self,
        *,
        workspace: str,
        settings: RunSettings,
        backends: Collection[str],
        library: WorkflowLibrary,
        check_schema: CheckSchema,
    ) -> None:
        self._root = Path(workspace)
        self._settings = settings
        self._routing = Routing(settings)
        self._backends = backends
        self._library = library
        self._check_schema = check_schema
        self._agent_types: dict[str, AgentType] = {}
        self._known_schemas: set[bytes] = set()

    def judge(self, called: AgentCalled) -> Asked:
        """What the call asks.

        Raises:
            MisuseError: It cannot be made as it was written; no agent is started.
        """
        prompt = check_prompt(called.prompt, called.prompt_type)
        if called.options_fault is not None:
            raise MisuseError("TypeError", called.options_fault)
        options = narrowed(check_options(called.options), self._settings.agent_budget)
        asked_type = options.agent_type or DEFAULT_AGENT_TYPE
        options, agent_type = self._routing.held(options, self._agent_type(asked_type))
        backend = self._backend(options.backend, agent_type)
        cwd = self._cwd(options.cwd)
        if options.schema is not None:
            self._schema(options.schema)
        settings = self._settings
        label, phase = options.label or default_label(prompt), options.phase or called.phase
        route = self._routing.route(label=label, phase=phase)
        by_type = self._routing.type_model(asked_type, agent_type)
        return Asked(
            prompt=prompt,
            label=label,
            phase=phase,
            options=options if route.speed is None else replace(options, speed=route.speed),
            agent_type=agent_type,
            model=route.model or options.model or by_type or agent_type.model or settings.model,
            effort=route.effort or options.effort or agent_type.effort,
            backend=backend,
            cwd=cwd,
            max_turns=min(options.max_turns or settings.max_turns, settings.max_turns),
        )

    def _agent_type(self, name: str) -> AgentType:
        known = self._agent_types.get(name)
        if known is None:
            try:
                known = self._agent_types[name] = self._library.agent_type(name)
            except NotFoundError as error:
                raise MisuseError("Error", f"agent(): {error.message}") from None
        return known

    def _backend(self, name: str | None, agent_type: AgentType) -> str:
        """Who does the work: of a command agent its program, where the run's agents do real work (FORMATS 2)."""
        if agent_type.command is not None and COMMAND_BACKEND in self._backends:
            if name not in (None, COMMAND_BACKEND):
                told = f"agent(): agent type '{agent_type.name}' is a command, which backend '{name}' cannot be"
                raise MisuseError("Error", told)
            return COMMAND_BACKEND
        own = agent_type.own_backend
        if name is None and own is not None and own in self._backends:  # to look for names costs time
            name = own
        name = name or self._settings.backend
        if name == COMMAND_BACKEND:
            told = f"agent(): agent type '{agent_type.name}' is no command: leave out `backend`, or name one that is"
            raise MisuseError("Error", told)
        if name not in self._backends:
            there_are = ", ".join(sorted(set(self._backends) - {COMMAND_BACKEND}))
            raise MisuseError("Error", f"agent(): there is no backend '{name}' in this run; there are: {there_are}")
        return name

    def _cwd(self, cwd: str | None) -> str:
        """The folder relative to the workspace, links followed (CONTRACT A14)."""
        if cwd is None:
            return "."
        outside = MisuseError("Error", f"agent(): `cwd` must be a folder inside the workspace, and is '{cwd}'")
        if "\0" in cwd:
            raise outside
        root = os.path.realpath(self._root)
        relative = os.path.relpath(os.path.realpath(self._root / cwd), root)
        if relative == ".." or relative.startswith("../"):
            raise outside
        return relative

    def _schema(self, schema: dict[str, JsonValue]) -> None:
        try:
            known = hashlib.sha256(to_json(schema).encode()).digest()
        except (ValueError, RecursionError):
            raise MisuseError("Error", "agent(): `schema` cannot be used: it is nested too deeply") from None
        if known in self._known_schemas:
            return
        try:
            self._check_schema(schema)
        except SchemaUnusableError as error:
            raise MisuseError("Error", f"agent(): `schema` cannot be used: {error.message}") from None
        if len(self._known_schemas) < _MAX_KNOWN_SCHEMAS:
            self._known_schemas.add(known)


def narrowed(options: CallOptions, most: Budget) -> CallOptions:
    """The options with limits that settings have lowered: a call cannot raise what each agent may use (A14)."""
    if not most:
        return options
    tokens = [each for each in (most.tokens, options.max_tokens) if each is not None]
    usd = [each for each in (most.usd, options.max_cost_usd) if each is not None]
    return replace(options, max_tokens=min(tokens, default=None), max_cost_usd=min(usd, default=None))
