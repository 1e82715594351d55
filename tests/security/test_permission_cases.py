"""Every row of `permission_cases`: what agents may do, and above all what they may not."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.security.workspaces import make_decider, make_workspace

_CASES = Path(__file__).with_name("permission_cases")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    tool: str
    given: dict[str, Any]
    expect: str
    reason: str = ""
    mode: str = "acceptEdits"
    confined: bool = False
    rules: dict[str, tuple[str, ...]]
    broken: bool = False


def _cases(path: Path) -> list[_Case]:
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    found = []
    for group in (*data.get("group", ()), *data.get("call", ())):
        calls = [("bash", {"command": command}) for command in group.get("commands", ())]
        for tool, given in (*calls, *group.get("calls", ())):
            found.append(
                _Case(
                    tool=tool,
                    given=given,
                    expect=group.get("expect", data.get("expect")),
                    reason=group.get("reason", ""),
                    mode=group.get("mode", "acceptEdits"),
                    confined=group.get("confined", False),
                    rules={effect: tuple(group.get(effect, ())) for effect in ("allow", "ask", "deny")},
                    broken=group.get("broken", False),
                )
            )
    return found


_FILES = sorted(_CASES.glob("*.toml"))
_ALL = {f"{path.stem}-{n}-{case.given}": case for path in _FILES for n, case in enumerate(_cases(path))}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("cases"))


@pytest.mark.parametrize("case", _ALL.values(), ids=list(_ALL))
def test_a_tool_call_gets_the_decision_of_its_row(root: Path, case: _Case) -> None:
    decider = make_decider(root, mode=case.mode, broken=case.broken, **case.rules)

    decision = decider.decide(case.tool, case.given)

    assert (decision.decision.value, decision.needs_confinement) == (case.expect, case.confined), decision
    assert case.reason in decision.reason
    assert decision.reason.strip()


def test_there_are_enough_rows_of_each_kind() -> None:
    allowed = [case for case in _ALL.values() if case.expect == "allow" and case.mode != "bypass"]

    assert len(_ALL) >= 200
    assert len(allowed) >= 60
