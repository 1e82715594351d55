"""What may run, against what bash runs; and that no way of writing lifts a denial."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callsheet.permissions.decide import Decider
from callsheet.permissions.rules import Effect
from tests.security.workspaces import make_decider, make_workspace

_CASES = Path(__file__).parents[1] / "security" / "permission_cases" / "ordinary.toml"
_ORDINARY = [
    command
    for group in tomllib.loads(_CASES.read_text(encoding="utf-8"))["group"]
    if "mode" not in group and not any(word in str(group) for word in ("nohup",))
    for command in group["commands"]
    if "sleep" not in command and "/dev/" not in command
]
_SEEDS = [
    *_ORDINARY,
    "npm test",
    "npm run x && ls",
    "env CI=1 npm test | cat",
    "bash -c 'ls | npm test'",
    "echo a | xargs npm test",
]
_RULES = ("Bash(npm test:*)", "Bash(npm run *)", "Bash(pytest:*)", "Bash(make)")
_FRAGMENTS = [
    *(
        ";",
        "&&",
        "||",
        "|",
        "&",
        "\n",
        "|&",
        ";evil",
        " evil ",
        "evil",
        "$(evil)",
        "`evil`",
        "\nevil\n",
        "'",
        '"',
        "\\",
        "#",
    ),
    *(
        "{",
        "}",
        "(",
        ")",
        "((",
        "))",
        "[",
        "]",
        "[[",
        "]]",
        "<<EOF\n",
        "\nEOF\n",
        "<<'EOF'\n",
        "$'",
        "\\'",
        '\\"',
        "${x}",
        "$x",
    ),
    *(
        "$((",
        "!",
        "~",
        "*",
        "?",
        ",",
        "=",
        ":",
        " -c ",
        "sh -c 'evil'",
        "sh -c ",
        "bash -c ",
        "xargs ",
        "env ",
        "timeout 5 ",
    ),
    *(
        "time ",
        "eval ",
        "exec ",
        "\t",
        "\\\n",
        " \\\n",
        "case x in ",
        ") ",
        ";; esac",
        "for x in a",
        "; do ",
        "; done",
        "if ",
        "then ",
    ),
    *(
        "; fi",
        "function ",
        "evil() { ",
        "x=evil ",
        "$x",
        ">f",
        "<f",
        ">&",
        "2>&1",
        "<<<",
        "<(evil)",
        "coproc ",
        "{evil,x}",
        "$",
        "`",
    ),
    *(
        "-exec evil {} ;",
        "-I evil ",
        "evil=1 ",
        " -- ",
        "command ",
        "nice ",
        "\\;",
        "+",
        "@(",
        "$[",
        "''",
        '""',
        "a=b ",
        " }",
        "{ ",
    ),
]
_REAL = ("env", "xargs", "timeout", "nice", "sh", "bash", "stdbuf", "setsid")
_BUILTINS = ["echo", "printf", "cd", "test", "[", "true", "false", ":", "pwd", "type", "command", "set", "time", "exit"]


@dataclass(frozen=True, slots=True)
class _Shell:
    """A real bash that finds no program but recorders, and the wrappers that run others."""

    decider: Decider
    workspace: Path
    tools: Path
    log: Path

    def programs_of(self, command: str) -> set[str]:
        self.log.write_text("", encoding="utf-8")
        environ = {
            "PATH": str(self.tools),
            "HOME": str(self.workspace),
            "LOG": str(self.log),
            "BASH_FUNC_command_not_found_handle%%": '() { printf "%s\\n" "$1" >>"$LOG"; return 127; }',
        }
        subprocess.run(
            ["/bin/bash", "--noprofile", "--norc", "-c", command],
            cwd=self.workspace,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        recorded = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return {name.rpartition("/")[2] for name in recorded}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> _Shell:
    folder = tmp_path_factory.mktemp("fuzz")
    workspace = make_workspace(folder)
    for link in ("out-link", "out-dir"):
        (workspace / link).unlink()
    tools = folder / "tools"
    tools.mkdir()
    names = {shlex.split(seed.replace("\n", " "), posix=False)[0].strip("'\"({!") for seed in _SEEDS} - set(_BUILTINS)
    for name in {*names, "evil", "id", "wc", "npm", "uniq", "tail", "head", "tee", "sort", "git", "pytest", "make"} - {
        ""
    }:
        if name not in _REAL and "/" not in name and "=" not in name:
            (tools / name).write_text('#!/bin/sh\necho "${0##*/}" >>"$LOG"\n', encoding="utf-8")
            (tools / name).chmod(0o755)
    for name in _REAL:
        found = shutil.which(name)
        if found is not None:
            (tools / name).symlink_to(os.path.realpath(found))
    return _Shell(make_decider(workspace, allow=_RULES), workspace, tools, folder / "log")


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    command: str = draw(st.sampled_from(_SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(command)))
        match draw(st.sampled_from(["insert", "insert", "insert", "delete", "swap", "join", "wrap"])):
            case "insert":
                command = command[:at] + draw(st.sampled_from(_FRAGMENTS)) + command[at:]
            case "delete":
                command = command[:at] + command[at + draw(st.integers(1, 3)) :]
            case "swap":
                command = command[:at] + command[at : at + 4][::-1] + command[at + 4 :]
            case "join":
                command = command[:at] + draw(st.sampled_from(_SEEDS)) + command[at:]
            case _:
                opening, closing = draw(
                    st.sampled_from([("(", ")"), ("'", "'"), ('"', '"'), ("$(", ")"), ("`", "`"), ("{ ", "; }")])
                )
                command = f"{command[:at]}{opening}{command[at:]}{closing}"
    return command


@given(command=_mutated())
@settings(
    max_examples=int(os.environ.get("CALLSHEET_FUZZ", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_bash_runs_no_program_that_an_allowed_command_did_not_name(shell: _Shell, command: str) -> None:
    decision = shell.decider.decide("bash", {"command": command})
    if decision.decision is not Effect.ALLOW:
        return

    ran = shell.programs_of(command)

    assert ran <= set(decision.programs), (command, ran, decision)


_WRAPPERS = [
    *("{}", "  {}  ", "ls; {}", "ls && {}", "ls | {}", "{} | cat", "({})", "{{ {}; }}", "! {}", "echo $({})"),
    *('echo "$({})"', "x=$({})", "env {}", "env A=1 {}", "command {}", "nohup {}", "timeout 5 {}"),
    *("nice -n 3 {}", "time {}", "setsid {}", "xargs {}", "CI=1 {}", "if true; then {}; fi"),
    *("for i in 1; do {}; done", "while {}; do ls; done", "{} > out", "{} 2>/dev/null", "{} &", "ls\n{}"),
    *("eval {}", "exec {}", "sudo {}", "find . -exec {} \\;", "builtin {}", "cat <<EOF\nx\nEOF\n{}"),
    *("[ -f x ] && {}", "{} # x", "coproc {}", "sh -c {!q}", "bash -c {!q}", "eval {!q}", "bash -c {!q} x"),
    *("watch {!q}", "echo {!q} | sh", "python -c {!q}", "ssh h {!q}"),
]


@st.composite
def _rewritten(draw: st.DrawFn) -> str:
    letters = [draw(st.sampled_from([c, f"\\{c}", f"'{c}'", f'"{c}"', f"{c}''", f'""{c}', f"$'{c}'"])) for c in "rm"]
    prefix = draw(st.sampled_from(["", "", "/bin/", "/usr/bin/", "../../bin/"]))
    gap = draw(st.sampled_from([" ", "  ", "\t", " \\\n "]))
    command = f"{prefix}{''.join(letters)}{gap}{draw(st.sampled_from(['x', '-rf x', '-- x', '$X', '']))}"
    for _ in range(draw(st.integers(0, 4))):
        wrapper = draw(st.sampled_from(_WRAPPERS))
        if "{!q}" in wrapper:
            command = wrapper.replace("{!q}", shlex.quote(command))
        else:
            command = (
                wrapper.replace("{{", "\0")
                .replace("}}", "\1")
                .replace("{}", command)
                .replace("\0", "{")
                .replace("\1", "}")
            )
    return command


@given(command=_rewritten(), mode=st.sampled_from(["acceptEdits", "ask", "plan", "bypass"]))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_way_of_writing_a_denied_command_makes_it_allowed(shell: _Shell, command: str, mode: str) -> None:
    decider = make_decider(shell.workspace, mode=mode, allow=("Bash",), deny=("Bash(rm:*)",))

    assert decider.decide("bash", {"command": command}).decision is not Effect.ALLOW


@given(text=st.text(max_size=60))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_gets_a_decision(shell: _Shell, text: str) -> None:
    for tool, key in (
        ("bash", "command"),
        ("read", "file_path"),
        ("write", "file_path"),
        ("glob", "pattern"),
        ("web_fetch", "url"),
    ):
        assert shell.decider.decide(tool, {key: text}).reason
