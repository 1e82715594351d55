"""A script under another name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.script.reader import read_script
from callsheet.script.renaming import renamed

HEADS = (
    "export const meta = { name: 'old', description: 'd' }\n",
    'export const meta = {\n  "name": "old", // name: \'x\'\n  description: "d",\n};\n',
    "#!/usr/bin/env callsheet\n// meta\nexport const meta = { description: 'name', 'name': `old` }\n",
    "/* é */ export const meta = { description: 'é', name: 'ö' }\n",
)


@pytest.mark.parametrize("head", HEADS)
@given(name=st.text(min_size=1, max_size=30).filter(lambda name: name.strip() and name.isprintable()))
def test_a_script_has_its_new_name_and_is_else_as_it_was(head: str, name: str) -> None:
    body = "return meta.name // name: 'old'\n"

    text = renamed(head + body, name)

    script = read_script(text.encode(), origin="x", path=None)
    before = read_script((head + body).encode(), origin="x", path=None)
    assert script.meta.name == name
    assert script.meta.description == before.meta.description
    assert text.endswith(body)
    assert len(text.splitlines()) == len((head + body).splitlines())


def test_text_that_is_no_workflow_has_no_name_to_replace() -> None:
    with pytest.raises(ValueError, match=r"no meta\.name"):
        renamed("return 1", "x")
