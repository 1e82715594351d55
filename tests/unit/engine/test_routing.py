"""What settings make of a call: the model, effort and speed that serve it, and how its agent is held."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from callsheet.engine.admission import Admission, Asked
from callsheet.model.call import AgentType, Scope
from callsheet.model.policy import AgentPermissions, Route
from callsheet.model.run import RunSettings
from callsheet.model.sandbox import AgentCalled
from callsheet.model.values import JsonValue
from tests.support.fake_library import FakeLibrary

EXPLORE = AgentType(name="Explore", description="reads", model="opus", read_only=True)


class LookedAt(tuple[str, ...]):
    """Backends that know who was looked for: after a name that is none of ours all installed packages are asked."""

    names: ClassVar[list[object]] = []

    def __contains__(self, name: object) -> bool:
        self.names.append(name)
        return super().__contains__(name)


def _asked(root: Path, options: dict[str, JsonValue], *, phase: str | None = None, **settings: object) -> Asked:
    library = FakeLibrary(agent_types=(EXPLORE,))
    admission = Admission(
        workspace=str(root),
        settings=RunSettings(backend="fake", **settings),  # type: ignore[arg-type]
        backends=LookedAt(("fake",)),
        library=library,
        check_schema=lambda _: None,
    )
    return admission.judge(
        AgentCalled(
            context=0,
            call=1,
            prompt="do it",
            prompt_type="string",
            options=options,
            options_fault=None,
            unknown_options=(),
            phase=phase,
            line=None,
        )
    )


def test_of_a_call_that_names_no_backend_the_runs_own_alone_is_looked_for(tmp_path: Path) -> None:
    LookedAt.names.clear()

    _asked(tmp_path, {"label": "x"})

    assert LookedAt.names == ["fake"]


def test_a_route_counts_above_what_the_call_asks_and_its_agent_type_says(tmp_path: Path) -> None:
    routes = (Route(pattern="verify:*", model="haiku", effort="low", speed="standard"),)

    asked = _asked(
        tmp_path,
        {"label": "verify:1", "model": "opus", "effort": "max", "speed": "fast", "agentType": "Explore"},
        mode_routing=routes,
    )

    assert (asked.model, asked.effort, asked.options.speed) == ("haiku", "low", "standard")


def test_a_route_means_a_phase_too_and_leaves_what_it_does_not_say(tmp_path: Path) -> None:
    asked = _asked(
        tmp_path, {"label": "x", "model": "opus"}, phase="codegen", mode_routing=(Route(pattern="code*", speed="fast"),)
    )

    assert (asked.model, asked.effort, asked.options.speed) == ("opus", None, "fast")


def test_a_pattern_with_brackets_means_itself_first(tmp_path: Path) -> None:
    asked = _asked(tmp_path, {"label": "step [1]"}, mode_routing=(Route(pattern="step [1]", model="haiku"),))

    assert asked.model == "haiku"


def test_nothing_is_called_orchestrator_in_a_run(tmp_path: Path) -> None:
    asked = _asked(tmp_path, {"label": "orchestrator"}, mode_routing=(Route(pattern="orchestrator", model="haiku"),))

    assert asked.model is None


def test_the_model_of_an_agent_type_counts_below_the_call_and_above_what_its_file_says(tmp_path: Path) -> None:
    models = {"explore": "haiku", "orchestrator": "opus"}

    calls: tuple[dict[str, JsonValue], ...] = ({"agentType": "Explore"}, {"agentType": "Explore", "model": "fable"}, {})
    asked = [_asked(tmp_path, options, type_models=models, model="sonnet").model for options in calls]

    assert asked == ["haiku", "fable", "sonnet"]


def _held(root: Path, access: str, options: dict[str, JsonValue]) -> tuple[bool, Scope | None]:
    said = AgentPermissions(source="x", file_access=access)  # type: ignore[arg-type]
    asked = _asked(root, options, agent_permissions=(AgentPermissions(source="y", file_access="workspace"), said))
    return asked.agent_type.read_only, asked.options.scope


def test_read_only_makes_every_agent_one_that_changes_nothing(tmp_path: Path) -> None:
    assert _held(tmp_path, "read-only", {"scope": ["a/**"]}) == (True, Scope(read=("a/**",), write=("a/**",)))
    assert _held(tmp_path, "workspace", {}) == (False, None)


def test_scoped_lets_an_agent_change_its_declared_scope_and_nothing_without_one(tmp_path: Path) -> None:
    assert _held(tmp_path, "scoped", {}) == (True, None)
    assert _held(tmp_path, "scoped", {"scope": {"write": ["a/**"]}}) == (False, Scope(write=("a/**",)))
    assert _held(tmp_path, "scoped", {"scope": {"read": ["a/**"]}}) == (False, Scope(read=("a/**",), write=("a/**",)))
