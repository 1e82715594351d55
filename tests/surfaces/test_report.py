"""`callsheet report`: one file, looked at in a real browser that may ask for nothing else."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, expect

from callsheet.model.events import AgentQueued, AgentStarted, Event
from callsheet.views.board import Board
from callsheet.views.board_json import board_json
from callsheet.views.safe_text import one_line, visible
from callsheet.web.bundle import page_with
from tests.support.browser import Seen, go, new_page, open_browser, open_report
from tests.support.page_checks import accessibility_faults, cut_off, tab_stops
from tests.support.recorded import record_of
from tests.surfaces.command import Command

REVIEW = """
phase('Plan')
await agent('Make a plan', { label: 'plan' })
log('planned')
const files = Array.from({ length: 18 }, (_, i) => `src/m${i}.py`)
const found = await pipeline(files,
  file => agent('Find bugs in ' + file, { label: `find:${file}`, phase: 'Find' }),
  (found, file) => agent('Doubt ' + file, { label: `doubt:${file}`, phase: 'Doubt' }))
phase('Write')
await parallel(['short', 'long', 'table'].map(kind => () => agent('Write ' + kind, { label: `write:${kind}` })))
return { report: await agent('Join', { label: 'join' }), files: files.length }
"""
ANSWERS: tuple[dict[str, Any], ...] = (
    {"label": "find:src/m7.py", "error": "the tool broke", "status": "failed"},
    {"label": "find:*", "result": "found a thing", "usage": {"input_tokens": 12_000, "output_tokens": 800}},
)
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"
SHOWN = r"""
async ([name, text]) => {
  const bytes = new TextEncoder().encode(window[name](text));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((each) => each.toString(16).padStart(2, "0")).join("");
}
"""
AT = "2026-11-21T08:00:00.123Z"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
ACTING = "\x1b[31mred\x1b[0m \u202eevil\u2066 \u200bhidden\u2028line </script><!-- "


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory, bytecode: Path) -> tuple[Command, Path]:
    """A run of 40 agents, one of which failed, and its report."""
    return _reported(tmp_path_factory.mktemp("reviewed"), bytecode, REVIEW, ANSWERS)


def _reported(
    folder: Path, bytecode: Path, body: str, answers: tuple[dict[str, Any], ...], *words: str
) -> tuple[Command, Path]:
    command = _command(folder, bytecode)
    done = command.run(body, "--yes", "--output", "json", *words, answers=answers)
    assert done.json["run_id"], done.err
    return command, _report(command)


def _command(folder: Path, bytecode: Path) -> Command:
    (folder / "workspace").mkdir()
    (folder / "home").mkdir()
    return Command(folder / "workspace", bytecode=bytecode)


def _report(command: Command) -> Path:
    done = command("report", "--output", "report.html", "--force")
    assert done.status == 0, done.err
    return command.folder / "report.html"


def _data(file: Path) -> dict[str, Any]:
    """What the report holds."""
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', file.read_text("utf-8"))
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def _asked_for_nothing(seen: Seen, file: Path) -> None:
    assert {address.partition("#")[0] for address in seen.requests} <= {file.resolve().as_uri(), "about:blank"}
    assert seen.faults == []
    assert seen.dialogs == []


def test_a_report_shows_the_whole_run_by_itself(browser: Browser, reviewed: tuple[Command, Path]) -> None:
    _, file = reviewed
    page, seen = new_page(browser)
    open_report(page, file)
    expect(page.get_by_role("heading", level=1)).to_have_text("case")
    expect(page.locator(".run-head")).to_contain_text("degraded")
    expect(page.locator(".run-head")).to_contain_text("15k")
    for phase, agents in (("Plan", "1"), ("Find", "18"), ("Doubt", "17"), ("Write", "4")):
        row = page.locator(".phases tbody tr").filter(has=page.get_by_role("link", name=phase, exact=True))
        expect(row.locator("td").nth(1)).to_contain_text(agents)
    expect(page.locator("main")).to_contain_text("--rerun a0009")

    page.get_by_role("link", name="Graph").click()
    group = page.get_by_role("button", name="find, 18 calls side by side: 1 failed, 17 ok")
    group.click()
    page.get_by_role("link", name="find:src/m7.py, failed").click()
    panel = page.get_by_role("complementary")
    expect(panel.get_by_role("heading", level=2)).to_be_focused()
    expect(panel).to_contain_text("the tool broke")
    expect(panel).to_contain_text("Find bugs in src/m7.py")
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)

    page.get_by_role("link", name="Timeline").click()
    expect(page.get_by_role("listitem").filter(has_text="find:src/m0.py")).to_be_visible()
    page.get_by_role("link", name="Agents").first.click()
    page.get_by_label("Status", exact=True).select_option("failed")
    expect(page.locator(".grid .v-row")).to_have_count(1)
    page.get_by_role("link", name="Result").click()
    expect(page.locator("#result-text")).to_contain_text('"files": 18')
    _asked_for_nothing(seen, file)
    page.context.close()


def test_a_place_in_a_report_has_an_address_of_its_own(browser: Browser, reviewed: tuple[Command, Path]) -> None:
    _, file = reviewed
    run_id = _data(file)["board"]["run_id"]
    page, _ = new_page(browser)
    open_report(page, file, to=f"#/run/{run_id}/agents?status=ok&q=doubt&agent=a0021")
    expect(page.locator(".grid .v-row").first).to_contain_text("doubt:")
    expect(page.get_by_role("complementary")).to_contain_text("Doubt src/m")
    expect(page.get_by_text("17 agents", exact=True)).to_be_visible()
    page.context.close()


def test_a_report_can_be_used_without_eyes_or_mouse(browser: Browser, reviewed: tuple[Command, Path]) -> None:
    _, file = reviewed
    page, _ = new_page(browser)
    open_report(page, file)
    for view in ("graph", "timeline", "agents", "log", "problems", "result", "overview"):
        go(page, f"{view}?agent=a0009")
        page.locator(".panel .block").first.wait_for()
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert accessibility_faults(page) == [], (view, scheme)
    go(page, "agents")
    page.locator(".grid .v-row").first.wait_for()
    stops = tab_stops(page)
    order = ["Skip to the content", "Callsheet", "Theme: auto", "Overview", "Find an agent", "Status"]
    places = [next((at for at, stop in enumerate(stops) if stop.startswith(wanted)), -1) for wanted in order]
    assert -1 not in places, stops
    assert places == sorted(places)
    assert len(stops) < 40  # the rows of the table are one stop
    page.locator(".grid .v-row").first.focus()
    for key in ("ArrowDown", "ArrowDown", "End", "Home", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_role("complementary").get_by_role("heading", level=2)).to_have_text("find:src/m0.py")
    page.context.close()


@pytest.mark.parametrize("width", [360, 730, 900, 1400])
def test_nothing_of_a_report_lies_beside_the_screen(
    browser: Browser, reviewed: tuple[Command, Path], width: int
) -> None:
    _, file = reviewed
    page, _ = new_page(browser, width=width)
    open_report(page, file)
    for view in ("overview", "graph", "timeline", "agents", "log", "problems", "result"):
        for agent in ("", "?agent=a0009"):
            go(page, view + agent)
            if agent:
                page.locator(".panel .block").first.wait_for()
            assert cut_off(page) == [], (view, agent)
    page.context.close()


def test_a_hostile_run_is_text_and_nothing_else(browser: Browser, tmp_path: Path, bytecode: Path) -> None:
    label, words = json.dumps(f"{EVIL} a"), json.dumps(EVIL + ACTING)
    body = f"""
    log({words})
    await agent({words}, {{ label: {label}, phase: {words} }})
    await parallel([() => agent('fails', {{ label: 'b{EVIL}' }})])
    return {{ [{words}]: {words} }}
    """
    answers = ({"prompt": "fails", "error": EVIL + ACTING}, {"prompt": "img", "result": EVIL + ACTING})
    command, file = _reported(tmp_path, bytecode, body, answers)
    with closing(sqlite3.connect(record_of(command))) as db, db:
        message = json.dumps({"role": "assistant", "content": [{"type": "text", "text": EVIL + ACTING}]})
        db.execute(
            "INSERT INTO agent_messages (run_id, agent_id, n, attempt, payload) "
            "SELECT run_id, agent_id, 1, 1, ? FROM agent_runs",
            (message,),
        )
    file = _report(command)
    text = file.read_bytes()
    assert text.count(b"</script>") == 2
    assert b"\xe2\x80\xa8" not in text
    page, seen = new_page(browser)
    open_report(page, file)
    for view in ("graph", "timeline", "agents", "log", "problems", "result", "overview"):
        go(page, f"{view}?agent=a0001")
        page.locator(".panel .message").wait_for()
        assert page.locator("img, iframe, object, embed, form, main script, [onerror]").count() == 0
        shown = page.locator("body").inner_text()
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028\u202e\u2066]", shown), view
        titles = page.evaluate("() => [...document.querySelectorAll('[title]')].map((each) => each.title).join('')")
        assert not re.search("[\x1b\u202e\u2066\u2028]", titles)
        if view == "log":
            assert visible(EVIL + ACTING).split("<!--")[0] in shown
    _asked_for_nothing(seen, file)
    page.context.close()


def test_the_page_makes_the_same_visible_as_every_other_surface(
    browser: Browser, reviewed: tuple[Command, Path]
) -> None:
    script = (Path(__file__).parents[2] / "src/callsheet/web/page/safe_text.js").read_text("utf-8")
    page, _ = new_page(browser)
    open_report(page, reviewed[1])  # a page of a file may reckon digests, an empty one may not
    page.evaluate(f"() => {{ {script.replace('export ', '')} window.visible = visible; window.oneLine = oneLine; }}")
    planes = [*range(0x20000), *range(0xE0000, 0xE2000), *range(0x20000, 0x110000, 997)]
    every = [chr(point) for point in planes if not 0xD800 <= point <= 0xDFFF and chr(point) not in "\r\n"]
    for before, after in (("", ""), ("", "\ufe0f"), ("\ufe0f", "")):
        text = "\n".join(f"{before}{each}{after}" for each in every)
        for name, wanted in (("visible", visible(text)), ("oneLine", one_line(text))):
            shown = page.evaluate(SHOWN, [name, text])
            assert shown == hashlib.sha256(wanted.encode()).hexdigest()
    samples = [
        ACTING, "plain", "a\r\nb\tc", "\ufe0f", "❤\ufe0f", "\ufe0f\ufe0f", "a\x1cb", "é\u0301\u200d", "\U000e0041x",
        "\x85\ufe0f", "\ufeff\ufe0f", "x" * 50, "ab😀" * 9,
    ]  # fmt: skip
    assert page.evaluate("(texts) => texts.map((text) => visible(text))", samples) == [
        visible(each) for each in samples
    ]
    cut = page.evaluate("(texts) => texts.map((text) => oneLine(text, 12))", samples)
    assert cut == [one_line(each, 12) for each in samples]
    page.context.close()


def test_a_report_of_200_agents_with_long_conversations_is_a_megabyte(
    browser: Browser, tmp_path: Path, bytecode: Path
) -> None:
    body = """
    const places = Array.from({ length: 200 }, (_, i) => i)
    return (await parallel(places.map(i => () => agent('Look at ' + i, { label: `look:${i}` })))).length
    """
    command, _ = _reported(tmp_path, bytecode, body, (), "--max-parallel", "20")
    secret = "sk-ant-api03-" + "Ab1" * 28
    with closing(sqlite3.connect(record_of(command))) as db, db:
        (run_id,) = db.execute("SELECT run_id FROM runs").fetchone()
        rows = []
        for number in range(1, 201):
            turns = 2 if number % 10 == 0 else 24  # one in ten is short
            for turn in range(1, turns + 1):
                said = f"Turn {turn} of {number}, {secret}: " + "what was found in this file, said at length; " * 12
                part = {"type": "text", "text": said}
                message = {"role": "assistant" if turn % 2 else "user", "content": [part]}
                rows.append((run_id, f"a{number:04}", turn, json.dumps(message)))
        db.executemany(
            "INSERT INTO agent_messages (run_id, agent_id, n, attempt, payload) VALUES (?, ?, ?, 1, ?)", rows
        )
    file = _report(command)
    assert file.stat().st_size <= 1_000_000
    assert secret.encode() not in file.read_bytes()
    agents = _data(file)["agents"]
    assert len(agents) == 200
    short, long = agents["a0010"], agents["a0011"]
    assert "cut" not in short
    assert [message["n"] for message in short["messages"]] == [1, 2]
    assert long["cut"]["see"] == f"callsheet show {run_id} a0011 --full"
    assert long["messages"][0]["n"] == 1
    assert long["messages"][-1]["n"] == 24
    page, seen = new_page(browser)
    open_report(page, file, to=f"#/run/{run_id}/agents?agent=a0011")
    expect(page.get_by_role("complementary")).to_contain_text("was cut")
    _asked_for_nothing(seen, file)
    page.context.close()


def test_a_list_of_10000_agents_stays_light(browser: Browser, tmp_path: Path) -> None:
    board = Board(run_id="run_many", workflow="many", status="running", started_at=AT)
    for number in range(1, 10_001):
        name = f"a{number:05}"
        queued = AgentQueued(agent_id=name, call=number, label=f"look:{number}", phase="Look", workflow=None)
        board.apply(Event(run_id="run_many", seq=2 * number, at=AT, body=queued))
        if number <= 9_000:
            started = AgentStarted(agent_id=name, model="a-model", backend="scripted")
            board.apply(Event(run_id="run_many", seq=2 * number + 1, at=AT, body=started))
    graph = {"edges_known": True, "edges_left_out": 0, "edges": [], "nodes": []}
    said = board_json(board)
    said["agents"] = [agent | {"phase_place": 0} for agent in said["agents"]]
    data = {"version": "1", "written_at": AT, "board": said, "graph": graph, "agents": {}}
    file = tmp_path / "many.html"
    file.write_text(page_with(data, title="many"), encoding="utf-8")
    page, seen = new_page(browser)
    open_report(page, file)
    for view, rows in (("agents", ".grid .v-row"), ("timeline", ".lane")):
        go(page, view)
        expect(page.locator(rows).first).to_be_visible()
        assert page.locator(rows).count() < 80
    go(page, "agents")
    page.locator(".grid .v-row").first.focus()
    page.keyboard.press("End")
    expect(page.get_by_role("link", name="look:10000", exact=True)).to_be_visible()
    took_ms = page.evaluate(
        """async () => {
          const field = document.getElementById("find");
          const start = performance.now();
          field.value = "look:777";
          field.dispatchEvent(new Event("input", { bubbles: true }));
          while (!document.body.textContent.includes("11 agents")) await new Promise(requestAnimationFrame);
          return performance.now() - start;
        }"""
    )
    assert took_ms < 2_000  # 60 ms on a machine that does nothing else
    expect(page.locator(".grid .v-row")).to_have_count(11)
    _asked_for_nothing(seen, file)
    page.context.close()


def test_a_report_is_written_beside_nothing_and_through_nothing(reviewed: tuple[Command, Path]) -> None:
    command, file = reviewed
    run_id = _data(file)["board"]["run_id"]
    done = command("report")
    own = command.folder / f"{run_id}.html"
    assert (done.status, f"is in {own.name}" in done.err) == (0, True)
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    again = command("report")
    assert again.status == 2
    assert "is there already" in again.err
    kept, link = command.folder / "kept.txt", command.folder / "link.html"
    kept.write_text("kept", encoding="utf-8")
    link.symlink_to(kept)
    assert command("report", "-o", "link.html").status == 2
    assert command("report", "-o", "link.html", "--force").status == 0
    assert kept.read_text("utf-8") == "kept"
    assert not link.is_symlink()
    assert command("report", "-o", "-").out.startswith("<!doctype html>")
    assert command("report", "run_nothing").status == 2
    assert command("report", "-o", "-", "--open").status == 2
    opened = command("report", "-o", "opened.html", "--open", environ={"BROWSER": "echo opened %s"})
    assert (opened.status, opened.out.split()) == (0, ["opened", (command.folder / "opened.html").as_uri()])


def test_a_failed_run_and_a_run_that_was_broken_off_have_reports_too(
    browser: Browser, tmp_path: Path, bytecode: Path
) -> None:
    command, file = _reported(tmp_path, bytecode, "await agent('a', { label: 'a' })\nthrow new Error('no more')", ())
    page, _ = new_page(browser)
    open_report(page, file)
    expect(page.locator(".run-head")).to_contain_text("failed")
    expect(page.locator(".banner")).to_contain_text("no more")
    with closing(sqlite3.connect(record_of(command))) as db, db:  # as a host leaves it that was killed
        db.execute("DELETE FROM events WHERE event IN ('run.finished', 'agent.finished')")
        db.execute("UPDATE runs SET status = 'running', result = NULL, error = NULL, ended_at = NULL")
    file = _report(command)
    open_report(page, file)
    expect(page.locator(".run-head")).to_contain_text("interrupted")
    expect(page.locator(".banner").first).to_contain_text("callsheet resume")
    page.context.close()
