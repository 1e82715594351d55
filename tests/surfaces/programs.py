"""Programs named `callsheet` and `python` for shells, and for whoever calls a command by its name.

Each asks this process to have its command forked (`tests/surfaces/forking.py`), with its own words, folder, environment
and streams, and ends as that does: a start costs milliseconds.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.surfaces.forking import fork

LIMIT_S = 240
_MOST_BYTES = 60_000
_KIND = (socket.AF_UNIX, socket.SOCK_SEQPACKET)
_MODULES = {"callsheet": "callsheet", "python": "tests.surfaces.programs"}
_CLIENT = """#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.connect({address!r})
words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
request = {{"words": words, "folder": os.getcwd(), "environ": dict(os.environ)}}
socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
status = server.recv(1)
sys.exit(status[0] if status else 137)
"""


@contextmanager
def open_programs(folder: Path, *, bytecode: Path) -> Iterator[Path]:
    """Writes the programs into a folder, which is given, and answers them within the context.

    Args:
        folder: Is there.
        bytecode: Where compiled modules are kept.
    """
    with tempfile.TemporaryDirectory(prefix="programs-") as short, socket.socket(*_KIND) as listener:
        address = f"{short}/socket"
        listener.bind(address)
        listener.listen(64)
        for name in _MODULES:
            program = folder / name
            program.write_text(_CLIENT.format(python=sys.executable, address=address), encoding="utf-8")
            program.chmod(0o755)
        accepting = threading.Thread(target=_accept, args=(listener, bytecode), daemon=True)
        accepting.start()
        try:
            yield folder
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(LIMIT_S)


def _accept(listener: socket.socket, bytecode: Path) -> None:
    with suppress(OSError):  # it was shut: nobody asks any more
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=_answer, args=(peer, bytecode), daemon=True).start()


def _answer(peer: socket.socket, bytecode: Path) -> None:
    with peer:
        data, streams, _, _ = socket.recv_fds(peer, _MOST_BYTES, 3)
        try:
            asked: dict[str, Any] = json.loads(data)
            name, *words = asked["words"]
            child = fork(
                [sys.executable, "-m", _MODULES[name], *words],
                folder=Path(asked["folder"]),
                environ=asked["environ"] | {"PYTHONPYCACHEPREFIX": str(bytecode)},
                streams=streams,
            )
        finally:
            for stream in streams:
                os.close(stream)
        status = child.wait(LIMIT_S)
        child.close()
        with suppress(OSError):  # who asked has been killed
            peer.send(bytes([status if status >= 0 else 128 - status]))


def run_python(path: Path) -> None:
    """Runs a file that may have `await` at its top, as `python -m asyncio` takes it."""
    names: dict[str, Any] = {"__name__": "__main__"}
    code = compile(path.read_bytes(), str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    if code.co_flags & inspect.CO_COROUTINE:

        async def body() -> None:
            await eval(code, names)

        asyncio.run(body())
    else:
        exec(code, names)


if __name__ == "__main__":
    del sys.argv[0]
    run_python(Path(sys.argv[0]))
