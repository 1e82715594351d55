"""The real command in a process of its own, in a workspace of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.runtime import runtime_of
from tests.surfaces.forking import Forked, can_fork, forked

LIMIT_S = 120
META = "export const meta = { name: 'case', description: 'a case' }\n"


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON object."""
        return json.loads(self.out)

    @property
    def events(self) -> list[Any]:
        """Standard output as lines of JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


def _written(path: Path, text: str) -> None:
    """Writes a file whole, as a run that was started before reads it at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}~")
    beside.write_text(text, encoding="utf-8")
    if path.exists():
        shutil.copymode(path, beside)
    beside.replace(path)


class Command:
    """Runs `callsheet` in a folder, with an environment in which nobody has set anything.

    Args:
        folder: The workspace.
        bytecode: Where compiled modules are kept.
        near: A command of another folder whose runs are to be reached from here.
    """

    def __init__(self, folder: Path, *, bytecode: Path, near: Command | None = None) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder.parent / "home"),
            "LANG": "C.UTF-8",
            "PYTHONPYCACHEPREFIX": str(bytecode),
            "XDG_RUNTIME_DIR": near.environ["XDG_RUNTIME_DIR"] if near else str(runtime_of(folder)),
        }

    def script(self, body: str, name: str = "case.js") -> str:
        """Writes a script with a meta of its own, and gives its name."""
        _written(self.folder / name, META + body)
        return name

    def answers(self, *answers: dict[str, Any], otherwise: Any = "synthetic") -> str:
        """Writes an answers file, and gives the backend's name."""
        text = json.dumps({"answers": list(answers), "otherwise": otherwise})
        _written(self.folder / "answers.json", text)
        return "scripted:answers.json"

    def line(self, *words: str) -> list[str]:
        """The whole command line."""
        return [sys.executable, "-m", "callsheet", *words]

    def __call__(self, *words: str, stdin: bytes | None = None, environ: Mapping[str, str] | None = None) -> Done:
        """Runs the command to its end."""
        line, given, all_environ = self.line(*words), stdin or b"", self.environ | dict(environ or {})
        done: Forked | subprocess.CompletedProcess[bytes]
        if can_fork(line, all_environ, given):
            done = forked(line, folder=self.folder, environ=all_environ, stdin=given, limit_s=LIMIT_S)
        else:
            done = subprocess.run(
                line,
                cwd=self.folder,
                env=all_environ,
                input=given,
                capture_output=True,
                timeout=LIMIT_S,
                check=False,
            )
        return Done(status=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())

    def run(
        self,
        body: str,
        *words: str,
        answers: tuple[dict[str, Any], ...] = (),
        environ: Mapping[str, str] | None = None,
    ) -> Done:
        """Runs a script with the scripted backend."""
        return self("run", self.script(body), "--backend", self.answers(*answers), *words, environ=environ)

    def start(self, *words: str, **streams: Any) -> subprocess.Popen[bytes]:
        """Starts the command; the caller sees to its end."""
        plain: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(self.line(*words), cwd=self.folder, env=self.environ, **(plain | streams))
