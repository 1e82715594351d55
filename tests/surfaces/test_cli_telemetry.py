"""Spans of real runs, taken by a collector on loopback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from anyio import to_thread

from tests.support.deadline import within
from tests.support.messages_replies import Refuse, Reply, Say, in_order, text, tool_use
from tests.support.messages_service import open_messages_service
from tests.support.otlp_collector import Collector, open_collector
from tests.surfaces.command import META, Command, Done

KEY = "sk-ant-of-this-test-0123456789abcdef"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
HEADER_SECRET = "collector-pass-0123456789"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with open_collector() as opened:
        yield opened


def asking(collector: Collector, **more: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **more}


# --- agents that ask a model -----------------------------------------------------------------------------------------

READS = "What is in the file? Nobody may read this."


async def with_model(command: Command, collector: Collector, **more: str) -> Done:
    """A run of one agent that is refused once, reads a file, writes one, and is not allowed to write another."""
    (command.folder / "a.txt").write_text("alpha", encoding="utf-8")
    body = f"""
        phase('Look')
        return await agent({json.dumps(READS)}, {{ label: 'reads', model: 'haiku' }})
    """
    replies: list[Reply] = [
        Refuse(529, "overloaded_error", "later", headers={"retry-after-ms": "1"}),
        Say([tool_use("read", file_path="a.txt")], output_tokens=7, cache_read_tokens=100, cache_write_tokens=20),
        Say(
            [
                tool_use("write", id="w", file_path="b.txt", content="beta"),
                tool_use("write", id="x", file_path="../x", content=""),
            ]
        ),
        Say([text("It says alpha.")], output_tokens=5),
    ]
    name = command.script(body)
    async with open_messages_service(in_order(*replies)) as service:
        environ = asking(collector, ANTHROPIC_API_KEY=KEY, ANTHROPIC_BASE_URL=service.base_url, **more)
        call = partial(command, "run", name, "--output", "json", environ=environ)
        with within(60):
            done: Done = await to_thread.run_sync(call)
    assert done.status == 0, done.err
    return done


@pytest.mark.anyio
async def test_a_run_is_a_tree_of_spans_in_the_words_of_the_genai_conventions_beneath_its_caller(
    command: Command, collector: Collector
) -> None:
    done = await with_model(
        command,
        collector,
        TRACEPARENT=f"00-{TRACE}-{CALLER}-01",
        OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer%20{HEADER_SECRET}",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=ci",
    )

    agent = "invoke_workflow case > phase Look > invoke_agent reads"
    model = done.json["agents"][0]["model"]
    asked = collector.one("invoke_agent")["gen_ai.request.model"] or "haiku"
    chats = collector.of("chat ")
    assert collector.paths() == sorted(
        [
            "invoke_workflow case",
            "invoke_workflow case > phase Look",
            agent,
            *[f"{agent} > {chat.name}" for chat in chats],
            f"{agent} > execute_tool read",
            f"{agent} > execute_tool write",
            f"{agent} > execute_tool write",
        ]
    )
    assert {span.trace_id for span in collector.spans} == {TRACE}
    run = collector.one("invoke_workflow")
    assert run.parent_id == CALLER
    assert collector.resource["service.name"] == "callsheet"
    assert collector.resource["deployment.environment.name"] == "ci"
    assert {headers["authorization"] for headers in collector.headers} == {f"Bearer {HEADER_SECRET}"}

    assert (run["callsheet.run.status"], run["callsheet.run.agents"], run.error) == ("completed", 1, False)
    assert run["callsheet.run.id"] == done.json["run_id"]
    usage = done.json["usage"]
    assert run["callsheet.run.output_tokens"] == usage["output_tokens"]
    worker = collector.one("invoke_agent")
    assert worker["gen_ai.provider.name"] == "anthropic" and asked == "haiku"
    assert worker["gen_ai.usage.output_tokens"] == usage["output_tokens"]
    assert worker["callsheet.agent.cost_usd"] == pytest.approx(usage["cost_usd"])
    assert (worker["callsheet.agent.files_changed"], worker["callsheet.agent.type"]) == (1, "general-purpose")

    refused, *answered = chats
    assert (refused["error.type"], refused.error, refused["gen_ai.usage.output_tokens"]) == (
        "overloaded_error",
        True,
        None,
    )
    assert [chat["gen_ai.response.finish_reasons"] for chat in answered] == [["tool_use"], ["tool_use"], ["end_turn"]]
    assert {chat["gen_ai.response.model"] for chat in answered} == {model}
    assert {chat.kind for chat in chats} == {"CLIENT"}
    assert answered[0]["gen_ai.usage.input_tokens"] == 130  # those from the cache, and into it, are input too
    assert answered[0]["gen_ai.usage.cache_read.input_tokens"] == 100
    assert answered[0]["gen_ai.usage.cache_creation.input_tokens"] == 20
    assert sum(chat["gen_ai.usage.output_tokens"] for chat in answered) == usage["output_tokens"]
    assert [tool["error.type"] for tool in collector.of("execute_tool")] == [None, None, "denied"]

    for span in collector.spans:  # each within the one over it, and none without an end
        assert span.start_ns <= span.end_ns
        if span is not run:
            over = collector.above(span)
            assert over.start_ns <= span.start_ns and span.end_ns <= over.end_ns, (over.name, span.name)

    for secret in (READS, "alpha", "beta", "b.txt", KEY, HEADER_SECRET):
        assert secret.encode() not in collector.body
    assert HEADER_SECRET not in done.out + done.err


# --- how runs end ----------------------------------------------------------------------------------------------------

ENDS = """
    phase('First')
    const good = await agent('the good one', { label: 'good' })
    const bad = await agent('a bad one that has no label')
    phase('Second')
    return [good, bad, await agent('last one', { label: 'last' })]
"""


def test_what_failed_says_so_and_a_run_that_goes_on_links_to_what_it_goes_on_from(
    command: Command, collector: Collector
) -> None:
    environ = asking(collector)
    failing = {"prompt": "a bad one", "status": "failed", "error": "the secret reason"}
    first = command.run(ENDS, "--output", "json", answers=(failing,), environ=environ)
    assert first.json["status"] == "degraded", first.err

    run = collector.one("invoke_workflow")
    assert (run["callsheet.run.status"], run["callsheet.run.problems"], run.error) == ("degraded", 1, False)
    bad = collector.one("invoke_agent general-purpose")  # the beginning of a prompt is no name
    assert (bad["error.type"], bad["callsheet.agent.status"], bad.error, bad.said) == ("failed", "failed", True, "")
    assert b"a bad one" not in collector.body and b"secret reason" not in collector.body
    assert not collector.one("invoke_agent good").error and not run.links

    collector.spans.clear()
    command.answers()
    again = command("resume", "--output", "json", environ=environ)
    assert again.json["resumed"]["reused"] == 2, again.err
    resumed = collector.one("invoke_workflow")
    assert resumed.links == [(run.trace_id, run.span_id, {"callsheet.link": "earlier attempt"})]
    assert (resumed["callsheet.run.attempt"], resumed["callsheet.run.agents_reused"]) == (2, 2)
    reused = [span for span in collector.of("invoke_agent") if span["callsheet.agent.reused"]]
    assert [span["gen_ai.agent.id"] for span in reused] == ["a0001", "a0003"]
    assert all(span["gen_ai.usage.output_tokens"] is None for span in reused)
    assert [collector.above(span).name for span in reused] == ["phase First", "phase Second"]


def test_a_run_that_is_interrupted_has_sent_all_of_its_spans(command: Command, collector: Collector) -> None:
    backend = command.answers({"label": "long", "delay_ms": 60_000, "result": 1}, otherwise="synthetic")
    script = command.script("await agent('a', { label: 'short' }); return await agent('b', { label: 'long' })")
    command.environ |= asking(collector, OTEL_BSP_SCHEDULE_DELAY="20")
    with command.start("run", script, "--backend", backend, "--output", "jsonl") as process:
        assert process.stdout is not None
        starts = (json.loads(line) for line in process.stdout)
        assert any(said["event"] == "agent.started" and said["agent_id"] == "a0002" for said in starts)
        assert collector.asked.wait(120)  # the span of the first agent has come
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(120) != 0

    assert collector.one("invoke_agent short")["callsheet.agent.status"] == "ok"
    long = collector.one("invoke_agent long")
    assert (long["callsheet.agent.status"], long.error) == ("cancelled", False)
    run = collector.one("invoke_workflow")
    assert (run["callsheet.run.status"], run.error) == ("interrupted", True)


def test_nested_workflows_have_spans_of_their_own(command: Command, collector: Collector) -> None:
    inner = META.replace("case", "inner", 1) + "phase('In'); return await agent(args, { label: args })"
    (command.folder / "inner.js").write_text(inner, encoding="utf-8")
    body = """
        phase('Out')
        await Promise.all(['one', 'two'].map(each => workflow({ scriptPath: 'inner.js' }, each)))
        return await agent('x', { label: 'three' })
    """
    done = command.run(body, environ=asking(collector))

    assert done.status == 0, done.err
    nested = "invoke_workflow case > invoke_workflow inner"
    assert collector.paths() == sorted(
        [
            "invoke_workflow case",
            "invoke_workflow case > phase Out",
            "invoke_workflow case > phase Out > invoke_agent three",
            *[nested, f"{nested} > phase In"] * 2,
            f"{nested} > phase In > invoke_agent one",
            f"{nested} > phase In > invoke_agent two",
        ]
    )


# --- where it cannot be, and where it must not -----------------------------------------------------------------------


def test_a_collector_that_is_not_there_costs_one_line_and_no_run(command: Command) -> None:
    done = command.run("return await agent('x')", environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:pw@127.0.0.1:9"})

    assert done.status == 0, done.err
    lines = [line for line in done.err.splitlines() if "telemetry" in line]
    assert lines == [
        "note: telemetry: spans go to http://127.0.0.1:9/v1/traces (OTEL_EXPORTER_OTLP_ENDPOINT)",
        "telemetry: 2 of 2 spans did not reach http://127.0.0.1:9/v1/traces: connection refused",
    ]


NOTHING = """
import sys
class Barred:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("opentelemetry", "requests"):
            raise ImportError(name)
sys.meta_path.insert(0, Barred())
"""


def test_without_variables_nothing_of_opentelemetry_is_imported_and_with_them_its_absence_is_said_once(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NOTHING, encoding="utf-8")
    command.environ |= {"PYTHONPATH": str(tmp_path / "site"), "PYTHONNOUSERSITE": "1"}  # the latter: none is forked

    without = command.run("return await agent('x')")
    asked_for = command.run("return await agent('x')", environ={"OTEL_TRACES_EXPORTER": "otlp"})

    assert without.status == asked_for.status == 0, without.err + asked_for.err
    assert "telemetry" not in without.err
    assert [line for line in asked_for.err.splitlines() if "telemetry" in line] == [
        "note: telemetry: OTEL_TRACES_EXPORTER asks for it, and OpenTelemetry is not installed, so nothing is sent: "
        "pip install 'callsheet[otel]'"
    ]


def test_a_workspace_cannot_switch_telemetry_on_even_if_it_is_trusted(command: Command, collector: Collector) -> None:
    name = "OTEL_EXPORTER_OTLP_ENDPOINT"
    (command.folder / ".claude").mkdir()
    settings = {"env": {name: collector.endpoint, "OTEL_TRACES_EXPORTER": "otlp"}}
    (command.folder / ".claude" / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (command.folder / ".env").write_text(f"{name}={collector.endpoint}\n", encoding="utf-8")
    (command.folder / ".envrc").write_text(f"export {name}={collector.endpoint}\n", encoding="utf-8")

    done = command.run("return await agent('x')", "--trust")

    assert done.status == 0, done.err
    assert "spans go to" not in done.err and not collector.asked.is_set()


PROGRAM = """
import anyio, callsheet
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

taken = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(taken))
trace.set_tracer_provider(provider)

async def main():
    with trace.get_tracer("program").start_as_current_span("work"):
        await callsheet.run("./case.js", backend="scripted:answers.json")

anyio.run(main)
spans = {span.context.span_id: span for span in taken.get_finished_spans()}
for span in spans.values():
    print(span.name, "<", spans[span.parent.span_id].name if span.parent else None)
"""


def test_in_a_program_with_telemetry_of_its_own_a_run_is_part_of_what_that_is_doing(command: Command) -> None:
    command.script("return await agent('x', { label: 'one' })")
    command.answers()

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=command.folder,
        env=command.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert sorted(done.stdout.splitlines()) == [
        "invoke_agent one < invoke_workflow case",
        "invoke_workflow case < work",
        "work < None",
    ]
