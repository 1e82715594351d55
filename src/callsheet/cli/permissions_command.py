"""`callsheet permissions`: what would be allowed here, and why. Nothing is run."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callsheet.cli.permission_options import PERMISSION_OPTIONS
from callsheet.cli.streams import say
from callsheet.views.safe_text import visible

if TYPE_CHECKING:
    from callsheet.app.permissions import Explainer


def _permission_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(PERMISSION_OPTIONS):
        command = option(command)
    return command


@click.group(name="permissions")
def permissions() -> None:
    """What agents may do here."""


@permissions.command(name="explain")
@click.argument("tool", required=False)
@click.argument("given", metavar="JSON", required=False)
@click.option("--stdin", "from_stdin", is_flag=True, help='Read lines {"tool", "input"} and answer each.')
@click.option("--output", type=click.Choice(["text", "json", "jsonl"]), default="text", help="How answers are printed.")
@click.option("--workspace", type=click.Path(path_type=Path), help="The workspace, if not the one around this folder.")
@_permission_options
def explain(
    tool: str | None,
    given: str | None,
    *,
    from_stdin: bool,
    output: str,
    workspace: Path | None,
    **flags: Any,
) -> None:
    """Print the decision about TOOL with the input JSON in this folder: allow, ask or deny, the reason and the rule.

    TOOL is one of bash, read, write, edit, glob, grep, web_fetch, web_search, agent, skill,
    mcp__server__tool.
    """
    from callsheet.cli.boundary import guarded

    if from_stdin == (tool is not None):
        raise click.UsageError("Give TOOL and JSON, or --stdin.")
    asked = None if tool is None else (tool, _input(given or "{}"))
    click.get_current_context().exit(guarded(lambda: _explain(asked, flags, output=output, workspace=workspace)))


def _explain(
    asked: tuple[str, dict[str, object]] | None, flags: dict[str, Any], *, output: str, workspace: Path | None
) -> int:
    import anyio

    from callsheet.app.permissions import open_explainer
    from callsheet.app.plan import Surroundings
    from callsheet.cli.order import permission_choices

    async def explained() -> None:
        async with open_explainer(permission_choices(flags), Surroundings(), workspace=workspace) as explainer:
            say(*(visible(line) for line in explainer.notes))
            if asked is not None:
                _print(explainer, *asked, output)
                return
            lines = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="replace")
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    click.echo(_answer(explainer, line, number))

    anyio.run(explained)
    return 0


def _answer(explainer: Explainer, line: str, number: int) -> str:
    """One line of JSON for one line of JSON."""
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        asked = None
    if (
        not isinstance(asked, dict)
        or not isinstance(asked.get("tool"), str)
        or not isinstance(asked.get("input"), dict)
    ):
        reason = f'Line {number} is not of the form {{"tool": "bash", "input": {{…}}}}.'
        return json.dumps(
            {"decision": "deny", "reason": reason, "rule": "bad line", "source": None}, ensure_ascii=False
        )
    return json.dumps(explainer.explain(asked["tool"], asked["input"]), ensure_ascii=False)


def _input(text: str) -> dict[str, object]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"JSON cannot be read: {error}.") from None
    if not isinstance(given, dict):
        raise click.UsageError('JSON must be an object, such as \'{"command": "npm test"}\'.')
    return given


def _print(explainer: Explainer, tool: str, given: dict[str, object], output: str) -> None:
    answer = explainer.explain(tool, given)
    if output != "text":
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2 if output == "json" else None))
        return
    click.echo(f"{answer['decision']}: {answer['reason']}")
    source = answer["source"]
    click.echo(f"rule: {answer['rule']}" + (f" ({source})" if source is not None else ""))
    if answer["needs_confinement"]:
        click.echo("only confined: it may run files of the workspace")
    suggestions = answer["suggestions"]
    if isinstance(suggestions, list):
        for suggestion in suggestions:
            click.echo(f"would be allowed by: {suggestion}")
