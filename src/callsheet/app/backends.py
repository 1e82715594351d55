"""Who answers: the backend that was asked for, or the one that can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from callsheet.agents.services import access
from callsheet.app.settings import near
from callsheet.app.source import expanded
from callsheet.errors import ConfigError, InsideRunError
from callsheet.model.call import ACP_BACKENDS, ServiceName
from callsheet.model.dataclass import dataclass
from callsheet.shell.environment import INSIDE_RUN
from callsheet.views.safe_text import one_line

BackendName = Literal["anthropic", "claude_code", "offline", "scripted"]
BACKENDS: tuple[BackendName, ...] = ("anthropic", "claude_code", "offline", "scripted")

HOW_TO_USE_A_MODEL = "Set ANTHROPIC_API_KEY to use a model"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendChoice:
    """Who will answer.

    Attributes:
        name: One of `BACKENDS`, `acp:NAME`, or what an installed package registers.
        file: The answers of the scripted backend.
        note: One line for people, where nobody chose; None where somebody did.
    """

    name: str
    file: Path | None = None
    note: str | None = None


def choose_backend(
    asked: str | None,
    *,
    service: ServiceName = "anthropic",
    environ: Mapping[str, str],
    start: Path,
    workspace: Path | None = None,
    acp: Sequence[str] = (),
) -> BackendChoice:
    """The backend that was asked for; without a wish the model, and without a credential the offline stand-in.

    Args:
        asked: `anthropic`, `claude_code`, `offline`, `scripted:FILE`, `acp:NAME`, what an installed package registers,
            or None.
        service: Where models are had. Whoever names another than Anthropic's wants the model.
        environ: Where credentials and `CI` are looked for.
        start: The folder that an answers file is relative to.
        workspace: No program in it is taken for one of the user's.
        acp: Names of the agents of settings that speak the Agent Client Protocol.

    Raises:
        ConfigError: No such backend, or Claude Code is not installed; the service certainly cannot be used; or no
            credential under `CI=true`, where an invented answer must not pass for one.
    """
    choice = _asked_backend(asked, start, acp) if asked is not None else None
    if choice is None and service != "anthropic":
        choice = BackendChoice(name="anthropic")
    if choice is not None:
        if choice.name == "anthropic" and (missing := access(service, environ).missing) is not None:
            raise ConfigError(f"service {service}: {missing}")
        if choice.name == "claude_code":
            from callsheet.agents.claude_code.installed import find_program, require_version

            require_version(find_program(environ, outside=() if workspace is None else (workspace,)), environ)
        return choice
    from callsheet.agents.credentials import has_credentials

    if has_credentials(environ):
        return BackendChoice(name="anthropic")
    if environ.get("CI", "").lower() in {"true", "1", "yes"}:
        raise ConfigError(
            "no credential for a model was found, and under CI nothing is invented in its place. "
            f"{HOW_TO_USE_A_MODEL}, or say who is to answer: --backend offline or --backend scripted:FILE."
        )
    from callsheet.agents.claude_code.installed import is_installed

    plan = ", or --backend claude_code with the login of Claude Code" if is_installed() else ""
    note = f"no credential for a model was found: the offline agent answers, by rule. {HOW_TO_USE_A_MODEL}{plan}."
    return BackendChoice(name="offline", note=note)


def check_outside_runs(choice: BackendChoice, environ: Mapping[str, str]) -> None:
    """Sees that no agent has started what asks for a run, unless a file answers: that costs and starts nothing.

    Args:
        choice: Who would answer.
        environ: Where the mark is looked for that agents' programs carry.

    Raises:
        InsideRunError: An agent has.
    """
    run_id = one_line(environ.get(INSIDE_RUN, ""), 60)
    if not run_id or choice.name == "scripted":
        return
    raise InsideRunError(
        f"an agent of {run_id} has started this ({INSIDE_RUN} says so), and what agents start can start no agents: no "
        "budget of that run would count them. Its script can, with agent() or workflow(). From here answers of a file "
        "can be had (--backend scripted:FILE), rehearsals, and all that only reads.",
        run_id=run_id,
    )


def _asked_backend(asked: str, start: Path, acp: Sequence[str]) -> BackendChoice:
    name, colon, file = asked.partition(":")
    if name == "scripted":
        if not file:
            raise ConfigError("the scripted backend needs its answers: --backend scripted:FILE.json.")
        return BackendChoice(name="scripted", file=start / expanded(file))
    if name == ACP_BACKENDS.removesuffix(":") and colon:
        if file not in acp:
            there_are = f"Declared are {', '.join(acp)}." if acp else "None is declared."
            raise ConfigError(
                f"there is no agent {file!r} that speaks the Agent Client Protocol: declare its program in settings, "
                f'[agents.NAME] acp = ["PROGRAM", …]. {there_are}'
            )
        return BackendChoice(name=asked)
    if name not in BACKENDS or colon:
        from callsheet.agents.registered import registered_backends

        if asked not in registered_backends():
            known = (
                *BACKENDS[:-1],
                "scripted:FILE",
                *(f"{ACP_BACKENDS}{each}" for each in acp or ("NAME",)),
                *registered_backends(),
            )
            raise ConfigError(f"there is no backend {asked!r}. {near(name, known)}")
        return BackendChoice(name=asked)
    return BackendChoice(name=name)
