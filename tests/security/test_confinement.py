"""An agent's command tries what it must not be able to, under each confinement that this machine can run."""

from __future__ import annotations

import os
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from callsheet.errors import ConfinementError
from callsheet.model.confinement import CommandLine, CommandProfile, NetworkOpen
from callsheet.ports import CommandConfinement
from callsheet.shell.command import run_command
from tests.support.confined import ALL, CONFINED, PYTHON, Site, gone, name_of, running
from tests.support.deadline import within

pytestmark = pytest.mark.anyio


@pytest.fixture(params=CONFINED, ids=name_of)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path, request.param)


@pytest.fixture(params=ALL, ids=name_of)
def any_site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path, request.param)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.setblocking(False)
        yield made


ROOT = Path(__file__).parents[2]


def python(site: Site, text: str) -> str:
    script = site.workspace / f"try-{uuid.uuid4().hex}.py"
    script.write_text(text, encoding="utf-8")
    return f"{PYTHON} {script}"


def nobody_came(listener: socket.socket) -> bool:
    with suppress(BlockingIOError):
        listener.accept()
        return False
    return True


def test_this_machine_runs_bubblewrap_or_landlock() -> None:
    assert CONFINED


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "cat {home}/.ssh/id_ed25519",
        "cat /proc/self/root{home}/.ssh/id_ed25519",
        "cat /proc/self/cwd/../home/.ssh/id_ed25519",
        "cat /proc/{host}/root{home}/.ssh/id_ed25519",
        "cat /proc/{host}/cwd/{home}/.ssh/id_ed25519",
        "ln -s {home}/.ssh/id_ed25519 link; cat link",
        "ln {home}/.ssh/id_ed25519 hard; cat hard",
        "cp -r {home}/. copied; cat copied/.ssh/id_ed25519",
        "mv {home} moved; cat moved/.ssh/id_ed25519",
        "tar -cf - -C {home} . | tar -xO",
        "cat {record}/callsheet.db",
        "mv {record} seen; cat seen/callsheet.db",
        "rm -rf {record}",
        "chmod -R 777 {record} {home}; cat {record}/callsheet.db {home}/.ssh/id_ed25519",
        "umount {record} {home}; cat {record}/callsheet.db {home}/.ssh/id_ed25519",
        "unshare -Urm bash -c 'umount -l {record} {home}; cat {record}/callsheet.db'",
    ],
)
async def test_home_and_record_cannot_be_read(site: Site, command: str) -> None:
    with within(30):
        ended = await site.run(command.format(home=site.home, record=site.record, host=os.getpid()))
    assert "PRIVATE" not in ended.output
    assert (site.home / ".ssh" / "id_ed25519").read_text(encoding="utf-8") == "PRIVATE"
    assert (site.record / "callsheet.db").read_text(encoding="utf-8") == "PRIVATE"
    assert not any("PRIVATE" in _text(path) for path in site.workspace.rglob("*") if site.record not in path.parents)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() and not path.is_symlink() else ""


@pytest.mark.parametrize(
    "command",
    [
        "echo after > {outside}/note",
        "echo x > {outside}/new",
        "truncate -s 0 {outside}/note",
        "rm -rf {outside}",
        "mv {outside} {outside}-moved",
        "ln -s {outside} link && echo after > link/note",
        "ln {outside}/note hard; echo after > hard",
        "echo after > /proc/self/root{outside}/note",
        "echo after > /proc/{host}/root{outside}/note",
        "mkdir -p {outside}/deep/er",
        "mknod {outside}/device c 1 3; mkfifo {outside}/pipe",
        "mount -o remount,rw {outside} || mount -o remount,rw /; echo after > {outside}/note",
        "touch /etc/callsheet-was-here /usr/callsheet-was-here /callsheet-was-here",
        "echo 1 > /proc/sys/kernel/sysrq; echo x > /sys/kernel/uevent_helper",
    ],
)
async def test_nothing_outside_can_be_changed(site: Site, command: str) -> None:
    with within(30):
        await site.run(command.format(outside=site.outside, host=os.getpid()))
    assert [path.name for path in site.outside.iterdir()] == ["note"]
    assert (site.outside / "note").read_text(encoding="utf-8") == "before"
    assert not any((Path(each) / "callsheet-was-here").exists() for each in ("/", "/etc", "/usr"))


async def test_the_workspace_and_a_private_home_and_tmp_can_be_used(site: Site) -> None:
    with within(30):
        ended = await site.run('echo a > new && mkdir d && mv new d/ && echo b > ~/kept && echo c > "$TMPDIR/kept"')
        again = await site.run('cat d/new ~/kept "$TMPDIR/kept"')
    assert (ended.exit_status, ended.output) == (0, "")
    assert again.output == "a\nb\nc\n"
    assert not (site.home / "kept").exists()


async def test_the_tmp_of_others_is_not_seen(site: Site) -> None:
    other = Path("/tmp") / f"callsheet-other-{uuid.uuid4().hex}"
    other.write_text("PRIVATE", encoding="utf-8")
    try:
        with within(30):
            ended = await site.run(f"cat {other}; ls /tmp /var/tmp /run")
    finally:
        other.unlink()
    assert "PRIVATE" not in ended.output
    assert other.name not in ended.output.replace(f"cat: {other}: ", "")


async def test_protected_paths_are_kept_from_writes_where_the_coverage_says_so(site: Site) -> None:
    with within(30):
        ended = await site.run("cat .git/config; echo after > .git/config; touch .git/hook; mv .git moved; rm -rf .git")
    assert ended.output.startswith("before")
    held = next(row.held for row in site.confinement.coverage if row.area == "protected")
    unharmed = (site.workspace / ".git" / "config").exists() and not (site.workspace / ".git" / "hook").exists()
    assert unharmed is (held == "kernel")


async def test_only_what_is_writable_in_a_scope_can_be_written(site: Site) -> None:
    (site.workspace / "src").mkdir()
    narrow = CommandProfile(
        scratch=site.base / "scratch",
        writable=(site.workspace / "src",),
        visible=(site.workspace,),
        hidden=(site.record,),
        home=site.home,
    )
    with within(30):
        ended = await run_command(
            "echo x > src/yes; echo x > no; cat .git/config .callsheet/callsheet.db; rm -rf .git",
            confinement=site.confinement,
            profile=narrow,
            workspace=site.workspace,
            cwd=site.workspace,
            environ={"PATH": os.environ["PATH"]},
            timeout_s=20,
        )
    assert (site.workspace / "src" / "yes").exists()
    assert not (site.workspace / "no").exists()
    assert (site.workspace / ".git" / "config").exists()
    assert "before" in ended.output
    assert "PRIVATE" not in ended.output


@pytest.mark.parametrize("confinement", [each for each in CONFINED if each.name == "landlock"], ids=name_of)
async def test_landlock_refuses_what_it_cannot_hide(confinement: CommandConfinement, tmp_path: Path) -> None:
    site = Site(tmp_path, confinement)
    (site.workspace / ".callsheet").mkdir()
    with pytest.raises(ConfinementError, match="Landlock cannot hide"):
        async with confinement.open(
            _line(site),
            CommandProfile(scratch=tmp_path, writable=(site.workspace,), hidden=(site.workspace / ".callsheet",)),
        ):
            pytest.fail("it was held")


def _line(site: Site) -> CommandLine:
    return CommandLine(argv=("/bin/true",), environ={}, cwd=site.workspace)


# --- network and sockets ----------------------------------------------------------------------------------------------


async def test_this_machine_cannot_be_connected_to(site: Site, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, within(30):
        datagrams.bind(("127.0.0.1", 0))
        datagrams.setblocking(False)
        ended = await site.run(
            f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo reached >&3\n"
            f"echo x >/dev/udp/127.0.0.1/{datagrams.getsockname()[1]}\n"
            f"exec 3<>/dev/tcp/::1/{port} && echo reached >&3\necho end"
        )
        with pytest.raises(BlockingIOError):
            datagrams.recv(1)
    assert ended.output.endswith("end\n")
    assert nobody_came(listener)


async def test_other_hosts_cannot_be_reached(site: Site) -> None:
    text = """
import socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    for family, place in ((socket.AF_INET, ("192.0.2.1", 9)), (socket.AF_INET6, ("2001:db8::1", 9))):
        try:
            made = socket.socket(family, kind)
            made.settimeout(2)
            made.connect(place)
            print("reached", place)
        except OSError as error:
            print(type(error).__name__)
"""
    with within(30):
        ended = await site.run(python(site, text))
    assert "reached" not in ended.output
    assert "TimeoutError" not in ended.output
    assert len(ended.output.splitlines()) == 4


@pytest.mark.parametrize("network", ["off", "open"])
async def test_no_unix_socket_can_be_connected_to(site: Site, network: str) -> None:
    if network == "open":
        site.network = NetworkOpen()
    places = [site.workspace / "s", site.outside / "s"]
    text = """
import os, socket, sys
def attempt(make, place):
    try:
        with make() as made:
            made.connect(place)
            made.send(b"x")
        print("reached", place)
    except OSError as error:
        print(type(error).__name__)
kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
for place in sys.argv[1:]:
    place = place.replace("@", chr(0))
    for kind in kinds:
        attempt(lambda: socket.socket(socket.AF_UNIX, kind), place)
        attempt(lambda: socket.socketpair(socket.AF_UNIX, kind)[0], place)
        attempt(lambda: socket.socketpair(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)[0], place)
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
print("raw", libc.syscall(ctypes.c_long(number), ctypes.c_long(0x100000001), ctypes.c_long(1), ctypes.c_long(0)))
print("vsock", libc.socket(40, 1, 0), "alg", libc.socket(38, 5, 0), "packet", libc.socket(17, 3, 0))
print("ring", libc.syscall(425, 8, ctypes.create_string_buffer(256)))
"""
    name = f"callsheet-{uuid.uuid4().hex}"
    with within(30):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            for place in [*map(str, places), "\0" + name]:
                with socket.socket(socket.AF_UNIX, kind) as server:
                    server.bind(_free(place))
                    if kind == socket.SOCK_STREAM:
                        server.listen()
                    server.setblocking(False)
                    given = place.replace("\0", "@")
                    ended = await site.run(f"{python(site, text)} {given}")
                    assert "reached" not in ended.output, ended.output
                    assert "raw -1\nvsock -1 alg -1 packet -1\nring -1\n" in ended.output
                    with pytest.raises(BlockingIOError):
                        server.accept() if kind == socket.SOCK_STREAM else server.recv(1)


def _free(place: str) -> str:
    if place[0] == "/":
        Path(place).unlink(missing_ok=True)
    return place


async def test_pairs_of_sockets_within_a_program_work(site: Site) -> None:
    text = "import asyncio\nasync def main():\n  print('ok')\nasyncio.run(main())"
    with within(30):
        ended = await site.run(python(site, text))
    assert ended.output == "ok\n"


# --- processes --------------------------------------------------------------------------------------------------------


async def test_other_processes_can_be_neither_ended_nor_read(site: Site) -> None:
    mark = uuid.uuid4().hex
    with within(30):
        async with await anyio.open_process(["/bin/sleep", "300"], env={"SECRET": mark}) as other:
            ended = await site.run(
                f"kill -9 {other.pid} {os.getpid()}; cat /proc/{other.pid}/environ /proc/{other.pid}/mem; "
                f"ls -l /proc/{other.pid}/fd /proc/{other.pid}/cwd; kill -0 $PPID && echo parent; echo end"
            )
            assert other.returncode is None
            other.kill()
    assert mark not in ended.output
    assert ended.output.endswith("end\n")


async def test_namespaces_keys_and_kernel_are_closed(site: Site) -> None:
    text = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
x86 = os.uname().machine == "x86_64"
tries = {
    "unshare": lambda: libc.unshare(0x10000000),
    "clone": lambda: libc.syscall(56 if x86 else 220, 0x10000000 | 17, 0, 0, 0, 0),
    "clone3": lambda: libc.syscall(435, ctypes.create_string_buffer(88), 88),
    "ptrace": lambda: libc.ptrace(0, 0, 0, 0),
    "mount": lambda: libc.mount(b"none", b"/", b"tmpfs", 0, None),
    "keyctl": lambda: libc.syscall(250 if x86 else 219, 0, -3, 1),
    "bpf": lambda: libc.syscall(321 if x86 else 280, 0, ctypes.create_string_buffer(128), 128),
    "perf": lambda: libc.syscall(298 if x86 else 241, ctypes.create_string_buffer(128), 0, -1, -1, 0),
    "setns": lambda: libc.setns(0, 0),
    "chroot": lambda: libc.chroot(b"/"),
    "setuid": lambda: libc.setuid(12345),
}
for name, attempt in tries.items():
    print(name, attempt(), ctypes.get_errno())
for line in open("/proc/self/status", encoding="utf-8"):
    if line.startswith(("NoNewPrivs", "Seccomp:")):
        print(line.split())
"""
    with within(30):
        ended = await site.run(python(site, text))
    answers = dict(line.split()[:2] for line in ended.output.splitlines() if not line.startswith("["))
    assert set(answers.values()) == {"-1"}, ended.output
    assert "['NoNewPrivs:', '1']" in ended.output
    assert "['Seccomp:', '2']" in ended.output


@pytest.mark.parametrize(
    "command",
    [
        "sleep {n} & disown; echo started",
        "nohup sleep {n} >/dev/null 2>&1 & echo started",
        "setsid sleep {n} </dev/null >/dev/null 2>&1 & echo started",
        "(setsid setsid -f sleep {n} &) ; (sleep {n} & sleep {n} &); echo started",
        "setsid -f bash -c 'trap \"\" TERM INT HUP; sleep {n} & wait; sleep {n}'; echo started",
    ],
)
async def test_nothing_outlives_its_command(any_site: Site, command: str) -> None:
    number = f"3{uuid.uuid4().int % 10**9:09d}"
    with within(30):
        ended = await any_site.run(command.format(n=number))
        assert ended.output == "started\n"
        assert await gone(number)


async def test_nothing_outlives_a_command_that_takes_too_long(any_site: Site) -> None:
    any_site.timeout_s = 1
    number = f"3{uuid.uuid4().int % 10**9:09d}"
    with within(30):
        ended = await any_site.run(
            f"trap '' TERM INT HUP; setsid -f sleep {number}; sleep {number} & sleep {number}; wait"
        )
        assert ended.ended == "timed_out"
        assert await gone(number)


async def test_nothing_outlives_a_cancelled_command(any_site: Site) -> None:
    number = f"3{uuid.uuid4().int % 10**9:09d}"
    with within(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(any_site.run, f"setsid -f sleep {number}; sleep {number}")
            assert await running(number, 2)
            tasks.cancel_scope.cancel()
        assert await gone(number)


async def test_nothing_outlives_a_host_that_is_killed(any_site: Site) -> None:
    number = f"3{uuid.uuid4().int % 10**9:09d}"
    code = (
        "import anyio, sys\nfrom pathlib import Path\nfrom callsheet.confinement import probe, unconfined\n"
        "from tests.support.confined import ALL, Site\n"
        "async def main():\n"
        "    kind = next(each for each in ALL if each.name == sys.argv[1])\n"
        "    await Site(Path(sys.argv[2]), kind).run(sys.argv[3])\n"
        "anyio.run(main)\n"
    )
    base = any_site.base / "killed"
    base.mkdir()
    command = f"setsid -f sleep {number}; sleep {number}"
    words = [sys.executable, "-c", code, any_site.confinement.name, str(base), command]
    with within(60):
        async with await anyio.open_process(words, cwd=ROOT) as host:
            assert await running(number, 2)
            host.kill()
        assert await gone(number)


# --- without end ------------------------------------------------------------------------------------------------------


BOUNDED_BOMB = "f(){ if (($1 > 10)); then sleep 37.5; else f $(($1 + 1)) | f $(($1 + 1)) & fi; }; f 0; sleep 5"
"""Doubles eleven times, so that a machine which does not end it survives it."""


@pytest.mark.parametrize("command", [BOUNDED_BOMB, "for i in {1..400}; do sleep 37.5 & done; sleep 5"])
@pytest.mark.parametrize("grouped", [True, False], ids=["control-group", "watched"])
async def test_forking_without_end_is_ended(
    any_site: Site, command: str, grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not grouped:
        monkeypatch.setattr("callsheet.confinement.supervised._group_parents", list)
    with within(60):
        ended = await any_site.run(command, processes=60)
        assert await gone("37.5")
    assert ended.ended == "processes" or "Resource temporarily unavailable" in ended.output
    assert ended.duration_s < 20


async def test_a_file_without_end_is_ended(any_site: Site) -> None:
    with within(60):
        ended = await any_site.run("head -c 50000000 /dev/zero > big; echo status $?", file_bytes=1_000_000)
    assert (any_site.workspace / "big").stat().st_size == 1_000_000
    assert "status 0" not in ended.output


async def test_files_without_end_are_ended(any_site: Site) -> None:
    with within(60):
        ended = await any_site.run(
            "for i in {1..4000}; do head -c 1000000 /dev/zero > part-$i; done", disk_bytes=100_000_000
        )
    assert ended.ended == "disk"
    assert ended.note is not None
    assert sum(path.stat().st_size for path in any_site.workspace.glob("part-*")) < 3_000_000_000


async def test_memory_without_end_is_ended(any_site: Site) -> None:
    text = "kept = []\nfor turn in range(200):\n    kept.append(bytearray(b'x' * 10_000_000))\nprint('kept all')"
    with within(60):
        ended = await any_site.run(python(any_site, text), memory_bytes=200_000_000)
    assert ended.ended == "memory"
    assert "kept all" not in ended.output


@pytest.mark.parametrize("place", ["/dev/shm", "/dev", "/run", "/home", "/tmp/.."])
async def test_memory_cannot_be_filled_through_private_folders(site: Site, place: str) -> None:
    with within(60):
        ended = await site.run(f"head -c 700000000 /dev/zero > {place}/filled && echo filled")
    assert "filled\n" not in ended.output.replace(f"{place}/filled", "")
