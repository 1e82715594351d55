"""What `agent_permissions` make of rules: restrictions hold whatever else allows, grants are rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from callsheet.errors import UsageError
from callsheet.model.policy import AgentPermissions
from callsheet.permissions.decide import Decider, Decision
from callsheet.permissions.modes import Mode
from callsheet.permissions.narrowing import Narrowed, narrowed
from callsheet.permissions.rules import Effect
from callsheet.permissions.sources import Flags, read_settings

USER = {
    "allow": ["Bash(curl:*)", "Bash", "WebFetch", "WebFetch(domain:other.org)", "WebSearch", "mcp__files"],
    "additionalDirectories": ["/opt"],
}
NO_FLAGS = Flags()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "home/.claude").mkdir(parents=True)
    user = {**USER, "allow": [*USER["allow"], f"Edit(/{tmp_path}/other/**)"]}
    (tmp_path / "home/.claude/settings.json").write_text(json.dumps({"permissions": user}), encoding="utf-8")
    return tmp_path / "work"


def _narrowed(work: Path, *said: AgentPermissions, flags: Flags = NO_FLAGS, unconfined: bool = False) -> Narrowed:
    home = work.parent / "home"
    settings = read_settings(workspace=work, home=home, flags=flags, managed=work.parent / "none.json")
    return narrowed(settings, said, flags=flags, workspace=work, home=home, unconfined=unconfined)


class Held:
    """Decides under what files say."""

    def __init__(self, work: Path, *said: AgentPermissions, flags: Flags = NO_FLAGS) -> None:
        found = _narrowed(work, *said, flags=flags)
        self._decider = Decider(found.settings, root=work, home=work.parent / "home")

    def __call__(self, tool: str, **given: object) -> Decision:
        return self._decider.decide(tool, given)

    def effects(self, *commands: str) -> list[str]:
        return [self("bash", command=command).decision.value for command in commands]


def _said(**terms: object) -> AgentPermissions:
    return AgentPermissions(source="run.yaml", **terms)  # type: ignore[arg-type]


def test_without_anything_said_nothing_changes(work: Path) -> None:
    assert Held(work).effects("curl x", "make") == ["allow", "allow"]


def test_no_command_runs_where_the_shell_is_denied_not_even_one_that_a_flag_allows(work: Path) -> None:
    held = Held(work, _said(shell_exec="deny"), flags=Flags(allow=("Bash(make)",)))

    assert held.effects("ls", "make", "curl x") == ["deny", "deny", "deny"]
    assert held("bash", command="ls").reason == "The rule 'shell_exec: deny' of run.yaml denies shell commands."


def test_a_restricted_shell_has_what_is_harmless_and_what_is_listed(work: Path) -> None:
    held = Held(
        work, _said(shell_exec="restricted", shell_allow=("npm test", "pytest *")), flags=Flags(allow=("Bash(make)",))
    )

    assert held.effects("ls", "npm test", "pytest -x", "make") == ["allow"] * 4
    assert held.effects("curl x", "npm test --update", "npm test; curl x") == ["ask"] * 3


def test_an_open_shell_has_every_command_that_no_rule_denies(work: Path) -> None:
    held = Held(work, _said(shell_exec="allow"), flags=Flags(deny=("Bash(rm:*)",)))

    assert held.effects("make all", "rm x") == ["allow", "deny"]


def test_the_strictest_of_several_files_holds_whatever_their_order(work: Path) -> None:
    strict = _said(shell_exec="restricted", file_access="read-only", external_api="deny")
    free = _said(shell_exec="allow", file_access="workspace", external_api="allow")

    for said in ((strict, free), (free, strict)):
        found = _narrowed(work, *said)
        assert Held(work, *said).effects("make") == ["ask"]
        assert (found.hosts, found.opens_network) == ((), False)


def test_no_other_machine_is_reached_where_that_is_denied(work: Path) -> None:
    held = Held(work, _said(external_api="deny"), flags=Flags(allow=("WebFetch(domain:example.com)",)))

    decided = [
        held("web_fetch", url="https://example.com/"),
        held("web_search", query="x"),
        held("mcp__files__read"),
    ]

    assert [each.decision for each in decided] == [Effect.DENY] * 3
    assert decided[0].rule == "external_api: deny"
    assert _narrowed(work, _said(hosts=())).hosts == ()


def test_only_listed_hosts_are_reached_and_they_need_no_other_rule(work: Path) -> None:
    said = _said(hosts=("example.com", "*.example.org"))
    held = Held(work, said)

    urls = ("https://example.com/", "https://a.example.org/", "https://other.org/", "https://x.net/")

    assert [held("web_fetch", url=url).decision.value for url in urls] == ["allow", "allow", "ask", "ask"]
    assert held("web_search", query="x").decision is Effect.ASK
    assert _narrowed(work, said).hosts == ("example.com", "*.example.org")
    assert _narrowed(work, said, _said(hosts=("b.example.org", "x.net"))).hosts == ("b.example.org",)


def test_an_open_network_is_open_unless_a_rule_shuts_a_host(work: Path) -> None:
    assert _narrowed(work, _said(external_api="allow")).opens_network
    shut = _narrowed(work, _said(external_api="allow"), flags=Flags(deny=("WebFetch(domain:evil.com)",)))
    assert (shut.opens_network, len(shut.notes)) == (False, 1)


def test_what_nobody_trusts_restricts_and_grants_nothing(work: Path) -> None:
    said = _said(shell_exec="restricted", shell_allow=("make",), hosts=("x.net", "other.org"), is_granted=False)
    held = Held(work, said)

    assert held.effects("make", "curl x", "ls") == ["ask", "ask", "allow"]
    assert held("web_fetch", url="https://x.net/").decision is Effect.ASK
    assert held("web_fetch", url="https://other.org/").decision is Effect.ALLOW
    assert not _narrowed(work, _said(external_api="allow", is_granted=False)).opens_network


def test_files_are_those_of_the_workspace_and_of_folders_that_the_caller_adds(work: Path, tmp_path: Path) -> None:
    outside = str(tmp_path / "other/x")
    free, held = Held(work), Held(work, _said(file_access="workspace"))

    assert [each("write", file_path=outside).decision.value for each in (free, held)] == ["allow", "ask"]
    assert _narrowed(work, _said(file_access="workspace")).settings.folders == ()
    added = Flags(folders=(tmp_path / "home",))
    assert _narrowed(work, _said(file_access="workspace"), flags=added).settings.folders == (tmp_path / "home",)


def test_the_mode_that_lets_everything_pass_and_a_file_that_restricts_exclude_each_other(work: Path) -> None:
    bypass = Flags(mode=Mode.BYPASS)

    with pytest.raises(UsageError, match=r"run.yaml restricts what agents may do"):
        _narrowed(work, _said(shell_exec="restricted"), flags=bypass)
    assert _narrowed(work, _said(shell_allow=("make",)), flags=bypass).settings.mode is Mode.BYPASS


def test_where_only_managed_rules_allow_a_file_grants_nothing_and_that_is_said(work: Path) -> None:
    managed = work.parent / "managed.json"
    managed.write_text('{"allowManagedPermissionRulesOnly": true}', encoding="utf-8")
    home = work.parent / "home"
    settings = read_settings(workspace=work, home=home, managed=managed)

    found = narrowed(
        settings, [_said(shell_allow=("make",), external_api="allow")], flags=NO_FLAGS, workspace=work, home=home
    )

    assert not found.opens_network
    assert "ignored: only managed rules allow here: allow Bash(make) (run.yaml)" in found.settings.ignored
    assert [rule for rule in found.settings.rules if rule.effect is Effect.ALLOW] == []


def test_without_confinement_it_is_said_that_commands_are_not_held(work: Path) -> None:
    assert "--unconfined" in _narrowed(work, _said(external_api="deny"), unconfined=True).notes[0]
