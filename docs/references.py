"""Writes what the pages say of commands, settings and tables: from the commands, the settings and the record's schema.

    .venv/bin/python docs/references.py

A test holds the pages against what this gives.
"""

from __future__ import annotations

import inspect
import re
import sqlite3
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import click
from pydantic import BaseModel, BeforeValidator

from callsheet.app import restricting, run_config_text, settings_text, shown_settings
from callsheet.app.api import RunOptions
from callsheet.app.choices import KEYS, RANGES, Choices
from callsheet.cli.commands import cli
from callsheet.cli.run_options import RUN_OPTIONS
from callsheet.store.schema import MIGRATIONS

HERE = Path(__file__).resolve().parent
CLI, SETTINGS, RECORD, SECURITY = (HERE / f"{name}.md" for name in ("cli", "settings", "record", "security"))

# --- the command line -------------------------------------------------------------------------------------------------


def cli_page() -> str:
    """The page of all commands."""
    commands = [("callsheet", cli), *_commands(cli, ())]
    index = [f"| [`{name}`](#{name.replace(' ', '-')}) | {_cell(_short(each))} |" for name, each in commands]
    head = (
        "# Commands\n\n<!-- Written by docs/references.py from the commands themselves. Do not edit. -->\n\n"
        "`callsheet COMMAND --help` says the same in a terminal. RUN is a run's id, its beginning, or `last`. "
        "`callsheet /NAME` is `callsheet run NAME`. What exit statuses mean: [errors](errors.md).\n\n"
        "| command | |\n|---|---|\n" + "\n".join(index)
    )
    return "\n\n".join([head, *(_section(name, each) for name, each in commands)]) + "\n"


def _commands(group: click.Group, above: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    with click.Context(group, info_name=" ".join(("callsheet", *above))) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is None or command.hidden:
                continue
            yield " ".join(("callsheet", *above, name)), command
            if isinstance(command, click.Group):
                yield from _commands(command, (*above, name))


def _section(name: str, command: click.Command) -> str:
    with click.Context(command, info_name=name) as context:
        usage = " ".join(command.collect_usage_pieces(context))
        options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    parts = [f"## {name}", f"```text\n{name} {usage}\n```", _paragraphs(command.help or _short(command))]
    shared = _shared()
    if name != "callsheet run" and shared <= {each.name for each in options}:
        options = [each for each in options if each.name not in shared]
        parts.append("It takes all options of [callsheet run](#callsheet-run) besides these:")
    rows = [_row(each) for each in options if not each.hidden and "--help" not in each.opts]
    if rows:
        parts.append("| option | |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts)


def _shared() -> set[str]:
    def nothing() -> None:
        """Takes the options."""

    for option in RUN_OPTIONS:
        option(nothing)
    return {each.name for each in nothing.__click_params__}  # type: ignore[attr-defined]


def _row(option: click.Option) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    if isinstance(option.type, click.Choice):
        metavar = "|".join(map(str, option.type.choices))
    else:
        metavar = "" if option.is_flag else option.metavar or option.type.name.upper()
    again = " Can be given again." if option.multiple and "again" not in (option.help or "") else ""
    return f"| {_code(f'{names} {metavar}'.strip())} | {_cell((option.help or '') + again)} |"


def _short(command: click.Command) -> str:
    return command.get_short_help_str(limit=200)


def _paragraphs(text: str) -> str:
    """Help as Markdown: what is laid out by hand stays as it is."""
    found = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            found.append("```text\n" + paragraph.lstrip("\b").strip("\n") + "\n```")
        else:
            found.append(_escaped(" ".join(paragraph.split())))
    return "\n\n".join(found)


# --- the settings -----------------------------------------------------------------------------------------------------

_FORMS = {
    "_seconds": "seconds, or `90s`, `10m`, `6h`",
    "_size": "bytes, or `512M`, `1G`",
    "_budget": 'output tokens (`2M`), dollars (`"$40"`), both (`"2M $40"`), or `{output_tokens, cost_usd}`',
    "_phase_budgets": "table: phase or glob = budget",
    "_prices": 'table: model or glob = `"IN/OUT"`',
    "_cost_stop": 'dollars, or `"none"`',
    "_pairs": "table: name = name",
    "_worktree": "table: `setup`, `link`",
    "_authoring": "table: `model`, `effort`, `max_output_tokens`, `rounds`, `size`",
}
_TABLES = {
    "agents": "table: name = `{command, description, timeout}` or `{acp, environment, hosts, folders, …}`",
    "mode_routing": "table: phase or label = `fast`, `default` or `{model, effort, speed}`",
    "agent_permissions": "table: `file_access`, `external_api`, `shell_exec`, `shell_allow`",
}
_FLAGS = {
    "cache_warmup": "--no-cache-warmup",
    "phase_budgets": "--phase-budget",
    "prices": "--price",
    "agent_types": "--agent-type",
}
_LATER = {
    "worktree": "after trust",
    "authoring": "less than the defaults; more, and a model, after trust",
    "budget": "a lower one; a higher one after trust",
    "agent_permissions": "what restricts; what it grants after trust",
    "log_file": "in the workspace; elsewhere after trust",
    "rollback_on_failure": "`true`; `false` only where nobody else switched it on",
}


def pages() -> dict[Path, str]:
    """The pages as they are to be."""
    return {
        CLI: cli_page(),
        SETTINGS: _filled(SETTINGS, {"settings": _settings_table(), "run config": _config_table()}),
        SECURITY: _filled(SECURITY, {"commands": _commands_table(), "protected": _protected_table()}),
        RECORD: _filled(RECORD, {"record": _record_table()}),
    }


def _filled(page: Path, tables: dict[str, str]) -> str:
    """A page with its tables between the marks that have their names."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- generated: {name} -->", f"<!-- end of: {name} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"
    return text


def _protected_table() -> str:
    rows = [
        f"| {', '.join(f'`{name}`' for name in each['names'])} | {each['why']} |"
        for each in _data("protected.toml")["protected"]
    ]
    return "| paths | why |\n|---|---|\n" + "\n".join(rows)


def _commands_table() -> str:
    names = sorted({name for each in _data("shell/commands.toml")["command"] for name in each["names"]})
    return ", ".join(f"`{name}`" for name in names if name != "[")


def _data(name: str) -> dict[str, Any]:
    return tomllib.loads((files("callsheet.permissions") / name).read_text(encoding="utf-8"))


_TABLES_ARE = {
    "runs": "a run",
    "agent_runs": "an agent, and how its call ended",
    "events": "an event, as `--output jsonl` has it",
    "agent_messages": "a message of an agent's conversation; `person` is who sent it, where a person did; `opening` is "
    "how a conversation of several calls began, which its later turns keep",
    "tool_calls": "a tool call: its intent before, what became of it after",
    "timers": "a timer of the script that was delivered",
    "checkpoints": "a state of the workspace that was kept",
    "approvals": "an answer about a workflow",
    "spending": "a request to a model: set aside before, booked after",
    "refusals": "a call that no agent stands for",
    "nested_scripts": "what `workflow()` found",
}


def _record_table() -> str:
    record = sqlite3.connect(":memory:")
    for step in MIGRATIONS:
        for statement in step:
            record.execute(statement)
    names = [name for (name,) in record.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid")]
    rows = []
    for name in sorted(names, key=[*_TABLES_ARE].index):
        columns = ", ".join(f"`{column}`" for _, column, *_ in record.execute(f"PRAGMA table_info({name})"))
        rows.append(f"| `{name}` | {_TABLES_ARE[name]} | {columns} |")
    record.close()
    return "| table | a row is | columns |\n|---|---|---|\n" + "\n".join(rows)


def _settings_table() -> str:
    told = _told(RunOptions.__doc__ or "") | {
        key: words for key, words in _told(Choices.__doc__ or "").items() if key not in RunOptions.__annotations__
    }
    flags = {option: option for each in _run_flags() for option in each}
    defaults = shown_settings._defaults()
    rows = []
    for key in KEYS:
        flag = _FLAGS.get(key) or f"--{key.replace('_', '-')}"
        cells = (
            f'<a id="{key}"></a>`{key}`',
            _cell(_meaning(key, told)),
            _form(key),
            _default(defaults.get(key)),
            _code(flag) if flag in flags and key != "worktree" else "–",
            _from_workspace(key),
        )
        rows.append(f"| {' | '.join(cells)} |")
    head = "| key | what it does | value | default | flag | from a workspace's file |\n|---|---|---|---|---|---|\n"
    return head + "\n".join(rows)


def _run_flags() -> list[list[str]]:
    run = cli.get_command(click.Context(cli), "run")
    assert run is not None
    return [each.opts for each in run.params]


_MEANT = {
    "cost_stop": "Dollars at which a run without a budget asks whether it goes on, and headless stops.",
    "service": "Where the models of backend `anthropic` are had.",
    "agents": "Agents that are programs: [command agents](agents.md#steps-that-need-no-model) and "
    "[agents of others](agents.md#agents-of-others). Scripts call them as `agentType`.",
    "models": "Names for models, and their ids; `default` is taken for calls that name none.",
    "type_models": "The model of an agent type, for calls that name none.",
    "mode_routing": "Which calls are served by which model, effort and speed; the first that fits counts.",
    "agent_permissions": "What agents may do, besides the rules. Of several files all hold, the strictest first.",
    "worktree": "What agents' worktrees get: a command that is run once in each, folders that are linked into it.",
    "authoring": "How the model works that [writes scripts](authoring.md#settings).",
    "cache_warmup": "Calls that share the beginning of their prompt let the first go ahead, for the service's cache.",
    "agent_types": "Names of agent types in scripts, and the types that are taken for them.",
    "prices": "What models cost: dollars for a million tokens of input and output.",
    "phase_budgets": "Budgets of phases, by title or glob.",
    "budget": "What the run may spend.",
    "agent_budget": "What each agent may spend at most.",
    "max_wait": "How long the run waits for a service that stays away; 0: not at all.",
    "log_level": "How much goes to `log_file`: what went wrong, all but progress, or all.",
    "log_file": "A file that the run's events go to as well; `{timestamp}` in it is the run's start.",
    "approval_timeout": "How long an agent waits for a person's answer; then it is denied.",
    "notify": "A command that is run when a run has ended or waits for a person.",
    "preflight": "What is done where a name or schema of the script cannot be had.",
    "checkpoint_interval": "The workspace's state is kept every so many agents too; 0: before the run and at its end.",
}


def _meaning(key: str, told: dict[str, str]) -> str:
    return _MEANT.get(key) or told[key]


def _form(key: str) -> str:
    if key in _TABLES:
        return _TABLES[key]
    if key == "agent_budget":
        return "as `budget`"
    field = settings_text._SettingsText.model_fields[key]
    forms = [_FORMS[each.func.__name__] for each in field.metadata if isinstance(each, BeforeValidator)]
    low, high = RANGES.get(key, (None, None))
    between = "" if low is None or key == "memory_limit" else f", {low:,g} to {high:,.0f}"
    return (forms[0] if forms else _plain(field.annotation)) + between


def _plain(annotation: Any) -> str:
    kinds = [each for each in (get_args(annotation) or (annotation,)) if each is not type(None)]
    if kinds == [int]:
        return "whole number"
    if kinds == [bool]:
        return "`true`, `false`"
    if kinds == [str]:
        return "text"
    words = [word for kind in kinds for word in ([kind] if isinstance(kind, str) else _words_of(kind))]
    return ", ".join(f"`{word}`" for word in words)


def _words_of(kind: Any) -> list[str]:
    found = get_args(kind)
    return [word for each in found for word in ([each] if isinstance(each, str) else _words_of(each))]


def _default(value: Any) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return f"`{str(value).lower()}`"
        case float():
            return f"{value:g}"
        case int() if value >= 1024 * 1024:
            return f"{value // (1024 * 1024)}M"
        case _:
            return f"`{value}`" if isinstance(value, str) else str(value)


def _from_workspace(key: str) -> str:
    if key in settings_text._NEVER:
        return "never"
    if key in _LATER:
        return _LATER[key]
    if key in restricting._ACTS:
        return "after trust"
    return "a lower one; a higher one after trust" if key in RANGES and key != "checkpoint_interval" else "yes"


def _config_table() -> str:
    rows = []
    for place, table in run_config_text._TABLES.items():
        if place == ():
            continue
        above = "".join(f"{'PATTERN' if part == '*' else part}." for part in place[1:])
        for name, field in table.model_fields.items():
            kinds = [each for each in get_args(field.annotation) if isinstance(each, type)]
            if any(issubclass(each, BaseModel) for each in kinds):
                continue
            rows.append(f"| `{above}{name}` | {_config_form(name, field)} |")
    return "| key, below `workflow:` | value |\n|---|---|\n" + "\n".join(rows)


_CONFIG_FORMS = {
    "models": "table: `default`, `orchestrator` or an agent type = model",
    "mode_routing": "table: phase or label, as a glob = `fast`, `default` or a table of the next three",
    "external_api": "`deny`, `allow`, or a list of hosts",
    "shell_allow": "list of commands",
    "output_tokens": "whole number, or `2M`",
    "cost_usd": "dollars, or `$40`",
}


def _config_form(name: str, field: Any) -> str:
    if name in _CONFIG_FORMS:
        return _CONFIG_FORMS[name]
    low = next((each.ge for each in field.metadata if hasattr(each, "ge")), None)
    bounds = [each for kind in get_args(field.annotation) for each in getattr(kind, "__metadata__", ())]
    for each in bounds:
        for bound in getattr(each, "metadata", ()):
            low = getattr(bound, "ge", low)
    words = _words_of(field.annotation)
    if words:
        return ", ".join(f"`{word}`" for word in dict.fromkeys(words))
    return "text" if "str" in str(field.annotation) else "whole number"


def _told(docstring: str) -> dict[str, str]:
    """The attributes of a docstring, and what is said of each."""
    _, _, attributes = inspect.cleandoc(docstring).partition("Attributes:\n")
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \S)", "\n" + attributes.rstrip()):
        name, _, words = entry.strip().partition(":")
        for each in name.split(","):
            found[each.strip()] = " ".join(words.split())
    return found


# --- text -------------------------------------------------------------------------------------------------------------


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _cell(text: str) -> str:
    """Text in a cell of a table."""
    return _escaped(" ".join(text.split()))


def _escaped(text: str) -> str:
    """What would be taken for Markdown is shown; what stands in code already stays."""
    parts = text.split("`")
    return "`".join(
        part.replace("|", "\\|") if at % 2 else re.sub(r"([*<|])", r"\\\1", part) for at, part in enumerate(parts)
    )


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
