"""Between the wire's tuples and the model's messages. Host only; the child has no use for the model."""

from __future__ import annotations

import json
import re
from typing import NoReturn, assert_never

from callsheet.model.call import OPTION_NAMES
from callsheet.model.counts import MAX_PROMPT_BYTES, MAX_RESULT_BYTES, MAX_SCRIPT_BYTES
from callsheet.model.sandbox import (
    AgentCalled,
    Clock,
    Delivery,
    Dropped,
    EndContext,
    FireTimer,
    Idle,
    Logged,
    PhaseEntered,
    RejectCall,
    ResolveCall,
    Returned,
    ScriptMessage,
    SlotFailed,
    StartScript,
    Threw,
    TimerCleared,
    TimerSet,
    Warned,
    WorkflowCalled,
)
from callsheet.model.values import JsonValue, Place
from callsheet.sandbox.wire import Message, WireError

MAX_DEPTH = 500
"""Levels of a JSON value that a script may hand out: Python's reader gives up a little above."""
_MAX_CONTAINERS = 2_000_000
_MAX_OPTION_CONTAINERS = 100_000
_NOT_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"|[^][{}"]++|"')
_BRACKETS = str.maketrans("{}", "[]")


# --- into the child ---------------------------------------------------------------------------------------------------


def to_child(delivery: Delivery, clock: Clock) -> Message:
    """The tuple of a delivery."""
    world = (clock.now_ms, clock.spent_tokens, clock.spent_usd)
    match delivery:
        case StartScript():
            meta = json.dumps(delivery.meta, ensure_ascii=False)
            budget = (delivery.budget_tokens, delivery.budget_usd)
            return ("start", delivery.context, delivery.body, meta, delivery.args_json, delivery.seed, *budget, *world)
        case ResolveCall():
            return ("resolve", delivery.context, delivery.call, delivery.value_json, *world)
        case RejectCall():
            return ("reject", delivery.context, delivery.call, delivery.name, delivery.message, *world)
        case FireTimer():
            return ("fire", delivery.context, delivery.timer, *world)
        case EndContext():
            return ("end", delivery.context, *world)
        case _:
            assert_never(delivery)


# --- out of the child -------------------------------------------------------------------------------------------------


def from_child(message: Message) -> ScriptMessage:
    """The model's message of a checked tuple.

    Raises:
        WireError: A field that holds JSON does not, or the tuple is none of a script.
    """
    match message:
        case ("agent", *fields):
            return _agent(*fields)
        case ("workflow", *fields):
            return _workflow(*fields)
        case ("log", context, level, text):
            return Logged(context=context, level=level, message=text)
        case ("phase", context, title):
            return PhaseEntered(context=context, title=title)
        case ("timer", context, timer, delay):
            return TimerSet(context=context, timer=timer, delay_ms=float(delay))
        case ("untimer", context, timer):
            return TimerCleared(context=context, timer=timer)
        case ("slot", context, combinator, number, index, name, text, line, cause):
            return SlotFailed(
                context=context,
                combinator=combinator,
                number=number,
                index=index,
                name=name,
                message=text,
                line=line,
                cause_call=cause,
            )
        case ("warned", context, code, text, line, column):
            return Warned(context=context, code=code, message=text, place=place(line, column))
        case ("dropped", context, sort, text):
            return Dropped(context=context, sort=sort, message=text)
        case ("returned", context, text):
            return _returned(context, text)
        case ("threw", context, kind, name, text, line, column):
            return Threw(context=context, kind=kind, name=name, message=text, place=place(line, column))
        case ("idle", cpu_s):
            return Idle(cpu_s=float(cpu_s))
        case _:
            raise WireError(f"{message[0]}: out of turn")


def place(line: int | None, column: int | None) -> Place | None:
    """A place of the wire, which counts from 1."""
    return Place(line=line, column=column) if line else None


def _agent(
    context: int,
    call: int,
    prompt: str | None,
    prompt_type: str,
    options_json: str,
    fault: str | None,
    unknown_json: str,
    phase: str | None,
    line: int | None,
) -> AgentCalled:
    options: JsonValue = {}
    if fault is None:
        fault = json_fault(options_json, MAX_PROMPT_BYTES, _MAX_OPTION_CONTAINERS)
    if fault is None:
        options = read_json(options_json)
    if not isinstance(options, dict) or not options.keys() <= _OPTIONS:
        raise WireError("agent: options that are none")
    unknown = read_json(unknown_json)
    if not isinstance(unknown, list):
        raise WireError("agent: unknown options that are no list")
    return AgentCalled(
        context=context,
        call=call,
        prompt=prompt,
        prompt_type=prompt_type,
        options=options,
        options_fault=fault,
        unknown_options=tuple(name for name in unknown if isinstance(name, str)),
        phase=phase,
        line=line,
    )


_OPTIONS = frozenset(OPTION_NAMES)


def _workflow(
    context: int,
    call: int,
    name: str | None,
    script_path: str | None,
    script: str | None,
    fault: str | None,
    args_json: str | None,
    phase: str | None,
    line: int | None,
) -> WorkflowCalled:
    if sum(value is not None for value in (name, script_path, script, fault)) != 1:
        raise WireError("workflow: not exactly one of name, path, script and fault")
    if script is not None and len(script.encode("utf-8", "replace")) > MAX_SCRIPT_BYTES:
        raise WireError("workflow: a script that is too large")
    if args_json is not None and (args_fault := json_fault(args_json, MAX_RESULT_BYTES, _MAX_CONTAINERS)) is not None:
        name, script_path, script, fault, args_json = None, None, None, f"args: {args_fault}", None
    return WorkflowCalled(
        context=context,
        call=call,
        name=name,
        script_path=script_path,
        script=script,
        fault=fault,
        args_json=args_json,
        phase=phase,
        line=line,
    )


def _returned(context: int, text: str) -> Returned | Threw:
    fault = json_fault(text, MAX_RESULT_BYTES, _MAX_CONTAINERS)
    if fault is None:
        return Returned(context=context, value_json=text)
    return Threw(context=context, kind="script", name="RangeError", message=f"the result is {fault}", place=None)


# --- JSON text --------------------------------------------------------------------------------------------------------


def json_fault(text: str, limit_bytes: int, limit_containers: int) -> str | None:
    """Why a JSON text is too much to be read into Python objects, None when it is not.

    A few bytes of text can stand for an object of some hundred, and nesting costs the reader its stack: both are looked
    at before anything is read.
    """
    if len(text) > limit_bytes or (len(text) * 4 > limit_bytes and len(text.encode("utf-8", "replace")) > limit_bytes):
        return f"larger than {limit_bytes} bytes"
    containers = text.count("[") + text.count("{")
    if containers > limit_containers:
        return f"more than {limit_containers} objects and arrays"
    if containers > MAX_DEPTH and not _is_shallow(text):
        return f"nested more than {MAX_DEPTH} levels deep"
    return None


def _is_shallow(text: str) -> bool:
    # Brackets alone, then pair by pair: each round takes away the innermost level.
    brackets = _NOT_BRACKETS.sub("", text).translate(_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return True
        brackets = brackets.replace("[]", "")
    return not brackets


def read_json(text: str) -> JsonValue:
    """The value of a JSON text.

    Raises:
        WireError: It is not JSON.
    """
    try:
        value: JsonValue = _READER.decode(text)
    except (ValueError, RecursionError):
        raise WireError("a field that is not JSON") from None
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


_READER = json.JSONDecoder(parse_constant=_refuse)
