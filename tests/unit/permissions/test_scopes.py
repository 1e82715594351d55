from __future__ import annotations

from typing import Any

from callsheet.permissions.scopes import Worker, strays


def worker(name: str, *files: str, scope: tuple[str, ...] | None = ("src/**",), **more: Any) -> Worker:
    times = {"started_at": "2026-11-21T08:00:00.000Z", "ended_at": "2026-11-21T08:00:10.000Z"}
    return Worker(agent_id=name, scope=scope, files=files, **(times | more))


def test_what_lies_in_the_scope_is_no_stray_and_the_rest_is() -> None:
    assert strays([worker("a1", "src/a.py", "docs/b.md")]) == {"a1": ("docs/b.md",)}


def test_an_agent_without_a_scope_never_strays_and_one_that_may_write_nothing_always_does() -> None:
    assert strays([worker("a1", "any", scope=None)]) == {}
    assert strays([worker("a2", "any", scope=())]) == {"a2": ("any",)}


def test_what_another_agent_changed_meanwhile_that_may_is_not_held_against_one_whose_command_saw_it() -> None:
    seen = worker("a1", "src/a.py", "docs/b.md")

    assert strays([seen, worker("a2", "docs/b.md", scope=("docs/**",))]) == {}
    assert strays([seen, worker("a2", "docs/b.md", scope=None)]) == {}


def test_one_that_was_not_there_at_the_time_or_in_another_tree_or_may_not_either_excuses_nobody() -> None:
    stray = worker("a1", "docs/b.md")
    late = {"started_at": "2026-11-21T09:00:00.000Z", "ended_at": "2026-11-21T09:00:10.000Z"}

    assert strays([stray, worker("a2", "docs/b.md", scope=None, **late)]) == {"a1": ("docs/b.md",)}
    assert strays([stray, worker("a2", "docs/b.md", scope=None, tree="a2")]) == {"a1": ("docs/b.md",)}
    assert set(strays([stray, worker("a2", "docs/b.md")])) == {"a1", "a2"}
