"""The meta statement: found, read without running it, or refused with a place (CONTRACT S01, S02, S03)."""

from __future__ import annotations

import pytest

from callsheet.model.script import DeclaredPhase
from callsheet.model.values import Place
from tests.unit.script.samples import evaluated, read, refusal, told

WHOLE = "name: 'n', description: 'd'"


# --- S01: where it stands ---------------------------------------------------------------------------------------------


@pytest.mark.contract("S01")
@pytest.mark.parametrize(
    "before",
    [
        "",
        "\n\n  \t\n",
        "// export const meta = { name: 'decoy' }\n",
        "/* export const meta = { name: 'decoy', description: 'x' } */",
        "/**\n * A header.\n */\n\n// more\n",
        "\u00a0\u3000\ufeff\u2028",
        "// a\r\n/* b */ // c\r\n",
        "#!/usr/bin/env callsheet\n// x\n",
    ],
)
def test_only_comments_and_white_space_may_stand_before_it(before: str) -> None:
    script = read(f"{before}export const meta = {{ {WHOLE} }}\nreturn 1")
    assert script.meta.name == "n"
    assert script.body.endswith("\nreturn 1")
    kept = before.removeprefix("#!/usr/bin/env callsheet")
    assert script.body.startswith(kept if kept == before else " " * 24 + kept)


@pytest.mark.contract("S01")
@pytest.mark.parametrize(
    ("text", "code", "place", "says"),
    [
        ("", "meta-missing", "1:1", "no meta"),
        ("// only a comment\n", "meta-missing", "1:18", "no meta"),
        ("return 1", "meta-missing", "1:1", "must be `export const meta"),
        (
            "```js\nexport const meta = { name: 'x', description: 'y' }\n```",
            "fence",
            "1:1",
            "take the lines with ``` away",
        ),
        ("\n~~~\nexport const meta = {}\n~~~", "fence", "2:1", "take the lines with ~~~ away"),
        ("export const other = { name: 'x' }", "meta-missing", "1:1", "meta"),
        ("export const metadata = { name: 'x' }", "meta-missing", "1:1", "meta"),
        ("export function run() {}", "meta-missing", "1:1", "meta"),
        ("'use strict'\nexport const meta = { %s }", "meta-not-first", "1:1", "from line 2"),
        ("const a = 1\n\n  export const meta = { %s }", "meta-not-first", "1:1", "first"),
        (";export const meta = { %s }", "meta-missing", "1:1", "first"),
        ("const s = `\nexport const meta = 1`", "meta-missing", "1:1", "meta"),
        ("const meta = { %s }", "meta-not-exported", "1:1", "not exported"),
        ("let meta = { %s }", "meta-not-exported", "1:1", "not exported"),
        ("module.exports = { %s }", "meta-not-exported", "1:1", "exports"),
        ("exports.meta = { %s }", "meta-not-exported", "1:1", "exports"),
        ("export let meta = { %s }", "meta-not-const", "1:1", "constant"),
        ("export var meta = { %s }", "meta-not-const", "1:1", "constant"),
        ("export default { %s }", "meta-default-export", "1:1", "export default"),
        ("import fs from 'fs'\nexport const meta = { %s }", "import", "1:1", "first"),
    ],
)
def test_anything_else_before_it_is_refused_each_with_its_own_message(
    text: str, code: str, place: str, says: str
) -> None:
    refused = refusal(text.replace("%s", WHOLE))
    assert told(refused.findings)[0] == (code, place)
    assert says in refused.message
    assert refused.workflow is None


@pytest.mark.contract("S01")
@pytest.mark.parametrize(
    ("after", "body"),
    [
        ("", ""),
        (";", ""),
        (";return 1", "return 1"),
        ("; return 1", " return 1"),
        ("\n;\nreturn 1", "\nreturn 1"),
        (" /* x */ ;return 1", "return 1"),
        ("\n!x", "\n!x"),
        ("\n++x", "\n++x"),
        ("\n--x", "\n--x"),
        ("\ninner()", "\ninner()"),
        ("\ninstance()", "\ninstance()"),
        (" // (a comment)\nx()", " // (a comment)\nx()"),
        (" /* two\nlines */ x()", " /* two\nlines */ x()"),
        ("\u2028x()", "\u2028x()"),
    ],
)
def test_the_statement_ends_where_javascript_ends_it(after: str, body: str) -> None:
    statement = f"export const meta = {{ {WHOLE} }}"
    rest = read(statement + after).body[len(statement) :]
    assert rest.endswith(body)
    assert rest.removesuffix(body).strip() == ""
    assert len(rest) == len(after)


@pytest.mark.contract("S01", "S02")
@pytest.mark.parametrize(
    ("after", "code", "says"),
    [
        ("\n(async () => {})()", "meta-not-literal", "end the meta statement with `;`"),
        ("\n[1, 2].forEach(f)", "meta-not-literal", "`[`"),
        ("\n`x`", "meta-not-literal", "literal"),
        ("\n/x/.test('x')", "meta-not-literal", "literal"),
        ("\n+1", "meta-not-literal", "literal"),
        (".name", "meta-not-literal", "literal"),
        (" && x", "meta-not-literal", "literal"),
        ("\nin x", "meta-not-literal", "literal"),
        (", other = 1", "second-export", "alone"),
        (" return 1", "syntax", "new line"),
        (" as const", "typescript", "`as`"),
        (" satisfies Meta", "typescript", "`satisfies`"),
    ],
)
def test_what_goes_on_after_the_literal_is_refused(after: str, code: str, says: str) -> None:
    refused = refusal(f"export const meta = {{ {WHOLE} }}{after}")
    assert refused.findings[0].code == code
    assert says in refused.message
    assert refused.workflow == "n"


@pytest.mark.contract("S01")
def test_comments_may_stand_between_the_words_of_the_statement() -> None:
    script = read(f"export/**/const // x\n meta /*:*/ = /* {'{'} */ {{ {WHOLE} }}\nreturn 1")
    assert script.body.strip() == "return 1"
    assert script.body.count("\n") == 2


@pytest.mark.contract("S05")
def test_a_type_annotation_of_meta_is_named() -> None:
    refused = refusal(f"export const meta: Meta = {{ {WHOLE} }}")
    assert told(refused.findings) == [("typescript", "1:18")]


# --- S02: a pure literal ----------------------------------------------------------------------------------------------


@pytest.mark.contract("S02")
@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("NAME", "a name"),
        ("String('a')", "a call"),
        ("tag`a`", "a call"),
        ("'a' + 'b'", "a concatenation"),
        ("1 - 2", "a calculation"),
        ("`a${1}`", "an interpolation"),
        ("undefined", "`undefined`"),
        ("NaN", "a name"),
        ("-x", "an expression"),
        ("+1", "an expression"),
        ("!0", "an expression"),
        ("typeof x", "an expression"),
        ("(1)", "in parentheses"),
        ("a ? 1 : 2", "a choice"),
        ("a.b", "a property"),
        ("a[0]", "an element"),
        ("/x/", "a regular expression"),
        ("() => 1", "a function"),
        ("function () {}", "a function"),
        ("class {}", "a class"),
        ("new Date()", "a new object"),
        ("await x", "an `await`"),
        ("import.meta", "known only when"),
        ("[1, ...x]", "a spread"),
        ("[1, , 2]", "an empty slot"),
        ("[,]", "an empty slot"),
        ("{ ...x }", "a spread"),
        ("{ [x]: 1 }", "computed"),
        ("{ ['x']: 1 }", "computed"),
        ("{ x }", "a variable"),
        ("{ x() {} }", "a method"),
        ("{ get x() { return 1 } }", "a method"),
        ("{ async x() {} }", "a method"),
        ("10n", "BigInt"),
        ("0x1Fn", "BigInt"),
        ("017", "no number"),
        ("08", "no number"),
        ("1e999", "larger"),
        (r"'\01'", "octal"),
        (r"'\8'", "octal"),
        (r"`\07`", "octal"),
        (r"'\ud800'", "surrogate"),
        (r"'\udc00\ud800'", "surrogate"),
        (r"'\u{110000}'", "last character"),
        (r"'\x1'", "hexadecimal"),
    ],
)
def test_what_is_no_literal_is_refused_with_its_place_and_its_name(value: str, what: str) -> None:
    refused = refusal(f"export const meta = {{\n  name: 'n', description: 'd',\n  deep: [{{ x: {value} }}],\n}}")
    finding = refused.findings[0]
    assert (finding.code, finding.contract) == ("meta-not-literal", "S02")
    assert what in finding.message
    assert "literal" in finding.message
    assert "meta.deep[0]" in finding.message
    assert finding.place is not None and finding.place.line == 3
    assert finding.source_line == f"  deep: [{{ x: {value} }}],"
    assert refused.workflow == "n"


@pytest.mark.contract("S02")
@pytest.mark.parametrize(
    "key", ["__proto__", "'__proto__'", r"'\x5f_proto__'", r"\u005f_proto__", "constructor", "prototype"]
)
@pytest.mark.parametrize("wrap", ["%s", "deep: [{ a: { %s } }]"])
def test_keys_that_reach_prototypes_are_refused_at_every_depth(key: str, wrap: str) -> None:
    text = f"export const meta = {{ {WHOLE}, {wrap.replace('%s', key + ': { x: 1 }')} }}"
    refused = refusal(text)
    assert refused.findings[0].code == "meta-key"
    named = "__proto__" if "proto__" in key else key
    assert f"`{named}`" in refused.message
    assert refused.place == Place(line=1, column=text.index(key) + 1)


@pytest.mark.contract("S02")
@pytest.mark.parametrize(
    "literal",
    [
        r"""'a\n\t\b\f\r\v\0\\\'\"\x41\u0042\u{1F600}\u{43}'""",
        r'''"\ud83d\ude00 \a\q \
continued \
"''',
        "'a\\\r\nb'",
        "'a\\\u2028b'",
        "'a\u2028b\u2029c'",
        "`a\r\nb\rc\nd`",
        r"`\`\${x} $ $$ {}\n`",
        "`$`",
        "[-1, - 2, -0, 0, 1_000_000, .5, 5., 1.5e3, 1E-7, 1e21, 0x1F, 0XfF, 0o17, 0b101, 0B1_1]",
        "[9007199254740993, 123456789012345680000, 0.1, 5e-324, 1.7976931348623157e308, 0xFFFFFFFFFFFFFFFF]",
        "{ 1: 'a', 0x10: 'b', 1.5: 'c', .5: 'd', 1e21: 'e', 1e-7: 'f', 1e3: 'g', 0.000001: 'h' }",
        "{ 123456789012345680000: 'a', 1.5e300: 'b', 1.25e-9: 'c', 0: 'd', 100: 'e', 12.5: 'f', 0.00125: 'g' }",
        r"{ 'quoted key': 1, \u0061bc: 2, d\u{65}f: 3, $: 4, _: 5, café: 6, if: 7, class: 8 }",
        "{ async: 1, get: 2, set: 3, static: 4, await: 5, let: 6, of: 7, null: 8, true: 9 }",
        "{ a: 1, b: 2, a: 3 }",
        "[true, false, null, [], {}, [[]], [{}], ]",
        "{ a: 1, /* c */ b: 2, // d\n }",
        "'</script><!-- -->'",
    ],
)
def test_literals_mean_what_the_engine_says_they_mean(literal: str) -> None:
    script = read(f"export const meta = {{ {WHOLE}, value: {literal} }}")
    assert script.meta.value["value"] == evaluated(literal)


@pytest.mark.contract("S02")
def test_everything_that_is_wrong_is_told_at_once_in_order_of_place() -> None:
    refused = refusal("export const meta = {\n  name: NAME,\n  description: d(),\n  ...rest,\n}\nimport x from 'y'")
    assert told(refused.findings) == [
        ("meta-not-literal", "2:9"),
        ("meta-not-literal", "3:16"),
        ("meta-not-literal", "4:3"),
        ("import", "6:1"),
    ]


@pytest.mark.contract("S02")
@pytest.mark.parametrize("value", ["META", "Object.freeze({})", "('x')", "[]", "'x'", ""])
def test_a_meta_that_is_no_object_written_out_is_refused(value: str) -> None:
    refused = refusal(f"export const meta = {value}")
    assert refused.findings[0].code == "meta-not-literal"
    assert "literal" in refused.message


@pytest.mark.contract("S02")
def test_a_meta_nested_too_deep_is_refused() -> None:
    assert "nested deeper" in refusal(f"export const meta = {{ {WHOLE}, x: {'[' * 100}{']' * 100} }}").message


@pytest.mark.contract("S06")
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("export const meta = { name: 'n'\n  description: 'd' }", "2:3"),
        ("export const meta = { name: 'n', , description: 'd' }", "1:34"),
        ("export const meta = { name 'n' }", "1:28"),
        ("export const meta = { name: 'n', description: 'd'\nreturn 1", "2:1"),
        ("export const meta = { name: 'n', description: 'd',\n", "1:21"),
        ("export const meta = {\n  name: 'it's', description: 'd' }", "2:13"),
        ("export const meta = {\n  name: 'it's', description: 'it's' }", "2:13"),
    ],
)
def test_a_meta_that_is_not_javascript_is_refused_with_a_place(text: str, place: str) -> None:
    refused = refusal(text)
    assert told(refused.findings) == [("syntax", place)]


# --- S03: what it says ------------------------------------------------------------------------------------------------


@pytest.mark.contract("S03")
@pytest.mark.parametrize("key", ["name", "description"])
@pytest.mark.parametrize(
    ("given", "says"), [(None, "is missing"), ("''", "is empty"), ("' \\n'", "is empty"), ("1", "is not a string")]
)
def test_name_and_description_are_non_empty_strings(key: str, given: str | None, says: str) -> None:
    members = {"name": "'n'", "description": "'d'"}
    members.pop(key)
    if given is not None:
        members[key] = given
    refused = refusal(f"export const meta = {{ {', '.join(f'{k}: {v}' for k, v in members.items())} }}")
    assert told(refused.findings) == [(f"meta-{key}", "1:21")]
    assert f"meta.{key} {says}" in refused.message
    assert refused.workflow == (None if key == "name" else "n")


@pytest.mark.contract("S03")
def test_a_meta_that_says_nothing_is_told_all_that_it_must_say() -> None:
    assert told(refusal("export const meta = {}").findings) == [("meta-name", "1:21"), ("meta-description", "1:21")]


@pytest.mark.contract("S03")
def test_all_that_meta_says_is_kept() -> None:
    script = read(
        f"export const meta = {{ {WHOLE}, whenToUse: 'often', author: {{ x: [1] }}, "
        "phases: [{ title: 'A', detail: 'b', model: 'opus', colour: 1 }, { title: 'C' }] }"
    )
    assert script.meta.when_to_use == "often"
    assert script.meta.phases == (
        DeclaredPhase(title="A", detail="b", model="opus"),
        DeclaredPhase(title="C"),
    )
    assert script.meta.value["author"] == {"x": [1]}


@pytest.mark.contract("S03")
def test_optional_parts_of_another_form_are_left_out_and_refuse_nothing() -> None:
    script = read(
        f"export const meta = {{ {WHOLE}, whenToUse: 1, "
        "phases: ['A', { title: 'B', detail: 2, model: null }, { detail: 'x' }, { title: '' }, 3, ''] }"
    )
    assert script.meta.when_to_use is None
    assert script.meta.phases == (DeclaredPhase(title="A"), DeclaredPhase(title="B"))
    assert read(f"export const meta = {{ {WHOLE}, phases: 'A' }}").meta.phases == ()


# --- the rest of the file ---------------------------------------------------------------------------------------------


@pytest.mark.contract("S02", "S06")
@pytest.mark.parametrize(
    "body",
    [
        "const a = ;",
        "}); evil(); (async () => {",
        "{ { {",
        "`unfinished ${",
        "'unfinished",
        "/* unfinished",
        "@#§ this is not code at all",
        "x = /[/]}'/v",
        "<!-- html comment\nreturn 1",
        "export const meta = { name: 'second' }".replace("export", "exp0rt"),
    ],
)
def test_an_odd_body_cannot_spoil_the_reading_of_meta(body: str) -> None:
    script = read(f"export const meta = {{ {WHOLE} }};\n{body}")
    assert script.meta.name == "n"
    assert script.body.endswith(f"\n{body}")


@pytest.mark.contract("S06")
def test_the_body_keeps_every_position_of_the_file_as_written() -> None:
    text = "/* é */ export const meta = {\n  name: 'ü😀',\r\n  description: `a\nb`, // 'x'\n};const a = 'ö'\nreturn a\n"
    script = read(text)
    assert len(script.body) == len(text)
    assert [at for at, c in enumerate(script.body) if c == "\n"] == [at for at, c in enumerate(text) if c == "\n"]
    assert script.body.index("const a = 'ö'") == text.index("const a = 'ö'")
    assert script.body.startswith("/* é */ ")
