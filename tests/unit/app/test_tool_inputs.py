"""What a model's call of a workflow tool says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from callsheet.app.check import check_files
from callsheet.app.plan import Surroundings
from callsheet.app.tool_inputs import TOOLS, StartInput, decoded, read_input
from callsheet.app.tool_scripts import tool_script
from callsheet.authoring import guide_text, tool_text
from callsheet.errors import ScriptRefusedError


@pytest.mark.contract("G01")
@pytest.mark.parametrize(
    ("passed", "value"),
    [
        ('{"a": [1]}', {"a": [1]}),
        (' [1, "2"]\n', [1, "2"]),
        ('{"a": "{\\"b\\": 1}"}', {"a": '{"b": 1}'}),
        ("12", "12"),
        ("null", "null"),
        ('"text"', '"text"'),
        ("{not json", "{not json"),
        ("[NaN]", "[NaN]"),
        ("[" * 100_000, "[" * 100_000),
        ({"a": "[1]"}, {"a": "[1]"}),
        (None, None),
    ],
)
def test_only_an_object_or_array_that_was_passed_as_json_text_is_decoded_and_once(passed: Any, value: Any) -> None:
    assert decoded(passed) == value
    assert read_input(StartInput, {"name": "x", "args": passed}).args == value


def test_args_that_were_not_given_are_told_from_null() -> None:
    assert not read_input(StartInput, {"name": "x"}).has_args
    assert read_input(StartInput, {"name": "x", "args": None}).has_args


def test_every_tool_says_its_input_in_the_names_that_models_use() -> None:
    names = {name for tool in TOOLS for name in tool.schema["properties"]}
    assert {"scriptPath", "resumeFromRunId", "runId", "waitSeconds"} <= names
    assert not [name for name in names if "_" in name]
    assert all(tool.schema["additionalProperties"] is False for tool in TOOLS)


@pytest.mark.anyio
async def test_a_script_that_is_no_text_is_refused_and_not_kept(tmp_path: Path) -> None:
    around = Surroundings(start=tmp_path, environ={}, home=tmp_path)
    with pytest.raises(ScriptRefusedError):
        await tool_script(StartInput.model_construct(script="\ud800"), root=tmp_path, around=around)
    assert not (tmp_path / ".callsheet").exists()


@pytest.mark.anyio
async def test_the_scripts_that_models_are_shown_have_nothing_wrong_with_them(tmp_path: Path) -> None:
    blocks = re.findall(r"```js\n(.*?)```", guide_text(), re.DOTALL)
    example = tool_text().partition("Example:\n")[2].partition("\n\n")[0]
    scripts = [example, *(block for block in blocks if "export const meta" in block)]
    pieces = "export const meta = { name: 'piece', description: 'p' }\nconst FINDS = {}, VERDICT = {}\n"
    scripts += [pieces + block for block in blocks if "export const meta" not in block]
    paths = [tmp_path / f"{number}.js" for number in range(len(scripts))]
    for path, script in zip(paths, scripts, strict=True):
        path.write_text(script, encoding="utf-8")
    checked = await check_files([str(path) for path in paths])
    assert len(checked) == 5
    assert [each.findings for each in checked if each.errors] == []
    assert [each.findings for each in checked[:2] if each.findings] == []
