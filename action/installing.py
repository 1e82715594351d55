"""The step that installs Callsheet in a virtual environment of its own, beside nothing of the checkout's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from joblog import Refused, give, said

_VERSION = re.compile(r"[0-9][0-9A-Za-z.!+-]{0,60}")
_EXTRAS = re.compile(r"[a-z]+(?:-[a-z]+)*(?:,[a-z]+(?:-[a-z]+)*)*")


def install() -> int:
    """Installs, or takes what is there; gives the program's path.

    Raises:
        Refused: A version or an extra that cannot be one, a program that is not there, or pip did not succeed.
    """
    there = said("EXECUTABLE")
    if there:
        program = shutil.which(there)
        if program is None:
            raise Refused(f"the input executable names {there}, and there is no such program.")
        give(program=str(Path(program).absolute()))
        return 0
    words = wanted(said("VERSION"), said("EXTRAS"), Path(os.environ["GITHUB_ACTION_PATH"]))
    folder = Path(tempfile.mkdtemp(prefix="callsheet-venv-", dir=os.environ["RUNNER_TEMP"]))
    python = folder / "bin" / "python"
    pip = [sys.executable, "-I", "-m", "pip", "--python", str(python), "install", "--quiet"]
    # `-I`: a pip.py or sitecustomize.py of the checkout is not what is run.
    for line in (
        [sys.executable, "-I", "-m", "venv", "--without-pip", str(folder)],
        [*pip, "--disable-pip-version-check", *words],
    ):
        status = subprocess.run(line, stdin=subprocess.DEVNULL, check=False).returncode
        if status != 0:
            raise Refused(f"Callsheet could not be installed: {' '.join(line[1:4])} ended with {status}; see the log.")
    give(program=str(folder / "bin" / "callsheet"))
    return 0


def wanted(version: str, extras: str, own: Path) -> list[str]:
    """What pip is to install: a version that is said, or the action's own checkout with libraries as it was tested.

    Raises:
        Refused: A version or an extra that cannot be one.
    """
    extras = extras.replace(" ", "")
    if extras and not _EXTRAS.fullmatch(extras):
        raise Refused("the input extras is a list of names by commas: mcp,bedrock.")
    brackets = f"[{extras}]" if extras else ""
    if not version:
        return ["--constraint", str(own / "requirements-dev.lock"), f"{own}{brackets}"]
    if not _VERSION.fullmatch(version):
        raise Refused("the input version is one version, as 1.2.0; nothing, for that of the action's own checkout.")
    return [f"callsheet{brackets}=={version}"]
