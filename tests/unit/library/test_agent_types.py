from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from callsheet.errors import NotFoundError
from callsheet.library.library import Library
from callsheet.model.call import AgentType
from callsheet.script.reader import read_script


class Folders:
    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "work"
        self.start = self.root / "web"
        self.home = tmp_path / "home"
        self.start.mkdir(parents=True)

    def save(self, text: str | bytes, *, file: str = "reviewer.md", folder: Path | None = None) -> Path:
        path = (folder or self.root) / ".claude" / "agents" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def library(self) -> Library:
        return Library(workspace=self.root, start=self.start, home=self.home, config_dir=None, read=read_script)

    def found(self, name: str = "reviewer") -> AgentType:
        return self.library().agent_type(name)

    def fault(self, name: str = "reviewer") -> str:
        with pytest.raises(NotFoundError) as caught:
            self.library().agent_type(name)
        return caught.value.message


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def front(*lines: str, body: str = "Be strict.") -> str:
    return "\n".join(("---", *lines, "---", body))


@pytest.mark.contract("A07")
def test_a_file_defines_an_agent_type(folders: Folders) -> None:
    path = folders.save(
        front(
            "name: reviewer",
            "description: Reviews changes",
            "tools: [Read, Grep]",
            "disallowedTools: Bash",
            "model: opus",
            "effort: High",
            "color: red",
            body="\nBe strict.\n\n---\nReally.\n",
        )
    )
    assert folders.found() == AgentType(
        name="reviewer",
        description="Reviews changes",
        system_prompt="Be strict.\n\n---\nReally.",
        tools=("Read", "Grep"),
        disallowed_tools=("Bash",),
        model="opus",
        effort="high",
        source=str(path),
    )


@pytest.mark.parametrize(
    ("line", "tools"),
    [
        ("tools: Read, Grep , Bash(git diff:*, git log:*)", ("Read", "Grep", "Bash(git diff:*, git log:*)")),
        ("tools:\n  - Read\n  - mcp__x__y", ("Read", "mcp__x__y")),
        ("tools: []", ()),
        ("tools: *", ("*",)),
        ("tools: '*'", ("*",)),
        ("tools:", None),
        ("tools: null", None),
        ("model: inherit", None),
    ],
)
def test_tools_are_a_list_or_text_with_commas_and_none_given_means_all(
    folders: Folders, line: str, tools: tuple[str, ...] | None
) -> None:
    folders.save(front("description: d", line))
    found = folders.found()
    assert (found.tools, found.model) == (tools, None)


def test_the_stem_is_the_name_where_none_is_given_and_a_description_may_be_missing(folders: Folders) -> None:
    folders.save(front("color: blue"), file="helper.md")
    found = folders.found("helper")
    assert (found.name, found.description, found.system_prompt) == ("helper", "", "Be strict.")


@pytest.mark.parametrize(
    "description",
    [
        "Use this when: something is odd # or not",
        'Examples: <example>user: "hi"\\nassistant: "yes"</example>',
        "*important* & {more}",
        "[WIP] not a list",
        "100% sure: `code` @here",
    ],
)
def test_descriptions_that_are_not_quite_yaml_are_taken_as_they_stand(folders: Folders, description: str) -> None:
    folders.save(front("name: reviewer", f"description: {description}", "tools: Read"))
    found = folders.found()
    assert found.tools == ("Read",)
    assert found.description in (description, description.partition(" #")[0])


def test_multi_line_descriptions_quotes_marks_and_windows_line_ends_work(folders: Folders) -> None:
    folders.save(front("name: reviewer", "description: >", "  one", "  two").replace("\n", "\r\n").encode("utf-8-sig"))
    assert folders.found().description == "one two"
    assert folders.found().system_prompt == "Be strict."


def test_values_are_text_whatever_they_look_like(folders: Folders) -> None:
    folders.save(front("name: 2026-01-01", "description: yes", "model: 5"), file="x.md")
    found = folders.found("2026-01-01")
    assert (found.description, found.model) == ("yes", "5")


def test_the_nearest_file_wins_and_a_file_wins_over_a_built_in_type(folders: Folders) -> None:
    folders.save(front("name: reviewer", "description: user"), folder=folders.home, file="a.md")
    folders.save(front("name: reviewer", "description: root"), file="b.md")
    assert folders.found().description == "root"
    folders.save(front("name: reviewer", "description: near"), folder=folders.start, file="c.md")
    folders.save(front("name: Explore", "description: own"), file="explore.md")
    assert folders.found().description == "near"
    assert folders.found("Explore").description == "own"
    assert [(one.name, one.shadowed_by is not None) for one in folders.library().agent_types()] == [
        ("reviewer", False),
        ("reviewer", True),
        ("Explore", False),
        ("reviewer", True),
        ("general-purpose", False),
        ("Explore", True),
        ("Plan", False),
    ]


def test_the_built_in_types_are_there_and_two_of_them_only_read(folders: Folders) -> None:
    general, explore, plan = (folders.found(name) for name in ("general-purpose", "Explore", "Plan"))
    assert (general.tools, general.read_only, general.system_prompt) == (None, False, "")
    assert [kind.tools for kind in (explore, plan)] == [("read", "glob", "grep")] * 2
    assert all(kind.read_only and kind.system_prompt and kind.source == "built-in" for kind in (explore, plan))


@pytest.mark.contract("A09")
def test_an_unknown_type_lists_those_there_are_and_the_near_ones(folders: Folders) -> None:
    folders.save(front("name: reviewer", "description: d"))
    message = folders.fault("Reviewer")
    assert message == (
        'there is no agent type "Reviewer". Did you mean "reviewer"? '
        "There are: reviewer, general-purpose, Explore, Plan."
    )
    assert 'Did you mean "Explore"?' in folders.fault("explore")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no front matter", "has no front matter"),
        ("---\nname: reviewer\nno end", "has no front matter"),
        (front("- a", "- b"), "has front matter without keys"),
        (front("name: reviewer", "  bad: [1"), "has front matter that is not YAML: line"),
        (front("name: [a, b]"), "has `name` that is not text"),
        (front("tools: {a: b}"), "has `tools` that is not text"),
        (front("effort: extreme"), "has the effort 'extreme'; it is one of low, medium"),
        (front("a: &x [1]", "b: *x"), None),
        (b"---\nname: \xff\n---\n", "is not UTF-8: byte 0xff in line 2"),
        (front(f"description: {'x' * 40_000}"), "has more than 32 KiB of front matter"),
        (front("description: d", body="x" * 1024 * 1024), "is larger than 1 MiB"),
        (front("a: " + "[" * 5_000), "has front matter that nests too deep"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_hides_nothing(
    folders: Folders, text: str | bytes, why: str | None
) -> None:
    folders.save(text)
    folders.save(front("description: good"), file="good.md")
    if why is not None:
        assert f".claude/agents/reviewer.md {why}" in folders.fault()
        assert [one.name for one in folders.library().agent_types() if one.problem is not None] == ["reviewer"]
    assert folders.found("good").description == "good"


def test_aliases_that_would_make_gigabytes_are_refused_at_once(folders: Folders) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    lines += ["m0: &m0 {k: v}"] + [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}" for n in range(1, 10)]
    folders.save(front("name: reviewer", *lines))
    begun = time.thread_time()
    assert folders.found().name == "reviewer"  # as plain text the lines mean nothing
    assert time.thread_time() - begun < 1


def test_tags_make_no_objects(folders: Folders) -> None:
    folders.save(front("name: !!python/object/apply:os.getcwd []", "description: d"))
    assert "has `name` that is not text" in folders.fault()


def test_a_pipe_a_folder_and_a_link_out_hide_nothing_and_are_not_read(folders: Folders, tmp_path: Path) -> None:
    secret = tmp_path / "secret.md"
    secret.write_text(front("name: leaked", body="hunter2"), encoding="utf-8")
    agents = folders.save(front("name: good"), file="z.md").parent
    os.mkfifo(agents / "reviewer.md")
    (agents / "folder.md").mkdir()
    (agents / "link.md").symlink_to(secret)
    assert "reviewer.md is not a regular file" in folders.fault()
    assert "is a link out of the workspace" in folders.fault("link")
    assert "hunter2" not in folders.fault("leaked")
    assert folders.found("good").name == "good"
