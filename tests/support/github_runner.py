"""A GitHub runner as far as a composite action meets one: steps, inputs, outputs, a cache, artifacts, cancelling.

Its bash steps run for real, in the environment and with the command line that the runner gives them. The actions that
they lean on are played: those of the cache keep folders, the artifact's keeps files.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from tests.support.github_expressions import filled, is_to_run

ACTION = Path(__file__).resolve().parents[2]
LIMIT_S = 120


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Input(_Strict):
    description: Annotated[str, Field(min_length=20)]
    required: bool = False
    default: str | None = None


class Output(_Strict):
    description: Annotated[str, Field(min_length=10)]
    value: Annotated[str, Field(pattern=r"^\$\{\{ steps\.[a-z]+\.outputs\.[a-z-]+ \}\}$")]


class RunStep(_Strict):
    """A step of a composite action that runs a script; what the runner knows and no more (no timeout, no strategy)."""

    name: str
    run: str
    shell: Literal["bash"]
    id: str | None = None
    condition: Annotated[str | None, Field(alias="if")] = None
    env: dict[str, str] = Field(default_factory=dict)


class UsesStep(_Strict):
    name: str
    uses: Annotated[str, Field(pattern=r"^[\w-]+/[\w-]+(/[\w-]+)?@[0-9a-f]{40}$")]
    id: str | None = None
    condition: Annotated[str | None, Field(alias="if")] = None
    given: Annotated[dict[str, str | bool], Field(alias="with", default_factory=dict)]


class Runs(_Strict):
    using: Literal["composite"]
    steps: list[RunStep | UsesStep]


class Branding(_Strict):
    icon: str
    color: str


class Action(_Strict):
    """`action.yml`, nothing of it unknown."""

    name: str
    description: Annotated[str, Field(max_length=125)]
    author: str
    branding: Branding
    inputs: dict[str, Input]
    outputs: dict[str, Output]
    runs: Runs

    @classmethod
    def read(cls) -> Action:
        return cls.model_validate(yaml.safe_load((ACTION / "action.yml").read_text(encoding="utf-8")))


@dataclass(kw_only=True)
class JobDone:
    """How a use of the action ended.

    Attributes:
        log: What its steps wrote, both streams.
        page: The summaries of its steps.
        ran: Names of the steps that ran.
        failed: Names of those that failed.
    """

    outputs: dict[str, str]
    log: str = ""
    page: str = ""
    ran: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def commands(self) -> list[str]:
        """What the runner would obey."""
        return [line for line in self.log.splitlines() if line.lstrip().startswith("::") or "##[" in line]

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(Path(self.outputs["result-file"]).read_text(encoding="utf-8"))
        return found


class GithubRunner:
    """Runs the action in a checkout, attempt after attempt; each on a machine on which nothing is left of the last."""

    def __init__(self, folder: Path, *, environ: dict[str, str], event: dict[str, Any], ref: str, sha: str) -> None:
        self.action = Action.read()
        self.workspace = folder / "checkout"
        self.cache: dict[str, Path] = {}
        self.artifacts: dict[str, list[str]] = {}
        self.environ = dict(environ)
        self._folder = folder
        self._temp = folder / "runner temp"
        self._run = 77
        (folder / "event.json").write_text(json.dumps(event), encoding="utf-8")
        self._github = {
            "GITHUB_ACTIONS": "true", "CI": "true", "RUNNER_OS": "Linux", "GITHUB_JOB": "review",
            "GITHUB_SERVER_URL": f"file://{folder}", "GITHUB_REPOSITORY": "o/r",
            "GITHUB_WORKFLOW_REF": "o/r/.github/workflows/w.yml@refs/heads/main", "GITHUB_REF": ref, "GITHUB_SHA": sha,
            "GITHUB_EVENT_PATH": str(folder / "event.json"), "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_ACTION_PATH": str(ACTION), "RUNNER_TEMP": str(self._temp),
        }  # fmt: skip

    def ref(self, ref: str) -> None:
        """What comes is of another ref."""
        self._github["GITHUB_REF"] = ref

    def __call__(
        self,
        *,
        attempt: int = 1,
        run: int = 77,
        cancel: Callable[[], bool] | None = None,
        steps: int | None = None,
        **inputs: str,
    ) -> JobDone:
        """Runs the steps in order.

        Args:
            attempt: Of the workflow run.
            run: The workflow run's id.
            cancel: Asked over and over while the step `run` works; once it says yes the job is cancelled.
            steps: So many of them; None for all.
            inputs: By name, with `_` for `-`.
        """
        if run != self._run:  # artifacts are a workflow run's own
            self._run, self.artifacts = run, {}
        shutil.rmtree(self._temp, ignore_errors=True)
        self._temp.mkdir()
        given = {name: each.default for name, each in self.action.inputs.items()}
        given |= {name.replace("_", "-"): text for name, text in inputs.items()}
        ids: dict[str, Any] = {}
        contexts = {"inputs": given, "steps": ids, "strategy": {"job-index": 0}}
        done, status = JobDone(outputs={}), "success"
        for step in self.action.runs.steps[:steps]:
            if not is_to_run(step.condition, contexts, status):
                continue
            done.ran.append(step.name)
            outputs: dict[str, str] = {}
            if isinstance(step, UsesStep):
                outputs = self._played(step, {key: filled(str(text), contexts) for key, text in step.given.items()})
            else:
                env = {name: filled(text, contexts) for name, text in step.env.items()}
                is_cancelled = cancel if step.id == "run" else None
                was_cancelled, exit_status = self._bash(step, env, (run, attempt), done, outputs, is_cancelled)
                if exit_status != 0:
                    done.failed.append(step.name)
                    status = "failure"
                status = "cancelled" if was_cancelled else status
            if step.id is not None:
                ids[step.id] = {"outputs": outputs}
        done.outputs = {name: filled(each.value, contexts) for name, each in self.action.outputs.items()}
        return done

    def _bash(
        self,
        step: RunStep,
        env: dict[str, str],
        which: tuple[int, int],
        done: JobDone,
        outputs: dict[str, str],
        cancel: Callable[[], bool] | None,
    ) -> tuple[bool, int]:
        run, attempt = which
        there = Path(tempfile.mkdtemp(dir=self._temp))
        (there / "step.sh").write_text(step.run, encoding="utf-8")
        files = {name: there / name for name in ("OUTPUT", "ENV", "PATH", "STATE", "STEP_SUMMARY")}
        for path in files.values():
            path.touch()
        environ = self.environ | self._github | {f"GITHUB_{name}": str(path) for name, path in files.items()}
        environ |= {"GITHUB_RUN_ATTEMPT": str(attempt), "GITHUB_RUN_ID": str(run)} | env
        was_cancelled = False
        with (there / "log").open("wb") as log:
            process = subprocess.Popen(
                ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(there / "step.sh")],
                cwd=self.workspace, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
            try:
                while cancel is not None and not was_cancelled and process.poll() is None:
                    if was_cancelled := cancel():
                        process.send_signal(signal.SIGINT)
                process.wait(LIMIT_S)
            finally:
                process.kill()
                process.wait()
        done.log += (there / "log").read_text(encoding="utf-8", errors="replace")
        done.page += files["STEP_SUMMARY"].read_text(encoding="utf-8")
        assert [files[name].read_bytes() for name in ("ENV", "PATH", "STATE")] == [b"", b"", b""]
        outputs |= _outputs(files["OUTPUT"].read_text(encoding="utf-8"))
        return was_cancelled, process.returncode

    def _played(self, step: UsesStep, given: dict[str, str]) -> dict[str, str]:
        match step.uses.partition("@")[0]:
            case "actions/cache/save":
                assert given["key"] not in self.cache, "a key is written once"
                copy = self._folder / "cache" / given["key"]
                shutil.copytree(given["path"], copy)
                self.cache[given["key"]] = copy
            case "actions/cache/restore":
                for prefix in [given["key"], *given["restore-keys"].splitlines()]:
                    found = [key for key in self.cache if key.startswith(prefix)]
                    if found:
                        shutil.copytree(self.cache[found[-1]], given["path"], dirs_exist_ok=True)
                        return {"cache-matched-key": found[-1]}
            case "actions/upload-artifact":
                assert given["name"] not in self.artifacts and not set(given["name"]) & set('":<>|*?\r\n\\/')
                self.artifacts[given["name"]] = given["path"].splitlines()
                return {"artifact-url": f"https://github.example/{given['name']}"}
            case "actions/setup-python":
                return {"python-path": shutil.which("python3") or ""}
            case other:
                raise AssertionError(other)
        return {}


def _outputs(text: str) -> dict[str, str]:
    found, rest = {}, text
    while rest:
        head, _, rest = rest.partition("\n")
        name, _, mark = head.partition("<<")
        value, _, rest = rest.partition(f"\n{mark}\n")
        found[name] = value
    return found


def git(folder: Path, *words: str) -> str:
    """What git answers, with nothing of this machine's settings."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, env=environ, check=True, capture_output=True, timeout=LIMIT_S
    )
    return done.stdout.decode().strip()
