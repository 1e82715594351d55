"""How the model works that writes scripts: settled of flags, run config and settings, and given to what runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from callsheet.app.choices import AuthoringChoices
from callsheet.authoring.briefing import Size
from callsheet.model.call import Effort
from callsheet.model.dataclass import dataclass
from callsheet.model.policy import ORCHESTRATOR, Route

if TYPE_CHECKING:
    from callsheet.agents.answer import AnswerTerms
    from callsheet.app.settings import Resolved
    from callsheet.model.call import AgentTask
    from callsheet.model.values import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoringTerms:
    """What holds for the model that writes scripts: as `AuthoringChoices`, all of it settled.

    Attributes:
        speed: None for what the service does unasked.
    """

    model: str = "opus"
    effort: Effort = "xhigh"
    max_output_tokens: int = 64_000
    rounds: int = 4
    size: Size = "medium"
    speed: Literal["fast", "standard"] | None = None

    @property
    def args(self) -> dict[str, JsonValue]:
        """For the script in which it works; on record with it, so that a run that goes on has the same."""
        return {
            "model": self.model,
            "effort": self.effort,
            "max_output_tokens": self.max_output_tokens,
            "rounds": self.rounds,
            "size": self.size,
            **({} if self.speed is None else {"speed": self.speed}),
        }


AUTHORING_DEFAULTS = AuthoringTerms()


def authoring_terms(resolved: Resolved, said: AuthoringChoices | None = None) -> AuthoringTerms:
    """What holds: what is said now, above what names `orchestrator`, above `[authoring]`, above the defaults.

    Args:
        resolved: The settings of the run in which it writes.
        said: By flags, or in a session.
    """
    said, settings, plain = said or AuthoringChoices(), resolved.authoring, AUTHORING_DEFAULTS
    routes = [route for route in resolved.run.mode_routing if route.pattern == ORCHESTRATOR]
    routed = routes[0] if routes else Route(pattern=ORCHESTRATOR)
    named = resolved.run.type_models.get(ORCHESTRATOR) or routed.model

    def settled(name: str) -> Any:
        for each in (said, settings):
            if (value := getattr(each, name)) is not None:
                return value
        return getattr(plain, name)

    return AuthoringTerms(
        model=said.model or named or settings.model or plain.model,
        effort=said.effort or routed.effort or settings.effort or plain.effort,
        max_output_tokens=settled("max_output_tokens"),
        rounds=settled("rounds"),
        size=settled("size"),
        speed=routed.speed,
    )


def answers_of(args: object) -> Callable[[AgentTask], AnswerTerms]:
    """How answers are taken of the agents that a script of ours calls itself; nested scripts' are as everybody's.

    Args:
        args: The run's, with `AuthoringTerms.args` among them.
    """
    from callsheet.agents.answer import AnswerTerms

    usual = AnswerTerms()
    given = args if isinstance(args, dict) else {}
    rounds, tokens = given.get("rounds"), given.get("max_output_tokens")
    own = AnswerTerms(
        attempts=rounds + 1 if isinstance(rounds, int) else usual.attempts,
        reply_tokens=tokens if isinstance(tokens, int) else None,
    )
    return lambda task: own if task.workflow is None else usual
