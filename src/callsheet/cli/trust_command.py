"""`callsheet trust`: which folders are trusted, what that would do, yes, and no longer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from callsheet.cli.streams import quietly, say
from callsheet.views.safe_text import one_line

if TYPE_CHECKING:
    from callsheet.app.trust import FolderTrust, TrustList


@click.command(name="trust", short_help="Lists, gives and revokes trust in a folder's own settings.")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Trust FOLDER without asking; what it would do is shown all the same.")
@click.option("--revoke", is_flag=True, help="Trust FOLDER no longer, and forget what was allowed always in it.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", help="How the answer is printed.")
def trust(folder: Path | None, *, yes: bool, revoke: bool, output: str) -> int:
    """Without FOLDER lists what is trusted, and the rules that were allowed always for a project.

    With it shows what the folder's own files would do, and asks. Trust holds for just this content of those files: once
    it changes you are asked again, and until then a run ignores what they ask for.

    Exit status: 0 trusted (or nothing asks for trust), 5 not trusted, 2 wrong usage.
    """
    from callsheet.cli.boundary import guarded

    if folder is None and (yes or revoke):
        raise click.UsageError("Name the FOLDER (. for this one).")
    if yes and revoke:
        raise click.UsageError("--yes and --revoke say opposite things.")
    if folder is None:
        return guarded(lambda: _list(output))
    if revoke:
        return guarded(lambda: _revoke(folder, output))
    return guarded(lambda: _trust(folder, yes=yes, output=output))


def _list(output: str) -> int:
    from callsheet.app.trust import list_trust

    found = list_trust()
    return _print(list(_listed(found)) if output == "text" else [_json(found.public)])


def _listed(found: TrustList) -> Sequence[str]:
    lines = []
    for each in found.trusted:
        lines.append(f"{one_line(each.folder)}  (trusted {each.at})")
        lines += [f"  {one_line(words)}" for words in each.granted]
    for folder, rules in found.kept:
        lines.append(f"{one_line(folder)}  (allowed always for this project)")
        lines += [f"  {one_line(rule)}" for rule in rules]
    return lines or ["No folder is trusted, and nothing is allowed always."]


def _revoke(folder: Path, output: str) -> int:
    from callsheet.app.trust import revoke_trust

    done = revoke_trust(folder)
    if output == "json":
        return _print([_json({"folder": done.folder, "revoked": done.was_trusted, "rules": done.rules})])
    if not (done.was_trusted or done.rules):
        return _print([f"{one_line(done.folder)} was not trusted."])
    rules = f", and forgot {done.rules} rules that were allowed always" if done.rules else ""
    return _print([f"{one_line(done.folder)} is no longer trusted{rules}."])


def _trust(folder: Path, *, yes: bool, output: str) -> int:
    from callsheet.app.trust import look_at_folder
    from callsheet.cli.status import COMPLETED, NOT_APPROVED

    found = look_at_folder(folder)
    is_trusted = found.is_trusted or not found.question.asked
    if not is_trusted:
        is_trusted = _said_yes(found, yes=yes)
        if is_trusted:
            found.remember()
    if output == "json":
        status = _print([_json({**found.public, "trusted": is_trusted})])
    else:
        status = _print([_state(found, is_trusted), *(f"  {one_line(line)}" for line in found.never)])
    return status or (COMPLETED if is_trusted else NOT_APPROVED)


def _said_yes(found: FolderTrust, *, yes: bool) -> bool:
    from callsheet.cli.trust_prompt import person_at, question_lines

    person = person_at(is_reading=False)
    if yes or person is None:
        say(*question_lines(found.question)[:-1])
        return yes
    return person.trusts(found.question)


def _state(found: FolderTrust, is_trusted: bool) -> str:
    folder = one_line(found.question.folder)
    if not found.question.asked:
        return f"{folder}: nothing in it asks for trust."
    if is_trusted:
        return f"{folder} is trusted: what its files ask for takes effect ({len(found.question.asked)})."
    return f"{folder} is not trusted. Say so with: callsheet trust {folder} --yes"


def _print(lines: list[str]) -> int:
    fault = quietly(sys.stdout, lines)
    if fault is not None:
        say(f"error: the answer could not be written: {fault.strerror}.")
    return 0 if fault is None else 1


def _json(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
