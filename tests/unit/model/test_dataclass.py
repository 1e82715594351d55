from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from typing import Any, get_type_hints

import pytest

from callsheet.model.dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """A class of ours."""

    name: str
    seen: int = dataclasses.field(default=0, compare=False, repr=False)
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Theirs:
    """A class of ours."""

    name: str
    seen: int = dataclasses.field(default=0, compare=False, repr=False)
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0


@dataclass(frozen=True, slots=True)
class Lone:
    only: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Named(Point):
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    amount: int

    def __post_init__(self) -> None:
        if self.amount < 0:
            raise ValueError("an amount is 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    text: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folded) and self.text.lower() == other.text.lower()

    def __repr__(self) -> str:
        return self.text


@dataclass(slots=True, kw_only=True)
class Tally:
    count: int = 0


@pytest.mark.parametrize("make", [Ours, Theirs])
def test_a_class_is_made_compared_shown_and_replaced_as_the_standard_librarys(make: Any) -> None:
    one = make(name="a", tags=["t"])

    assert one == make(name="a", tags=["t"], seen=5)
    assert one != make(name="b", tags=["t"])
    assert one.__eq__("a") is NotImplemented
    assert repr(one) == f"{make.__name__}(name='a', tags=['t'])"
    assert dataclasses.replace(one, name="c") == make(name="c", tags=["t"])
    assert dataclasses.asdict(one) == {"name": "a", "seen": 0, "tags": ["t"]}
    assert make(name="a").tags is not make(name="a").tags
    assert get_type_hints(make.__init__) == {"name": str, "seen": int, "tags": list[str], "return": type(None)}


@pytest.mark.parametrize("make", [Ours, Theirs])
def test_nothing_of_it_can_be_set_or_deleted_and_nothing_added(make: Any) -> None:
    one = make(name="a")

    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'name'"):
        one.name = "b"
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'name'"):
        del one.name
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):  # the latter the standard library's, by mistake
        one.more = 1
    assert not hasattr(one, "__dict__")


@pytest.mark.parametrize("make", [Ours, Theirs])
def test_what_is_missing_or_unknown_is_named_at_the_first_instance_and_later(make: Any) -> None:
    for _ in range(2):
        with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'name'"):
            make()
        with pytest.raises(TypeError, match="unexpected keyword argument 'nmae'"):
            make(name="a", nmae="b")
        with pytest.raises(TypeError, match="positional argument"):
            make("a")


def test_it_is_hashed_by_what_is_compared() -> None:
    assert hash(Point(1, 2)) == hash((1, 2))
    assert hash(Lone("a")) == hash(("a",))
    assert len({Point(1), Point(x=1, y=0), Point(2)}) == 2
    with pytest.raises(TypeError, match="unhashable type: 'list'"):
        hash(Ours(name="a"))


def test_a_class_that_builds_on_another_has_the_fields_of_both() -> None:
    named = Named(1, name="n")

    assert named == Named(1, 0, name="n")
    assert named != Point(1)
    assert repr(named) == "Named(x=1, y=0, name='n')"
    match Point(3, 4):
        case Point(x, y):
            assert (x, y) == (3, 4)


def test_what_a_class_brings_along_holds() -> None:
    assert Folded(text="A") == Folded(text="a")
    assert repr(Folded(text="A")) == "A"
    with pytest.raises(ValueError, match="0 or more"):
        Checked(amount=-1)


def test_it_can_be_copied_and_pickled() -> None:
    one = Ours(name="a", tags=["t"])

    assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one


def test_a_class_that_can_change_is_the_standard_librarys() -> None:
    tally = Tally()
    tally.count += 1

    assert tally == Tally(count=1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(tally)


def test_a_class_is_documented_without_its_signature() -> None:
    assert (Ours.__doc__, Point.__doc__) == ("A class of ours.", "Point")


def test_the_methods_of_a_class_are_compiled_when_they_are_first_called() -> None:
    code = (
        "import builtins; from callsheet.model import dataclass; real, compiled = exec, []\n"
        "builtins.exec = lambda source, *more: (compiled.append(source), real(source, *more))[1]\n"
        "from callsheet.model.outcome import Usage\n"
        "before = sum(isinstance(source, str) for source in compiled)\n"
        "Usage(), Usage(); print(before, sum(isinstance(source, str) for source in compiled))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)

    assert done.stdout.split() == ["0", "1"]
