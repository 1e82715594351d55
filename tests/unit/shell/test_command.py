from __future__ import annotations

import gc
from pathlib import Path

import pytest

from callsheet.confinement.unconfined import Unconfined
from callsheet.errors import ConfinementError
from callsheet.shell.command import COMMAND_LIMIT_BYTES, OutputLimits
from callsheet.shell.environment import command_environment, may_be_kept
from tests.support.confined import ALL, Site, name_of
from tests.support.deadline import within
from tests.support.starting import left_by_cancelled_starts

pytestmark = pytest.mark.anyio


@pytest.fixture(params=ALL, ids=name_of)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path, request.param)


@pytest.fixture
def plain(tmp_path: Path) -> Site:
    return Site(tmp_path, Unconfined())


async def test_output_status_and_folder_come_back(site: Site) -> None:
    (site.workspace / "sub").mkdir()
    with within(30):
        ended = await site.run("echo out; echo err >&2; cd sub; exit 7")
        after = await site.run("pwd", cwd=ended.cwd)
    assert (ended.ended, ended.exit_status, ended.output, ended.note) == ("ended", 7, "out\nerr\n", None)
    assert ended.cwd == site.workspace / "sub"
    assert after.output == f"{site.workspace}/sub\n"
    assert 0 < ended.duration_s < 10


async def test_a_signal_gives_the_shells_status(site: Site) -> None:
    with within(30):
        ended = await site.run("kill -9 $$")
    assert ended.exit_status == 137
    assert ended.cwd == site.workspace


@pytest.mark.parametrize(
    "command",
    [
        "cd /",
        "cd ..",
        "ln -s / out; cd out",
        "mkdir gone; cd gone; rmdir ../gone",
        "cd sub; trap - EXIT",
        "cd sub; exec true",
        "cd sub; kill -9 $$",
        "(cd sub)",
        "bash -c 'cd sub'",
        "cd sub; for fd in /proc/$$/fd/*; do echo /etc >&${fd##*/}; done 2>/dev/null; trap - EXIT",
    ],
)
async def test_a_folder_is_carried_over_only_inside_the_workspace(plain: Site, command: str) -> None:
    (plain.workspace / "sub").mkdir()
    with within(30):
        ended = await plain.run(command)
    assert ended.cwd == plain.workspace


async def test_the_agent_is_told_when_its_folder_is_not_carried_over(plain: Site) -> None:
    with within(30):
        ended = await plain.run("cd /usr")
    assert (
        ended.note
        == f"The folder it ended in, /usr, is outside the workspace: the next command starts in {plain.workspace}."
    )


async def test_nothing_of_one_command_changes_the_next(site: Site) -> None:
    with within(30):
        await site.run(
            "ls() { echo fooled; }; export -f ls; alias cat='echo fooled'; export A=1; echo 'echo rc' > ~/.bashrc"
        )
        await site.run("echo 'echo profile' > ~/.bash_profile; echo 'echo profile' > ~/.profile; umask 0; ulimit -n 7")
        ended = await site.run("ls; cat /dev/null; echo ${A-unset} ${BASH_ENV-unset} $- $# $0; ulimit -n")
    assert "fooled" not in ended.output and "rc\n" not in ended.output and "profile" not in ended.output
    assert ended.output.endswith("unset unset hBc 0 /bin/bash\n4096\n")


async def test_standard_input_is_empty_and_there_is_no_terminal(site: Site) -> None:
    with within(30):
        ended = await site.run(
            "cat; (exec 3<>/dev/tty) 2>/dev/null && echo terminal; [ -t 1 ] && echo terminal; echo end"
        )
    assert ended.output == "end\n"


async def test_a_command_that_takes_too_long_is_ended_and_its_output_kept(site: Site) -> None:
    site.timeout_s = 1.0
    with within(30):
        ended = await site.run("echo begun; sleep 60")
    assert (ended.ended, ended.exit_status, ended.output) == ("timed_out", 137, "begun\n")
    assert ended.note == "It was ended after 1 s, with all that it had started."
    assert ended.duration_s < 8


async def test_long_output_keeps_head_and_tail_and_the_whole_in_a_file(plain: Site) -> None:
    spool = plain.base / "spool"
    with within(60):
        ended = await plain.run("seq 1 300000", output=OutputLimits(shown_bytes=2000, spool=spool))
    whole = "".join(f"{n}\n" for n in range(1, 300001))
    assert ended.output.startswith("1\n2\n") and ended.output.endswith("\n299999\n300000\n")
    assert f"\n[… {len(whole) - 2000} of {len(whole)} bytes left out here …]\n" in ended.output
    assert ended.output_bytes == len(whole)
    assert ended.output_path == spool
    assert spool.read_text(encoding="utf-8") == whole
    assert spool.stat().st_mode & 0o777 == 0o600


async def test_the_file_with_the_whole_is_bounded_and_the_command_goes_on(plain: Site) -> None:
    spool = plain.base / "spool"
    with within(60):
        ended = await plain.run(
            "head -c 3000000 /dev/zero; echo end", output=OutputLimits(spool=spool, spool_bytes=1_000_000)
        )
    assert (ended.exit_status, ended.output_bytes) == (0, 3_000_004)
    assert ended.output.endswith("end\n")
    assert spool.stat().st_size == 1_000_000


async def test_a_file_that_cannot_be_written_is_told_and_stops_nothing(plain: Site) -> None:
    with within(30):
        ended = await plain.run("echo out", output=OutputLimits(spool=plain.base / "no" / "spool"))
    assert (ended.exit_status, ended.output, ended.output_path) == (0, "out\n", None)
    assert ended.note is not None and "Its whole output is not kept" in ended.note


async def test_output_that_is_no_text_is_shown_all_the_same(plain: Site) -> None:
    with within(30):
        ended = await plain.run(r"printf 'a\xff\x00b'")
    assert ended.output == "a\ufffd\0b"


@pytest.mark.parametrize("command", ["a\0b", "x" * (COMMAND_LIMIT_BYTES + 1)])
async def test_what_is_no_command_is_refused(plain: Site, command: str) -> None:
    with pytest.raises(ConfinementError, match="A command is text"):
        await plain.run(command)


async def test_the_longest_command_runs(site: Site) -> None:
    with within(30):
        ended = await site.run("echo " + "x" * (COMMAND_LIMIT_BYTES - 5))
    assert ended.output_bytes == COMMAND_LIMIT_BYTES - 4


async def test_a_start_outside_the_workspace_is_refused(plain: Site) -> None:
    (plain.workspace / "link").symlink_to("/")
    for folder in (Path("/"), plain.workspace / "link", plain.workspace / "missing"):
        with pytest.raises(ConfinementError, match="is not one inside the workspace"):
            await plain.run("true", cwd=folder)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_descriptors_are_not_leaked(site: Site) -> None:
    with within(60):
        await site.run("true")
        gc.collect()  # what other tests have left open is theirs
        before = open_descriptors()
        for _ in range(3):
            await site.run("true")
    assert open_descriptors() == before


def test_cancelled_at_any_moment_of_its_start_a_command_leaves_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert left_by_cancelled_starts(monkeypatch, lambda: site.run("echo x")) == []


def test_the_environment_is_what_is_listed_and_never_a_credential() -> None:
    host = {
        "PATH": "/usr/bin:.:rel:/ws/bin:/bin", "LANG": "de_DE.UTF-8", "LC_TIME": "C", "HOME": "/root", "EDITOR": "vi",
        "ANTHROPIC_API_KEY": "x", "GITHUB_TOKEN": "x", "BASH_ENV": "/x", "LD_PRELOAD": "/x",
        "BASH_FUNC_ls%%": "() { :; }", "CI": "1", "MY_SECRET": "x",
    }  # fmt: skip
    kept = command_environment(host, keep=["CI", "GITHUB_TOKEN", "LD_PRELOAD", "MY_SECRET"], workspace=Path("/ws"))
    assert kept == {
        "PATH": "/usr/bin:/bin", "LANG": "de_DE.UTF-8", "LC_TIME": "C", "CI": "1", "TERM": "dumb", "SHELL": "/bin/bash",
    }  # fmt: skip
    assert "/ws/bin" in command_environment(host)["PATH"]
    assert not may_be_kept("DB_PASSWORD") and may_be_kept("NODE_ENV")
