from __future__ import annotations

from pathlib import Path

import pytest

from callsheet.permissions.decide import Decider
from callsheet.permissions.modes import Mode
from callsheet.permissions.rules import Effect, Origin, Rule, read_rule
from callsheet.permissions.sources import PermissionSettings


def rule(text: str, effect: Effect, folder: Path) -> Rule:
    found, fault = read_rule(effect, text, Origin(name="flags", folder=folder), home=folder)
    assert fault is None, fault.message
    assert found is not None
    return found


def decider(
    folder: Path, *, allow: tuple[str, ...] = (), deny: tuple[str, ...] = (), mode: Mode = Mode.ACCEPT_EDITS
) -> Decider:
    rules = (
        *(rule(text, Effect.ALLOW, folder) for text in allow),
        *(rule(text, Effect.DENY, folder) for text in deny),
    )
    return Decider(PermissionSettings(mode=mode, rules=rules), root=folder, home=folder)


@pytest.mark.parametrize(
    ("allow", "place", "allowed"),
    [
        ("WebFetch(domain:127.0.0.1:8080)", "127.0.0.1:8080", True),
        ("WebFetch(domain:127.0.0.1:8080)", "127.0.0.1:8081", False),
        ("WebFetch(domain:localhost:3000)", "localhost:3000", True),
        ("WebFetch(domain:[::1]:8080)", "[::1]:8080", True),
        ("WebFetch(domain:[::1]:8080)", "[::1]:80", False),
        ("WebFetch(domain:127.0.0.1)", "127.0.0.1:8080", False),
        ("WebFetch(domain:localhost)", "localhost:3000", False),
        ("WebFetch(domain:*)", "127.0.0.1:8080", False),
        ("WebFetch", "127.0.0.1:8080", False),
        ("WebFetch", "10.0.0.1:443", False),
        ("WebFetch(domain:example.com)", "example.com", True),
        ("WebFetch(domain:*.example.com)", "docs.example.com", True),
        ("WebFetch(domain:example.com)", "other.example", False),
        ("WebFetch", "other.example", True),
        ("WebFetch", "2606:4700::1111", True),
    ],
)
def test_a_local_place_takes_a_rule_that_names_its_address_and_port(
    tmp_path: Path, allow: str, place: str, allowed: bool
) -> None:
    assert decider(tmp_path, allow=(allow,)).allows_place(place) is allowed


def test_no_mode_opens_local_places(tmp_path: Path) -> None:
    assert decider(tmp_path, mode=Mode.BYPASS).allows_place("example.com")
    assert not decider(tmp_path, mode=Mode.BYPASS).allows_place("127.0.0.1:8080")


@pytest.mark.parametrize("deny", ["WebFetch", "WebFetch(domain:127.0.0.1)", "WebFetch(domain:127.0.0.1:8080)"])
def test_a_deny_rule_beats_the_one_that_names_the_place(tmp_path: Path, deny: str) -> None:
    assert not decider(tmp_path, allow=("WebFetch(domain:127.0.0.1:8080)",), deny=(deny,)).allows_place(
        "127.0.0.1:8080"
    )


def test_a_rule_with_a_port_decides_about_fetches_at_that_port_alone(tmp_path: Path) -> None:
    found = decider(tmp_path, allow=("WebFetch(domain:127.0.0.1:8080)",))
    assert found.decide("web_fetch", {"url": "http://127.0.0.1:8080/x"}).decision is Effect.ALLOW
    other = found.decide("web_fetch", {"url": "http://127.0.0.1:9090/x"})
    assert other.decision is Effect.ASK
    assert other.suggestions == ("WebFetch(domain:127.0.0.1:9090)",)
    assert found.decide("web_fetch", {"url": "http://127.0.0.1/x"}).suggestions == ("WebFetch(domain:127.0.0.1:80)",)
    assert found.decide("web_fetch", {"url": "https://a.example:444/"}).suggestions == ("WebFetch(domain:a.example)",)
