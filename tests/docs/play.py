"""Plays the blocks of a page, in order, in a small git repository with a home of its own."""

from __future__ import annotations

import ast
import configparser
import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import yaml

from callsheet.app.run_config_text import said_of
from callsheet.app.settings_text import choices_of_file
from callsheet.cli.commands import cli
from callsheet.errors import ScriptRefusedError
from callsheet.script.checker import check_script
from callsheet.script.reader import read_script
from tests.docs.pages import ROOT, Block, commands
from tests.surfaces.test_examples import repository

LIMIT_S = 120
ANY = "…"
_META = "export const meta = { name: 'piece', description: 'a piece of a script' }\n"
_SQLITE = """#!{python} -IS
import sqlite3, sys
record = sqlite3.connect(f"file:{{sys.argv[1]}}?mode=ro", uri=True)
for row in record.execute(sys.argv[2]):
    print("|".join("" if cell is None else str(cell) for cell in row))
"""
_FILES = {
    "README.md": "# Parcel\n\nSorts parcels by their weight. Run it with `python src/a.py`.\n",
    "src/a.py": "import sys\n\n\ndef heaviest(parcels):\n    return max(parcels, key=lambda parcel: parcel['kg'])\n",
    "src/b.py": "def total(parcels):\n    return sum(parcel['kg'] for parcel in parcels)\n",
    "tests/test_a.py": "def test_nothing():\n    assert True\n",
}


def add_sqlite(folder: Path) -> None:
    """Adds a program `sqlite3` that reads a record: not every machine has one."""
    program = folder / "sqlite3"
    program.write_text(_SQLITE.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where a page is played: its folder, and the environment of its commands."""

    folder: Path
    environ: dict[str, str]

    def shell(self, script: str) -> tuple[int, str]:
        """Runs a script of the shell; its two streams as one, as at a terminal."""
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-c", script],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
            check=False,
        )
        return done.returncode, done.stdout.decode()


@contextmanager
def open_stage(programs: Path, folder: Path, bytecode: Path) -> Iterator[Stage]:
    """A new repository and a new home. What the page left running is ended."""
    work = folder / "parcel"
    for name, text in _FILES.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text, encoding="utf-8")
    (folder / "home").mkdir()
    repository(work)
    with tempfile.TemporaryDirectory(prefix="docs-") as runtime:
        environ = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            "PYTHONPYCACHEPREFIX": str(bytecode),
            "XDG_RUNTIME_DIR": runtime,
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@example.org",
            "SCRIPTS": str(ROOT / "tests" / "docs" / "scripts"),
        }
        stage = Stage(folder=work, environ=environ)
        yield stage
        if any((Path(runtime) / "callsheet").glob("*.sock")):
            stage.shell(
                "for run in $(callsheet runs --json | grep -o 'run_[0-9A-Z]*'); do callsheet stop $run --now; done"
            )


def play(block: Block, stage: Stage) -> None:
    """Does what a block says; fails where that is not so."""
    match block.kind, block.language:
        case "not run", "bash" | "console":
            _look_at(block)
        case "not run", _:
            _parse(block, stage)
        case _, "sh":
            _look_at(block)
        case _, "bash":
            _run(block, stage)
        case _, "console":
            _compare(block, stage)
        case _, "js":
            _rehearse(block, stage)
        case _, "python":
            _run_python(block, stage)
        case _, "yaml" | "json" | "toml" | "ini":
            _parse(block, stage)
        case _, "sql":
            status, said = stage.shell(f"sqlite3 .callsheet/callsheet.db {shlex.quote(block.text)}")
            assert status == 0 and said, f"{block.place}: {said or 'it finds nothing'}"
        case _, "text":
            pass
        case _:
            raise AssertionError(f"{block.place}: a block of language {block.language!r} is not tested by anything")


def _run(block: Block, stage: Stage) -> None:
    """Each command succeeds, or ends with the status that a comment behind it names."""
    lines = []
    for line in block.text.splitlines():
        if found := re.search(r"\s#.*exit status (\d+)", line):
            lines += [f"{{ {line[: found.start()]}; }} && _s=0 || _s=$?", f"[ $_s -eq {found[1]} ]"]
        else:
            lines.append(line)
    trap = "trap 'echo \"exit status $? of: $BASH_COMMAND\"' ERR; set -eEu -o pipefail\n"
    status, said = stage.shell(trap + "\n".join(lines))
    assert status == 0, f"{block.place}:\n{said}"
    _keep(block, stage)


def _compare(block: Block, stage: Stage) -> None:
    """Runs what stands behind `$ ` and holds what it says against the lines below; `…` is any text, or any lines."""
    mark = f"mark-{secrets.token_hex(8)}"
    script = "".join(f"{each}\necho; echo {mark}\n" for each in commands(block.text))
    _, said = stage.shell(script)
    shown = re.split(r"^\$ .*\n(?:> .*\n)*", block.text, flags=re.MULTILINE)[1:]
    found = said.split(f"\n{mark}\n")
    for command, wanted, got in zip(commands(block.text), shown, found, strict=False):
        assert _agrees(wanted, got), f"{block.place}: $ {command}\nshown:\n{wanted}\nsaid:\n{got}"
    assert len(found) == len(shown) + 1, f"{block.place}:\n{said}"


def _agrees(wanted: str, got: str) -> bool:
    pattern = ""
    for line in wanted.strip("\n").splitlines():
        if line.strip() == ANY:
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(re.escape(part) for part in line.rstrip().split(ANY)) + r"[ ]*\n"
    text = got.strip("\n")
    return re.fullmatch(pattern, text + "\n" if text else "") is not None


def _look_at(block: Block) -> None:
    """Of commands that are not run: there are such commands, and they take such words."""
    text = "\n".join(commands(block.text)) if block.language == "console" else block.text
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"^\s*(?:[A-Z_]+=\S*\s+)*", "", line)
        if line.partition(" ")[0] != "callsheet":
            continue
        words = shlex.split(line, comments=True)[1:]
        for stop in ("|", "&&", ">", "&", ";"):
            words = words[: words.index(stop)] if stop in words else words
        try:
            with cli.make_context("callsheet", words) as above:
                if not (above._protected_args or above.args):
                    continue  # the session, with its options
                name, command, rest = cli.resolve_command(above, [*above._protected_args, *above.args])
                while isinstance(command, click.Group) and rest:
                    with command.make_context(name, rest, parent=above) as group:
                        name, command, rest = command.resolve_command(group, [*group._protected_args, *group.args])
                assert command is not None
                command.make_context(name, rest, parent=above).close()
        except click.exceptions.Exit:
            pass
        except click.ClickException as fault:
            raise AssertionError(f"{block.place}: {line}\n{fault.format_message()}") from None


def _rehearse(block: Block, stage: Stage) -> None:
    """The checker has nothing to say about a script, and a rehearsal of it goes through."""
    is_piece = "export const meta" not in block.text
    path = stage.folder / (block.file or "piece.js")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((_META if is_piece and block.kind != "refused" else "") + block.text, encoding="utf-8")
    findings = _findings(path)
    if block.kind == "refused":
        path.unlink()
        assert any(block.note in each for each in findings), f"{block.place}: {findings}"
        return
    assert is_piece or findings == [], f"{block.place}: {findings}"
    words = block.note if block.kind == "rehearsed with" else ""
    status, said = stage.shell(f"callsheet rehearse {shlex.quote(str(path))} --quiet {words}")
    assert status == 0, f"{block.place}: {said}"
    if block.file is None:
        path.unlink()
    elif is_piece:
        path.write_text(block.text, encoding="utf-8")


def _findings(path: Path) -> list[str]:
    """What the checker says of a script."""
    try:
        script = read_script(path.read_bytes(), origin=str(path), path=str(path))
    except ScriptRefusedError as error:
        return [each.message for each in error.findings]
    return [each.message for each in check_script(script)]


def _run_python(block: Block, stage: Stage) -> None:
    path = stage.folder / (block.file or "piece.py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")
    status, said = stage.shell(f"python {path}")
    if block.file is None:
        path.unlink()
    assert status == 0, f"{block.place}:\n{said}"


def _parse(block: Block, stage: Stage) -> None:
    """Data is what it seems to be; settings and run configs are read by what reads them in a run."""
    match block.language:
        case "yaml":
            if re.search(r"^workflow:", block.text, re.MULTILINE):
                said_of(block.text.encode(), name=block.place)
            else:
                yaml.safe_load(block.text)
        case "toml":
            values = tomllib.loads(block.text)
            if "project" not in values:
                table = "callsheet" if "tool" in values else None
                settings = stage.folder.parent / "settings.toml"
                settings.write_text(block.text, encoding="utf-8")
                choices_of_file(settings, table=table)
        case "json":
            json.loads(block.text)
        case "ini":
            configparser.RawConfigParser(strict=True).read_string(block.text)
        case "python":
            compile(block.text, block.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        case _:
            pass
    _keep(block, stage)


def _keep(block: Block, stage: Stage) -> None:
    """Puts a block that says its file's name there."""
    if block.file is None or block.kind == "not run" or block.language == "bash":
        return
    name = block.file.replace("~", stage.environ["HOME"])
    path = stage.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")
