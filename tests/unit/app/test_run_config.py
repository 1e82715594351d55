"""The run's own config: what it says, what is refused and where, and what it may grant."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from callsheet.app.choices import Choices
from callsheet.app.plan import Plan, RunOrder, Surroundings, plan_run
from callsheet.app.policy_text import PermissionsText
from callsheet.app.run_config import MAX_CONFIG_BYTES
from callsheet.app.run_config_text import BudgetText, LoggingText, RollbackText, Said, said_of
from callsheet.app.trusting import PermissionChoices, Person, TrustQuestion
from callsheet.errors import ConfigError, UsageError
from callsheet.model.policy import AgentPermissions, Route
from callsheet.model.spending import Budget

FORMATS = """\
workflow:
  name: auth-refactor              # a saved workflow, or script: path.js
  max_parallel_agents: 50
  max_agents: 500
  budget: {output_tokens: 2000000, cost_usd: 40}
  models: {orchestrator: opus, default: sonnet, explore: haiku}
  mode_routing:                    # which calls run fast; keys match a phase or a label, as globs
    orchestrator: default
    subtasks_codegen: fast
    "verify:*": {model: haiku, effort: low}
  agent_permissions:
    file_access: scoped            # scoped | workspace | read-only
    external_api: deny             # deny | allow | [hosts]
    shell_exec: restricted         # deny | restricted | allow
    shell_allow: ["git status", "npm test", "pytest *"]
  logging: {level: verbose, destination: ./logs/workflow-run-{timestamp}.json}
  rollback: {on_failure: checkpoint, checkpoint_interval: 10}
"""


def _said(text: str) -> Said:
    return said_of(text.encode(), name="run.yaml")


def _refusal(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        _said(text)
    return refused.value.message


def test_every_key_of_the_format_is_read() -> None:
    said = _said(FORMATS)

    assert (said.workflow, said.script) == ("auth-refactor", None)
    assert said.choices == Choices(
        max_parallel=50,
        max_agents=500,
        budget=Budget(tokens=2_000_000, usd=40.0),
        model="sonnet",
        type_models={"orchestrator": "opus", "explore": "haiku"},
        mode_routing=(
            Route(pattern="orchestrator", speed="standard"),
            Route(pattern="subtasks_codegen", speed="fast"),
            Route(pattern="verify:*", model="haiku", effort="low"),
        ),
        agent_permissions=(
            AgentPermissions(
                source="run.yaml",
                file_access="scoped",
                external_api="deny",
                shell_exec="restricted",
                shell_allow=("git status", "npm test", "pytest *"),
            ),
        ),
        log_file="./logs/workflow-run-{timestamp}.json",
        log_level="verbose",
        checkpoint_interval=10,
        rollback_on_failure=True,
    )


def test_the_names_that_are_no_agent_types_may_be_written_in_any_capitals() -> None:
    choices = _said("workflow: {models: {Default: a, ORCHESTRATOR: b, Explore: c}}").choices

    assert (choices.model, choices.type_models) == ("a", {"orchestrator": "b", "Explore": "c"})


def test_amounts_may_be_written_as_on_the_command_line() -> None:
    assert _said("workflow: {budget: {output_tokens: 2M, cost_usd: $40}}").choices.budget == Budget(
        tokens=2_000_000, usd=40.0
    )


def test_everything_that_is_wrong_is_said_at_once_each_with_its_line_and_the_nearest_name() -> None:
    text = """\
workflow:
  nam: x
  max_parallel_agents: many
  max_agents: 0
  budget: {output_token: 5, cost_usd: 0}
  models: {default: 3}
  mode_routing: {"a*": slow, b: {efort: low}, c: {}, d: {effort: lo}}
  agent_permissions:
    file_access: reed-only
    external_api: [https://x.com/a]
    shell_exec: 4
    shell_allow: ["*", 5]
  logging: {level: loud}
  rollback: yes please
"""
    assert _refusal(text).splitlines() == [
        "run.yaml has 17 faults:",
        "  line 2: unknown key nam in workflow. Did you mean name?",
        "  line 3: max_parallel_agents is 'many'; it is a whole number.",
        "  line 4: max_agents is 0; it is at least 1.",
        "  line 5: budget.cost_usd is 0.0; it is more than 0.",
        "  line 5: unknown key output_token in workflow.budget. Did you mean output_tokens?",
        '  line 6: models.default is 3; it is text: write it in quotes, "3".',
        "  line 7: mode_routing.a* is 'slow'; it is fast, default, or {model, effort, speed}.",
        "  line 7: unknown key efort in workflow.mode_routing.b. Did you mean effort?",
        "  line 7: mode_routing.c says nothing; give a model, an effort or a speed.",
        "  line 7: mode_routing.d.effort is 'lo'; it is low or medium or high or xhigh or max. Did you mean low?",
        "  line 9: agent_permissions.file_access is 'reed-only'; it is scoped or workspace or read-only. "
        "Did you mean read-only?",
        "  line 10: agent_permissions.external_api has 'https://x.com/a', which is no host; write example.com, or "
        "*.example.com for those beneath it.",
        "  line 11: agent_permissions.shell_exec is 4; it is deny or restricted or allow.",
        "  line 12: agent_permissions.shell_allow.0 is '*', which names no program; write a command as it is run, such "
        "as pytest *.",
        '  line 12: agent_permissions.shell_allow.1 is 5; it is text: write it in quotes, "5".',
        "  line 13: logging.level is 'loud'; it is quiet or normal or verbose.",
        "  line 14: rollback is 'yes please'; it is a table: keys and values below it.",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "run.yaml: it is no run config: it has no key `workflow:` that all others stand below."),
        ("max_agents: 5", "no key `workflow:` that all others stand below. It has max_agents."),
        ("workflow:", "run.yaml, line 1: workflow is empty; it is a table: keys and values below it."),
        ("workflow: {}\nworklow: 1", "run.yaml, line 2: unknown key worklow."),
        ("workflow:\n  name: a\n  script: b.js", "line 1: workflow has name and script;"),
        ("workflow: {name: flows/a.js}", "which is a file's: write script: flows/a.js"),
        ("workflow: {logging: {level: quiet}}", "logging has a level and no destination;"),
        ("workflow: {agent_permissions: {shell_exec: deny, shell_allow: [ls]}}", "shell_exec: deny and shell_allow"),
        ("workflow:\n  max_agents: 5\n  max_agents: 6", "line 3: max_agents stands here again; it stands in line 2"),
        ("workflow: {max_agents: true}", "line 1: max_agents is true; it is a whole number."),
        ("workflow: {budget: {cost_usd: .inf}}", "budget.cost_usd is '.inf', which is no amount."),
        ("workflow: {budget: {cost_usd: 1e999}}", "budget.cost_usd is endless; it is a number."),
        ("workflow: &a {x: *a}", "aliases are not supported"),
        ("workflow: [", "run.yaml, line 1: "),
    ],
)
def test_what_cannot_hold_is_refused(text: str, message: str) -> None:
    assert message in _refusal(text)


PARTS: dict[str, type[BaseModel]] = {
    "budget": BudgetText,
    "agent_permissions": PermissionsText,
    "logging": LoggingText,
    "rollback": RollbackText,
}
ROOT = Path(__file__).parents[3]


def test_what_the_documentation_shows_is_read() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/run-config.md").read_text(encoding="utf-8"), re.DOTALL)

    assert blocks
    assert all(_said(block).workflow for block in blocks)


def test_the_documentation_has_every_key() -> None:
    text = (ROOT / "docs/run-config.md").read_text(encoding="utf-8")
    table = text.split("## The keys")[1].split("## What it may say")[0]

    rows = "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    keys = re.findall(r"`([a-z_]+)(?:\.([a-z_]+))?`", rows)

    known = {("name", ""), ("script", ""), ("max_parallel_agents", ""), ("max_agents", "")}
    for part, table_of in PARTS.items():
        known |= {(part, key) for key in table_of.model_fields}
    assert known <= set(keys)


# --- in a workspace ---------------------------------------------------------------------------------------------------


class Somebody(Person):
    """Says yes, and keeps what was asked."""

    def __init__(self) -> None:
        self.questions: list[TrustQuestion] = []

    def trusts(self, question: TrustQuestion) -> bool:
        self.questions.append(question)
        return True

    def goes_without_hooks(self, files: tuple[str, ...]) -> bool:
        return True


class Place:
    """A workspace, a home, and a config in one of them."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "work"
        self.home = folder / "home"
        (self.root / "flows").mkdir(parents=True)
        (self.home / ".config/callsheet").mkdir(parents=True)
        environ = {"HOME": str(self.home), "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]}
        self.around = Surroundings(start=self.root, environ=environ, home=self.home)

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def plan(
        self, config: str = "flows/run.yaml", *, script: str = "-", person: Person | None = None, **said: object
    ) -> Plan:
        choices = Choices(backend="offline", **said)  # type: ignore[arg-type]
        order = RunOrder(script=script, choices=choices, config=Path(config))
        return plan_run(order, self.around, person=person)

    def trusted(self, config: str = "flows/run.yaml") -> Plan:
        permissions = PermissionChoices(trust=True)
        order = RunOrder(script="-", choices=Choices(backend="offline"), config=Path(config), permissions=permissions)
        return plan_run(order, self.around)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_config_in_the_workspace_restricts_at_once_and_grants_nothing_until_it_is_trusted(place: Place) -> None:
    place.write("flows/run.yaml", FORMATS)

    plan = place.plan()

    settings = plan.settings
    assert (settings.max_parallel, settings.max_agents, settings.budget_tokens) == (16, 500, 2_000_000)
    assert (settings.budget_usd, settings.model, settings.mode_routing) == (25.0, None, ())
    assert [(each.file_access, each.is_granted) for each in settings.agent_permissions] == [("scoped", False)]
    assert (settings.log_file, settings.checkpoint_interval) == ("./logs/workflow-run-{timestamp}.json", 10)
    ignored = [note for note in plan.notes if note.startswith("ignored")]
    assert ignored == [
        "ignored until trusted: max_parallel_agents: 50 (flows/run.yaml)",
        "ignored until trusted: models.default: sonnet (flows/run.yaml)",
        "ignored until trusted: models: orchestrator = opus; explore = haiku (flows/run.yaml)",
        "ignored until trusted: mode_routing: orchestrator = standard; subtasks_codegen = fast; verify:* = haiku low "
        "(flows/run.yaml)",
        "ignored until trusted: budget.cost_usd: 40 (flows/run.yaml)",
        "ignored until trusted: agent_permissions.shell_allow: git status (flows/run.yaml)",
        "ignored until trusted: agent_permissions.shell_allow: npm test (flows/run.yaml)",
        "ignored until trusted: agent_permissions.shell_allow: pytest * (flows/run.yaml)",
    ]


def test_with_trust_all_of_it_takes_effect_and_what_has_no_effect_is_said(place: Place) -> None:
    place.write("flows/run.yaml", FORMATS)

    plan = place.trusted()

    assert (plan.settings.max_parallel, plan.settings.budget_usd, plan.settings.model) == (50, 40.0, "sonnet")
    assert "trusted (--trust): what flows/run.yaml asks for takes effect (8)." in plan.notes
    assert (
        "models.orchestrator and mode_routing.orchestrator have no effect on a run, whose script is written already: "
        "callsheet author goes by them."
    ) in plan.notes


def test_a_config_of_the_callers_own_grants_at_once(place: Place) -> None:
    (place.home / "run.yaml").write_text(FORMATS, encoding="utf-8")

    plan = place.plan(str(place.home / "run.yaml"))

    assert (plan.settings.max_parallel, plan.settings.budget_usd) == (50, 40.0)
    assert not [note for note in plan.notes if "trusted" in note]


def test_a_person_is_asked_once_and_again_when_the_config_changed(place: Place) -> None:
    place.write("flows/run.yaml", "workflow: {max_parallel_agents: 20}")
    person = Somebody()

    plans = [place.plan(person=person), place.plan(person=person)]
    place.write("flows/run.yaml", "workflow: {max_parallel_agents: 30}")
    plans.append(place.plan(person=person))

    assert [plan.settings.max_parallel for plan in plans] == [20, 20, 30]
    first, second = person.questions
    assert [each.words for each in first.asked] == ["raise max_parallel from 16 to 20"]
    assert second.changed == (
        "new: raise max_parallel from 16 to 30",
        "no longer: raise max_parallel from 16 to 20",
        "run.yaml changed",
    )


def test_trust_in_the_workspace_is_none_in_a_config_nor_the_other_way_round(place: Place) -> None:
    place.write("flows/run.yaml", "workflow: {max_parallel_agents: 20}")
    place.write("callsheet.toml", "max_turns = 300")
    person = Somebody()

    both = place.plan(person=person)
    place.write("flows/run.yaml", "workflow: {max_parallel_agents: 30}")
    headless = place.plan()

    assert len(person.questions) == 1
    assert (both.settings.max_parallel, both.settings.max_turns) == (20, 300)
    assert (headless.settings.max_parallel, headless.settings.max_turns) == (16, 300)


def test_a_config_of_the_workspace_cannot_raise_what_the_user_has_lowered(place: Place) -> None:
    (place.home / ".config/callsheet/config.toml").write_text(
        "max_agents = 100\nbudget = {output_tokens = 1000, cost_usd = 5}\n"
        "[agent_permissions]\nfile_access = 'read-only'",
        encoding="utf-8",
    )
    place.write(
        "flows/run.yaml",
        "workflow: {max_agents: 200, budget: {output_tokens: 5000, cost_usd: 9}, agent_permissions: "
        "{file_access: workspace}}",
    )

    plan = place.plan()

    settings = plan.settings
    assert (settings.max_agents, settings.budget_tokens, settings.budget_usd) == (100, 1000, 5)
    assert [each.file_access for each in settings.agent_permissions] == ["read-only", "workspace"]


def test_a_config_of_the_workspace_cannot_switch_off_what_brings_failed_work_back(place: Place) -> None:
    place.write("on.yaml", "workflow: {rollback: {on_failure: checkpoint}}")
    place.write("off.yaml", "workflow: {rollback: {on_failure: none}}")

    before = [place.plan(name).settings.rollback_on_failure for name in ("on.yaml", "off.yaml")]
    (place.home / ".config/callsheet/config.toml").write_text("rollback_on_failure = true", encoding="utf-8")
    plan = place.plan("off.yaml")

    assert (before, plan.settings.rollback_on_failure) == ([True, False], True)
    assert "ignored until trusted: rollback.on_failure: none (off.yaml)" in plan.notes


def test_a_link_out_of_the_workspace_can_only_restrict_even_with_trust(place: Place) -> None:
    (place.home / "evil.yaml").write_text(FORMATS, encoding="utf-8")
    (place.root / "flows/run.yaml").symlink_to(place.home / "evil.yaml")

    plan = place.trusted()

    assert (plan.settings.max_parallel, plan.settings.max_agents) == (16, 500)
    assert any(note.startswith("flows/run.yaml is a link out of the workspace") for note in plan.notes)


def test_a_link_into_the_workspace_is_a_file_of_the_workspace(place: Place) -> None:
    place.write("flows/run.yaml", "workflow: {max_parallel_agents: 50}")
    (place.home / "mine.yaml").symlink_to(place.root / "flows/run.yaml")

    assert place.plan(str(place.home / "mine.yaml")).settings.max_parallel == 16


@pytest.mark.parametrize(
    "destination", ["../out.json", "/tmp/out.json", "~/x", ".git/hooks/x", ".claude/x", ".callsheet/x"]
)
def test_a_config_of_the_workspace_writes_no_log_elsewhere_nor_where_it_is_protected(
    place: Place, destination: str
) -> None:
    place.write("flows/run.yaml", f"workflow: {{logging: {{destination: '{destination}'}}}}")

    plan = place.plan()

    assert plan.settings.log_file is None
    assert f"ignored until trusted: logging.destination: {destination} (flows/run.yaml)" in plan.notes


def test_the_workflow_is_the_one_that_the_config_names_and_the_command_line_wins(place: Place) -> None:
    place.write("flows/run.yaml", "workflow: {script: sub/a.js}")
    place.write("flows/named.yaml", "workflow: {name: review}")

    named = place.plan(script="")
    saved = place.plan("flows/named.yaml", script="")
    other = place.plan(script="b.js")

    assert (named.script, named.order.script) == (str(place.root / "flows/sub/a.js"), "flows/sub/a.js")
    assert (saved.script, saved.order.script) == ("review", "review")
    assert other.script == "b.js"
    assert "b.js runs, as asked, not flows/sub/a.js that flows/run.yaml names." in other.notes


def test_a_config_that_names_no_workflow_needs_one_on_the_command_line(place: Place) -> None:
    place.write("flows/run.yaml", "workflow: {max_agents: 5}")

    with pytest.raises(UsageError, match=r"flows/run.yaml names no workflow: write `name: …`"):
        place.plan(script="")
    assert place.plan(script="a.js").settings.max_agents == 5


def test_a_config_of_the_workspace_names_no_script_elsewhere(place: Place) -> None:
    place.write("flows/run.yaml", "workflow:\n  script: ../../evil.js")

    with pytest.raises(ConfigError, match=r"flows/run.yaml, line 2: workflow.script leads out of the workspace"):
        place.plan(script="")


def test_a_model_for_an_agent_type_that_is_not_there_is_refused_with_the_nearest(place: Place) -> None:
    place.write("flows/run.yaml", "workflow:\n  models:\n    exploer: haiku")

    with pytest.raises(
        ConfigError, match=r"flows/run.yaml, line 3: models.exploer is none of .* Did you mean Explore\?"
    ):
        place.plan()
    place.write(".claude/agents/reviewer.md", "---\nname: reviewer\ndescription: x\n---\nReview.")
    place.write("flows/run.yaml", "workflow: {models: {Reviewer: haiku, plan: opus}}")
    assert place.trusted().settings.type_models == {"Reviewer": "haiku", "plan": "opus"}


def test_the_order_of_sources_is_user_config_environment_flags(place: Place) -> None:
    (place.home / ".config/callsheet/config.toml").write_text("max_parallel = 3\nmax_agents = 3\n", encoding="utf-8")
    (place.home / "run.yaml").write_text(
        "workflow: {max_parallel_agents: 4, max_agents: 4, rollback: {checkpoint_interval: 4}}", encoding="utf-8"
    )
    place.around.environ["CALLSHEET_MAX_AGENTS"] = "5"  # type: ignore[index]

    settings = place.plan(str(place.home / "run.yaml"), checkpoint_interval=6).settings

    assert (settings.max_parallel, settings.max_agents, settings.checkpoint_interval) == (4, 5, 6)


def test_a_file_that_is_not_there_no_file_or_too_large_is_refused(place: Place) -> None:
    place.write("large.yaml", "# " + "x" * MAX_CONFIG_BYTES)

    with pytest.raises(ConfigError, match=r"--config larg.yaml is no file. There is large.yaml in "):
        place.plan("larg.yaml")
    with pytest.raises(ConfigError, match="--config flows is a folder"):
        place.plan("flows")
    with pytest.raises(ConfigError, match="larger than 64 KiB"):
        place.plan("large.yaml")


def test_the_same_limits_stand_in_settings_files(place: Place) -> None:
    (place.home / ".config/callsheet/config.toml").write_text(
        "log_file = '/var/log/x.json'\nlog_level = 'quiet'\n[type_models]\nExplore = 'haiku'\n[mode_routing]\n"
        "'verify:*' = 'fast'\nplan = {model = 'opus', effort = 'high'}\n[agent_permissions]\nshell_allow = ['make']\n",
        encoding="utf-8",
    )
    place.write("callsheet.toml", "[agent_permissions]\nshell_exec = 'restricted'\nshell_allow = ['curl *']\n")
    place.write("run.yaml", "workflow: {}")

    plan = place.plan("run.yaml")

    settings = plan.settings
    assert (settings.log_file, settings.log_level) == ("/var/log/x.json", "quiet")
    assert settings.type_models == {"Explore": "haiku"}
    assert settings.mode_routing == (
        Route(pattern="verify:*", speed="fast"),
        Route(pattern="plan", model="opus", effort="high"),
    )
    assert [(each.shell_exec, each.shell_allow, each.is_granted) for each in settings.agent_permissions] == [
        ("restricted", ("curl *",), False),
        (None, ("make",), True),
    ]
    assert any("agent_permissions.shell_allow: curl * is ignored until it is trusted" in note for note in plan.notes)
