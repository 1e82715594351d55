"""A package's kind of agent, `played`, that answers from a file: it may stand beside agents that take messages."""

from __future__ import annotations

from tests.surfaces.command import Command

_MODULE = """\
from pathlib import Path

from callsheet.agents.scripted import ScriptedBackend


def make():
    return ScriptedBackend.from_file(Path("answers.json"))
"""


def install(command: Command) -> None:
    """Has the package there for the command's runs; their answers are those of its answers file."""
    site = command.folder.parent / "site"
    info = site / "played_agents-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: played-agents\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[callsheet.agents]\nplayed = played_agents:make\n", encoding="utf-8")
    (site / "played_agents.py").write_text(_MODULE, encoding="utf-8")
    command.environ["PYTHONPATH"] = str(site)
