"""A kind of agent that an installed package brings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.surfaces.command import Command

CODE = """\
import callsheet


class Echo(callsheet.AgentBackend):
    name = "echo"

    def default_model(self):
        return None

    async def run(self, task, reporter):
        return callsheet.AgentOutcome(status="ok", value=f"echo of {task.prompt}", model="echo-1")

    async def aclose(self):
        print("closed", file=__import__("sys").stderr)


def broken():
    raise OSError("no such machine")
"""


@pytest.fixture
def installed(command: Command, tmp_path: Path) -> Command:
    site = tmp_path / "site"
    info = site / "acme_agents-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-agents\nVersion: 1.0\n", encoding="utf-8")
    names = "[callsheet.agents]\necho = acme_agents:Echo\nbroken = acme_agents:broken\ngone = acme_gone:Made\n"
    (info / "entry_points.txt").write_text(names, encoding="utf-8")
    (site / "acme_agents.py").write_text(CODE, encoding="utf-8")
    command.environ["PYTHONPATH"] = str(site)
    return command


@pytest.mark.contract("A14")
def test_a_script_names_a_packages_backend_and_it_is_loaded_on_use(installed: Command) -> None:
    name = installed.script(
        "return [await agent('a', { backend: 'echo' }), await agent('b', { backend: 'broken', settle: true }),"
        " await agent('c', { backend: 'gone' })]"
    )
    done = installed("run", name, "--backend", "offline", "--output", "json")
    text, broken, gone = done.json["result"]
    assert text == "echo of a"
    assert (broken["status"], gone) == ("failed", None)
    assert [agent["backend"] for agent in done.json["agents"]] == ["echo", "broken", "gone"]
    logs = " ".join(line["message"] for line in done.json["logs"])
    assert "no such machine" in logs
    assert "acme_gone" in logs
    assert "closed" in done.err


def test_a_packages_backend_may_answer_all_calls(installed: Command) -> None:
    name = installed.script("return await agent('a')")
    done = installed("run", name, "--backend", "echo", "--output", "json")
    assert (done.status, done.json["result"], done.json["backend"]) == (0, "echo of a", "echo")


@pytest.mark.contract("A09")
def test_a_backend_that_nobody_registers_is_refused_with_the_names_there_are(installed: Command) -> None:
    name = installed.script("return await agent('a', { backend: 'ecko' })")
    assert "there is no backend 'ecko' in this run" in installed("run", name, "--backend", "offline").err
    assert "Did you mean echo?" in installed("run", name, "--backend", "ecko").err


def test_a_rehearsal_knows_no_other_backend(installed: Command) -> None:
    name = installed.script("return await agent('a', { backend: 'echo' })")
    done = installed("run", name, "--backend", installed.answers())
    assert "there is no backend 'echo' in this run" in done.err
