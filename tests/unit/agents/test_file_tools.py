"""The file tools at an agent's workbench: what they do to files, what they answer, what is recorded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from callsheet.agents.tools import files
from callsheet.agents.tools.inputs import tool_definitions
from callsheet.agents.tools.names import TOOL_NAMES, ToolName
from callsheet.model.call import Scope
from callsheet.model.reports import Progress, ToolCalled
from tests.support.workbench import READ_ONLY, Bench

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# --- definitions


def test_every_tool_is_described_with_its_fields_and_nothing_of_pydantic() -> None:
    for name in TOOL_NAMES:
        definition = tool_definitions()[name]
        assert definition.description
        assert definition.input_schema["type"] == "object"
        properties = definition.input_schema["properties"]
        assert isinstance(properties, dict)
        assert all(isinstance(p, dict) and p["description"] and p["type"] for p in properties.values())
        assert "title" not in str(definition.input_schema)
        assert "anyOf" not in str(definition.input_schema)


def test_definitions_are_built_once() -> None:
    assert tool_definitions() is tool_definitions()


# --- read


async def test_read_returns_the_text_as_it_stands(bench: Bench) -> None:
    bench.put("a.txt", "one\r\ntwo\nüñ\n")
    assert await bench("read", file_path="a.txt") == "one\r\ntwo\nüñ\n"
    assert bench.bench.files_read == {"a.txt"}


@pytest.mark.parametrize(
    ("view", "text"), [((2, 3), "two\nthree"), ((3, 0), "three\nfour"), ((1, 1), "one"), ((9, 12), ""), ((0, 1), "one")]
)
async def test_read_returns_lines_when_asked(bench: Bench, view: tuple[int, int], text: str) -> None:
    bench.put("a.txt", "one\ntwo\nthree\nfour\n")
    assert await bench("read", file_path="a.txt", view_range=list(view)) == text


async def test_read_says_of_an_empty_file_that_it_is_empty(bench: Bench) -> None:
    bench.put("a.txt", "")
    assert "no text" in await bench.told("read", file_path="a.txt")


async def test_a_large_file_is_read_in_parts_only(bench: Bench) -> None:
    bench.put("big.txt", "".join(f"line {n}\n" for n in range(60_000)))
    assert "view_range" in await bench.refusal("read", file_path="big.txt")
    assert await bench("read", file_path="big.txt", view_range=[59_999, 60_000]) == "line 59998\nline 59999"
    assert "ask for fewer" in await bench.refusal("read", file_path="big.txt", view_range=[1, 0])


async def test_pictures_come_back_as_pictures(bench: Bench) -> None:
    bench.put("a.PNG", PNG)
    bench.put("b.pdf", b"%PDF-1.7")
    (picture,) = await bench("read", file_path="a.PNG")
    assert (picture["type"], picture["source"]["media_type"]) == ("image", "image/png")
    (document,) = await bench("read", file_path="b.pdf")
    assert document["type"] == "document"


@pytest.mark.parametrize(
    ("path", "why"),
    [("none.txt", "not exist"), ("folder", "glob"), ("binary", "UTF-8"), ("a.txt/b", "not a directory")],
)
async def test_what_cannot_be_read_is_refused_with_the_reason(bench: Bench, path: str, why: str) -> None:
    bench.put("binary", b"\xff\xfe\0\1")
    bench.put("a.txt", "x")
    (bench.root / "folder").mkdir()
    assert why in await bench.refusal("read", file_path=path)
    assert bench.bench.files_read == set()


async def test_a_pipe_is_refused_and_does_not_block(bench: Bench) -> None:
    os.mkfifo(bench.root / "pipe")
    assert "not a file" in await bench.refusal("read", file_path="pipe")


# --- write and edit


async def test_write_makes_folders_and_keeps_the_text_exact(bench: Bench) -> None:
    await bench("write", file_path="deep/er/a.txt", content="a\r\nb")
    assert (bench.root / "deep" / "er" / "a.txt").read_bytes() == b"a\r\nb"
    assert bench.bench.files_changed == {"deep/er/a.txt"}


async def test_write_keeps_the_permissions_of_the_file_and_leaves_nothing_else(bench: Bench) -> None:
    bench.put("run.sh", "old").chmod(0o755)
    await bench("read", file_path="run.sh")
    await bench("write", file_path="run.sh", content="new")
    assert (bench.root / "run.sh").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in bench.root.iterdir()] == ["run.sh"]


async def test_a_large_write_works_too(bench: Bench) -> None:
    text = "x" * (files.IN_LOOP_BYTES + 1)
    await bench("write", file_path="a.txt", content=text)
    assert (bench.root / "a.txt").read_text(encoding="utf-8") == text


async def test_edit_replaces_one_occurrence_or_all(bench: Bench) -> None:
    bench.put("a.txt", "x y x")
    assert "2 times" in await bench.refusal("edit", file_path="a.txt", old_string="x", new_string="z")
    await bench("edit", file_path="a.txt", old_string="y", new_string="Y")
    assert "2 replacements" in await bench("edit", file_path="a.txt", old_string="x", new_string="", replace_all=True)
    assert (bench.root / "a.txt").read_text(encoding="utf-8") == " Y "


@pytest.mark.parametrize(("old", "why"), [("absent", "does not stand"), ("", "old_string")], ids=["absent", "empty"])
async def test_an_edit_that_does_not_fit_changes_nothing(bench: Bench, old: str, why: str) -> None:
    bench.put("a.txt", "x")
    assert why in await bench.refusal("edit", file_path="a.txt", old_string=old, new_string="z")
    assert (bench.root / "a.txt").read_text(encoding="utf-8") == "x"
    assert bench.bench.files_changed == set()


async def test_half_a_surrogate_pair_is_refused(bench: Bench) -> None:
    assert "surrogate" in await bench.refusal("write", file_path="a.txt", content="\ud800")
    assert not (bench.root / "a.txt").exists()


# --- what is allowed


@pytest.mark.parametrize("name", ["read", "write"])
@pytest.mark.parametrize("path", ["../x", "/etc/hostname", "~/x", ".callsheet/db", "a\0b"])
async def test_paths_out_of_bounds_are_denied(tmp_path: Path, name: ToolName, path: str) -> None:
    bench = Bench(tmp_path)
    await bench.refusal(name, file_path=path, content="x")
    assert [call.state for call in bench.reporter.of(ToolCalled)] == ["denied"]


async def test_protected_paths_are_not_written(bench: Bench) -> None:
    assert "protected" in await bench.refusal("write", file_path=".git/hooks/pre-commit", content="x")
    assert not (bench.root / ".git").exists()


async def test_a_read_only_agent_writes_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, kind=READ_ONLY)
    await bench.refusal("write", file_path="a.txt", content="x")
    assert not (tmp_path / "a.txt").exists()


async def test_reads_keep_to_the_scope(tmp_path: Path) -> None:
    bench = Bench(tmp_path, scope=Scope(read=("src/**",)))
    bench.put("src/a.txt", "in")
    bench.put("b.txt", "out")
    assert await bench("read", file_path="src/a.txt") == "in"
    assert "scope" in await bench.refusal("read", file_path="b.txt")


# --- the record


async def test_each_call_is_recorded_with_its_number_input_and_end(bench: Bench) -> None:
    bench.put("a.txt", "x")
    await bench("read", file_path="a.txt")
    await bench("write", file_path="b.txt", content="y")
    await bench.refusal("read", file_path="none")
    assert [(call.n, call.tool, call.state) for call in bench.reporter.of(ToolCalled)] == [
        (1, "read", "done"),
        (2, "write", "intent"),
        (2, "write", "done"),
        (3, "read", "failed"),
    ]
    assert bench.reporter.of(ToolCalled)[1].input == {"file_path": "b.txt", "content": "y"}
    assert list(bench.bench.calls.names) == ["read", "write"]


async def test_progress_names_the_tool_and_what_it_works_on_in_one_line(bench: Bench) -> None:
    bench.put("a.txt", "x")
    await bench("read", file_path="a.txt")
    await bench("grep", pattern="long\n" + "pattern " * 40)
    first, second = bench.reporter.of(Progress)
    assert (first.tool, first.tool_summary) == ("read", "a.txt")
    assert second.tool_summary is not None
    assert len(second.tool_summary) <= 80
    assert "\n" not in second.tool_summary
