"""The options of `agent()`: every one checked, each refusal says what is allowed (CONTRACT A07–A09, A14–A16)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

from callsheet.engine.text import clean, kind_of, shown
from callsheet.model.call import EFFORTS, OPTION_NAMES, CallOptions, Effort, Scope
from callsheet.model.counts import MAX_LABEL_CHARS, MAX_PROMPT_BYTES
from callsheet.model.values import JsonValue

DEFAULT_LABEL_CHARS = 60
_WORKTREE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Given = Mapping[str, JsonValue]


class MisuseError(Exception):
    """A call that cannot be made as it was written; it rejects and no agent is started.

    Attributes:
        name: The error's class in the script: `TypeError` where the kind of value is wrong, else `Error`.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


def check_prompt(prompt: str | None, prompt_type: str) -> str:
    """The prompt as it will be sent.

    Raises:
        MisuseError: It is not a non-empty string, or larger than 4 MiB.
    """
    if prompt is None:
        raise MisuseError("TypeError", f"agent(): the prompt must be a non-empty string, and is {prompt_type}")
    if not prompt:
        raise MisuseError("TypeError", "agent(): the prompt must be a non-empty string, and is empty")
    prompt = clean(prompt)
    if len(prompt) * 4 > MAX_PROMPT_BYTES and len(prompt.encode()) > MAX_PROMPT_BYTES:
        raise MisuseError("RangeError", "agent(): the prompt is larger than 4 MiB: put the material into files")
    return prompt


def default_label(prompt: str) -> str:
    """The first line of the prompt that says something, at most 60 characters (CONTRACT A10)."""
    line = prompt.lstrip().split("\n", 1)[0][:DEFAULT_LABEL_CHARS].strip()
    return line or "agent"


def check_options(given: Given) -> CallOptions:
    """The options of one call. Null counts as absent, as undefined does (CONTRACT A08).

    Raises:
        MisuseError: One of them has the wrong type or a value that is not allowed.
    """
    given = {name: value for name, value in given.items() if value is not None}
    options = CallOptions(
        label=_title(given, "label"),
        phase=_title(given, "phase"),
        schema=_schema(given),
        model=_text(given, "model", may_be_empty=True) or None,
        effort=_effort(given),
        isolation=_isolation(given),
        agent_type=_text(given, "agentType"),
        tools=_texts(given, "tools"),
        disallowed_tools=_texts(given, "disallowedTools") or (),
        scope=_scope(given),
        timeout_s=_positive(given, "timeout", "seconds"),
        stall_ms=_positive(given, "stallMs", "milliseconds"),
        max_turns=_count(given, "maxTurns", least=1),
        max_tokens=_count(given, "maxTokens", least=1),
        max_cost_usd=_positive(given, "maxCost", "US dollars"),
        retries=_count(given, "retries", least=0),
        priority=_priority(given),
        speed=_speed(given),
        context=_text(given, "context", may_be_empty=True),
        cwd=_text(given, "cwd"),
        backend=_text(given, "backend"),
        settle=_flag(given, "settle"),
        worktree=_worktree(given),
        merge=_flag(given, "merge"),
        conversation=_conversation(given),
    )
    if options.merge and not (options.worktree or options.isolation):
        raise MisuseError("TypeError", "agent(): `merge` goes with `worktree: 'name'` or `isolation: 'worktree'`")
    return options


def wants_settle(given: Given) -> bool:
    """Whether the call asked to be settled, for calls refused before their options were checked (CONTRACT A15)."""
    return given.get("settle") is True


def unknown_option(name: str) -> str:
    """What is said, once a run, about an option that the contract does not have (CONTRACT A08)."""
    return (
        f"agent() has no option `{clean(name)[:MAX_LABEL_CHARS]}`, it is ignored; there are: {', '.join(OPTION_NAMES)}"
    )


def _wrong(option: str, allowed: str, value: JsonValue) -> MisuseError:
    return MisuseError("TypeError", f"agent(): `{option}` must be {allowed}, and is {shown(value)}")


def _text(given: Given, option: str, *, may_be_empty: bool = False) -> str | None:
    value = given.get(option)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _wrong(option, "a string", value)
    if not value and not may_be_empty:
        raise _wrong(option, "a string that is not empty", value)
    return clean(value)


def _title(given: Given, option: str) -> str | None:
    """A label or phase. A number is taken as its text: loops over indices write such labels."""
    value = given.get(option)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong(option, "a string", value)
    return clean(str(value))[:MAX_LABEL_CHARS]


def _texts(given: Given, option: str) -> tuple[str, ...] | None:
    value = given.get(option)
    return None if value is None else _globs(option, value)


def _globs(option: str, value: JsonValue) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _wrong(option, "an array of strings", value)
    texts: list[str] = []
    for item in value:
        if not isinstance(item, str) or not item:
            raise MisuseError(
                "TypeError", f"agent(): `{option}` must be an array of non-empty strings, and holds {shown(item)}"
            )
        texts.append(clean(item))
    return tuple(texts)


def _schema(given: Given) -> dict[str, JsonValue] | None:
    value = given.get("schema")
    if value is None or isinstance(value, dict):
        return value
    raise MisuseError(
        "TypeError", f"agent(): `schema` must be a JSON Schema object with type 'object', and is {kind_of(value)}"
    )


def _effort(given: Given) -> Effort | None:
    value = given.get("effort")
    if value is None:
        return None
    if isinstance(value, str):
        for effort in EFFORTS:
            if effort == value.lower():
                return effort
    raise _wrong("effort", f"one of {', '.join(EFFORTS)}", value)


def _isolation(given: Given) -> Literal["worktree"] | None:
    value = given.get("isolation")
    if value is None:
        return None
    if value == "worktree":
        return "worktree"
    raise _wrong("isolation", "'worktree'", value)


def _speed(given: Given) -> Literal["fast", "standard"] | None:
    match given.get("speed"):
        case None:
            return None
        case "fast":
            return "fast"
        case "standard":
            return "standard"
        case value:
            raise _wrong("speed", "'fast' or 'standard'", value)


def _number(given: Given, option: str, allowed: str) -> float | None:
    value = given.get(option)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(option, allowed, value)
    try:
        number = float(value)
    except OverflowError:
        raise _wrong(option, allowed, value) from None
    if not math.isfinite(number):
        raise _wrong(option, allowed, value)
    return number


def _positive(given: Given, option: str, unit: str) -> float | None:
    allowed = f"a number of {unit} above 0"
    number = _number(given, option, allowed)
    if number is not None and number <= 0:
        raise _wrong(option, allowed, given[option])
    return number


def _count(given: Given, option: str, *, least: int) -> int | None:
    allowed = f"a whole number from {least}"
    number = _number(given, option, allowed)
    if number is None:
        return None
    if number < least or not number.is_integer():
        raise _wrong(option, allowed, given[option])
    return int(number)


def _priority(given: Given) -> float:
    return _number(given, "priority", "a number, higher first") or 0.0


def _flag(given: Given, option: str) -> bool:
    value = given.get(option, False)
    if not isinstance(value, bool):
        raise _wrong(option, "true or false", value)
    return value


def _worktree(given: Given) -> str | None:
    value = _text(given, "worktree")
    if value is not None and not _WORKTREE_NAME.fullmatch(value):
        raise _wrong(
            "worktree", "a name of letters, digits, `.`, `_` and `-` that begins with a letter or digit", value
        )
    return value


def _conversation(given: Given) -> str | None:
    value = _text(given, "conversation")
    if value is not None and len(value) > MAX_LABEL_CHARS:
        raise MisuseError(
            "TypeError", f"agent(): `conversation` must be a name of at most {MAX_LABEL_CHARS} characters"
        )
    return value


def _scope(given: Given) -> Scope | None:
    """`['src/**']` narrows reading and writing alike; `{read, write}` each on its own."""
    value = given.get("scope")
    if value is None:
        return None
    if isinstance(value, list):
        globs = _globs("scope", value)
        return Scope(read=globs, write=globs)
    if isinstance(value, dict) and set(value) <= {"read", "write"}:
        read, write = value.get("read"), value.get("write")
        return Scope(
            read=None if read is None else _globs("scope.read", read),
            write=None if write is None else _globs("scope.write", write),
        )
    raise _wrong("scope", "an array of globs or {read: [globs], write: [globs]}", value)
