"""bash at an agent's workbench: what it tells, carries over, records, and is held to."""

from __future__ import annotations

import contextlib
import stat
import uuid
from pathlib import Path
from typing import Any

import anyio
import pytest

from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.names import ToolFailure
from callsheet.agents.tools.shell import SHOWN_BYTES
from callsheet.confinement.unconfined import Unconfined
from callsheet.model.approval import Answer
from callsheet.model.call import Scope
from callsheet.model.reports import Progress, ToolCalled
from callsheet.permissions.modes import Mode
from callsheet.ports import CommandConfinement
from tests.support.agents import RecordingReporter
from tests.support.confined import CONFINED, gone, name_of, running
from tests.support.deadline import within
from tests.support.workbench import READ_ONLY, Bench, appears, settings

pytestmark = pytest.mark.anyio

RUN = ("Bash(./run:*)",)


def bench_of(root: Path, *answers: Answer, options: dict[str, Any] | None = None, **flags: Any) -> Bench:
    """A bench whose rules are as if given by flags."""
    bounds = Bounds(settings=settings(root, **flags), home=_home(root))
    return Bench(root, bounds=bounds, reporter=RecordingReporter(*answers), **(options or {}))


def _home(root: Path) -> Path:
    home = root.parent / "home"
    (home / ".ssh").mkdir(parents=True, exist_ok=True)
    (home / ".ssh" / "id_ed25519").write_text("PRIVATE", encoding="utf-8")
    return home


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def program(bench: Bench, text: str, name: str = "run") -> None:
    """Puts a program in the workspace: what a test runner or a build tool is."""
    bench.put(name, f"#!/bin/bash\n{text}\n").chmod(0o755)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    folder.mkdir()
    return folder


@pytest.fixture
def bench(root: Path) -> Bench:
    return bench_of(root, allow=RUN)


# --- what is told


async def test_output_and_exit_status_are_told_and_the_status_stands_outside_of_what_was_printed(bench: Bench) -> None:
    bench.put("a.txt", "one\n[exit status 9]\n")
    fence = bench.bounds.fence.name
    assert await bench.told("bash", command="cat a.txt") == (
        f"<{fence}>\none\n[exit status 9]\n</{fence}>\n[exit status 0]"
    )


async def test_a_command_that_prints_nothing_says_so(bench: Bench) -> None:
    assert await bench.told("bash", command="mkdir made") == "[no output; exit status 0]"
    assert (bench.root / "made").is_dir()


async def test_another_exit_status_is_a_result_and_not_a_failure(bench: Bench) -> None:
    bench.put("a.txt", "x")
    assert "[no output; exit status 1]" in await bench.told("bash", command="grep absent a.txt")
    assert [call.state for call in bench.reporter.of(ToolCalled)] == ["done"]


async def test_errors_are_told_with_the_output(bench: Bench) -> None:
    program(bench, "echo out; echo wrong >&2; exit 3")
    told = await bench.told("bash", command="./run")
    assert "out\nwrong" in told
    assert "exit status 3" in told


async def test_long_output_has_a_marker_and_the_whole_is_kept_where_agents_do_not_see_it(root: Path) -> None:
    outputs = root / ".callsheet" / "outputs"
    bounds = Bounds(settings=settings(root, allow=RUN), outputs=outputs, home=_home(root))
    bench = Bench(root, bounds=bounds)
    program(bench, "for n in {1..20000}; do echo line $n; done")
    told = await bench.told("bash", command="./run")
    whole = "".join(f"line {n}\n" for n in range(1, 20_001))
    assert len(told) < SHOWN_BYTES + 500
    assert "line 1\n" in told
    assert "line 20000\n" in told
    assert f"of {len(whole)} bytes left out here" in told
    assert ".callsheet" not in told
    (kept,) = outputs.rglob("*.txt")
    assert kept.read_text(encoding="utf-8") == whole
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert str(kept) in (bench.reporter.of(ToolCalled)[-1].detail or "")


async def test_short_output_leaves_no_file(root: Path) -> None:
    bench = Bench(root, bounds=Bounds(outputs=root / "outputs", home=_home(root)))
    await bench("bash", command="echo hello")
    assert list((root / "outputs").rglob("*.txt")) == []


async def test_a_command_that_is_cancelled_leaves_no_file_of_its_output_that_nothing_names(root: Path) -> None:
    outputs = root / "outputs"
    bounds = Bounds(settings=settings(root, allow=RUN), outputs=outputs, home=_home(root))
    bench = Bench(root, bounds=bounds)
    program(bench, "head -c 600000 /dev/zero; touch printed; sleep 1000")
    with within(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: bench("bash", command="./run"))
            while not (outputs.is_dir() and list(outputs.iterdir())):
                await anyio.Path(outputs).exists()
            tasks.cancel_scope.cancel()
    assert list(outputs.iterdir()) == []


async def test_progress_shows_the_command(bench: Bench) -> None:
    await bench("bash", command="echo one  two")
    assert [(p.tool, p.tool_summary) for p in bench.reporter.of(Progress)] == [("bash", "echo one two")]


# --- the folder


async def test_the_folder_is_carried_over_to_the_next_command_and_to_no_other_tool(bench: Bench) -> None:
    bench.put("pkg/a.txt", "in pkg")
    bench.put("a.txt", "at the root")
    assert f"now in {bench.root}/pkg" in await bench.told("bash", command="cd pkg")
    assert await bench("bash", command="cat a.txt") == "in pkg"
    assert await bench("read", file_path="a.txt") == "at the root"


async def test_a_relative_path_is_judged_from_the_folder_that_was_carried_over(root: Path) -> None:
    bench = bench_of(root, deny=("Read(./secret/**)",))
    bench.put("secret/key", "KEY")
    bench.put("pkg/x", "x")
    await bench("bash", command="cd pkg")
    assert "denies" in await bench.refusal("bash", command="cat ../secret/key")


async def test_a_folder_that_was_removed_is_told_and_the_next_command_starts_anew(bench: Bench) -> None:
    bench.put("pkg/a.txt", "x")
    await bench("bash", command="cd pkg")
    (bench.root / "pkg" / "a.txt").unlink()
    (bench.root / "pkg").rmdir()
    assert "is gone" in await bench.refusal("bash", command="pwd")
    assert await bench("bash", command="pwd") == str(bench.root)


async def test_a_restart_is_answered_and_goes_back_to_the_first_folder(bench: Bench) -> None:
    bench.put("pkg/a.txt", "x")
    await bench("bash", command="cd pkg")
    assert "none to restart" in await bench.told("bash", restart=True)
    assert await bench("bash", command="pwd") == str(bench.root)


# --- the record


async def test_what_a_command_changed_and_read_is_noted(bench: Bench) -> None:
    bench.put("old.txt", "x")
    bench.put("gone.txt", "x")
    bench.put("same.txt", "x")
    program(bench, "echo y > new.txt; echo z > deep.txt")
    await bench("bash", command="mv old.txt moved.txt && rm gone.txt && cat same.txt")
    await bench("bash", command="./run")
    changed = {"old.txt", "moved.txt", "gone.txt", "new.txt", "deep.txt"}
    assert bench.bench.files_changed == changed
    assert "same.txt" in bench.bench.files_read
    assert not changed & bench.bench.files_read - {"old.txt"}


@pytest.mark.contract("R01")
async def test_a_command_that_may_change_something_is_on_record_before_it_runs(bench: Bench) -> None:
    await bench("bash", command="ls")
    await bench("bash", command="touch a.txt")
    assert [(call.n, call.state) for call in bench.reporter.of(ToolCalled)] == [
        (1, "done"),
        (2, "intent"),
        (2, "done"),
    ]


async def test_a_file_read_by_a_command_may_be_written_over_until_somebody_changes_it(bench: Bench) -> None:
    bench.put("a.txt", "one")
    await bench("bash", command="cat a.txt")
    await bench("write", file_path="a.txt", content="two")
    bench.put("a.txt", "three")
    assert "read it again" in await bench.refusal("write", file_path="a.txt", content="four")


# --- ends


async def test_a_time_out_ends_all_that_the_command_started(bench: Bench) -> None:
    word = f"37{uuid.uuid4().int % 10**6:06}"
    program(bench, f"echo begun; sleep {word} & sleep {word}")
    told = await bench.refusal("bash", command="./run", timeout_ms=1500)
    assert "begun" in told
    assert "ended after 1.5 s" in told
    assert await gone(word)
    last = bench.reporter.of(ToolCalled)[-1]
    assert last.state == "failed"
    assert "exit status" in (last.detail or "")


async def test_cancelling_leaves_no_process_and_still_notes_what_was_changed(bench: Bench) -> None:
    word = f"37{uuid.uuid4().int % 10**6:06}"
    program(bench, f"echo x > made.txt; sleep {word} & sleep {word}")
    with within(30):
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                await bench.bench.call("bash", {"command": "./run"})

            tasks.start_soon(call)
            assert await running(word, 2)
            tasks.cancel_scope.cancel()
        assert await gone(word)
    assert bench.bench.files_changed == {"made.txt"}


async def test_what_is_left_in_the_background_ends_with_the_command(bench: Bench) -> None:
    word = f"37{uuid.uuid4().int % 10**6:06}"
    program(bench, f"setsid sleep {word} & disown; echo done")
    assert await bench("bash", command="./run") == "done"
    assert await gone(word)


# --- what is allowed


async def test_a_command_without_a_rule_is_denied_with_the_rule_that_would_allow_it(bench: Bench) -> None:
    told = await bench.refusal("bash", command="npm test")
    assert "needs a rule" in told
    assert "another way" in told
    (call,) = bench.reporter.of(ToolCalled)
    assert (call.state, call.rule, call.would_allow) == ("denied", "no rule", ("Bash(npm test:*)",))
    (question,) = bench.reporter.questions
    assert (question.tool, question.input, question.rules) == ("bash", "npm test", ("Bash(npm test:*)",))


async def test_what_a_deny_rule_forbids_is_never_asked(root: Path) -> None:
    bench = bench_of(root, deny=("Bash(curl:*)",))
    assert "denies" in await bench.refusal("bash", command="curl example.com")
    assert bench.reporter.questions == []


async def test_a_person_allows_once_and_is_asked_again(root: Path) -> None:
    bench = bench_of(root, Answer(verdict="once"))
    program(bench, "echo ran")
    assert await bench("bash", command="./run") == "ran"
    assert "Nobody allowed it" in await bench.refusal("bash", command="./run")


async def test_what_a_person_allows_for_the_run_holds_for_every_agent_of_it(root: Path) -> None:
    bench = bench_of(root, Answer(verdict="run"))
    program(bench, "echo ran")
    other = Bench(root, bounds=bench.bounds)
    await other("bash", command="ls")
    assert await bench("bash", command="./run") == "ran"
    assert await bench("bash", command="./run") == "ran"
    assert await other("bash", command="./run again") == "ran"
    assert other.reporter.questions == []
    assert len(bench.reporter.questions) == 1


async def test_a_persons_words_reach_the_agent(root: Path) -> None:
    bench = bench_of(root, Answer(verdict="deny", words="use make instead"))
    assert "use make instead" in await bench.refusal("bash", command="npm test")


async def test_programs_of_the_workspace_are_denied_where_nothing_confines_them(root: Path) -> None:
    bounds = Bounds(settings=settings(root, allow=RUN), confinement=Unconfined(), home=_home(root))
    bench = Bench(root, bounds=bounds)
    program(bench, "echo ran")
    told = await bench.refusal("bash", command="./run")
    assert "--unconfined" in told
    assert "callsheet doctor" in told
    assert bench.reporter.of(ToolCalled)[0].rule == "no confinement"
    assert await bench("bash", command="echo harmless") == "harmless"


async def test_a_person_may_let_them_run_all_the_same(root: Path) -> None:
    bounds = Bounds(settings=settings(root, allow=RUN), confinement=Unconfined(), home=_home(root))
    bench = Bench(root, bounds=bounds, reporter=RecordingReporter(Answer(verdict="once")))
    program(bench, "echo ran")
    assert await bench("bash", command="./run") == "ran"
    assert "Nothing confines commands" in bench.reporter.questions[0].reason


async def test_unconfined_they_run_and_nothing_is_probed(root: Path) -> None:
    bounds = Bounds(settings=settings(root, allow=RUN), unconfined=True, home=_home(root))
    bench = Bench(root, bounds=bounds)
    program(bench, "echo ran")
    assert await bench("bash", command="./run") == "ran"
    assert bounds.probed is None


@pytest.mark.parametrize("narrowed", [{"mode": Mode.PLAN}, {"kind": READ_ONLY}], ids=["plan", "read-only"])
async def test_who_may_change_nothing_runs_commands_that_only_read(root: Path, narrowed: dict[str, Any]) -> None:
    kind = {"kind": narrowed["kind"]} if "kind" in narrowed else {}
    flags = {"mode": narrowed["mode"]} if "mode" in narrowed else {}
    bench = bench_of(root, options=kind, allow=RUN, **flags)
    bench.put("a.txt", "text")
    program(bench, "echo x > made.txt")
    assert await bench("bash", command="cat a.txt") == "text"
    for command in ("touch b.txt", "echo x > b.txt", "./run", "sed -i s/t/x/ a.txt"):
        await bench.refusal("bash", command=command)
    assert _names(root) == ["a.txt", "run"]
    assert {call.state for call in bench.reporter.of(ToolCalled)} == {"done", "denied"}


# --- what holds it


async def test_a_program_sees_neither_home_nor_record_and_no_other_agents_folder(bench: Bench, root: Path) -> None:
    bench.put(".callsheet/callsheet.db", "PRIVATE")
    home = _home(root)
    program(
        bench, f"cat .callsheet/callsheet.db {home}/.ssh/id_ed25519; ls -A ~ /tmp; echo mine > ~/note; echo x > /tmp/y"
    )
    other = Bench(root, bounds=bench.bounds)
    first, second = await bench("bash", command="./run"), await other("bash", command="./run")
    assert "PRIVATE" not in first + second
    assert "note" not in second
    assert "note" in await bench("bash", command="./run"), "an agent's own is kept over its commands"


async def test_a_program_cannot_write_protected_paths_or_outside(bench: Bench, root: Path, tmp_path: Path) -> None:
    bench.put(".git/config", "before")
    bench.put("sub/.vscode/tasks.json", "before")
    program(bench, f"echo x > .git/config; echo x > sub/.vscode/tasks.json; echo x > {tmp_path}/out; echo x > in")
    await bench("bash", command="./run")
    assert bench.text(".git/config") == bench.text("sub/.vscode/tasks.json") == "before"
    assert not (tmp_path / "out").exists()
    assert bench.text("in") == "x\n"


async def test_a_link_in_place_of_a_protected_path_shows_nothing_of_what_it_leads_to(bench: Bench, root: Path) -> None:
    (root / ".vscode").symlink_to(_home(root) / ".ssh")
    program(bench, "cat .vscode/id_ed25519")
    assert "PRIVATE" not in await bench("bash", command="./run")


async def test_the_kernel_holds_a_program_to_the_scope(root: Path) -> None:
    scope = Scope(read=("src/**", "docs/**"), write=("docs/**",))
    bench = bench_of(root, options={"scope": scope}, allow=("Bash(src/run:*)",))
    bench.put("docs/a.txt", "before")
    bench.put("private/key", "PRIVATE")
    program(bench, "cat private/key; echo x > docs/a.txt; echo x > src/made; echo x > made; ls", "src/run")
    told = await bench("bash", command="src/run")
    assert "PRIVATE" not in told
    assert bench.text("docs/a.txt") == "x\n"
    assert not (root / "src" / "made").exists()
    assert not (root / "made").exists()
    assert bench.bench.files_changed == {"docs/a.txt"}


async def test_an_agent_without_anything_to_write_has_the_workspace_read_only(root: Path) -> None:
    bench = bench_of(root, options={"scope": Scope(write=())}, allow=RUN)
    bench.put("a.txt", "before")
    program(bench, "echo x > a.txt; cat a.txt")
    assert "before" in await bench("bash", command="./run")
    assert bench.text("a.txt") == "before"


async def test_files_that_a_rule_hides_by_name_are_hidden_from_programs_too(root: Path) -> None:
    bench = bench_of(root, allow=RUN, deny=("Read(./.env)",))
    bench.put(".env", "PRIVATE")
    program(bench, "cat .env")
    assert "PRIVATE" not in await bench("bash", command="./run")


async def test_credentials_of_the_host_are_not_in_the_environment(
    bench: Bench, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "PRIVATE")
    monkeypatch.setenv("CALLSHEET_TOKEN", "PRIVATE")
    program(bench, "env")
    told = await bench("bash", command="./run")
    assert "PATH=" in told
    assert "PRIVATE" not in told


async def test_private_folders_are_removed_with_agent_and_run(bench: Bench, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    bounds = Bounds(scratch=scratch, settings=settings(bench.root, allow=RUN), home=_home(bench.root))
    agent = Bench(bench.root, bounds=bounds)
    program(bench, "mkdir -p ~/deep/er; chmod 0 ~/deep; echo done")
    await agent("bash", command="./run")
    (folder,) = scratch.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    await agent.bench.aclose()
    assert list(scratch.iterdir()) == []
    await bounds.aclose()


async def test_a_run_without_commands_makes_and_probes_nothing(bench: Bench) -> None:
    await bench.refusal("read", file_path="absent")
    assert bench.bounds.probed is None
    await bench.bench.aclose()
    await bench.bounds.aclose()


@pytest.mark.parametrize("value", [{}, {"command": 7}, {"command": "ls", "timeout_ms": 0}])
async def test_input_that_does_not_fit_is_told(bench: Bench, value: dict[str, Any]) -> None:
    with within(), pytest.raises(ToolFailure, match="bash: "):
        await bench.bench.call("bash", value)


async def test_a_text_that_is_no_command_line_is_refused(bench: Bench) -> None:
    for command in ("echo 'open", "echo \0", "   "):
        await bench.refusal("bash", command=command)


async def test_what_other_agents_edit_meanwhile_is_not_taken_for_the_commands_doing(bench: Bench) -> None:
    other = Bench(bench.root, bounds=bench.bounds, agent_id="a0002")
    program(bench, "echo x > mine.txt; while [ ! -e theirs.txt ]; do sleep 0.02; done")
    with within(30):
        async with anyio.create_task_group() as tasks:

            async def command() -> None:
                await bench("bash", command="./run")

            tasks.start_soon(command)
            assert await appears(bench.root / "mine.txt")
            await other("write", file_path="theirs.txt", content="y")
    assert bench.bench.files_changed == {"mine.txt"}
    assert other.bench.files_changed == {"theirs.txt"}


@pytest.mark.parametrize("place", ["sub/.vscode", "open", "shared/inner/deep"])
async def test_no_link_that_a_program_leaves_behind_opens_more_to_the_next(root: Path, place: str) -> None:
    """A place that the kernel was told of, and that a program then put a link to the user's keys in place of."""
    shared = root.parent / "shared"
    (shared / "inner" / "deep").mkdir(parents=True)
    target = (root.parent if place.startswith("shared") else root) / place
    allow = (*RUN, "Edit(./open/**)", "Read(./open/**)", f"Edit(/{shared}/inner/deep/**)")
    bench = bench_of(root, allow=allow, folders=(shared, shared / "inner" / "deep"))
    bench.put("sub/.vscode/tasks.json", "x")
    bench.put("open/a.txt", "x")
    # A place that is mounted cannot be moved away; what it lies in can.
    away = f"mv {target} {target}-away" if place == "open" else f"mv {target.parent} {target.parent}-away"
    away += "" if place == "open" else f" && mkdir {target.parent}"
    keys = _home(root) / ".ssh"
    program(
        bench,
        f"if [ -e done ]; then cat {target}/id_ed25519 {keys}/id_ed25519; echo x > {keys}/new; fi\n"
        f"[ -e done ] || ({away}; ln -s {keys} {target}; touch done); ls -d {target}",
    )
    await bench("bash", command="./run")
    assert target.is_symlink(), "the program has put a link there"
    assert "PRIVATE" not in await bench("bash", command="./run")
    assert _names(keys) == ["id_ed25519"]


@pytest.mark.parametrize("confinement", CONFINED, ids=name_of)
async def test_ordinary_commands_work_under_each_confinement_with_the_record_in_the_workspace(
    root: Path, confinement: CommandConfinement
) -> None:
    bench = Bench(root, bounds=Bounds(confinement=confinement, settings=settings(root, allow=RUN), home=_home(root)))
    bench.put(".callsheet/callsheet.db", "PRIVATE")
    bench.put("a.txt", "text")
    assert await bench("bash", command="ls && cat a.txt") == "a.txt\ntext"
    await bench("bash", command="mkdir made && mv a.txt made/b.txt")
    assert bench.text("made/b.txt") == "text"
    assert bench.bench.files_changed == {"a.txt", "made/b.txt"}
    program(bench, "cat .callsheet/callsheet.db")
    for call in ("cat .callsheet/callsheet.db", "grep -r PRIVATE .", "./run"):
        with contextlib.suppress(ToolFailure):
            assert "PRIVATE" not in (await bench("bash", command=call)).replace("grep -r PRIVATE", "")
