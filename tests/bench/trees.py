"""Worktrees and checkpoints of a repository of 10,000 files, beside what bare git and bare file creation take there."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio

from callsheet.workspace.checkpoints import open_checkpoints
from callsheet.workspace.git import git_place
from callsheet.workspace.spares import SPARE, Spares
from callsheet.workspace.worktree import Worktree

_FILES_A_FOLDER = 20
_TIMES = 4
_SETTLED_S = 2.5
"""Files that are younger are looked at again each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worktrees:
    first_ms: float
    next_ms: float
    checkout_ms: float
    create_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    first_ms: float
    next_ms: float
    add_ms: float
    status_ms: float


class Repository:
    """One, made anew in an empty folder."""

    def __init__(self, base: Path, *, files: int = 10_000) -> None:
        shutil.rmtree(base, ignore_errors=True)
        self._base = base
        self._root = base / "repo"
        self._names: list[str] = []
        chance = random.Random(1)
        for folder in range(files // _FILES_A_FOLDER):
            place = self._root / f"part{folder % 25}" / f"mod{folder}"
            place.mkdir(parents=True)
            for number in range(_FILES_A_FOLDER):
                lines = (f"x{chance.random()}" for _ in range(chance.randrange(10, 150)))
                (place / f"f{number}.py").write_text("\n".join(lines), encoding="utf-8")
                self._names.append(f"part{folder % 25}/mod{folder}/f{number}.py")
        self._git("init", "-q")
        self._git("add", "-A")
        self._git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "first")
        time.sleep(_SETTLED_S)
        self._git("status")

    def worktrees(self) -> Worktrees:
        walls: list[float] = []

        async def make() -> None:
            place = await git_place(self._root, os.environ)
            spares = Spares(SPARE)
            for number in range(_TIMES):
                begun = time.perf_counter()
                tree = await Worktree.make(
                    self._root, folder=self._base / "trees", name=f"t{number}", environ=os.environ, place=place,
                    spares=spares,
                )  # fmt: skip
                walls.append((time.perf_counter() - begun) * 1000)
                (tree.path / self._names[number]).write_text("changed", encoding="utf-8")
                await tree.close()
            spares.clear()

        anyio.run(make)
        checkout = _median_ms(lambda n: self._git("checkout-index", "-a", f"--prefix={self._base}/out{n}/"))
        create = _median_ms(lambda n: self._create(self._base / f"new{n}"))
        return Worktrees(
            first_ms=walls[0], next_ms=statistics.median(walls[1:]), checkout_ms=checkout, create_ms=create
        )

    def checkpoints(self) -> Checkpoints:
        walls: list[float] = []

        async def take() -> None:
            user = await git_place(self._root, os.environ)
            folder = self._base / "checkpoints"
            async with open_checkpoints(self._root, folder=folder, environ=os.environ, user=user) as checkpoints:
                for number in range(_TIMES):
                    for name in self._names[:10] if number else ():
                        (self._root / name).write_text(f"changed {number}", encoding="utf-8")
                    begun = time.perf_counter()
                    await checkpoints.take()
                    walls.append((time.perf_counter() - begun) * 1000)

        anyio.run(take)
        status = _median_ms(lambda n: self._git("status", "--porcelain"))
        return Checkpoints(
            first_ms=walls[0], next_ms=statistics.median(walls[1:]), add_ms=self._first_add_ms(), status_ms=status
        )

    def _first_add_ms(self) -> float:
        index = {"GIT_INDEX_FILE": str(self._base / "index")}
        begun = time.perf_counter()
        self._git("add", "-A", **index)
        self._git("write-tree", **index)
        return (time.perf_counter() - begun) * 1000

    def _create(self, folder: Path) -> None:
        for name in sorted({name.rpartition("/")[0] for name in self._names}):
            (folder / name).mkdir(parents=True)
        for name in self._names:
            os.close(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))

    def _git(self, *words: str, **environ: str) -> None:
        subprocess.run(
            ("git", *words), cwd=self._root, env={**os.environ, **environ}, check=True, stdout=subprocess.DEVNULL
        )


def _median_ms(do: Callable[[int], None]) -> float:
    walls = []
    for number in range(_TIMES - 1):
        begun = time.perf_counter()
        do(number)
        walls.append((time.perf_counter() - begun) * 1000)
    return statistics.median(walls)
