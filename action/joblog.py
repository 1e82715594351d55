"""What a step has from the runner and gives to it. Inputs come as `IN_*` of the environment, and only from there."""

from __future__ import annotations

import json
import os
import secrets
import sys
from html import escape
from pathlib import Path
from typing import Any

_NOT_FOR_AGENTS = ("GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_STATE")
"""Files that tell the runner what later steps do."""


class Refused(Exception):
    """An input or a checkout that nothing can be run with; the text says what to do."""


def said(name: str) -> str:
    """An input, without the white space around it."""
    return os.environ.get(f"IN_{name}", "").strip()


def flag(name: str) -> bool:
    """An input that is `true` or `false`.

    Raises:
        Refused: It is neither.
    """
    text = said(name).lower()
    if text not in ("true", "false", ""):
        raise Refused(f"the input {name.lower().replace('_', '-')} is 'true' or 'false', not {text!r}.")
    return text == "true"


def lines(name: str) -> list[str]:
    """An input of several lines; empty ones do not count."""
    return [line.strip() for line in said(name).splitlines() if line.strip()]


def attempt() -> int:
    """Which attempt of its workflow run this is, from 1."""
    return int(os.environ.get("GITHUB_RUN_ATTEMPT", "1"))


def github_run() -> str:
    """The id of the workflow run, the same for all its attempts."""
    return os.environ.get("GITHUB_RUN_ID", "0")


def event() -> dict[str, Any]:
    """What happened, as the runner wrote it down."""
    path = os.environ.get("GITHUB_EVENT_PATH")
    if not path or not Path(path).is_file():
        return {}
    found = json.loads(Path(path).read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


def for_the_program() -> dict[str, str]:
    """The environment of Callsheet: the job's, with the key. By it the key is known too where secrets are replaced."""
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith("IN_") and name not in _NOT_FOR_AGENTS
    }
    if key := said("ANTHROPIC_API_KEY"):
        environ["ANTHROPIC_API_KEY"] = key
    return environ


def give(**outputs: str) -> None:
    """Gives outputs to later steps. The mark around a value is not to be guessed, so that no value can end it."""
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        for name, value in outputs.items():
            mark = f"end-{secrets.token_hex(16)}"
            file.write(f"{name.replace('_', '-')}<<{mark}\n{value}\n{mark}\n")


def annotate(level: str, text: str) -> None:
    """Shows a line in the job's log, and on the run's page."""
    data = "".join(char if char == "\n" or char.isprintable() else "?" for char in text)
    data = data.replace("%", "%25").replace("\n", "%0A")
    sys.stderr.write(f"::{level} title=callsheet::{data}\n")
    sys.stderr.flush()


def add_to_page(text: str) -> None:
    """Adds a paragraph to the step's summary."""
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if place:
        with Path(place).open("a", encoding="utf-8") as file:
            file.write(f"\n<p>{escape(text)}</p>\n")
