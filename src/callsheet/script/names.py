"""The names that a script finds on its global object, as data (CONTRACT D01, D02, D06, A, P, W, G)."""

from __future__ import annotations

CALLS = frozenset({"agent", "spawnAgent", "workflow", "parallel", "pipeline"})
"""What starts agents, and gives a promise."""

API = CALLS | {"phase", "log", "args", "budget", "meta"}
"""What the runtime adds for workflows."""

LIBRARY = frozenset(
    {"console", "setTimeout", "clearTimeout", "structuredClone", "queueMicrotask", "URL", "URLSearchParams"}
)
"""What it adds beyond ECMAScript."""

ECMASCRIPT = frozenset(
    {
        "AggregateError", "Array", "ArrayBuffer", "AsyncDisposableStack", "BigInt", "BigInt64Array", "BigUint64Array",
        "Boolean", "DataView", "Date", "DisposableStack", "DOMException", "Error", "EvalError", "Float16Array",
        "Float32Array", "Float64Array", "Function", "Infinity", "Int16Array", "Int32Array", "Int8Array",
        "InternalError", "Iterator", "JSON", "Map", "Math", "NaN", "Number", "Object", "Promise", "Proxy",
        "RangeError", "ReferenceError", "Reflect", "RegExp", "Set", "String", "SuppressedError", "Symbol",
        "SyntaxError", "TypeError", "URIError", "Uint16Array", "Uint32Array", "Uint8Array", "Uint8ClampedArray",
        "WeakMap", "WeakSet", "atob", "btoa", "decodeURI", "decodeURIComponent", "encodeURI", "encodeURIComponent",
        "escape", "eval", "globalThis", "isFinite", "isNaN", "parseFloat", "parseInt", "undefined", "unescape",
    }
)  # fmt: skip
"""What the engine brings and the runtime leaves."""

IN_FUNCTIONS = frozenset({"arguments"})

KNOWN = API | LIBRARY | ECMASCRIPT | IN_FUNCTIONS

NOT_HERE: dict[str, str] = {
    **dict.fromkeys(
        ("process", "Buffer", "fs", "path", "os", "child_process", "__dirname", "__filename", "Deno", "Bun"),
        "a script has no files and no processes: let an agent do it",
    ),
    **dict.fromkeys(
        ("fetch", "XMLHttpRequest", "WebSocket", "Request", "Response", "Headers"),
        "a script has no network: let an agent do it",
    ),
    **dict.fromkeys(("module", "exports", "require"), "a script is not a module"),
    **dict.fromkeys(("window", "document", "navigator", "self", "global"), "use `globalThis`"),
    **dict.fromkeys(("setInterval", "clearInterval", "setImmediate"), "use `setTimeout`"),
    **dict.fromkeys(("performance",), "use `Date.now()`, the time of the run"),
    **dict.fromkeys(
        ("SharedArrayBuffer", "Atomics", "WeakRef", "FinalizationRegistry", "WebAssembly"), "it is kept out"
    ),
    "Intl": "write what it would give yourself; dates are in UTC",
    "crypto": "`Math.random()` is the run's own chance",
    "TextEncoder": "strings are what agents take and give",
    "TextDecoder": "strings are what agents take and give",
}
"""Names that scripts written for other places use, and what to do instead."""
