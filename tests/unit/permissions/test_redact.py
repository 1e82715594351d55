from __future__ import annotations

import hashlib
import json
import time
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.model.values import JsonValue
from callsheet.permissions.redact import Redactor

NONE = Redactor({})
ALNUM = "aB3dE6gH9jK2mN5pQ8rS1tU4vW7xY0zA"

# Put together here, so that no scanner of secrets takes this file for a leak.
TOKENS = {
    "anthropic-key": ["sk-" + f"ant-api03-{ALNUM}_{ALNUM}-AA"],
    "api-key": ["sk-" + ALNUM, "sk-" + f"proj-{ALNUM}_x-y", "sk-" + f"or-v1-{ALNUM}"],
    "github-token": [f"gh{kind}_" + ALNUM + "abcd" for kind in "pousr"] + ["github_" + f"pat_{ALNUM}_{ALNUM}"],
    "gitlab-token": ["glpat-" + ALNUM[:20]],
    "aws-key": ["AKIA" + "IOSFODNN7EXAMPLE", "ASIA" + "IOSFODNN7EXAMPLE"],
    "slack-token": ["xoxb-" + "123456789012-abcDEF", "xoxp-" + "123456789012-abcDEF"],
    "google-key": ["AIza" + (ALNUM + ALNUM)[:35]],
    "npm-token": ["npm_" + ALNUM + "abcd"],
    "pypi-token": ["pypi-" + "AgEIcHlwaS5vcmc" + ALNUM],
    "huggingface-token": ["hf_" + ALNUM],
    "stripe-key": ["sk_" + "live_" + ALNUM, "rk_" + "live_" + ALNUM],
    "jwt": ["eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"],
}
PEM = "-----BEGIN RSA " + "PRIVATE KEY-----\n" + (ALNUM * 2 + "\n") * 12 + "ab==\n-----END RSA " + "PRIVATE KEY-----"
LEGACY_PEM = PEM.replace("-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0011\n\n", 1)


@pytest.mark.parametrize(("name", "token"), [(name, token) for name, tokens in TOKENS.items() for token in tokens])
@pytest.mark.parametrize(
    "around", ["{}", "export KEY={}\n", "\\n{}\\n", "?k%3D{}%26", '{{"k": "{}"}}', "https://x.test/?k={}&l=1", "({})."]
)
def test_a_well_known_token_is_hidden_under_its_kind(name: str, token: str, around: str) -> None:
    assert NONE.text(around.format(token)) == around.format(f"‹secret {name}›")


@pytest.mark.parametrize("key", [PEM, LEGACY_PEM, PEM.replace("\n", "\\n"), PEM.replace("\n", "\r\n")])
def test_a_private_key_is_hidden_whole(key: str) -> None:
    assert NONE.text(f"before {key} after") == "before ‹secret private-key› after"


def test_a_private_key_that_was_cut_off_is_hidden_as_far_as_it_goes() -> None:
    assert NONE.text(f"before {PEM[:300]}\n... and so on") == "before ‹secret private-key›\n... and so on"


@pytest.mark.parametrize(
    "text",
    [
        "A task-force met; the risk-averse disk-array-controller-firmware-update is on a desk-top-publishing machine.",
        '<div class="sk-toggleable__label-arrow sk-estimator-doc-link sk-hidden--visually">',
        hashlib.sha256(b"x").hexdigest() + " " + hashlib.sha1(b"x", usedforsecurity=False).hexdigest(),
        "commit 5f2c1d0e9b8a7f6e5d4c3b2a1908f7e6d5c4b3a2\nAuthor: Ana <ana@x.test>",
        "npm_config_registry npm_lifecycle_event github_patches ghp_short ghost_writer_of_everything pypi-server",
        "The header is `-----BEGIN " + "PRIVATE KEY-----`, then base64 lines. See RFC 7468 for what may follow.",
        "-----BEGIN CERTIFICATE-----\n" + (ALNUM * 2 + "\n") * 3 + "-----END CERTIFICATE-----",
        "eyJhbGciOiJIUzI1NiJ9 alone, and AKIAlowercase, AIzashort, xoxo-hugs-and-kisses-to-you",
        "550e8400-e29b-41d4-a716-446655440000 2026-11-21T08:00:00.123Z",
        "if (key === 'token' && !password) { return auth.secret; }",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert NONE.text(text) is text


SECRET_NAMES = """
    API_KEY OPENAI_APIKEY_2 GH_TOKEN CLIENT_SECRET DB_PASSWORD DB_PASS MYSQL_PWD PASSWD AWS_CREDENTIALS NPM_AUTH
    HTTP_AUTHORIZATION GITHUB_PAT SECRET_KEY_BASE npm_config__auth apiKey SIGNING_PASSPHRASE
"""
OTHER_NAMES = """
    PATH HOME PWD OLDPWD GIT_AUTHOR_NAME TOKENIZERS_PARALLELISM KEYBOARD_LAYOUT COMPASS_HOME SECRETARY
"""


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_the_value_of_a_secret_variable_is_hidden_under_its_name(name: str) -> None:
    redactor = Redactor({name: "hunter2-hunter2"})
    assert redactor.text("it is hunter2-hunter2.") == f"it is ‹secret {name}›."


@pytest.mark.parametrize("name", OTHER_NAMES.split())
def test_a_variable_whose_name_only_looks_secret_is_not(name: str) -> None:
    assert Redactor({name: "some-plain-value"}).text("some-plain-value") == "some-plain-value"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEY", "short"),
        ("API_KEY", "true"),
        ("SSH_AUTH_SOCK", "/run/user/1000/keyring/ssh"),
        ("KEY_FILE", "~/keys/id_ed25519"),
        ("SECRET_DIR", "./secrets"),
        ("TOKEN_ENDPOINT", "https://login.x.test/token"),
        ("AUTH_TIMEOUT_MS", "60000000"),
        ("AUTH_METHOD", "keycloak"),
        ("POSTGRES_PASSWORD", "postgres"),
        ("API_KEY", "   \n "),
    ],
)
def test_a_trivial_value_is_not_hidden(name: str, value: str) -> None:
    text = f"before {value} after"
    assert Redactor({name: value}).text(text) == text


@pytest.mark.parametrize(
    "value",
    [
        "/wJalrXUtnFEMIaK7MDENGbPxRfiCYEXAMPLEKEY",
        "correct horse battery staple",
        "12345678",
        "https://hooks.x.test/services/T0/B0/XYZ",
        "trailing-newline\n",
        "üñí-cödé-sëcret",
        "a.b*c(d[e",
    ],
)
def test_an_unusual_secret_is_hidden(value: str) -> None:
    assert Redactor({"THE_TOKEN": value}).text(f"<{value.strip()}>") == "<‹secret THE_TOKEN›>"


@pytest.mark.parametrize("password", ["s3cr3t-pass", "p%40ss%2Fword"])
def test_a_password_within_a_url_is_hidden_also_decoded(password: str) -> None:
    redactor = Redactor({"DATABASE_URL": f"postgres://jo:{password}@db.x.test:5432/app"})
    assert redactor.text(f"postgres://jo:{password}@db") == "postgres://jo:‹secret DATABASE_URL›@db"
    decoded = unquote(password)
    assert redactor.text(f"it says {decoded} here") == "it says ‹secret DATABASE_URL› here"


def test_a_secret_is_hidden_as_it_looks_within_json_and_urls() -> None:
    secret = 'a"b\\c\nd&e=ü12'
    redactor = Redactor({"APP_SECRET": secret})
    for text in (secret, json.dumps(secret), json.dumps(secret, ensure_ascii=False), "a%22b%5Cc%0Ad%26e%3D%C3%BC12"):
        assert redactor.text(text).strip('"') == "‹secret APP_SECRET›"


def test_each_line_of_a_secret_of_many_lines_is_hidden() -> None:
    redactor = Redactor({"DEPLOY_KEY": f"header\n{ALNUM}\n{ALNUM[::-1]}\n"})
    assert redactor.text(f"3: {ALNUM[::-1]}") == "3: ‹secret DEPLOY_KEY›"


def test_of_two_secrets_where_one_begins_the_other_the_longer_is_hidden_whole() -> None:
    redactor = Redactor({"A_TOKEN": "abcdefgh", "B_TOKEN": "abcdefgh-ijklmnop"})
    assert redactor.text("abcdefgh-ijklmnop abcdefgh") == "‹secret B_TOKEN› ‹secret A_TOKEN›"


def test_json_is_redacted_in_strings_and_keys_and_is_a_copy() -> None:
    redactor = Redactor({"A_TOKEN": "abcdefgh-1"})
    value: JsonValue = {"abcdefgh-1": [1, None, True, 0.5, "x abcdefgh-1", {"k": "abcdefgh-1"}], "plain": []}
    before = json.dumps(value)
    assert redactor.json(value) == {
        "‹secret A_TOKEN›": [1, None, True, 0.5, "x ‹secret A_TOKEN›", {"k": "‹secret A_TOKEN›"}],
        "plain": [],
    }
    assert json.dumps(value) == before


def test_keys_that_would_become_the_same_stay_different() -> None:
    redactor = Redactor({"A_TOKEN": "abcdefgh-1", "ALSO": "x"})
    found = redactor.json({"abcdefgh-1": 1, "‹secret A_TOKEN›": 2, "‹secret A_TOKEN› 1": 3})
    assert isinstance(found, dict)
    assert list(found.values()) == [1, 2, 3]


def test_json_may_be_of_any_depth() -> None:
    value: JsonValue = "sk-" + ALNUM
    for _ in range(100_000):
        value = [value]
    found = NONE.json(value)
    for _ in range(100_000):
        assert isinstance(found, list)
        (found,) = found
    assert found == "‹secret api-key›"


HEADER = "-----BEGIN " + "PRIVATE KEY-----"
PIECES = [
    *["eyJ", "eyJaaaaaaaa.", "eyJaaaaaaaa.eyJ", "sk-", "sk-ant-", "ghp_", "pypi-", "AKIA", "xoxb-", "github_pat_"],
    *[HEADER, f"{HEADER}\na: b\n", f"{HEADER}\n a: a: a: ", "-----BEGIN " + "A " * 40, f"{HEADER}\nABCD\\", "\\n"],
    f"{HEADER}{'A' * 24} ",
    "A",
    " ",
]


@pytest.mark.parametrize("piece", PIECES)
def test_hostile_text_takes_time_in_proportion_to_its_length(piece: str) -> None:
    redactor = Redactor({"A_TOKEN": "aaaaaaaaaaab"})
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    redactor.text(text)
    redactor.text(f"{HEADER}\n{ALNUM} eyJ sk-ant- AKIA " + text)
    assert time.process_time() - started < 2.0


@given(st.text(), st.text(min_size=8).filter(lambda text: text.strip() == text and len(text.strip()) >= 8), st.text())
def test_no_secret_that_is_not_trivial_is_ever_left(before: str, secret: str, after: str) -> None:
    redactor = Redactor({"THE_TOKEN": "x9-" + secret})
    assert "x9-" + secret not in redactor.text(before + "x9-" + secret + after)
