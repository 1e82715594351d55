from __future__ import annotations

import time

import pathspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.permissions.globs import Globs

PATHS = ["a.py", "src/a.py", "src/b/c.py", "src/b/c.txt", "docs/src/a.py", "b", "src"]


@pytest.mark.parametrize(
    ("patterns", "meant"),
    [
        (["src"], ["src/a.py", "src/b/c.py", "src/b/c.txt", "docs/src/a.py", "src"]),
        (["/src"], ["src/a.py", "src/b/c.py", "src/b/c.txt", "src"]),
        (["./src/"], ["src/a.py", "src/b/c.py", "src/b/c.txt"]),
        (["src/**"], ["src/a.py", "src/b/c.py", "src/b/c.txt"]),
        (["src/*.py"], ["src/a.py"]),
        (["src/**/*.py"], ["src/a.py", "src/b/c.py"]),
        (["**/"], ["src/a.py", "src/b/c.py", "src/b/c.txt", "docs/src/a.py"]),
        (["**/b"], ["src/b/c.py", "src/b/c.txt", "b"]),
        (["*.py"], ["a.py", "src/a.py", "src/b/c.py", "docs/src/a.py"]),
        (["?.py"], ["a.py", "src/a.py", "src/b/c.py", "docs/src/a.py"]),
        (["[ab].py"], ["a.py", "src/a.py", "docs/src/a.py"]),
        (["src/**", "!src/b"], ["src/a.py"]),
        (["!src/b", "src/**"], ["src/a.py", "src/b/c.py", "src/b/c.txt"]),
        (["**"], PATHS),
        (["."], PATHS),
        ([], []),
        ([""], []),
        (["!"], []),
        (["../x", "src/../a.py"], []),
    ],
)
def test_a_glob_means_these_paths(patterns: list[str], meant: list[str]) -> None:
    globs = Globs(patterns)
    assert [path for path in PATHS if globs.match(path)] == meant


@pytest.mark.parametrize(
    ("patterns", "reached"),
    [
        (["src/b/*.py"], [".", "src", "src/b"]),
        (["src/b"], [".", "src", "src/b", "src/b/deep"]),
        (["*.py"], [".", "src", "src/b", "src/b/deep", "docs"]),
        (["src/*/deep/x"], [".", "src", "src/b", "src/b/deep"]),
        (["!src"], []),
        ([], []),
    ],
)
def test_a_folder_is_reached_when_something_in_it_may_be_meant(patterns: list[str], reached: list[str]) -> None:
    globs = Globs(patterns)
    assert [folder for folder in [".", "src", "src/b", "src/b/deep", "docs"] if globs.reach(folder)] == reached


NAMES = st.text("ab", min_size=1, max_size=3)
PIECES = (
    st.lists(st.sampled_from(["a", "b", "*", "?"]), min_size=1, max_size=4)
    .map("".join)
    .filter(lambda piece: "**" not in piece)
)
PATTERNS = (
    st.tuples(
        st.sampled_from(["", "/"]), st.lists(PIECES | st.just("**"), min_size=1, max_size=4), st.sampled_from(["", "/"])
    )
    .map(lambda parts: parts[0] + "/".join(parts[1]) + parts[2])
    .filter(
        lambda pattern: not pattern.endswith("**/")  # where the one that is compared with differs from git itself
    )
)


@given(PATTERNS, st.lists(NAMES, min_size=1, max_size=5).map("/".join))
def test_globs_mean_what_they_mean_in_gitignore_files(pattern: str, path: str) -> None:
    assert Globs([pattern]).match(path) == pathspec.GitIgnoreSpec.from_lines([pattern]).match_file(path)


@pytest.mark.parametrize("pattern", ["*a" * 60 + "*b", "**/a/" * 60 + "b", "*" * 200 + "b", "**/*a*a*a*a*a*a*b/" * 10])
def test_a_hostile_glob_takes_time_in_proportion_to_its_length(pattern: str) -> None:
    globs = Globs([pattern])
    started = time.process_time()
    globs.match("a" * 250)
    globs.match("/".join(["a" * 20] * 60))
    assert time.process_time() - started < 2.0
