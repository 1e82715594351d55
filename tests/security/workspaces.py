"""A workspace with everything in it that a hostile one has: links out, look-alikes of repositories, protected paths."""

from __future__ import annotations

from pathlib import Path

from callsheet.permissions.decide import Decider
from callsheet.permissions.modes import Mode
from callsheet.permissions.rules import Effect, Origin, Rule, read_rule
from callsheet.permissions.sources import PermissionSettings

FILES = (
    *("README.md", "src/app.py", "src/util.py", "lib/x.py", "docs/a.md", "with space.txt", "linked.txt", "into/keep"),
    *(".env", "secrets/key.pem", ".callsheet/callsheet.db", "bare/HEAD", "bare/config", "gh/workflows/ci.yml"),
    *(".git/HEAD", ".git/config", ".claude/settings.json", ".github/workflows/ci.yml", ".mcp.json"),
)


def make_workspace(folder: Path) -> Path:
    """Makes it beneath a folder, with files outside of it that links lead to."""
    root = folder / "workspace"
    for name in FILES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("foo\n", encoding="utf-8")
    outside = folder / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret\n", encoding="utf-8")
    (folder / "outside.txt").write_text("secret\n", encoding="utf-8")
    (folder / "home" / ".ssh").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "linked-dir").mkdir()
    for link, target in (
        ("out-link", "../outside.txt"),
        ("out-dir", "../outside"),
        ("inner-link.md", "README.md"),
        ("env-link", ".env"),
        ("git-link", ".git"),
        ("linked-in", "src"),
        ("linked-dir/x", "../../outside.txt"),
        ("into/linked.txt", "../../outside.txt"),
    ):
        (root / link).symlink_to(target)
    return root


def make_decider(
    root: Path,
    *,
    mode: str = "acceptEdits",
    allow: tuple[str, ...] = (),
    ask: tuple[str, ...] = (),
    deny: tuple[str, ...] = (),
    broken: bool = False,
) -> Decider:
    """A decider over rules of a person's; they must be readable unless said otherwise."""
    home = root.parent / "home"
    rules: list[Rule] = []
    for effect, texts in ((Effect.ALLOW, allow), (Effect.ASK, ask), (Effect.DENY, deny)):
        for text in texts:
            rule, fault = read_rule(effect, text, Origin(name="settings.json", folder=root), home=home)
            assert broken == (fault is not None), fault
            if rule is not None:
                rules.append(rule)
    return Decider(PermissionSettings(mode=Mode(mode), rules=tuple(rules)), root=root, home=home)
