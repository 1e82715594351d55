"""The engine's refusal in words for people, with the line and a caret (CONTRACT S06)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from callsheet.model.sandbox import SyntaxFault
from callsheet.model.script import Finding, Script
from callsheet.model.values import Place
from callsheet.script.syntax import syntax_finding
from tests.unit.script.samples import HEAD, engine_fault, script

pytestmark = pytest.mark.contract("S06")


def refused(body: str) -> Finding:
    """What people are told of a body that the engine refuses."""
    read = script("")
    whole = replace(read, text=HEAD + body, body=" " * (len(HEAD) - 1) + "\n" + body)
    fault = engine_fault(whole.body)
    assert fault is not None, "the engine takes it"
    return syntax_finding(whole, fault)


@pytest.mark.parametrize(
    ("body", "place", "says"),
    [
        ("const a = ;", "2:11", "`;` is not expected here, where a value should stand"),
        ("const é = 1; x y", "2:16", "a comma, an operator or a `;` may be missing"),
        ("for (const x of y {", "2:19", "`{` is not expected here"),
        ("const o = {\n  a: 1\n  b: 2 }", "4:3", "`b` is not expected here"),
        ("let a = 1\nlet a = 2\nreturn a", "3:5", "`a` is declared already"),
        ("let a\nlet a\nreturn a", "3:5", "`a` is declared already"),
        ("let a; const { a } = {}", "2:16", "`a` is declared already"),
        ("const x\nfoo()", "2:7", "needs a value"),
        ("break\nfoo()", "2:1", "outside of any loop"),
        ("with (a) {}", "2:1", "strict mode"),
        ("return 010", "2:8", "`0o…`"),
        ("const s = '\\01'", "2:11", "`\\x…`"),
        ("try { a() }\nreturn 1", "3:1", "`catch`"),
        ("return a ?? b || c", "2:15", "may be missing"),
        ("return -1 ** 2", "2:11", "parentheses"),
        ("throw\nnew Error()", "3:1", "one line"),
        ("agent('it's')", "2:11", "write `\\'`"),
        ("const r = /abc", "2:11", "regular expression"),
        ("const r = 1; export { r }", "2:14", "`export`"),
        ("@decorated class A {}", "2:1", "`@`"),
        ("const p = `use `npm test` here`", "2:17", "write `\\`` for a backtick in it"),
        ("var eval = 1", "2:10", "invalid variable name in strict mode"),
    ],
)
def test_what_the_engine_says_is_told_in_plain_words(body: str, place: str, says: str) -> None:
    finding = refused(body)
    assert (finding.severity, finding.code, finding.contract) == ("error", "syntax", "S06")
    assert str(finding.place) == place
    assert says in finding.message
    assert finding.place is not None
    assert finding.source_line == (HEAD + body).split("\n")[finding.place.line - 1]


@pytest.mark.parametrize(
    ("body", "place", "says"),
    [
        ("if (x) {\n  foo()\n", "3:8", "the script ends before `{` of line 2 is closed: `if (x) {`"),
        ("const f = async () => {\n  return [\n    1,", "4:7", "the script ends before `[` of line 3 is closed"),
        ("await agent(\n  'x'\n\n", "3:6", "the script ends before `(` of line 2 is closed"),
        ("const s = `a ${b", "2:17", "the script ends before `${` of line 2 is closed"),
        ("const s = `a\n${b}\nc", "2:11", "the template that begins in line 2"),
        ("/* a\nb", "2:1", "the comment that begins in line 2"),
        ("const s = 'abc\nreturn s", "2:11", "a string begins here and does not end on its line"),
        ("try {\n  a()\n}", "4:2", "the script ends too early: `try"),
    ],
)
def test_a_script_that_ends_too_early_is_told_what_is_open(body: str, place: str, says: str) -> None:
    finding = refused(body)
    assert says in finding.message
    assert str(finding.place) == place


@pytest.mark.parametrize(
    ("body", "place", "says"),
    [
        (
            "const a = await agent('x', { label: 'x' }\nreturn a",
            "3:1",
            "`return` is not expected here; `(` of line 2 is not closed: `const a = await agent('x', { label: 'x' }`",
        ),
        ("const o = [1, 2\nlog(o)\nreturn o", "3:1", "`[` of line 2 is not closed"),
        ("const a = ;\nfoo(", "2:11", "`;` is not expected here, where a value should stand"),
    ],
)
def test_what_was_opened_before_and_is_never_closed_is_named_too(body: str, place: str, says: str) -> None:
    finding = refused(body)
    assert says in finding.message
    assert str(finding.place) == place
    assert ("is not closed" in finding.message) is ("is not closed" in says)


@pytest.mark.parametrize(
    ("body", "place", "says"),
    [
        ("}); globalThis.evil = 1; (async () => {\nreturn 1", "2:1", "this `}` closes nothing"),
        ("return 1 }", "2:10", "this `}` closes nothing"),
        ("return f(1]", "2:11", "`)` is missing before this `]`: `(` of line 2 is not closed"),
        ("if (a) {\n  foo(\n}", "4:1", "`)` is missing before this `}`: `(` of line 3 is not closed: `foo(`"),
        ("return f(1))", "2:12", "this `)` closes nothing"),
    ],
)
def test_a_bracket_that_closes_nothing_is_named(body: str, place: str, says: str) -> None:
    finding = refused(body)
    assert says in finding.message
    assert str(finding.place) == place


def test_a_body_that_closes_its_wrapper_is_told_by_its_own_bracket() -> None:
    body = "const a = 1\n}\nconst b = 2"
    fault = SyntaxFault(message="unexpected '}': it closes the script, and more follows", place=Place(line=3, column=1))
    finding = syntax_finding(script(body), fault)
    assert str(finding.place) == "3:1"
    assert "closes nothing" in finding.message


@pytest.mark.contract("S05")
@pytest.mark.parametrize(
    ("body", "place"),
    [
        ("const a: string = 1; const b = ;", "2:8"),
        ("interface X { a: string }\nconst y = ;", "2:1"),
        ("enum A { B }\n)", "2:1"),
    ],
)
def test_typescript_beside_another_fault_is_named_where_the_engine_stopped(body: str, place: str) -> None:
    finding = refused(body)
    assert (finding.code, finding.contract, str(finding.place)) == ("typescript", "S05", place)


def test_an_engine_that_does_not_say_where_is_quoted() -> None:
    finding = refused("return /(/.test('x')")
    assert finding.place is None
    assert "regular expressions" in finding.message


def test_a_script_that_is_nested_too_deeply_for_the_engine_is_told_so() -> None:
    finding = refused(f"return {'[' * 100_000}{']' * 100_000}")
    assert finding.place is None
    assert "nested too deeply" in finding.message


def test_words_that_are_not_known_are_given_as_the_engine_says_them() -> None:
    fault = SyntaxFault(message="a message of a later engine", place=Place(line=2, column=3))
    finding = syntax_finding(script("a b"), fault)
    assert finding.message == "a message of a later engine"
    assert str(finding.place) == "2:3"


@pytest.mark.parametrize("place", [Place(line=99, column=1), Place(line=2, column=999), Place(line=2), None])
def test_a_place_outside_of_the_script_becomes_one_inside(place: Place | None) -> None:
    whole: Script = script("foo(")
    finding = syntax_finding(whole, SyntaxFault(message="Unexpected token '}'", place=place))
    assert finding.place is None or finding.place.line == 2
