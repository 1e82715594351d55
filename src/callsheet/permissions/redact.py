"""What must not be shown: values of secret environment variables and well-known token shapes (FORMATS 4)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

_MIN_SECRET_CHARS = 8
_MOST_KEYS, _KNOWN_KEY_CHARS = 1_000, 40

# A word of its own or the end of one: `GH_TOKEN`, `APIKEY_2`; not `GIT_AUTHOR_NAME`, `TOKENIZERS_PARALLELISM`.
_SECRET_NAME = re.compile(
    r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|AUTH|AUTHORIZATION)S?(?![A-Za-z])"
    r"|(?:^|_)(?:PASS|PAT|PWD)(?![A-Za-z])",
    re.IGNORECASE,
)
_HEADERS = re.compile(r"OTEL_EXPORTER_OTLP(?:_[A-Z]+)?_HEADERS")
_NOT_SECRET_NAMES = frozenset({"PWD"})
_COMMON_WORDS = frozenset({"anonymous", "changeme", "database", "disabled", "localhost", "password", "postgres"})
_PLAIN_WORDS = re.compile(r"[a-z]+(?:[ _.-][a-z]+)*")
_NUMBER = re.compile(r"[\d.,:\s+-]+")
_PATH = re.compile(r"~?/|\.\.?/|[A-Za-z]:\\")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^\s/?#@]*?:(?P<password>[^\s/?#@]*)@)?")
_RANDOM = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9+=]{24,}")
_TOKEN_LINE = re.compile(r"\S{20,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """A token that shows what it is.

    Attributes:
        needle: Stands in every such token: a cheap test before the dearer one.
        pattern: Linear in the text: a run without a limit is taken whole and never given back (it ends the pattern), or
            can only begin where none of its own characters stands before it. Compiled when the needle is found first:
            most runs see none of these tokens.
    """

    name: str
    needle: str
    pattern: str

    def hidden(self, text: str) -> str:
        """The text without tokens of this kind."""
        return re.sub(self.pattern, f"‹secret {self.name}›", text) if self.needle in text else text


def _shape(name: str, needle: str, rest: str, *, alone: str = "A-Za-z0-9") -> _Shape:
    r"""A token that begins with a needle where none of the characters `alone` stands before it; none given: anywhere.

    The end of an escape (`\n` in JSON, `%3D` in URLs) does not count as such a character. The look behind comes after
    the needle, so that the engine can search for that first.
    """
    escape = rf"(?<=\\[nrt]{needle})|(?<=%[0-9A-Fa-f]{{2}}{needle})"
    behind = rf"(?:(?<![{alone}]{needle})|{escape})" if alone else ""
    return _Shape(name=name, needle=needle, pattern=needle + behind + rest)


_LINE_END = r"(?:\\[nr]|[\r\n])"  # also escaped, as in JSON and in environment files
# `(?>(…)*)` and not `(…)*+` around a group: Python before 3.11.5 takes too much by the latter
_GAP = r"(?>(?:\\[nr]|\s)*)"
_KEY_NAME = r"(?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"

_SHAPES = (
    _shape(
        "private-key",
        "-----BEGIN ",
        # Headers, the long lines of the key, then its last lines and its end, or where it was cut off.
        rf"{_KEY_NAME}(?>(?:(?>{_LINE_END}{{1,4}})[A-Za-z-]{{1,20}}+: [^\r\n\\]{{0,200}}+){{0,4}})"
        rf"{_GAP}(?>(?:[A-Za-z0-9+/=]{{24,}}+{_GAP})+)"
        rf"(?:(?:[A-Za-z0-9+/=]{{1,23}}+{_GAP}){{0,2}}-----END {_KEY_NAME}|[A-Za-z0-9+/=]{{1,23}}+(?![^\r\n\\\"']))?",
        alone="",
    ),
    _shape("anthropic-key", "sk-ant-", r"[A-Za-z0-9_-]{16,}", alone=""),
    _shape("api-key", "sk-", r"(?:(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{16,}|[A-Za-z0-9]{20,})"),
    _shape("stripe-key", "sk_live_", r"[A-Za-z0-9]{16,}"),
    _shape("stripe-key", "rk_live_", r"[A-Za-z0-9]{16,}"),
    *(_shape("github-token", f"gh{kind}_", r"[A-Za-z0-9]{30,}", alone="") for kind in "pousr"),
    _shape("github-token", "github_pat_", r"[A-Za-z0-9_]{22,}", alone=""),
    _shape("gitlab-token", "glpat-", r"[A-Za-z0-9_-]{20,}", alone=""),
    _shape("aws-key", "AKIA", r"[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _shape("aws-key", "ASIA", r"[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _shape("slack-token", "xox", r"[abeprs]-[A-Za-z0-9-]{10,}"),
    _shape("google-key", "AIza", r"[A-Za-z0-9_-]{35}"),
    _shape("npm-token", "npm_", r"[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    _shape("pypi-token", "pypi-", r"(?:AgE[A-Za-z0-9_-]{16,}|[A-Za-z0-9_-]{50,})"),
    _shape("huggingface-token", "hf_", r"[A-Za-z0-9]{30,}"),
    _shape("jwt", "eyJ", r"[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*", alone="A-Za-z0-9_-"),
)


class Redactor:
    """Replaces secrets by `‹secret NAME›`, NAME being the variable or the kind of token.

    Args:
        environ: Whose secrets are to be hidden: the values of all variables whose name says so, and passwords in URLs.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._names: dict[str, str] = {}
        for name, value in environ.items():
            for secret in _secrets(name, value):
                for form in _forms(secret):
                    self._names.setdefault(form, name)
        # Longest first, so that a secret which begins like a shorter one is hidden whole.
        self._values = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self._values)))
        self._keys: dict[str, str] = {}

    def text(self, text: str) -> str:
        """The text without secrets; the same object where there are none."""
        for value in self._values:
            if value in text:
                text = self._pattern.sub(self._named, text)
                break
        for shape in _SHAPES:
            text = shape.hidden(text)
        return text

    def json(self, value: JsonValue) -> JsonValue:
        """A copy without secrets in its strings and keys, however deep it is. Different keys stay different."""
        top: list[JsonValue] = [value]
        pending: list[Any] = [top]  # copies whose items are still the original's
        while pending:
            container = pending.pop()
            for slot, item in enumerate(container) if isinstance(container, list) else [*container.items()]:
                match item:
                    case str():
                        container[slot] = self.text(item)
                    case list():
                        container[slot] = item.copy()
                        pending.append(container[slot])
                    case dict():
                        container[slot] = self._with_keys_redacted(item)
                        pending.append(container[slot])
                    case _:
                        pass
        return top[0]

    def _with_keys_redacted(self, item: dict[str, JsonValue]) -> dict[str, JsonValue]:
        copy: dict[str, JsonValue] = {}
        for key, value in item.items():
            shown = self._key(key)
            while shown in copy:
                shown = f"{shown} {len(copy)}"
            copy[shown] = value
        return copy

    def _key(self, key: str) -> str:
        """A key's text: most are the same few words, looked through once."""
        shown = self._keys.get(key)
        if shown is None:
            shown = self.text(key)
            if len(self._keys) < _MOST_KEYS and len(key) <= _KNOWN_KEY_CHARS:
                self._keys[key] = shown
        return shown

    def _named(self, found: re.Match[str]) -> str:
        return f"‹secret {self._names[found[0]]}›"


def _secrets(name: str, value: str) -> Iterator[str]:
    """What of a variable's value is secret: all, its lines, a password, or nothing."""
    value = value.strip()
    url = _URL.match(value)
    if url is not None and url["password"]:
        yield from (url["password"], unquote(url["password"]))
    if _HEADERS.fullmatch(name):
        yield from _header_values(value)
    words = [*_SECRET_NAME.finditer(name)]
    if not words or name.upper() in _NOT_SECRET_NAMES:
        return
    if _is_plain(value, has_more_words=all(word.end() != len(name) for word in words)):
        return
    yield value
    lines = value.splitlines()
    if len(lines) > 1:
        yield from filter(_TOKEN_LINE.fullmatch, map(str.strip, lines))


def _header_values(headers: str) -> Iterator[str]:
    """What is secret of `name=value,…` as OpenTelemetry has it, values percent-encoded: `authorization=Bearer%20…`."""
    for pair in headers.split(","):
        value = pair.partition("=")[2].strip()
        if not _is_plain(unquote(value), has_more_words=True):
            yield from (value, unquote(value), unquote(value).rpartition(" ")[2])


def _is_plain(value: str, *, has_more_words: bool) -> bool:
    """Whether a value is an ordinary one after all.

    Args:
        value: Of a variable with a secret name.
        has_more_words: The name goes on, as in `AUTH_METHOD` or `TOKEN_URL`: the value may say something about a secret
            instead of being one.
    """
    if _PATH.match(value):
        # A random key may well begin with a slash.
        return not any(_RANDOM.fullmatch(part) for part in value.split("/"))
    if has_more_words and (_URL.match(value) or _NUMBER.fullmatch(value) or _PLAIN_WORDS.fullmatch(value)):
        return True
    return value.lower() in _COMMON_WORDS


def _forms(secret: str) -> Iterator[str]:
    """A secret as it is, and as it looks within JSON text and within URLs."""
    if len(secret) >= _MIN_SECRET_CHARS:
        yield secret
        yield json.dumps(secret)[1:-1]
        yield json.dumps(secret, ensure_ascii=False)[1:-1]
        yield quote(secret, safe="", errors="replace")
