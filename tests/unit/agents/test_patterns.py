from __future__ import annotations

import pytest

from callsheet.agents.tools.patterns import PatternError, compile_glob, literal_prefix


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*", "a.py", True),
        ("*", "src/a.py", False),
        ("*.py", "src/a.py", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "src/deep/a.py", True),
        ("src/**", "src/a/b.py", True),
        ("src/**", "srcs/a.py", False),
        ("src/**/test_*.py", "src/a/b/test_x.py", True),
        ("src/**/test_*.py", "src/a/b/x.py", False),
        ("**/a/**/b", "x/a/y/a/b", True),
        ("**/a/**/b", "x/y/b", False),
        ("*.{ts,tsx}", "a.tsx", True),
        ("*.{ts,tsx}", "a.js", False),
        ("{a,b{c,d}}.py", "bd.py", True),
        ("a?c", "abc", True),
        ("[ab].py", "c.py", False),
        ("./src/*", "src/a", True),
        (".env*", ".env.local", True),
        ("a(b+.py", "a(b+.py", True),
    ],
)
def test_patterns_mean_what_people_expect(pattern: str, path: str, matches: bool) -> None:
    assert compile_glob(pattern)(path) is matches


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", "a/../b", "{a,b}" * 9])
def test_patterns_that_climb_out_or_explode_are_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        compile_glob(pattern)


@pytest.mark.parametrize("pattern", ["*a" * 40 + "b", "**/" * 60 + "z", "?*" * 60 + "!"])
def test_no_pattern_takes_long(pattern: str) -> None:
    path = "/".join(["a" * 40] * 50)
    assert compile_glob(pattern)(path) is False


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [("src/app/*.py", "src/app"), ("**/*.py", ""), ("a.py", ""), ("src/*/b.py", "src"), ("src/{a,b}/c.py", "src")],
)
def test_the_search_begins_where_the_wildcards_do(pattern: str, prefix: str) -> None:
    assert literal_prefix(pattern) == prefix
