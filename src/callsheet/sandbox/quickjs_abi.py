"""The C interface of QuickJS-ng, as far as it is used: types, functions, the shared object. Runs in the child."""

from __future__ import annotations

import ctypes
import importlib.util
from ctypes import POINTER, c_bool, c_char_p, c_double, c_int, c_int64, c_size_t, c_void_p

OBJECT, INT, BOOL, NULL, UNDEFINED, EXCEPTION = -1, 0, 1, 2, 3, 6
"""Tags of values."""

STRICT, MODULE = 1 << 3, 1 << 0
"""How a text is evaluated."""


class EngineError(Exception):
    """The engine cannot be used here, or our own code in it is wrong."""


class Value(ctypes.Structure):
    """JSValue of a 64-bit build: sixteen bytes, passed by value."""

    _fields_ = (("payload", c_int64), ("tag", c_int64))


class EvalOptions(ctypes.Structure):
    """JSEvalOptions, version 1."""

    _fields_ = (("version", c_int), ("flags", c_int), ("file", c_char_p), ("line", c_int))


Interrupt = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)
Rejection = ctypes.CFUNCTYPE(None, c_void_p, Value, Value, c_bool, c_void_p)

_SIGNATURES: dict[str, tuple[object, ...]] = {
    "JS_GetVersion": (c_char_p,),
    "JS_NewRuntime": (c_void_p,),
    "JS_NewContext": (c_void_p, c_void_p),
    "JS_AddIntrinsicDOMException": (c_int, c_void_p),
    "JS_FreeContext": (None, c_void_p),
    "JS_SetMemoryLimit": (None, c_void_p, c_size_t),
    "JS_SetMaxStackSize": (None, c_void_p, c_size_t),
    "JS_SetInterruptHandler": (None, c_void_p, Interrupt, c_void_p),
    "JS_SetHostPromiseRejectionTracker": (None, c_void_p, Rejection, c_void_p),
    "JS_RunGC": (None, c_void_p),
    "JS_Eval2": (Value, c_void_p, c_char_p, c_size_t, POINTER(EvalOptions)),
    "JS_Call": (Value, c_void_p, Value, Value, c_int, POINTER(Value)),
    "JS_ExecutePendingJob": (c_int, c_void_p, POINTER(c_void_p)),
    "JS_GetException": (Value, c_void_p),
    "JS_PromiseResult": (Value, c_void_p, Value),
    "JS_GetPropertyStr": (Value, c_void_p, Value, c_char_p),
    "JS_SetPropertyStr": (c_int, c_void_p, Value, c_char_p, Value),
    "JS_NewStringLen": (Value, c_void_p, c_char_p, c_size_t),
    "JS_NewNumber": (Value, c_void_p, c_double),
    "JS_ToCStringLen2": (c_void_p, c_void_p, POINTER(c_size_t), Value, c_bool),
    "JS_FreeCString": (None, c_void_p, c_void_p),
    "JS_DupValue": (Value, c_void_p, Value),
    "JS_FreeValue": (None, c_void_p, Value),
}


def load() -> ctypes.CDLL:
    """The engine's shared object, which the Python wrapper brings along.

    Raises:
        EngineError: It is not there, or not as this file has it.
    """
    spec = importlib.util.find_spec("_quickjs")
    if spec is None or spec.origin is None:
        raise EngineError("the package quickjs-ng is not installed")
    if ctypes.sizeof(c_void_p) != 8:
        raise EngineError("scripts run on 64-bit systems only")
    library = ctypes.CDLL(spec.origin)
    for name, (result, *arguments) in _SIGNATURES.items():
        function = getattr(library, name, None)
        if function is None:
            raise EngineError(f"this build of quickjs-ng does not export {name}: install the wheel from PyPI")
        function.restype, function.argtypes = result, arguments
    return library
