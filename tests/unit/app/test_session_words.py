"""Which words start a workflow, and which lines are commands."""

import pytest

from callsheet.app.session_words import is_command, split_command, workflow_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("write a workflow for this", ["workflow"]),
        ("Workflow: review the changes", ["Workflow"]),
        ("use a WORKFLOW, please. UltraCode!", ["WORKFLOW", "UltraCode"]),
        ("(workflow) “workflow” *workflow* workflow's", ["workflow"] * 4),
        ("a workflow.\nanother workflow", ["workflow", "workflow"]),
        ("the workflows here", []),
        ("preworkflow workflow_x workflow2", []),
        ("multi-workflow workflow-based", []),
        ("read `workflow` and ``a workflow` here`` please", []),
        ("read `workflow` of the workflow", ["workflow"]),
        ("```\nworkflow\n```\nworkflow", ["workflow"]),
        ("an open `workflow", []),
        ("see docs/workflow.md, workflow/x, ./workflow and workflow.js", []),
        ("C:\\workflow https://a.example/workflow", []),
        ("callsheet --workflow -workflow @workflow workflow() workflow=1 workflow::x", []),
        ("/workflow review", []),
        ("/help workflow", []),
        ("", []),
    ],
)
def test_a_workflow_is_asked_for_by_the_whole_word_in_a_sentence(text: str, words: list[str]) -> None:
    """Not by code, paths, options, commands or longer names."""
    assert [text[begin:end] for begin, end in workflow_words(text)] == words


@pytest.mark.parametrize("hostile", ["workflow," * 20_000, "`workflow" * 20_000, "``workflow`" * 20_000, "`" * 200_000])
def test_long_texts_are_read_at_once(hostile: str) -> None:
    """It is asked with every key: what it takes grows no faster than the text."""
    assert len(workflow_words(hostile)) in (0, 20_000)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("/help", True),
        ("  /save last name", True),
        ("/", True),
        ("/review", True),
        ("/plugin:review x", True),
        ("/usr/bin/python is old", False),
        ("/ is the root", False),
        ("//", False),
        ("what is /help", False),
        ("", False),
    ],
)
def test_a_line_that_begins_with_a_name_behind_a_slash_is_a_command(text: str, is_one: bool) -> None:
    """Paths are none."""
    assert is_command(text) is is_one


def test_a_command_is_split_into_its_name_and_the_rest() -> None:
    """The rest as it was typed."""
    assert split_command(" /save  last  my name ") == ("save", "last  my name")
    assert split_command("/review\n{}") == ("review", "{}")
    assert split_command("/") == ("", "")
