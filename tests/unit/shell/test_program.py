from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from callsheet.confinement.unconfined import Unconfined
from callsheet.errors import ConfinementError
from tests.support.confined import ALL, Site, name_of
from tests.support.deadline import within
from tests.support.workbench import appears

pytestmark = pytest.mark.anyio


@pytest.fixture(params=ALL, ids=name_of)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path, request.param)


@pytest.fixture
def plain(tmp_path: Path) -> Site:
    return Site(tmp_path, Unconfined())


async def test_words_input_and_both_outputs_are_kept_apart(site: Site) -> None:
    script = 'cat; echo err >&2; echo "[$1|$2]"; exit 7'
    with within(30):
        ended = await site.program("bash", "-c", script, "name", "a b", "$(touch ran)", stdin="prompt é\n".encode())
    assert (ended.ended, ended.exit_status) == ("ended", 7)
    assert ended.output == "prompt é\n[a b|$(touch ran)]\n"
    assert ended.errors == "err\n"
    assert ended.is_whole
    assert not (site.workspace / "ran").exists()


async def test_input_of_megabytes_that_nobody_reads_does_not_stop_it(plain: Site) -> None:
    with within(30):
        ended = await plain.program("true", stdin=b"x" * 8_000_000)
        counted = await plain.program("wc", "-c", stdin=b"x" * 8_000_000)
    assert ended.exit_status == 0
    assert counted.output.strip() == "8000000"


async def test_the_confinement_holds(site: Site) -> None:
    if site.confinement.name == "none":
        return
    with within(30):
        ended = await site.program("cp", "note", str(site.outside / "planted"))
        read = await site.program("cat", str(site.home / ".ssh" / "id_ed25519"))
    assert ended.exit_status != 0
    assert not (site.outside / "planted").exists()
    assert "PRIVATE" not in read.output + read.errors


async def test_a_program_that_is_not_there_is_status_127_and_says_so(plain: Site) -> None:
    with within(30):
        ended = await plain.program("no-such-program")
    assert ended.exit_status == 127
    assert "no-such-program" in ended.errors


async def test_what_is_too_long_is_cut_and_known_to_be(plain: Site) -> None:
    with within(30):
        ended = await plain.program("seq", "100000", output_bytes=1000)
    assert not ended.is_whole
    assert "left out here" in ended.output


async def test_its_time_ends_it_with_all_that_it_started(plain: Site) -> None:
    with within(30):
        ended = await plain.program("bash", "-c", "sleep 1000 & sleep 1000", timeout_s=0.5)
    assert ended.ended == "timed_out"
    assert "after 0.5 s" in (ended.note or "")


async def test_cancelling_ends_it(site: Site) -> None:
    with within(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(site.program, "bash", "-c", "touch began; sleep 2; touch late")
            assert await appears(site.workspace / "began")
            tasks.cancel_scope.cancel()
    assert not (site.workspace / "late").exists()


@pytest.mark.parametrize("words", [("a\0b",), ("x" * 200_000,)])
async def test_words_that_no_system_takes_are_refused(plain: Site, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfinementError, match="words"):
        await plain.program(*words)
