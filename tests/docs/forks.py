"""A process that has loaded everything once, and forks for each command: a start costs milliseconds.

The commands of the documentation are real ones: their words, environment, folder, streams and exit status are those of
`python -m callsheet`. Only the loading of modules is shared.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
import json
import os
import pkgutil
import signal
import socket
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

_MOST_BYTES = 1024 * 1024
_OF_CHILDREN = ("callsheet.__main__", "callsheet.agents.web.html_child", "callsheet.sandbox.worker")
_SELDOM = (
    "callsheet.agents.claude_code",
    "callsheet.agents.mcp",
    "callsheet.telemetry",
    "callsheet.tui",
    "callsheet.web",
)


def serve(address: str) -> None:
    """Takes requests at a Unix socket until it is ended; says `ready` once on standard output."""
    _load()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    print("ready", flush=True)  # noqa: T201
    while True:
        peer, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _answer(peer)
        peer.close()


def _load() -> None:
    import callsheet

    left_out = (*_OF_CHILDREN, *_SELDOM)
    for module in pkgutil.walk_packages(callsheet.__path__, "callsheet.", onerror=lambda name: None):
        if not module.name.startswith(left_out):
            import_module(module.name)
    for late in ("anthropic", "anthropic.types.beta"):  # loaded late, for the sake of starts without a model
        import_module(late)


def _answer(peer: socket.socket) -> None:
    status = 70
    try:
        data, streams, _, _ = socket.recv_fds(peer, _MOST_BYTES, 3)
        status = _done(json.loads(data), streams)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the end of a process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        peer.send(bytes([status]))
        os._exit(status)


def _done(request: dict[str, Any], streams: list[int]) -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, opened in enumerate(streams):
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False, buffering=buffering)  # noqa: SIM115
        for number, mode, buffering in ((0, "r", -1), (1, "w", -1), (2, "w", 1))
    )
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    program, *words = request["words"]
    sys.argv = [program, *words]
    if program == "callsheet":
        from callsheet.cli import main

        main()
        return 0
    return run_python(Path(words[0]))


def run_python(path: Path) -> int:
    """Runs a file that may have `await` at its top, as `python -m asyncio` takes it."""
    names: dict[str, Any] = {"__name__": "__main__"}
    source = path.read_text(encoding="utf-8")
    code = compile(source, str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    sys.path.insert(0, os.fspath(Path.cwd()))
    if code.co_flags & inspect.CO_COROUTINE:

        async def body() -> None:
            await eval(code, names)

        asyncio.run(body())
    else:
        exec(code, names)
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
