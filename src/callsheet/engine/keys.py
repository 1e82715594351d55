"""What a call asks, as one hash: the key under which its outcome answers again (CONTRACT R02)."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from functools import lru_cache

from callsheet.model.call import AgentType, CallOptions, Effort
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)

KEY_VERSION = "1"
"""Goes up when the fields below, or their meaning, change; older records then still say what they were made by."""

MAX_PART_CHARS = 40
_SAID = ("prompt", "context", "conversation")
_NOT_GIVEN: tuple[JsonValue, ...] = (None, [], [None, None], ".")


def call_key(
    *,
    prompt: str,
    options: CallOptions,
    agent_type: AgentType,
    model: str | None,
    effort: Effort | None,
    backend: str,
    cwd: str,
) -> str:
    """The key of a call: `VERSION:HEX`.

    Label, phase, priority, limits, speed and settle do not change what is asked and are left out; so is the order in
    which options, or a schema's keys, were written. `model` and `effort` are what is asked after settings and agent
    type; `cwd` is relative to the workspace, `.` for its root.
    """
    return asked_by(
        prompt=prompt, options=options, agent_type=agent_type, model=model, effort=effort, backend=backend, cwd=cwd
    ).key


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedKey:
    """A key, and what it is made of."""

    key: str
    asked: dict[str, JsonValue]
    agent_type: AgentType

    @property
    def frame(self) -> str:
        """A digest of what requests begin with, before anything is said: tools, schema, model and the like."""
        return _digest({name: value for name, value in self.asked.items() if name not in _SAID})[:16]

    @property
    def parts(self) -> dict[str, str]:
        """What it is made of, part by part: as they are where they are short, else as digests (CONTRACT R05).

        Parts that were not given are left out. Worked out when it is asked for: answers from a record need none.
        """
        parts = {
            name: _short(value) for name, value in self.asked.items() if name == "prompt" or value not in _NOT_GIVEN
        }
        parts["agent_type"] = f"{self.agent_type.name} #{definition_hash(self.agent_type)[:12]}"
        return parts


def asked_by(
    *,
    prompt: str,
    options: CallOptions,
    agent_type: AgentType,
    model: str | None,
    effort: Effort | None,
    backend: str,
    cwd: str,
    chain: str = "",
) -> AskedKey:
    """The key of a call with its parts; see `call_key`.

    `chain` stands for all that was said before in its conversation. A call in none has the key it always had.
    """
    scope = options.scope
    asked: dict[str, JsonValue] = {
        "prompt": prompt,
        "schema": options.schema,
        "model": model,
        "effort": effort,
        "agent_type": [agent_type.name, definition_hash(agent_type)],
        "isolation": [options.isolation, options.worktree],
        "cwd": cwd,
        "tools": None if options.tools is None else _as_set(options.tools),
        "disallowed_tools": _as_set(options.disallowed_tools),
        "scope": None
        if scope is None
        else [None if globs is None else _as_set(globs) for globs in (scope.read, scope.write)],
        "context": options.context,
        "backend": backend,
    }
    if options.conversation is not None:
        asked["conversation"] = [options.conversation, chain]
    return AskedKey(key=f"{KEY_VERSION}:{_digest(asked)}", asked=asked, agent_type=agent_type)


def next_chain(key: str, occurrence: int, value_json: str) -> str:
    """What stands for a conversation once a turn has ended well: what was asked, all before it, and what came of it."""
    return _digest([key, occurrence, hashlib.sha256(value_json.encode("utf-8", "replace")).hexdigest()])


def _short(value: JsonValue) -> str:
    if isinstance(value, str) and len(value) <= MAX_PART_CHARS and value.isascii():
        return value
    return f"#{_digest(value)[:12]}"


@lru_cache(maxsize=256)
def definition_hash(agent_type: AgentType) -> str:
    """A hash of what an agent type makes an agent do; where it was found and how it is described are not part of it."""
    return _digest(
        {
            "system_prompt": agent_type.system_prompt,
            "tools": None if agent_type.tools is None else _as_set(agent_type.tools),
            "disallowed_tools": _as_set(agent_type.disallowed_tools),
            "model": agent_type.model,
            "effort": agent_type.effort,
            "read_only": agent_type.read_only,
            **({} if agent_type.command is None else {"command": list(agent_type.command)}),
            **({} if agent_type.acp is None else {"acp": list(agent_type.acp.command)}),
        }
    )


class Occurrences:
    """Numbers equal calls, from 1, in order of arrival."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def peek(self, key: str) -> int:
        """The number that the next call with this key will have."""
        return self._seen[key] + 1

    def next(self, key: str) -> int:
        """The number of this call among those with its key."""
        self._seen[key] += 1
        return self._seen[key]


def _as_set(names: tuple[str, ...]) -> list[JsonValue]:
    return [*sorted(set(names))]


def _digest(value: JsonValue) -> str:
    return hashlib.sha256(_CANONICAL.encode(value).encode("ascii")).hexdigest()
