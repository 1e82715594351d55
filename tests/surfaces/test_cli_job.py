"""What a CI job is told of a run: the page of its step, and annotations. Nothing in them is more than text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from callsheet.cli.github import annotation, folded
from callsheet.cli.job import Told, run_annotations
from callsheet.cli.step_summary import LIMIT_BYTES, step_summary
from callsheet.model.outcome import Usage
from callsheet.model.run import AgentSummary, ChangedFile, Denial, Problem, RunError, RunResult
from tests.surfaces.command import Command

HOSTILE = (
    "</code></td></table></pre></details>\n\n# owned\n<script>x</script><img src=x onerror=y>\n"
    "::error file=a::x\n##[add-path]/x | ``` [a](javascript:x) @everyone #1 https://e.example \x1b[2J\u202egnp.exe\\"
)
OURS = {"h3", "h4", "p", "code", "pre", "table", "tr", "th", "td", "details", "summary"}


class Read(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(MarkdownIt("commonmark", {"html": True, "linkify": False}).enable("table").render(page))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert all(name == "colspan" for name, _ in attrs)
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        return "".join(data for _, data in self.texts)


def _agent(number: int, text: str) -> AgentSummary:
    return AgentSummary(
        agent_id=f"a{number:04}", call=number, label=text, phase=text, workflow=None, status="failed", reused=False,
        model=text, backend="scripted", attempts=1, usage=Usage(output_tokens=50), files_read=(), files_changed=(text,),
        tools_called=(), queued_at="2026-11-21T08:00:00.000Z", started_at="2026-11-21T08:00:00.000Z",
        ended_at="2026-11-21T08:00:01.000Z", error=text,
    )  # fmt: skip


def _result(text: str, *, number: int = 1) -> RunResult:
    problem = Problem(where=text, cause="failed", message=text, line=3, label=text, next="callsheet resume run_x")
    denial = Denial(tool="bash", input=text, rule=text, agents=2, would_allow=("Bash(npm test:*)", text))
    return RunResult(
        run_id="run_x", workflow=text, script=text, status="failed", backend="anthropic", result={text: text},
        error=RunError(kind="script", message=text, line=3, column=5), logs=(), phases=(),
        agents=tuple(_agent(each, text) for each in range(1, number + 1)), problems=(problem,) * number,
        denials=(denial,) * number, usage=Usage(), by_model={}, duration_ms=1000,
        changes=(ChangedFile(path=text, added=1, removed=None, agents=("a0001",)),) * number,
    )  # fmt: skip


def test_hostile_text_cannot_break_out_of_the_page() -> None:
    page = Read(step_summary(_result(HOSTILE), resume="callsheet resume run_x"))

    assert page.tags == OURS
    assert page.open == []
    hostile = [inside for inside, text in page.texts if "owned" in text or "everyone" in text]
    assert len(hostile) >= 10
    assert set(hostile) == {"code", "pre"}
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", page.text)


def test_the_page_says_what_to_do() -> None:
    page = step_summary(_result("x"), resume="callsheet resume run_x")

    text = Read(page).text
    assert "callsheet resume run_x" in text
    assert "--allow 'Bash(npm test:*)'" in text
    assert '{"permissions": {"allow": ["Bash(npm test:*)", "x"]}}' in text
    assert "1 changed file" in text and "+1 -?" in text


def test_the_page_of_a_large_hostile_run_is_what_github_takes_and_whole_html() -> None:
    page = step_summary(_result(HOSTILE * 20, number=2_000))

    assert 10_000 < len(page.encode()) <= LIMIT_BYTES
    assert Read(page).open == []
    small = step_summary(_result(HOSTILE * 20, number=2_000), limit_bytes=20_000)
    assert len(small.encode()) <= 20_000
    assert "There is no room for the rest" in small


def test_an_annotation_is_one_command_whatever_it_says() -> None:
    line = annotation("error", HOSTILE, title=HOSTILE, file="a:b,c\n.js", line=3, column=1)

    assert len(line.splitlines()) == 1
    assert line.startswith("::error file=a%3Ab%2Cc␊.js,line=3,col=1,title=")
    properties, _, message = line.removeprefix("::error ").partition("::")
    assert len(properties.split(",")) == 4
    assert "##[" not in line and "\x1b" not in line and "%0A# owned%0A" in message


def test_problems_are_warnings_where_the_step_passes_and_no_more_than_github_shows() -> None:
    lines = run_annotations(_result("x", number=30), file="case.js", level="warning")

    assert [line.partition(" ")[0] for line in lines] == ["::error"] + ["::warning"] * 10 + ["::notice"]
    assert "21 more problems are in the summary" in lines[10]
    assert lines[1] == "::warning file=case.js,line=3,title=failed%3A x::x%0ATo run it again: callsheet resume run_x"
    assert folded(["a"] * 10, level="error", noun="error") == ["a"] * 10


@pytest.mark.parametrize(
    ("summary", "how", "detach", "expected"),
    [
        (None, "auto", False, Told(summary=Path("s.md"), annotations=True)),
        ("none", "none", False, Told()),
        ("mine.md", "github", True, Told(summary=Path("mine.md"), annotations=True)),
        (None, "auto", True, Told()),
    ],
)
def test_in_a_github_job_both_go_without_saying(summary: str | None, how: str, detach: bool, expected: Told) -> None:
    flags = {"step_summary": summary, "annotations": how, "detach": detach}

    assert Told.by_flags(flags, {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": "s.md"}) == expected
    if summary is None:
        assert Told.by_flags(flags, {"GITHUB_STEP_SUMMARY": "s.md"}) == Told()


def test_a_failed_run_is_annotated_at_its_line_and_has_a_page(command: Command) -> None:
    there = command.folder / "step.md"
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(there), "GITHUB_WORKSPACE": str(command.folder)}
    there.write_text("before", encoding="utf-8")

    done = command.run(
        "await agent('p', { label: 'one' })\nthrow new Error('::stop')", "-q", environ=environ,
        answers=({"label": "one", "error": "::set-env::x", "status": "failed"},),
    )  # fmt: skip

    commands = [line for line in done.err.splitlines() if line.lstrip().startswith("::")]
    assert [line.partition(",title")[0] for line in commands] == [
        "::error file=case.js,line=3,col=11",
        "::error file=case.js,line=2",
    ]
    page = there.read_text(encoding="utf-8")
    assert page.startswith("before\n<h3>❌ <code>case</code> failed</h3>")


def test_a_refused_script_is_annotated_where_it_stands_by_name_too(command: Command) -> None:
    saved = command.folder / ".claude/workflows/broken.js"
    saved.parent.mkdir(parents=True)
    saved.write_text("export const meta = { name: 'broken', description: 'x' }\nreturn (1 +", encoding="utf-8")
    environ = {"GITHUB_WORKSPACE": str(command.folder)}
    flags = ("--backend", "offline", "--annotations", "github", "--step-summary", "out.md")

    done = command("run", "broken", *flags, environ=environ)

    assert done.status == 2
    assert "\n::error file=.claude/workflows/broken.js,line=2,col=12,title=syntax::the script ends before" in done.err
    assert "did not begin" in (command.folder / "out.md").read_text(encoding="utf-8")
