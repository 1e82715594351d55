"""The flags that say what agents may do; the same for `run` and `permissions explain`."""

from __future__ import annotations

from pathlib import Path

import click

PERMISSION_OPTIONS = (
    click.option(
        "--permission-mode",
        metavar="MODE",
        help="What agents may do where no rule says anything: acceptEdits, plan (read only), ask, or bypass "
        "(everything that no rule denies; only had with this flag).  [default: acceptEdits]",
    ),
    click.option(
        "--allow", multiple=True, metavar="RULE", help="Allow, as in .claude/settings.json: 'Bash(npm test:*)'."
    ),
    click.option("--deny", multiple=True, metavar="RULE", help="Deny; beats every rule that allows."),
    click.option("--add-dir", multiple=True, type=click.Path(path_type=Path), help="A further folder to work in."),
    click.option("--trust", is_flag=True, help="What the workspace's own files ask for takes effect, this once."),
    click.option("--unconfined", is_flag=True, help="Commands need no confinement: this machine is the boundary."),
    click.option("--ignore-hooks", is_flag=True, help="Run although PreToolUse hooks are declared; they are not run."),
    click.option(
        "--config-from",
        metavar="REF",
        help="Take configuration, memory and the workflow from a git ref, not from the working tree.",
    ),
)
