"""glob and grep: what they find, what they hide, and their bounds."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from callsheet.agents.tools import search
from callsheet.agents.tools.names import ToolFailure
from callsheet.agents.tools.ripgrep import Ripgrep, ripgrep_path
from callsheet.model.call import Scope
from tests.support.deadline import within
from tests.support.starting import left_by_cancelled_starts
from tests.support.workbench import Bench

pytestmark = pytest.mark.anyio


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    for n, path in enumerate(["a.py", "src/b.py", "src/deep/c.py", "src/d.ts", ".hidden/e.py", "x:y/f.py"]):
        os.utime(bench.put(path, f"# {path}\nneedle {n}\n"), (1_000_000 + n, 1_000_000 + n))
    bench.put(".git/config", "needle")
    bench.put(".callsheet/callsheet.db", "needle")
    bench.put("node_modules/lib/g.py", "needle")
    bench.put(".gitignore", "node_modules\n")
    (bench.root / ".git" / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
    return bench


def lines(text: str, bench: Bench) -> list[str]:
    return [line.removeprefix(f"{bench.root}/") for line in text.split("\n")]


async def test_glob_lists_newest_first_with_absolute_paths(bench: Bench) -> None:
    text = await bench("glob", pattern="**/*.py")
    assert text.startswith(str(bench.root))
    assert lines(text, bench) == ["x:y/f.py", ".hidden/e.py", "src/deep/c.py", "src/b.py", "a.py"]


async def test_glob_lists_folders_too_and_one_level_only(bench: Bench) -> None:
    assert set(lines(await bench("glob", pattern="*"), bench)) == {"a.py", "src/", ".hidden/", "x:y/", ".gitignore"}
    assert lines(await bench("glob", pattern="src/*/"), bench) == ["src/deep/"]


async def test_glob_begins_at_its_path(bench: Bench) -> None:
    assert lines(await bench("glob", pattern="*.py", path="src"), bench) == ["src/b.py"]
    assert lines(await bench("glob", pattern="*.py", path=str(bench.root / "src")), bench) == ["src/b.py"]


async def test_what_the_repository_ignores_is_found_only_when_named(bench: Bench) -> None:
    assert "node_modules" not in await bench("glob", pattern="**")
    assert "node_modules" not in await bench("grep", pattern="needle")
    assert lines(await bench("glob", pattern="node_modules/**/*.py"), bench) == ["node_modules/lib/g.py"]
    assert "g.py:1:needle" in await bench("grep", pattern="needle", path="node_modules")


async def test_grep_gives_file_line_and_text_in_order_of_path(bench: Bench) -> None:
    text = await bench("grep", pattern=r"needle \d")
    assert [line.rpartition(":")[0] for line in lines(text, bench)] == [
        ".hidden/e.py:2",
        "a.py:2",
        "src/b.py:2",
        "src/d.ts:2",
        "src/deep/c.py:2",
        "x:y/f.py:2",
    ]
    assert "src/b.py:2:needle 1" in text


async def test_grep_counts_the_files_it_showed_as_read(bench: Bench) -> None:
    await bench("grep", pattern="needle [05]")
    assert bench.bench.files_read == {"a.py", "x:y/f.py"}


async def test_grep_searches_one_file(bench: Bench) -> None:
    assert await bench("grep", pattern="needle", path="a.py") == f"{bench.root}/a.py:2:needle 0"


@pytest.mark.parametrize(("name", "argument"), [("glob", "**/nothing*"), ("grep", "no such text")])
async def test_nothing_found_is_said_and_no_failure(bench: Bench, name: str, argument: str) -> None:
    assert await bench(name, pattern=argument) == "no matches"  # type: ignore[arg-type]


async def test_the_record_and_the_git_folder_are_never_shown(bench: Bench) -> None:
    for text in (await bench("glob", pattern="**"), await bench("grep", pattern="needle")):
        assert ".callsheet" not in text
        assert ".git/" not in text
    assert "record" in await bench.refusal("grep", pattern="needle", path=".callsheet")


async def test_results_keep_to_the_scope(tmp_path: Path) -> None:
    bench = Bench(tmp_path, scope=Scope(read=("src/**",)))
    bench.put("src/a.py", "needle")
    bench.put("b.py", "needle")
    assert lines(await bench("grep", pattern="needle"), bench) == ["src/a.py:1:needle"]
    assert lines(await bench("glob", pattern="**/*.py"), bench) == ["src/a.py"]


async def test_a_wrong_expression_is_explained(bench: Bench) -> None:
    assert "regex parse error" in await bench.refusal("grep", pattern="(")


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", "src/../../*"])
async def test_patterns_that_climb_out_are_refused(bench: Bench, pattern: str) -> None:
    await bench.refusal("glob", pattern=pattern)


async def test_a_path_that_does_not_exist_is_said(bench: Bench) -> None:
    assert "no such" in await bench.refusal("grep", pattern="x", path="absent")


async def test_a_pattern_that_looks_like_an_option_is_a_pattern(bench: Bench) -> None:
    bench.put("o.txt", "--pre=sh\n")
    assert "o.txt" in await bench("grep", pattern="--pre=sh")


async def test_an_expression_may_span_lines(bench: Bench) -> None:
    assert lines(await bench("grep", pattern=r"a\.py\nneedle"), bench) == ["a.py:1:# a.py", "a.py:2:needle 0"]


async def test_results_are_bounded_and_the_cut_is_said(bench: Bench) -> None:
    for n in range(search.MAX_GLOB_RESULTS + 5):
        bench.put(f"many/{n:04}.txt", "needle " * 40)
    listed = (await bench.told("glob", pattern="many/*")).split("\n")
    assert len(listed) == search.MAX_GLOB_RESULTS + 3
    assert "narrow" in listed[-1]
    found = await bench.told("grep", pattern="needle", path="many")
    assert len(found) < search.GREP_OUTPUT_BYTES + 200
    assert "narrow" in found.split("\n")[-1]


async def test_a_flood_of_matches_is_cut_off_at_the_source(bench: Bench) -> None:
    bench.put("flood.txt", "needle in the flood\n" * 400_000)
    with within(20):
        assert "narrow" in await bench.told("grep", pattern="needle", path="flood.txt")


async def test_long_lines_are_shown_in_part(bench: Bench) -> None:
    bench.put("min.js", "x" * 5_000 + "needle" + "y" * 5_000)
    assert len(await bench("grep", pattern="needle", path="min.js")) < 1_000


async def test_a_search_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with within(), pytest.raises(ToolFailure, match="took longer"):
        await Ripgrep(time_limit_s=0).run(["--files", "/"], cwd=tmp_path, limit_bytes=10)


def test_cancelled_at_any_moment_of_its_start_a_search_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search() -> Coroutine[Any, Any, object]:
        return Ripgrep().run(["--files"], cwd=tmp_path, limit_bytes=1000)

    assert left_by_cancelled_starts(monkeypatch, search) == []


def test_the_binary_is_the_packages_own() -> None:
    assert ripgrep_path().name == "rg"
    assert os.access(ripgrep_path(), os.X_OK)
