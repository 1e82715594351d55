"""The scanner knows enough of JavaScript's tokens to count brackets."""

from __future__ import annotations

import pytest

from callsheet.script import scan


@pytest.mark.parametrize(
    "text",
    [
        "a(b[c]{d})",
        "'(' + \")\" + '\\'(' + `({[`",
        "`a${b + `c${'}'}d`}e` + `${{}}`",
        "// (\n/* [ */ a",
        "x = /[}\\]/]/.test(a) ; b / c / d",
        "return /[(]/g",
        "a = b ? /(/ : c / (d)",
        "f(/[)]/, `)`)",
        "if (a) { b }\n/[{]/.test(c)",
        "a[0] / b / c['('] ",
        "`\\`${a}\\${`",
        "",
    ],
)
def test_brackets_in_strings_templates_comments_and_regular_expressions_do_not_count(text: str) -> None:
    assert scan.brackets(text) == scan.Brackets()


@pytest.mark.parametrize(
    ("text", "unclosed", "stray", "unended"),
    [
        ("a(b[c", ["(", "["], None, None),
        ("`a${b", ["${"], None, None),
        ("a(b]", ["("], "]", None),
        ("a)", [], ")", None),
        ("{ }}", [], "}", None),
        ("`a${b]}", ["${"], "]", None),
        ("(a, 'b", ["("], None, "'b"),
        ("(a, 'b\n')", ["("], None, "'b\n')"),
        ("[ `a\nb", ["["], None, "`a\nb"),
        ("[ `a${b}c", ["["], None, "`a${b}c"),
        ("{ /* a", ["{"], None, "/* a"),
    ],
)
def test_what_is_open_stray_or_unended_is_told(
    text: str, unclosed: list[str], stray: str | None, unended: str | None
) -> None:
    found = scan.brackets(text)
    assert [token.text for token in found.unclosed] == unclosed
    assert (found.stray.text if found.stray else None) == stray
    assert (found.unended.text if found.unended else None) == unended


def test_tokens_cover_a_text_but_for_white_space() -> None:
    text = "const a = `x${b/2}y` // c\nreturn /d/g.test('e') ? { f: [1.5e3] } : /* g */ #h ?? 😀\u2028i"
    at = 0
    for token in scan.tokens(text):
        assert text[at : token.start].strip() == ""
        assert text[token.start : token.end] == token.text
        at = token.end
    assert text[at:].strip() == ""


@pytest.mark.parametrize(
    ("text", "mark", "is_code"),
    [
        ("a = '§'", "§", False),
        ("a = `§`", "§", False),
        ("a = `${§}`", "§", True),
        ("a // §", "§", False),
        ("a /* § */ b", "§", False),
        ("a = /§/", "§", False),
        ("a / § / b", "§", True),
        ("a §", "§", True),
    ],
)
def test_code_is_told_from_text(text: str, mark: str, is_code: bool) -> None:
    assert scan.is_code(text, text.index(mark)) is is_code


def test_the_end_of_a_bracket_is_found_over_all_that_is_in_it() -> None:
    text = "{ a: '}', b: `${ { c: /}/ } }`, d: [1, (2)] /* } */ } rest }"
    assert text[scan.end_of_bracket(text, 0) or 0 :] == " rest }"
    assert scan.end_of_bracket("{ a: [ }", 0) is None
