from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from callsheet.app.quantities import parse_cost_stop, parse_more_usd
from callsheet.app.settings import Choices, Resolved, resolve_settings
from callsheet.errors import ConfigError
from callsheet.model.spending import Budget


class Sources:
    """The files and variables of one test, and what comes of them."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "workspace"
        self.config_dir = folder / "config"
        self.workspace.mkdir()
        self.config_dir.mkdir()
        self.environ: dict[str, str] = {}

    def of_workspace(self, text: str, name: str = "callsheet.toml") -> None:
        (self.workspace / name).write_text(text, encoding="utf-8")

    def of_user(self, text: str) -> None:
        (self.config_dir / "config.toml").write_text(text, encoding="utf-8")

    def resolve(self, *, is_trusted: bool = False, **flags: object) -> Resolved:
        return resolve_settings(
            Choices(**flags),  # type: ignore[arg-type]
            workspace=self.workspace,
            environ=self.environ,
            config_dir=self.config_dir,
            trusted=is_trusted,
        )


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path)


@pytest.mark.contract("L01")
def test_without_any_source_the_defaults_of_the_contract_hold(sources: Sources) -> None:
    settings = sources.resolve().run

    assert (settings.max_parallel, settings.max_agents, settings.max_turns) == (16, 1_000, 200)
    assert (settings.sandbox.cpu_limit_s, settings.sandbox.cpu_total_s) == (10, 60)
    assert settings.sandbox.memory_limit_bytes == 256 * 1024**2
    assert settings.budget_tokens is None and settings.cost_stop_usd == 25


@pytest.mark.contract("K03", "K05")
def test_the_longest_wait_for_a_service_is_six_hours_and_can_be_none_and_the_warm_up_can_be_off(
    sources: Sources,
) -> None:
    assert (sources.resolve().run.max_wait_s, sources.resolve().run.cache_warmup) == (6 * 3600, True)
    sources.of_user("max_wait = '2h'\ncache_warmup = false")
    assert (sources.resolve().run.max_wait_s, sources.resolve().run.cache_warmup) == (7200, False)
    assert sources.resolve(max_wait=0, cache_warmup=True).run.max_wait_s == 0


@pytest.mark.contract("K05")
def test_a_workspace_may_shorten_the_wait_for_a_service_and_not_lengthen_it(sources: Sources) -> None:
    sources.of_workspace("max_wait = 60")
    assert sources.resolve().run.max_wait_s == 60
    sources.of_workspace("max_wait = '7h'")
    assert sources.resolve().run.max_wait_s == 6 * 3600


def test_later_sources_win_over_earlier_ones_key_by_key(sources: Sources) -> None:
    sources.of_workspace("max_parallel = 2\nmax_agents = 20\nmax_turns = 5")
    sources.of_user("max_parallel = 3\nmax_agents = 30\nmodel = 'of-user'\ncpu_limit = 3")
    sources.environ = {"CALLSHEET_MAX_PARALLEL": "4", "CALLSHEET_CPU_LIMIT": "4s", "PATH": "/bin"}

    settings = sources.resolve(max_parallel=5).run

    assert settings.max_parallel == 5
    assert settings.sandbox.cpu_limit_s == 4
    assert settings.max_agents == 30
    assert settings.max_turns == 5
    assert settings.model == "of-user"


def test_every_key_can_be_set_in_the_environment(sources: Sources) -> None:
    sources.environ = {
        "CALLSHEET_MAX_PARALLEL": "32",
        "CALLSHEET_MAX_AGENTS": "77",
        "CALLSHEET_MAX_TURNS": "9",
        "CALLSHEET_BUDGET": "2M $40",
        "CALLSHEET_COST_STOP": "$12",
        "CALLSHEET_MODEL": "opus",
        "CALLSHEET_BACKEND": "offline",
        "CALLSHEET_SERVICE": "vertex",
        "CALLSHEET_CPU_LIMIT": "2",
        "CALLSHEET_CPU_TOTAL": "2m",
        "CALLSHEET_MEMORY_LIMIT": "64M",
        "CALLSHEET_STRICT": "true",
        "CALLSHEET_REQUIRE_CONFINEMENT": "1",
        "CALLSHEET_PREFLIGHT": "refuse",
        "CALLSHEET_STORE": "/somewhere/record.db",
        "CALLSHEET_APPROVAL_TIMEOUT": "5m",
    }

    resolved = sources.resolve()
    settings = resolved.run

    assert (settings.max_parallel, settings.max_agents, settings.max_turns) == (32, 77, 9)
    assert (settings.budget_tokens, settings.budget_usd, settings.cost_stop_usd) == (2_000_000, 40, 12)
    assert (settings.model, settings.preflight, settings.approval_timeout_s) == ("opus", "refuse", 300)
    assert settings.service == "vertex"
    limits = settings.sandbox
    assert (limits.cpu_limit_s, limits.cpu_total_s, limits.memory_limit_bytes) == (2, 120, 64 * 1024**2)
    assert limits.strict and limits.require_confinement
    assert (resolved.backend, resolved.store) == ("offline", "/somewhere/record.db")


def test_a_variable_that_is_empty_says_nothing(sources: Sources) -> None:
    sources.environ = {"CALLSHEET_BUDGET": ""}

    assert sources.resolve().run.budget_tokens is None


@pytest.mark.parametrize(
    "text",
    [
        "budget = 200",
        "budget = '200'",
        "budget = {output_tokens = 200}",
    ],
)
def test_a_budget_in_a_file_may_be_a_number_a_text_or_a_table(sources: Sources, text: str) -> None:
    sources.of_user(text)

    assert sources.resolve().run.budget_tokens == 200


def test_a_later_budget_in_tokens_leaves_an_earlier_one_in_dollars(sources: Sources) -> None:
    sources.of_user("budget = '$40'")

    settings = sources.resolve(budget=Budget(tokens=500)).run

    assert (settings.budget_tokens, settings.budget_usd) == (500, 40)


def test_the_workspace_may_lower_limits(sources: Sources) -> None:
    sources.of_workspace(
        "max_parallel = 2\nmax_agents = 10\nbudget = '$5'\ncpu_limit = 1\nmemory_limit = '32M'\nstrict = true\n"
        "approval_timeout = 9\nrequire_confinement = true\npreflight = 'refuse'"
    )

    resolved = sources.resolve()
    settings = resolved.run

    assert resolved.notes == ()
    assert (settings.max_parallel, settings.max_agents, settings.budget_usd) == (2, 10, 5)
    assert settings.approval_timeout_s == 9
    assert (settings.sandbox.cpu_limit_s, settings.sandbox.memory_limit_bytes) == (1, 32 * 1024**2)
    assert settings.sandbox.strict and settings.sandbox.require_confinement and settings.preflight == "refuse"


def test_the_workspace_may_not_raise_limits_nor_choose_who_answers_or_where_the_record_lies(sources: Sources) -> None:
    sources.of_workspace(
        "max_parallel = 200\nmax_agents = 9000\nmax_turns = 900\ncost_stop = 900\nbudget = '$900'\ncpu_limit = 99\n"
        "cpu_total = 999\nmemory_limit = '9G'\nmodel = 'dear'\nbackend = 'anthropic'\nstore = '/elsewhere'\n"
        "approval_timeout = 9999"
    )

    resolved = sources.resolve()

    assert resolved.run == Sources.resolve(sources).run
    settings = resolved.run
    assert settings.approval_timeout_s == 600
    assert (settings.max_parallel, settings.max_agents, settings.max_turns) == (16, 1_000, 200)
    assert (settings.cost_stop_usd, settings.budget_usd, settings.model) == (25, None, None)
    assert (resolved.backend, resolved.store) == (None, None)
    assert len(resolved.notes) == 12
    assert all(note.startswith("callsheet.toml: ") and "ignored" in note for note in resolved.notes)


@pytest.mark.parametrize("is_trusted", [False, True])
def test_where_models_are_had_is_the_users_to_say_and_never_a_workspaces(sources: Sources, is_trusted: bool) -> None:
    sources.of_workspace("service = 'bedrock'")

    resolved = sources.resolve(is_trusted=is_trusted)

    assert (resolved.run.service, resolved.asked) == ("anthropic", ())
    assert resolved.notes == (
        "callsheet.toml: service is never read from a workspace: set it in your own config.toml.",
    )
    sources.of_user("service = 'foundry'")
    assert sources.resolve(is_trusted=is_trusted).run.service == "foundry"


@pytest.mark.contract("L04")
def test_a_token_budget_of_the_workspace_alone_does_not_lift_the_stop_at_25_dollars(sources: Sources) -> None:
    sources.of_workspace("budget = '900M'")

    settings = sources.resolve().run

    assert (settings.budget_tokens, settings.budget_usd) == (900_000_000, 25)
    assert sources.resolve(budget=Budget(tokens=900_000_000)).run.budget_usd is None


def test_settings_may_stand_in_pyproject(sources: Sources) -> None:
    sources.of_workspace("[project]\nname = 'x'\n[tool.callsheet]\nmax_parallel = 3\nmodel = 'y'", "pyproject.toml")

    resolved = sources.resolve()

    assert resolved.run.max_parallel == 3
    assert resolved.notes[0].startswith("pyproject.toml [tool.callsheet]: model is ignored")


@pytest.mark.parametrize("text", ["[project]\nname = 'x'", "tool = 1 # callsheet", "[tool]\ncallsheet = 1"])
def test_a_pyproject_without_a_table_of_ours_says_nothing(sources: Sources, text: str) -> None:
    sources.of_workspace(text, "pyproject.toml")

    assert sources.resolve().run.max_parallel == 16


def test_a_file_of_our_own_name_hides_the_pyproject(sources: Sources) -> None:
    sources.of_workspace("max_parallel = 3")
    sources.of_workspace("[tool.callsheet]\nmax_parallel = 4", "pyproject.toml")

    assert sources.resolve().run.max_parallel == 3


@pytest.mark.parametrize(
    ("user", "environ", "message"),
    [
        ("max_paralel = 3", {}, r"config\.toml: unknown key max_paralel\. Did you mean max_parallel\?"),
        ("colour = 3", {}, r"config\.toml: unknown key colour\. Known are max_parallel, "),
        ("budget = {tokens = 3}", {}, r"config\.toml: unknown key tokens in budget\. Did you mean output_tokens\?"),
        ("max_parallel = 500", {}, r"config\.toml: max_parallel is 500; it is between 1 and 256"),
        ("max_parallel = 'many'", {}, r"config\.toml: max_parallel = 'many' cannot hold: Input should be a valid int"),
        ("preflight = 'no'", {}, r"config\.toml: preflight = 'no' cannot hold"),
        ("max_parallel = \n", {}, r"config\.toml is not TOML: .*line 1"),
        ("budget = 0", {}, r"config\.toml: '0' is no budget"),
        ("backend = ' '", {}, r"config\.toml: backend is empty"),
        ("", {"CALLSHEET_MAX_PARALEL": "3"}, r"CALLSHEET_MAX_PARALEL .* Did you mean CALLSHEET_MAX_PARALLEL\?"),
        ("", {"CALLSHEET_MAX_PARALLEL": "0"}, r"environment: max_parallel is 0; it is between 1 and 256"),
    ],
)
def test_a_setting_that_cannot_hold_is_an_error_that_names_source_and_remedy(
    sources: Sources, user: str, environ: Mapping[str, str], message: str
) -> None:
    sources.of_user(user)
    sources.environ = dict(environ)

    with pytest.raises(ConfigError, match=message):
        sources.resolve()


def test_a_file_that_is_not_utf8_is_named(sources: Sources) -> None:
    (sources.config_dir / "config.toml").write_bytes(b"model = '\xff'")

    with pytest.raises(ConfigError, match=r"config\.toml is not UTF-8 \(byte 9\)"):
        sources.resolve()


def test_a_flag_out_of_range_is_named_as_the_flag(sources: Sources) -> None:
    with pytest.raises(ConfigError, match=r"--max-parallel is 257; it is between 1 and 256"):
        sources.resolve(max_parallel=257)


# --- tables


def test_command_agents_are_the_users_to_declare_and_a_later_source_replaces_what_it_names(sources: Sources) -> None:
    sources.of_user("[agents.lint]\ncommand = ['npm', 'run', 'lint']\ntimeout = '5m'\n[agents.fmt]\ncommand = ['x']")
    lint, fmt = sources.resolve().agents
    assert (lint.name, lint.command, lint.timeout_s) == ("lint", ("npm", "run", "lint"), 300)
    assert (lint.description, lint.source) == ("Runs npm run lint.", "settings")
    assert fmt.command == ("x",)


def test_what_a_workspace_declares_asks_for_trust_with_its_words(sources: Sources) -> None:
    sources.of_workspace(
        "[agents.lint]\ncommand = ['sh', '-c', 'rm -rf x']\n[models]\nopus = 'dear'\n"
        "[agent_types]\nExplore = 'general-purpose'"
    )
    resolved = sources.resolve()
    assert (resolved.agents, dict(resolved.models), dict(resolved.agent_types)) == ((), {}, {})
    assert [each.words for each in resolved.asked] == [
        "start programs as agents: lint: sh -c 'rm -rf x'",
        "take agent types for others: Explore = general-purpose",
        "have names stand for models: opus = dear",
    ]
    assert "Set it in your own config.toml." in resolved.notes[0]
    assert "Pass --agent-type" in resolved.notes[1]


def test_names_of_models_and_types_come_from_all_sources(sources: Sources) -> None:
    sources.of_user("[models]\nopus = 'a'\nmine = 'b'\n[agent_types]\nx = 'y'")
    sources.environ = {"CALLSHEET_MODELS": "opus=c, default=mine", "CALLSHEET_AGENT_TYPES": "z=Plan"}
    resolved = sources.resolve(agent_types={"x": "Explore"})
    assert dict(resolved.models) == {"opus": "c", "mine": "b", "default": "mine"}
    assert dict(resolved.agent_types) == {"x": "Explore", "z": "Plan"}


@pytest.mark.parametrize(
    "text",
    [
        "[agents.lint]\ncommand = 'npm run lint'",
        "[agents.lint]\ncommand = []",
        "[agents.lint]\ncommand = ['']",
        "[agents.lint]\ncommand = ['x']\nshell = true",
        "[agents.'two words']\ncommand = ['x']",
        "[agents.lint]\ncommand = ['x']\ntimeout = 0",
        "[models]\nopus = ''",
    ],
)
def test_a_table_that_cannot_hold_is_refused_with_its_place(sources: Sources, text: str) -> None:
    sources.of_user(text)
    with pytest.raises(ConfigError, match=r"config\.toml: (agents|models)"):
        sources.resolve()


@pytest.mark.contract("G04")
def test_budgets_of_phases_and_agents_come_from_all_sources_and_the_workspace_may_set_them_too(
    sources: Sources,
) -> None:
    sources.of_workspace("agent_budget = '10k'\n[phase_budgets]\nReview = '200k'\n'Fix*' = {cost_usd = 2}")
    sources.of_user("agent_budget = '$1'\n[phase_budgets]\nReview = '$5'")
    sources.environ = {"CALLSHEET_PHASE_BUDGETS": "Plan=1k,Ship=$3"}
    settings = sources.resolve().run
    assert settings.agent_budget == Budget(tokens=10_000, usd=1.0)
    assert settings.phase_budgets == {
        "Review": Budget(usd=5.0),
        "Fix*": Budget(usd=2.0),
        "Plan": Budget(tokens=1_000),
        "Ship": Budget(usd=3.0),
    }
    assert settings.cost_stop_usd == 25


@pytest.mark.contract("G04")
def test_prices_are_the_users_to_give_and_a_workspace_that_gives_some_asks_for_trust(sources: Sources) -> None:
    sources.of_workspace("[prices]\nm = '0/0'")
    sources.of_user("[prices]\nn = '3/15'")
    sources.environ = {"CALLSHEET_PRICES": "o=1/2/0.1/1.25"}
    resolved = sources.resolve()
    assert sorted(resolved.run.prices) == ["n", "o"]
    assert [asked.short for asked in resolved.asked] == ["prices"]
    assert any("--price" in note for note in resolved.notes)


# --- where a run without a budget stops -----------------------------------------------------------------------------


@pytest.mark.contract("L04")
@pytest.mark.parametrize(
    ("said", "usd"), [("'$40'", 40), ("40", 40), ("7.5", 7.5), ("'none'", 0), ("0", 0), ("'0'", 0)]
)
def test_the_stop_is_dollars_or_none(sources: Sources, said: str, usd: float) -> None:
    sources.of_user(f"cost_stop = {said}\n")
    assert sources.resolve().run.cost_stop_usd == usd


def test_a_stop_that_is_no_amount_is_refused(sources: Sources) -> None:
    with pytest.raises(ConfigError, match="no amount to stop at"):
        parse_cost_stop("plenty")
    with pytest.raises(ConfigError, match=r"--cost-stop is 0\.001"):
        sources.resolve(cost_stop=0.001)


@pytest.mark.contract("L04")
def test_a_workspace_cannot_lift_the_stop_nor_give_a_budget_beyond_the_users_own(sources: Sources) -> None:
    sources.of_workspace("cost_stop = 'none'\nbudget = '$20'\n")
    sources.of_user("cost_stop = 5\n")
    resolved = sources.resolve()
    settings = resolved.run
    assert (settings.cost_stop_usd, settings.budget_usd) == (5, 5)
    assert any("cost_stop = none is ignored" in note for note in resolved.notes)


@pytest.mark.parametrize(
    ("text", "usd"),
    [("5", 5.0), ("$2.50", 2.5), ("10$", 10.0), (" $ 1,000 ", 1000.0), ("1_000", 1000.0), ("1000000", 1e6)]
    + [(wrong, None) for wrong in ("", "0", "$0", "-5", "1000001", "9" * 400, "1e3", "yes", "q0001", "5 5", "٥")],
)
def test_dollars_that_a_run_may_cost_more(text: str, usd: float | None) -> None:
    assert parse_more_usd(text) == usd
