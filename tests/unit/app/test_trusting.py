"""What holds a run's agents: what a caller says from Python, and what is kept for a project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import callsheet
from callsheet.app.git_claims import git_lines
from callsheet.app.plan import RunOrder, Surroundings, plan_run
from callsheet.app.settings import Choices
from callsheet.app.trust import keep_grants, list_trust, look_at_folder, revoke_trust
from callsheet.app.trusting import PermissionChoices, Person, TrustQuestion
from callsheet.errors import ConfigError, TrustRefusedError, UsageError
from callsheet.permissions.decide import Decider
from callsheet.permissions.modes import Mode

pytestmark = pytest.mark.anyio

META = "export const meta = { name: 'case', description: 'a case' }\n"


class Somebody(Person):
    """Answers as told, and keeps what was asked."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.questions: list[TrustQuestion] = []

    def trusts(self, question: TrustQuestion) -> bool:
        self.questions.append(question)
        return self.answer

    def goes_without_hooks(self, files: tuple[str, ...]) -> bool:
        return self.answer


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    (tmp_path / "work/.claude").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    return Surroundings(start=tmp_path / "work", environ={"HOME": str(tmp_path / "home")}, home=tmp_path / "home")


def _ask_for(around: Surroundings, **settings: object) -> None:
    (around.start / ".claude/settings.json").write_text(json.dumps(settings), encoding="utf-8")


def _order(**said: object) -> RunOrder:
    choices = Choices(backend="offline")
    return RunOrder(script="-", choices=choices, permissions=PermissionChoices(**said))  # type: ignore[arg-type]


def test_a_person_is_asked_once_with_everything_and_the_yes_holds_for_the_next_run(around: Surroundings) -> None:
    _ask_for(around, permissions={"allow": ["Bash(x)"], "additionalDirectories": ["../y"]})
    person = Somebody(True)

    first = plan_run(_order(), around, person=person)
    second = plan_run(_order(), around, person=person)

    assert first.settled.is_trusted and second.settled.is_trusted
    assert [[each.short for each in question.asked] for question in person.questions] == [
        ["allow Bash(x)", "additional directory ../y"]
    ]


def test_a_person_is_asked_again_when_the_files_changed_with_what_changed(around: Surroundings) -> None:
    _ask_for(around, permissions={"allow": ["Bash(x)"]})
    person = Somebody(True)
    plan_run(_order(), around, person=person)
    _ask_for(around, permissions={"allow": ["Bash(y)"]})

    plan_run(_order(), around, person=person)

    assert person.questions[1].changed == (
        "new: let agents use Bash(y) without asking",
        "no longer: let agents use Bash(x) without asking",
        ".claude/settings.json changed",
    )


def test_a_no_holds_for_the_run_and_is_asked_again_at_the_next(around: Surroundings) -> None:
    _ask_for(around, permissions={"allow": ["Bash(x)"]})
    person = Somebody(False)

    for _ in range(2):
        assert not plan_run(_order(), around, person=person).settled.is_trusted

    assert len(person.questions) == 2
    assert not around.config_dir.exists()


def test_where_nothing_asks_for_trust_nobody_is_asked(around: Surroundings) -> None:
    _ask_for(around, permissions={"deny": ["WebSearch"], "ask": ["Bash(git push:*)"], "defaultMode": "plan"})
    person = Somebody(True)

    plan = plan_run(_order(), around, person=person)

    assert person.questions == []
    assert (plan.permissions.mode, len(plan.permissions.rules)) == (Mode.PLAN, 2)


def test_a_yes_to_files_that_change_while_they_are_read_is_a_yes_to_nothing(around: Surroundings) -> None:
    class Slow(Somebody):
        def trusts(self, question: TrustQuestion) -> bool:
            _ask_for(around, permissions={"allow": ["Bash"]})
            return super().trusts(question)

    _ask_for(around, permissions={"allow": ["Bash(x)"]})

    with pytest.raises(TrustRefusedError, match="changed while you were asked"):
        plan_run(_order(), around, person=Slow(True))
    assert not plan_run(_order(), around).settled.is_trusted


def test_what_the_rest_of_pyproject_says_does_not_end_trust(around: Surroundings) -> None:
    (around.start / "pyproject.toml").write_text('[project]\nversion = "1"\n[tool.callsheet]\nmodel = "opus"\n')
    person = Somebody(True)
    plan_run(_order(), around, person=person)
    (around.start / "pyproject.toml").write_text('[project]\nversion = "2"\n[tool.callsheet]\nmodel = "opus"\n')

    assert plan_run(_order(), around).settled.is_trusted
    (around.start / "pyproject.toml").write_text('[project]\nversion = "2"\n[tool.callsheet]\nmodel = "haiku"\n')
    assert not plan_run(_order(), around).settled.is_trusted


def test_rules_that_were_allowed_always_hold_for_that_project_and_are_listed_and_revoked(around: Surroundings) -> None:
    keep_grants(around.start, ["Bash(npm test:*)"], around)
    plan = plan_run(_order(), around)
    decision = Decider(plan.permissions, root=around.start, home=around.home).decide("bash", {"command": "npm test"})

    assert decision.decision == "allow"
    assert decision.source == f"{around.config_dir / 'grants.json'} (allowed always for this project)"
    assert list_trust(around).kept == ((str(around.start), ("Bash(npm test:*)",)),)
    assert revoke_trust(around.start, around).rules == 1
    assert plan_run(_order(), around).permissions.rules == ()


def test_a_deny_rule_beats_what_was_allowed_always(around: Surroundings) -> None:
    keep_grants(around.start, ["WebSearch"], around)
    _ask_for(around, permissions={"deny": ["WebSearch"]})
    plan = plan_run(_order(), around)

    decision = Decider(plan.permissions, root=around.start, home=around.home).decide("web_search", {"query": "x"})

    assert decision.decision == "deny"


@pytest.mark.parametrize("rule", ["Bsh(x)", "Bash(", "Bash(**)"])
def test_a_rule_that_cannot_be_read_is_not_kept(around: Surroundings, rule: str) -> None:
    with pytest.raises(UsageError):
        keep_grants(around.start, [rule], around)
    assert not around.config_dir.exists()


def test_a_users_folder_in_the_workspace_is_not_believed_and_nothing_is_kept_there(around: Surroundings) -> None:
    _ask_for(around, permissions={"allow": ["Bash(x)"]})
    inside = Surroundings(
        start=around.start, home=around.home, environ={"CALLSHEET_CONFIG_DIR": str(around.start / "config")}
    )
    with pytest.raises(UsageError, match="lies in the workspace"):
        look_at_folder(around.start, inside).remember()
    with pytest.raises(UsageError, match="lies in the workspace"):
        keep_grants(around.start, ["WebSearch"], inside)


def test_a_relative_folder_of_settings_is_not_taken(around: Surroundings) -> None:
    for name in ("XDG_CONFIG_HOME", "CALLSHEET_CONFIG_DIR"):
        found = Surroundings(start=around.start, home=around.home, environ={name: "config"})
        assert found.config_dir == around.home / ".config/callsheet"


def test_a_home_folder_that_is_the_workspace_grants_as_the_users_own(around: Surroundings) -> None:
    (around.home / ".claude").mkdir()
    (around.home / ".claude/settings.json").write_text('{"permissions": {"allow": ["Bash(x)"]}}', encoding="utf-8")
    at_home = Surroundings(start=around.home, home=around.home, environ={"HOME": str(around.home)})

    plan = plan_run(_order(), at_home)

    assert [rule.text for rule in plan.permissions.rules] == ["Bash(x)"]
    assert not [note for note in plan.notes if "ignored" in note]


def test_hooks_are_refused_headless_and_gone_without_where_somebody_says_so(around: Surroundings) -> None:
    _ask_for(around, hooks={"PreToolUse": [{}]})

    with pytest.raises(TrustRefusedError, match="--ignore-hooks"):
        plan_run(_order(), around)
    with pytest.raises(TrustRefusedError):
        plan_run(_order(), around, person=Somebody(False))
    assert "PreToolUse hooks are not run" in str(plan_run(_order(), around, person=Somebody(True)).notes)
    assert "PreToolUse hooks are not run" in str(plan_run(_order(ignore_hooks=True), around).notes)


async def test_python_says_what_agents_may_do_too(
    around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(around.start)
    monkeypatch.setenv("HOME", str(around.home))
    (around.start / "case.js").write_text(META + "return 1", encoding="utf-8")
    (tmp_path / "answers.json").write_text('{"answers": []}', encoding="utf-8")
    backend = f"scripted:{tmp_path / 'answers.json'}"
    _ask_for(around, hooks={"PreToolUse": [{}]})

    with pytest.raises(TrustRefusedError):
        await callsheet.run("./case.js", backend=backend)
    with pytest.raises(UsageError, match=r"--allow 'Bsh\(x\)'"):
        await callsheet.run("./case.js", backend=backend, allow=["Bsh(x)"])
    with pytest.raises(UsageError, match="Did you mean plan"):
        await callsheet.run("./case.js", backend=backend, permission_mode="plann")  # type: ignore[arg-type]
    result = await callsheet.run(
        "./case.js", backend=backend, ignore_hooks=True, permission_mode="plan", deny=["WebSearch"], trust=True
    )

    assert result.status == "completed"


def test_what_a_repository_writes_stays_in_its_line_and_within_bounds(around: Surroundings) -> None:
    _ask_for(
        around, permissions={"allow": ["Bash(x)\nnote: trusted", "y" * 100_000, *(f"Bash(a{n})" for n in range(500))]}
    )

    notes = plan_run(_order(), around).settled.notes

    assert len(notes) == 101
    assert notes[0].startswith("ignored until trusted: allow Bash(x) note: trusted (")
    assert max(len(note) for note in notes) == 1_000
    assert notes[-1] == "… and 402 more such lines (callsheet trust . shows them)"


def test_settings_of_the_workspace_that_cannot_be_read_are_an_error_by_name(around: Surroundings) -> None:
    (around.start / ".claude/settings.json").write_text("{", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"\.claude/settings\.json"):
        plan_run(_order(), around)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("[core]\n\tfsmonitor = true\n\tpager = cat\n[alias]\n\tst = status\n", None),
        ("[core]\n\tbare = false\n[user]\n\tname = x\n[credential]\n\thelper =\n", None),
        ("[CORE]\n  FsMonitor=./x\n", "CORE".lower() + ".FsMonitor"),
        ("[core] sshCommand = x\n", "core.sshCommand"),
        ('[filter "a.b"]\nclean = "x y"\n', "filter.a.b.clean"),
        ("[diff.x]\ntextconv = x\n", "diff.x.textconv"),
        ('[includeIf "gitdir:/x"]\npath = y\n', "includeif.gitdir:/x.path"),
        ("[alias]\n\tx = !y\n", "alias.x"),
    ],
)
def test_of_git_configuration_that_is_told_which_would_run_something(
    tmp_path: Path, config: str, told: str | None
) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text(config, encoding="utf-8")

    lines = list(git_lines(tmp_path))

    assert lines == ([] if told is None else [f"ignored: what git would be made to do by {told} (.git/config)"])


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (
            {"type": "stdio", "url": "https://docs.example/", "command": "sh", "args": ["-c", "x"]},
            "start the program sh -c x as MCP server s",
        ),
        ({"url": "https://docs.example/", "command": "sh"}, "start the program sh as MCP server s"),
        (
            {"type": "http", "url": "https://docs.example/", "command": "sh"},
            "connect to https://docs.example/ as MCP server s",
        ),
        (
            {"url": "https://x.example/", "headers": {"Authorization": "Bearer ${ANTHROPIC_API_KEY}"}},
            "connect to https://x.example/ as MCP server s, telling it ANTHROPIC_API_KEY of your environment",
        ),
        (
            {"command": "node", "args": ["s.js", "${USER:-x}"], "env": {"NODE_OPTIONS": "--require ./evil.js"}},
            "start the program node s.js ${USER:-x} as MCP server s, with NODE_OPTIONS set, "
            "telling it USER of your environment",
        ),
    ],
)
def test_a_person_is_told_of_a_server_what_it_really_does_and_gets_to_know(
    around: Surroundings, server: dict[str, object], words: str
) -> None:
    (around.start / ".mcp.json").write_text(json.dumps({"mcpServers": {"s": server}}), encoding="utf-8")
    person = Somebody(False)
    plan_run(_order(), around, person=person)
    assert [each.words for question in person.questions for each in question.asked] == [words]
