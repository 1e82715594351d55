"""Which files' rules hold, in which order, and what a workspace may not grant itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from callsheet.errors import ConfigError, UsageError
from callsheet.permissions.decide import Decider
from callsheet.permissions.modes import Mode
from callsheet.permissions.rules import Effect
from callsheet.permissions.sources import Flags, Kept, PermissionSettings, read_settings


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def _read(folder: Path, flags: Flags | None = None) -> PermissionSettings:
    (folder / "work").mkdir(exist_ok=True)
    return read_settings(
        workspace=folder / "work", home=folder / "home", flags=flags, managed=folder / "managed-settings.json"
    )


def _project(folder: Path, **permissions: Any) -> None:
    _write(folder / "work/.claude/settings.json", {"permissions": permissions})


def _user(folder: Path, **permissions: Any) -> None:
    _write(folder / "home/.claude/settings.json", {"permissions": permissions})


def test_without_any_file_edits_are_accepted_and_there_are_no_rules(tmp_path: Path) -> None:
    found = _read(tmp_path)

    assert (found.mode, found.rules, found.ignored, found.faults) == (Mode.ACCEPT_EDITS, (), (), ())


def test_a_workspace_restricts_at_once_and_grants_nothing_until_trusted(tmp_path: Path) -> None:
    _project(
        tmp_path,
        allow=["Bash(curl:*)"],
        ask=["Bash(git push:*)"],
        deny=["Read(.env)"],
        defaultMode="bypassPermissions",
        additionalDirectories=["../other"],
    )

    found = _read(tmp_path)

    assert [rule.text for rule in found.rules] == ["Read(.env)", "Bash(git push:*)"]
    assert (found.mode, found.folders) == (Mode.ACCEPT_EDITS, ())
    assert [line.split(" (")[0] for line in found.ignored] == [
        "ignored until trusted: allow Bash(curl:*)",
        "ignored until trusted: additional directory ../other",
        "ignored: mode bypass; it is only had with --permission-mode bypass",
    ]


def test_a_trusted_workspace_grants_what_it_says_but_never_the_mode_bypass(tmp_path: Path) -> None:
    _project(tmp_path, allow=["Bash(curl:*)"], defaultMode="bypassPermissions", additionalDirectories=["../other"])

    found = _read(tmp_path, Flags(trust=True))

    assert (found.mode, len(found.rules), len(found.folders)) == (Mode.ACCEPT_EDITS, 1, 1)
    assert ["bypass" in line for line in found.ignored] == [True]


def test_a_workspace_may_not_free_the_mode_that_the_user_set_until_trusted(tmp_path: Path) -> None:
    _user(tmp_path, defaultMode="plan")
    _project(tmp_path, defaultMode="acceptEdits")

    assert _read(tmp_path).mode is Mode.PLAN
    assert [each.short for each in _read(tmp_path).asked] == ["mode acceptEdits"]
    assert _read(tmp_path, Flags(trust=True)).mode is Mode.ACCEPT_EDITS


def test_what_the_workspace_asks_for_is_said_in_words_whether_trusted_or_not(tmp_path: Path) -> None:
    _project(tmp_path, allow=["Bash(curl:*)"], additionalDirectories=["../other"])

    for flags in (Flags(), Flags(trust=True)):
        assert [each.words for each in _read(tmp_path, flags).asked] == [
            "let agents use Bash(curl:*) without asking",
            "let agents read and edit files in ../other",
        ]


def test_settings_behind_a_link_out_of_the_workspace_restrict_and_never_grant(tmp_path: Path) -> None:
    _write(tmp_path / "elsewhere/settings.json", {"permissions": {"allow": ["Bash"], "deny": ["WebSearch"]}})
    (tmp_path / "work").mkdir()
    (tmp_path / "work/.claude").symlink_to(tmp_path / "elsewhere")

    found = _read(tmp_path, Flags(trust=True))

    assert [rule.text for rule in found.rules] == ["WebSearch"]
    assert "link out of the workspace" in found.ignored[0]


def test_a_settings_file_that_is_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "work/.claude").mkdir(parents=True)
    os.mkfifo(tmp_path / "work/.claude/settings.json")

    with pytest.raises(ConfigError, match="no regular file"):
        _read(tmp_path)


def test_what_was_allowed_for_this_project_allows_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    found = read_settings(
        workspace=tmp_path / "work",
        home=tmp_path / "home",
        kept=Kept(rules=("Bash(npm test:*)",), name="grants.json"),
        managed=tmp_path / "none",
    )

    assert [(rule.text, rule.origin.name) for rule in found.rules] == [("Bash(npm test:*)", "grants.json")]


def test_local_settings_inside_the_workspace_are_not_trusted_either(tmp_path: Path) -> None:
    _write(tmp_path / "work/.claude/settings.local.json", {"permissions": {"allow": ["Bash"]}})

    assert _read(tmp_path).rules == ()


def test_a_workspace_may_make_the_mode_stricter_but_a_flag_decides(tmp_path: Path) -> None:
    _project(tmp_path, defaultMode="plan")

    assert _read(tmp_path).mode is Mode.PLAN
    assert _read(tmp_path, Flags(mode=Mode.ACCEPT_EDITS)).mode is Mode.ACCEPT_EDITS


def test_a_mode_of_managed_settings_beats_flag_and_user(tmp_path: Path) -> None:
    _write(tmp_path / "managed-settings.json", {"permissions": {"defaultMode": "plan"}})
    _user(tmp_path, defaultMode="acceptEdits")

    assert _read(tmp_path, Flags(mode=Mode.ACCEPT_EDITS)).mode is Mode.PLAN


def test_bypass_can_be_switched_off(tmp_path: Path) -> None:
    _write(tmp_path / "managed-settings.json", {"permissions": {"disableBypassPermissionsMode": "disable"}})

    with pytest.raises(UsageError, match="managed-settings"):
        _read(tmp_path, Flags(mode=Mode.BYPASS))


def test_where_only_managed_rules_allow_others_still_deny(tmp_path: Path) -> None:
    _write(
        tmp_path / "managed-settings.json",
        {"allowManagedPermissionRulesOnly": True, "permissions": {"allow": ["Bash(make)"]}},
    )
    _user(tmp_path, allow=["Bash(curl:*)"], deny=["WebSearch"])

    found = _read(tmp_path, Flags(allow=("Bash(npm test)",)))

    assert [rule.text for rule in found.rules] == ["Bash(make)", "WebSearch"]
    assert len(found.ignored) == 2


def test_a_deny_rule_of_any_file_beats_an_allow_rule_of_every_other(tmp_path: Path) -> None:
    _write(tmp_path / "managed-settings.json", {"permissions": {"allow": ["Bash(curl:*)"]}})
    _project(tmp_path, deny=["Bash(curl:*)"])
    settings = _read(tmp_path, Flags(allow=("Bash(curl:*)",), trust=True))

    decision = Decider(settings, root=tmp_path / "work", home=tmp_path).decide("bash", {"command": "curl x"})

    assert decision.decision == "deny"
    assert decision.source == str(tmp_path / "work/.claude/settings.json")


@pytest.mark.parametrize("text", ["{", "[]", '{"permissions": {"deny": "x"}}', '{"permissions": 3}', "\0"])
def test_a_settings_file_that_cannot_be_read_stops_the_run_by_name(tmp_path: Path, text: str) -> None:
    _write(tmp_path / "work/.claude/settings.json", text)

    with pytest.raises(ConfigError, match=r"settings\.json"):
        _read(tmp_path)


def test_broken_rules_are_told_with_file_and_text_and_a_broken_denial_denies(tmp_path: Path) -> None:
    _user(tmp_path, allow=["Bash(x", 3], deny=["Read(a"], ask=["WebFetch(example.com)"])

    found = _read(tmp_path)

    assert [(rule.effect.value, rule.family.value) for rule in found.rules] == [("deny", "read"), ("ask", "web_fetch")]
    assert len(found.faults) == 4
    assert all("home/.claude/settings.json" in fault.message and fault.text in fault.message for fault in found.faults)


def test_a_broken_rule_of_a_flag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--deny 'Bash.x': .*cannot be read"):
        _read(tmp_path, Flags(deny=("Bash(x",)))


def test_a_flags_rule_for_a_tool_that_is_not_there_names_the_flag_and_the_nearest_tool(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--allow 'Bsh\(x\)': there is no tool Bsh. Did you mean Bash\?"):
        _read(tmp_path, Flags(allow=("Bsh(x)",)))


def test_a_rule_for_a_tool_that_is_not_here_is_told(tmp_path: Path) -> None:
    _user(tmp_path, allow=["TodoWrite"])

    found = _read(tmp_path)

    assert "no tool TodoWrite" in found.faults[0].message


def test_hooks_before_tools_are_told(tmp_path: Path) -> None:
    _write(tmp_path / "work/.claude/settings.json", {"hooks": {"PreToolUse": [{"hooks": []}]}})

    assert _read(tmp_path).hooks == (str(tmp_path / "work/.claude/settings.json"),)


def test_an_added_folder_may_be_read_and_edited(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    settings = _read(tmp_path, Flags(folders=(tmp_path / "other",)))
    decider = Decider(settings, root=tmp_path / "work", home=tmp_path)

    assert decider.decide("write", {"file_path": str(tmp_path / "other/x")}).decision == "allow"
    assert decider.decide("bash", {"command": "touch ../other/x"}).decision == "allow"
    assert decider.decide("write", {"file_path": str(tmp_path / "other/.git/config")}).decision == "ask"
    assert decider.decide("write", {"file_path": str(tmp_path / "others/x")}).decision == "ask"


def test_a_rule_from_the_users_file_is_relative_to_the_users_folder(tmp_path: Path) -> None:
    _user(tmp_path, allow=["Read(/notes/**)", "Read(~/todo.md)"])
    decider = Decider(_read(tmp_path), root=tmp_path / "work", home=tmp_path / "home")

    assert decider.decide("read", {"file_path": str(tmp_path / "home/.claude/notes/a")}).decision == "allow"
    assert decider.decide("read", {"file_path": str(tmp_path / "home/todo.md")}).decision == "allow"
    assert decider.decide("read", {"file_path": str(tmp_path / "home/notes/a")}).decision == "ask"


def test_where_only_managed_rules_allow_no_rule_is_offered_that_a_person_could_grant(tmp_path: Path) -> None:
    _write(tmp_path / "managed-settings.json", {"allowManagedPermissionRulesOnly": True})
    (tmp_path / "work").mkdir(exist_ok=True)
    held = Decider(_read(tmp_path), root=tmp_path / "work", home=tmp_path / "home").decide(
        "bash", {"command": "make x"}
    )
    assert (held.decision, held.suggestions) == (Effect.ASK, ())
    (tmp_path / "managed-settings.json").unlink()
    free = Decider(_read(tmp_path), root=tmp_path / "work", home=tmp_path / "home").decide(
        "bash", {"command": "make x"}
    )
    assert free.suggestions
