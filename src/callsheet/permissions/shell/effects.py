"""What a known command does: which paths it looks at, reads and changes, and which other commands it runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum

from callsheet.model.dataclass import dataclass
from callsheet.permissions.shell import sed
from callsheet.permissions.shell.known import Known, NotHarmlessError, Read, catalogue, check_kind, read_options
from callsheet.permissions.shell.words import SUBSTITUTION, Word, literal

_GIT_GLOBALS = frozenset({"--no-pager", "-P", "--no-optional-locks", "--literal-pathspecs"})
_FIND_FLAGS = frozenset(
    {
        *(
            "!",
            "(",
            ")",
            ",",
            "-a",
            "-and",
            "-o",
            "-or",
            "-not",
            "-print",
            "-print0",
            "-ls",
            "-prune",
            "-quit",
            "-empty",
        ),
        *("-readable", "-writable", "-executable", "-true", "-false", "-depth", "-d", "-mount", "-xdev", "-daystart"),
        *("-noleaf", "-nouser", "-nogroup", "-ignore_readdir_race", "-noignore_readdir_race"),
    }
)
_FIND_TEXTS = frozenset(
    {
        *("-name", "-iname", "-path", "-ipath", "-wholename", "-iwholename", "-lname", "-ilname", "-regex", "-iregex"),
        *("-regextype", "-type", "-xtype", "-maxdepth", "-mindepth", "-size", "-mtime", "-mmin", "-atime", "-amin"),
        *("-ctime", "-cmin", "-perm", "-user", "-group", "-uid", "-gid", "-links", "-inum", "-printf", "-newermt"),
        *("-fstype", "-used"),
    }
)
_FIND_PATHS = frozenset({"-newer", "-anewer", "-cnewer", "-samefile"})
_FIND_RUNS = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
_TEST_PATHS = frozenset(f"-{letter}" for letter in "efdrwxshLSpbckugOGN")
_TEST_TEXTS = frozenset({"-n", "-z", "-t"})
_TEST_COMPARISONS = frozenset({"=", "==", "!=", "-eq", "-ne", "-lt", "-le", "-gt", "-ge"})
_TEST_PATH_COMPARISONS = frozenset({"-nt", "-ot", "-ef"})
_RECURSIVE = frozenset({"-r", "-R", "--recursive", "-a", "--archive"})


class Touch(Enum):
    """How a command touches a path."""

    LOOK = "look"
    """Its name, its properties, the names in it."""
    READ = "read"
    READ_FILE = "read file"
    """Its content; where it is a folder, nobody can tell what is read."""
    TREE = "tree"
    """The content of everything in it."""
    VISIBLE_TREE = "visible tree"
    """The same, without what begins with a dot."""
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What a command does, as far as it is harmless.

    Attributes:
        touches: The paths it touches, as written.
        enters: The folder it changes to.
        transfer: `cp`, `mv` or `rm`: what happens to the touched paths beyond.
        is_recursive: Of a transfer: whole folders.
        target_is_file: Of a transfer: `-T`.
        is_git: It looks for a repository from its folder upwards.
    """

    touches: tuple[tuple[Touch, str], ...] = ()
    enters: str | None = None
    transfer: str | None = None
    is_recursive: bool = False
    target_is_file: bool = False
    is_git: bool = False

    @property
    def is_change(self) -> bool:
        """Whether it changes files."""
        return any(touch is Touch.WRITE for touch, _ in self.touches)


def effects_of(words: Sequence[Word], *, assigned: Collection[str] = ()) -> Effects:
    """What a command does.

    Args:
        words: Its name first.
        assigned: Variables that the same command line sets.

    Raises:
        NotHarmlessError: It is not known, or not used in a harmless way.
    """
    name, rest = _named(words)
    if name == "command" and rest and rest[0].text in ("-v", "-V"):
        return effects_of((literal("type"), *rest[1:]), assigned=assigned)
    known = catalogue().commands.get(name)
    if known is None:
        raise NotHarmlessError(f"{name} is not on the list of commands that are harmless")
    for word in rest:
        if word.text is None:
            _check_unknown(known, word, assigned)
    match known.special:
        case "test":
            return Effects(touches=tuple(_test(words)))
        case "find":
            return Effects(touches=tuple(_find(rest)))
        case "sed":
            return _sed(known, read_options(known, rest))
        case "echo":
            return Effects()
        case "cd":
            return _cd(known, rest)
        case "cp" | "mv" | "rm":
            return _transfer(known, read_options(known, rest))
        case _:
            touches = tuple(_touches(known, read_options(known, rest)))
            return Effects(touches=touches, is_git=name.startswith("git "))


def _named(words: Sequence[Word]) -> tuple[str, Sequence[Word]]:
    """A command's name, with its subcommand where it has one, and the words behind."""
    name = words[0].text
    if name is None:
        raise NotHarmlessError(f"which program {words[0].source} stands for is known only when it runs")
    if name != "git":
        return name, words[1:]
    at = 1
    while at < len(words) and words[at].text in _GIT_GLOBALS:
        at += 1
    if at == len(words) or words[at].text is None:
        raise NotHarmlessError("git without a known subcommand is not on the list of commands that are harmless")
    return f"git {words[at].text}", words[at + 1 :]


def _check_unknown(known: Known, word: Word, assigned: Collection[str]) -> None:
    """A word known only when it runs is harmless where it stays one word and holds nothing secret."""
    shown = catalogue().shown_variables
    for unknown in word.unknowns:
        if unknown != SUBSTITUTION and unknown not in shown and unknown not in assigned:
            raise NotHarmlessError(f"{known.name}: what {word.source} stands for is known only when it runs")
    if word.is_split and word.source != "$?":
        raise NotHarmlessError(f"{known.name}: {word.source} may become several words; put it in double quotes")


# --- by the data file -------------------------------------------------------------------------------------------------


def _touches(known: Known, read: Read) -> list[tuple[Touch, str]]:
    found = [
        (touch, _text(known, word))
        for name, word in read.options
        if word is not None and (touch := _touch_of(known.values.get(name, "text"), is_tree=False)) is not None
    ]
    operands = list(read.operands)
    if known.first is not None and operands and not read.has(known.first_unless):
        check_kind(known.first, operands.pop(0), known.name)
    if known.max is not None and len(operands) > known.max:
        raise NotHarmlessError(f"{known.name}: more than {known.max} operands are not on the harmless list")
    if not operands and known.default is not None and (not known.default_if or read.has(known.default_if)):
        operands = [literal(known.default)]
    is_tree = "always" in known.recurse or read.has(known.recurse)
    touch = _touch_of(known.operands, is_tree=is_tree)
    if touch is Touch.TREE and known.skips_hidden_unless and not read.has(known.skips_hidden_unless):
        touch = Touch.VISIBLE_TREE
    for word in operands:
        check_kind(known.operands, word, known.name)
        if touch is not None and word.text != "-":
            found.append((touch, _text(known, word)))
            if known.name.startswith("git ") and ":" in found[-1][1]:
                found.append((Touch.READ, found[-1][1].partition(":")[2] or "."))
    return found


def _touch_of(kind: str, *, is_tree: bool) -> Touch | None:
    match kind:
        case "list":
            return Touch.LOOK
        case "read":
            return Touch.TREE if is_tree else Touch.READ
        case "file":
            return Touch.READ_FILE
        case "write":
            return Touch.WRITE
        case _:
            return None


def _text(known: Known, word: Word) -> str:
    if word.text is None:
        raise NotHarmlessError(f"{known.name}: which path {word.source} stands for is known only when it runs")
    return word.text


# --- commands that need more than options -----------------------------------------------------------------------------


def _cd(known: Known, words: Sequence[Word]) -> Effects:
    if len(words) != 1 or words[0].text is None or words[0].text.startswith("-"):
        raise NotHarmlessError("cd is harmless with one folder whose name is written out")
    return Effects(touches=((Touch.LOOK, _text(known, words[0])),), enters=words[0].text)


def _sed(known: Known, read: Read) -> Effects:
    operands = list(read.operands)
    scripts = [word for name, word in read.options if name in known.first_unless]
    if not scripts and operands:
        scripts = [operands.pop(0)]
    texts = [word.text for word in scripts if word is not None]
    script = "\n".join(text for text in texts if text is not None)
    if not texts or None in texts or not sed.is_harmless(script):
        raise NotHarmlessError("sed: this script is not on the list of harmless ones (addresses, s///gip, d, p, q, =)")
    in_place = read.has(frozenset({"-i", "--in-place"}))
    touch = Touch.WRITE if in_place else Touch.READ_FILE
    touches = [(touch, _text(known, word)) for word in operands if in_place or word.text != "-"]
    if in_place:
        touches += [(Touch.READ_FILE, path) for _, path in touches]
    return Effects(touches=tuple(touches))


def _transfer(known: Known, read: Read) -> Effects:
    paths = [_text(known, word) for word in read.operands]
    is_recursive = known.name == "mv" or read.has(_RECURSIVE)
    if known.name == "rm":
        touches = [(Touch.WRITE, path) for path in paths]
    elif len(paths) < 2:
        raise NotHarmlessError(f"{known.name} needs a source and a target")
    else:
        read_as = Touch.TREE if is_recursive else Touch.READ_FILE
        touches = [(read_as, path) for path in paths[:-1]]
        if known.name == "mv":
            touches += [(Touch.WRITE, path) for path in paths[:-1]]
        touches.append((Touch.WRITE, paths[-1]))
    return Effects(
        touches=tuple(touches),
        transfer=known.name,
        is_recursive=is_recursive,
        target_is_file=read.has(frozenset({"-T", "--no-target-directory"})),
    )


def _find(words: Sequence[Word]) -> list[tuple[Touch, str]]:
    texts = [word.text for word in words]
    if None in texts:
        raise NotHarmlessError("find: one of its words is known only when it runs")
    pending = [text for text in reversed(texts) if text is not None]
    touches: list[tuple[Touch, str]] = []
    while pending and pending[-1] not in ("!", "(", ",") and not pending[-1].startswith("-"):
        touches.append((Touch.LOOK, pending.pop()))
    touches = touches or [(Touch.LOOK, ".")]
    while pending:
        text = pending.pop()
        if text in _FIND_FLAGS:
            continue
        if text not in _FIND_TEXTS | _FIND_PATHS or not pending:
            raise NotHarmlessError(f"find {text} is not on the list of harmless options")
        value = pending.pop()
        if text in _FIND_PATHS:
            touches.append((Touch.LOOK, value))
    return touches


def _test(words: Sequence[Word]) -> list[tuple[Touch, str]]:
    """`test` and `[`: single comparisons only; in longer ones a word known only later could be an operator."""
    inner = list(words[1:])
    if words[0].text == "[" and (not inner or inner.pop().text != "]"):
        raise NotHarmlessError("[ without its ]")
    while inner and inner[0].text == "!":
        inner.pop(0)
    texts = [word.text for word in inner]
    match texts:
        case []:
            return []
        case [str()]:
            return []
        case [str(operator), _] if operator in _TEST_TEXTS:
            return []
        case [str(operator), str(path)] if operator in _TEST_PATHS:
            return [(Touch.LOOK, path)]
        case [_, str(operator), _] if operator in _TEST_COMPARISONS:
            return []
        case [str(first), str(operator), str(second)] if operator in _TEST_PATH_COMPARISONS:
            return [(Touch.LOOK, first), (Touch.LOOK, second)]
        case _:
            raise NotHarmlessError("test: only single comparisons are on the list of harmless ones")


# --- commands that run others -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """What a wrapper runs.

    Attributes:
        words: The command; none where a shell runs a text.
        script: The text that a shell gets after `-c`.
        plain_sh: That shell is `sh`.
        assignments: Variables that are set for it.
        is_harmless: The wrapper itself does nothing else.
    """

    words: tuple[Word, ...] = ()
    script: str | None = None
    plain_sh: bool = False
    assignments: tuple[str, ...] = ()
    is_harmless: bool = True


def inner_commands(words: Sequence[Word]) -> tuple[Inner, ...]:
    """The commands that a command runs, as far as its words say so; none where it runs none.

    Raises:
        NotHarmlessError: It runs another, and which cannot be told.
    """
    name = words[0].text
    if name is None:
        return ()
    plain = name.rpartition("/")[2]
    if plain == "find":
        return tuple(_find_runs(words))
    wrapper = catalogue().wrappers.get(plain)
    if wrapper is None:
        return ()
    is_harmless = plain == name
    if wrapper.shell:
        return (_shell(wrapper, words, is_harmless=is_harmless),)
    if plain == "command" and any(word.text in ("-v", "-V") for word in words[1:2]):
        return ()
    read = read_options(wrapper, words[1:], permute=False)
    rest = list(read.operands[wrapper.skip :])
    settings = [*(value for _, value in read.options if value is not None), *read.operands[: wrapper.skip]]
    if any(word.text is None for word in settings):
        raise NotHarmlessError(f"{name}: one of its words is known only when it runs")
    assignments: list[str] = []
    while wrapper.assignments and rest and "=" in (rest[0].text or "=") and not rest[0].is_split:
        text = rest.pop(0).text
        if text is None:
            raise NotHarmlessError(f"{name}: one of its words is known only when it runs")
        assignments.append(text)
    if not rest and wrapper.more_words:
        rest = [literal("echo")]
    if not rest and wrapper.more_words:
        rest = [literal("echo")]
    if not rest:
        raise NotHarmlessError(f"{name} without a command is not on the list of commands that are harmless")
    if wrapper.more_words:
        unknown = Word(text=None, source="its input", unknowns=("its input",), is_split=True)
        replaced = [value.text for option, value in read.options if option == "-I" and value is not None]
        rest = [unknown if any((mark or "") in (word.text or "") for mark in replaced) else word for word in rest]
        rest.append(unknown)
    return (Inner(words=tuple(rest), assignments=tuple(assignments), is_harmless=is_harmless),)


def _shell(wrapper: Known, words: Sequence[Word], *, is_harmless: bool) -> Inner:
    """`sh -c TEXT`: nothing but that, with the text written out."""
    if len(words) != 3 or words[1].text not in ("-c", "-ec", "-euc") or words[2].text is None:
        raise NotHarmlessError(f"{wrapper.name} is looked into only as {wrapper.name} -c 'a text that is written out'")
    return Inner(script=words[2].text, plain_sh=wrapper.name != "bash", is_harmless=is_harmless)


def _find_runs(words: Sequence[Word]) -> list[Inner]:
    found: list[Inner] = []
    at = 1
    while at < len(words):
        if words[at].text in _FIND_RUNS:
            end = next((n for n in range(at, len(words)) if words[n].text in (";", "+")), len(words))
            unknown = Word(text=None, source="{}", unknowns=("{}",), is_split=True)
            command = tuple(unknown if "{}" in (word.text or "{}") else word for word in words[at + 1 : end])
            if not command:
                raise NotHarmlessError("find: which program it runs cannot be told")
            found.append(Inner(words=command, is_harmless=False))
            at = end
        at += 1
    return found
