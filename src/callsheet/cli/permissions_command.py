"""`callsheet permissions`: what would be allowed here, and why. Nothing is run."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from callsheet.app.permissions import Explainer

_MODES = ("acceptEdits", "plan", "ask", "bypass")


@click.group(name="permissions")
def permissions() -> None:
    """What agents may do here."""


@permissions.command(name="explain")
@click.argument("tool", required=False)
@click.argument("given", metavar="JSON", required=False)
@click.option("--stdin", "from_stdin", is_flag=True, help='Read lines {"tool", "input"} and answer each.')
@click.option("--output", type=click.Choice(["text", "json", "jsonl"]), default="text", help="How answers are printed.")
@click.option("--workspace", type=click.Path(path_type=Path), help="The workspace, if not the one around this folder.")
@click.option(
    "--permission-mode", "mode", type=click.Choice(_MODES), help="What is accepted where no rule says anything."
)
@click.option("--allow", multiple=True, metavar="RULE", help="A rule that allows, as in .claude/settings.json.")
@click.option("--deny", multiple=True, metavar="RULE", help="A rule that denies.")
@click.option(
    "--add-dir", "folders", multiple=True, type=click.Path(path_type=Path), help="A further folder to work in."
)
@click.option("--trust", is_flag=True, help="Take the workspace's own settings as they are.")
def explain(
    tool: str | None,
    given: str | None,
    *,
    from_stdin: bool,
    output: str,
    workspace: Path | None,
    mode: str | None,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    folders: tuple[Path, ...],
    trust: bool,
) -> None:
    """Print the decision about TOOL with the input JSON in this folder: allow, ask or deny, the reason and the rule.

    TOOL is one of bash, read, write, edit, glob, grep, web_fetch, web_search, agent, mcp__server__tool.
    """
    from callsheet.app.permissions import open_explainer
    from callsheet.errors import CallsheetError
    from callsheet.permissions.modes import mode_named
    from callsheet.permissions.sources import Flags

    if from_stdin == (tool is not None):
        raise click.UsageError("Give TOOL and JSON, or --stdin.")
    flags = Flags(
        mode=mode_named(mode) if mode is not None else None,
        allow=allow,
        deny=deny,
        folders=tuple(folder.resolve() for folder in folders),
        trust=trust,
    )
    folder = Path.cwd()
    root = workspace if workspace is not None else _workspace_of(folder)
    try:
        explainer = open_explainer(workspace=root, folder=folder if workspace is None else root, flags=flags)
    except CallsheetError as error:
        raise click.UsageError(error.message) from None
    for line in (*explainer.settings.ignored, *(fault.message for fault in explainer.settings.faults)):
        click.echo(line, err=True)
    if from_stdin:
        lines = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="replace")
        for number, line in enumerate(lines, start=1):
            if line.strip():
                click.echo(_answer(explainer, line, number))
        return
    assert tool is not None
    _print(explainer, tool, _input(given or "{}"), output)


def _workspace_of(folder: Path) -> Path:
    from callsheet.workspace.root import find_workspace

    return find_workspace(folder).root


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
