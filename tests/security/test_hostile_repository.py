"""A repository tries to grant itself something: nothing takes effect until a person trusts it, and each try is told."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from callsheet.app.plan import Plan, RunOrder, Surroundings, open_plan
from callsheet.app.run import open_run
from callsheet.app.settings import Choices
from callsheet.app.trusting import PermissionChoices
from callsheet.errors import CallsheetError
from callsheet.model.events import Event, RunStarted
from callsheet.ports import EventSink
from tests.security.hostile_ways import GIT, PROGRAM, WAYS, Way
from tests.support.deadline import within
from tests.surfaces.command import META, Command

pytestmark = pytest.mark.anyio

LIMIT_S = 120.0


class Notes(EventSink):
    """Keeps what a run says at its start."""

    def __init__(self) -> None:
        self.lines: tuple[str, ...] = ()

    def on_event(self, event: Event) -> None:
        if isinstance(event.body, RunStarted):
            self.lines = event.body.notes


@dataclass(frozen=True, kw_only=True)
class Place:
    """A hostile repository, a user, and something outside."""

    root: Path
    home: Path
    canary: Path
    environ: dict[str, str]

    def order(self, *, trust: bool, with_git: bool, backend: str | None) -> RunOrder:
        return RunOrder(
            script="-",
            stdin=f"{META}return await agent('hi')".encode(),
            choices=Choices(backend=backend),
            permissions=PermissionChoices(trust=trust, config_from="HEAD" if with_git else None),
        )

    @property
    def around(self) -> Surroundings:
        return Surroundings(start=self.root, environ=self.environ, home=self.home)


def _git(folder: Path, *words: str) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    subprocess.run(["git", *who, *words], cwd=folder, env=environ, check=True, capture_output=True, timeout=LIMIT_S)


def _make(folder: Path, way: Way) -> Place:
    """The repository as it was cloned; its git configuration comes last, as if an agent had written it."""
    root, home, outside, canary = (folder / name for name in ("workspace", "home", "outside", "canary"))
    for each in (root, home, outside):
        each.mkdir()
        (each / "secret").write_text("secret\n", encoding="utf-8")
    places = {"{canary}": canary, "{outside}": outside, "{root}": root, "{home}": home}

    def filled(text: str) -> str:
        for name, path in places.items():
            text = text.replace(name, str(path))
        return text

    for base, files in ((root, way.files), (home, way.users)):
        for name, text in files.items():
            path = base / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(filled(text), encoding="utf-8")
            path.chmod(0o755 if text == PROGRAM else 0o644)
    _git(root, "init", "-q", "-b", "main")
    _git(root, "add", "-A")
    _git(root, "commit", "-q", "-m", "x")
    if way.git:
        with (root / ".git/config").open("a", encoding="utf-8") as file:
            file.write(filled(way.git))
    if way.prepare is not None:
        way.prepare(root)
    environ = {name: os.environ[name] for name in ("PATH", "XDG_RUNTIME_DIR")} | {"HOME": str(home)}
    environ |= {name: filled(text) for name, text in way.environ.items()}
    (folder / "answers.json").write_text('{"answers": []}', encoding="utf-8")
    return Place(root=root, home=home, canary=canary, environ=environ)


async def _run(place: Place, way: Way, *, trust: bool) -> tuple[Plan, tuple[str, ...]]:
    """Runs a script of one agent, and gives what was planned and what the run said."""
    notes = Notes()
    backend = f"scripted:{place.root.parent / 'answers.json'}"
    with_git = way in GIT and not (place.root / ".git").is_symlink()
    order = place.order(trust=trust, with_git=with_git, backend=backend)
    async with open_plan(order, place.around) as plan, open_run(plan, sinks=[notes]) as opened:
        result = await opened.run.result()
    assert result.status == "completed", result.error
    return plan, notes.lines


async def _planned(place: Place, *, trust: bool) -> Plan:
    """What would be run where the caller leaves everything to the files."""
    async with open_plan(place.order(trust=trust, with_git=False, backend=None), place.around) as plan:
        return plan


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_what_a_repository_grants_itself_takes_no_effect_and_is_told_in_a_line(tmp_path: Path, way: Way) -> None:
    place = _make(tmp_path, way)
    if way.is_refused:
        with within(LIMIT_S), pytest.raises(CallsheetError) as refused:
            await _run(place, way, trust=False)
        assert way.told in refused.value.message
    else:
        with within(LIMIT_S):
            plan, notes = await _run(place, way, trust=False)
        assert [line for line in notes if way.told in line], notes
        assert all("\n" not in line for line in notes)
        assert not way.taken(plan)
        assert not way.taken(await _planned(place, trust=False))
        assert not plan.settled.is_trusted
    assert not place.canary.exists()


@pytest.mark.parametrize("way", [way for way in WAYS if not way.is_refused], ids=lambda way: way.name)
async def test_with_trust_what_trust_may_grant_holds_and_nothing_else(tmp_path: Path, way: Way) -> None:
    place = _make(tmp_path, way)

    with within(LIMIT_S):
        await _run(place, way, trust=True)

    assert way.taken(await _planned(place, trust=True)) is way.by_trust
    assert not place.canary.exists()


def test_there_are_enough_ways() -> None:
    assert len(WAYS) >= 30
    assert len({way.name for way in WAYS}) == len(WAYS)


# --- the real command -------------------------------------------------------------------------------------------------


def _plant(folder: Path, canary: Path) -> None:
    """Programs and modules of names that a host might look for in the folder it stands in."""
    for name in ("bash", "sh", "git", "rg", "bwrap", "python", "python3", "node", "uname"):
        (folder / name).write_text(f"#!/bin/sh\n/usr/bin/touch {canary}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    modules = ("sitecustomize", "usercustomize", "msgpack", "click", "anyio", "yaml", "pydantic", "_quickjs", "json")
    for name in modules:
        (folder / f"{name}.py").write_text(f"open({str(canary)!r}, 'w').close()\n", encoding="utf-8")


@pytest.mark.parametrize("is_absolute", [False, True])
@pytest.mark.parametrize("words", [("scripted:../answers.json",), ("offline",), ("offline", "--worktree")])
async def test_programs_and_modules_of_the_workspace_are_never_taken_for_the_hosts(
    command: Command, tmp_path: Path, words: tuple[str, ...], is_absolute: bool
) -> None:
    canary = tmp_path / "canary"
    for git in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        _git(command.folder, *git)
    _plant(command.folder, canary)
    (tmp_path / "answers.json").write_text('{"answers": []}', encoding="utf-8")
    script = command.script("return await agent('find the word hello')")

    environ = {"PATH": f"{command.folder if is_absolute else '.'}:{os.environ['PATH']}"}

    done = command("run", script, "--backend", *words, environ=environ)

    assert done.status == 0, done.err
    assert not canary.exists()
    assert command("doctor", environ=environ).status == 0
    assert not canary.exists()


async def test_all_of_it_at_once_is_told_by_the_command_and_nothing_happens(command: Command, tmp_path: Path) -> None:
    texts: dict[str, str] = {}
    values: dict[str, object] = {}
    ways = [way for way in WAYS if not (way.is_refused or way.prepare or way.users or way.environ or way.git)]
    for way in ways:
        for name, text in way.files.items():
            if name == ".claude/settings.json" and not text.startswith("\ufeff"):
                values |= json.loads(text)
            else:
                texts[name] = text
    texts[".claude/settings.json"] = json.dumps(values)
    _write(command.folder, texts, canary=tmp_path / "canary")
    done = command.run("return await agent('hi')", "--output", "jsonl", "-q")

    notes = done.events[0]["notes"]
    assert done.status == 0
    assert len([note for note in notes if "ignored" in note or "never" in note]) >= 20
    assert not (tmp_path / "canary").exists()


def _write(folder: Path, texts: dict[str, str], *, canary: Path) -> None:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = text.replace("{canary}", str(canary)).replace("{outside}", str(canary.parent))
        path.write_text(text, encoding="utf-8")


async def test_a_workflow_that_leads_out_of_the_workspace_is_not_run(command: Command, tmp_path: Path) -> None:
    outside = tmp_path / "evil.js"
    outside.write_text("export const meta = { name: 'evil', description: 'x' }\nreturn 'ran'", encoding="utf-8")
    (command.folder / ".claude/workflows").mkdir(parents=True)
    (command.folder / ".claude/workflows/evil.js").symlink_to(outside)

    by_name = command("run", "evil", "--backend", command.answers())
    by_path = command.run("return await workflow({ scriptPath: '../evil.js' })", "--output", "json")

    assert by_name.status == 2
    assert "link out of the workspace" in by_name.err
    assert by_path.status == 1
    assert "leads out of the workspace" in by_path.json["error"]["message"]


async def test_headless_hooks_refuse_the_run_with_a_status_of_their_own(command: Command) -> None:
    settings = command.folder / ".claude/settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"hooks": {"PreToolUse": [{"hooks": []}]}}), encoding="utf-8")

    refused = command.run("return 1", "--output", "json")
    without = command.run("return 1", "--ignore-hooks")

    assert refused.status == 5
    assert refused.json["error"]["kind"] == "config"
    assert "--ignore-hooks" in refused.err
    assert without.status == 0
    assert "PreToolUse hooks are not run" in without.err
