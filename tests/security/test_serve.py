"""Who may see and do what in the dashboard's server, and what those who may not, or who mean harm, can do to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from starlette.routing import Route

from callsheet.web.app import create_app
from callsheet.web.opening import opened
from tests.support.controlled import RUN, PlayedRun, runtime_folder, served
from tests.support.dashboard import DEED, OURS, TOKEN, Door, dashboard
from tests.support.deadline import within

pytestmark = pytest.mark.anyio

ASKED = [
    "/api/runs",
    "/api/runs/stream",
    f"/api/runs/{RUN}",
    f"/api/runs/{RUN}/stream",
    f"/api/runs/{RUN}/graph",
    f"/api/runs/{RUN}/result",
    f"/api/runs/{RUN}/report",
    f"/api/runs/{RUN}/agents/a0001",
    "/api/nothing",
]
DONE = [
    f"/api/runs/{RUN}/pause",
    f"/api/runs/{RUN}/go_on",
    f"/api/runs/{RUN}/stop",
    f"/api/runs/{RUN}/agents/a0001/skip",
    f"/api/runs/{RUN}/agents/a0001/stop",
    f"/api/runs/{RUN}/agents/a0001/restart",
    f"/api/runs/{RUN}/agents/a0001/message",
    f"/api/runs/{RUN}/questions/q0001/answer",
]


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path / "work")
    with runtime_folder() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder


async def cookie_of(door: Door) -> str:
    """What a browser has after it opened the printed address."""
    answer = await door.get(f"/?token={TOKEN}", headers={})
    return str(answer.headers["set-cookie"]).partition(";")[0]


def page_of(door: Door, cookie: str) -> dict[str, str]:
    """What a browser sends for our own page."""
    return {"Cookie": cookie, "Origin": door.base, "Sec-Fetch-Site": "same-origin", **DEED}


def test_every_address_of_runs_is_among_those_that_are_tried_here(runtime: Path) -> None:
    routes = [route for route in create_app(port=1).routes if isinstance(route, Route)]
    for methods, tried in (({"GET", "HEAD"}, ASKED), ({"POST"}, DONE)):
        of_runs = [route for route in routes if route.methods == methods and route.path not in ("/", "/assets/{name}")]
        assert of_runs
        for route in of_runs:
            assert route.path.startswith("/api/"), "the guard lets nobody in there without the token"
            assert any(route.path_regex.fullmatch(path) for path in tried), route.path
    assert all(route.methods in ({"GET", "HEAD"}, {"POST"}) for route in routes)


# --- who --------------------------------------------------------------------------------------------------------------


async def test_nothing_is_told_or_done_without_the_token(runtime: Path) -> None:
    run = PlayedRun()
    strangers: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer \xe9"},
        {"Authorization": TOKEN},
        {"X-Token": TOKEN},
    ]
    with within(30):
        async with served(run, runtime), dashboard(control=True) as door:
            cookies = [f"{door.app.access.cookie_name}={value}" for value in ("", "x", TOKEN, "\xe9")]
            strangers += [{"Cookie": cookie} for cookie in (*cookies, f"callsheet_1={door.app.access.cookie}")]
            for headers in strangers:
                sent = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
                deed = {name.encode(): value.encode() for name, value in DEED.items()}
                for path in (*ASKED, f"/api/runs?token={TOKEN}"):
                    answer = await door.client.get(path, headers=sent)
                    assert answer.status_code == 401, (path, headers)
                    assert RUN not in answer.text
                for path in DONE:
                    answer = await door.client.post(path, headers={**sent, **deed}, content=b"{}")
                    assert answer.status_code == 401, (path, headers)
    assert run.deeds == []


async def test_the_printed_address_is_exchanged_for_a_strict_cookie_and_the_token_does_not_stay_in_it(
    runtime: Path,
) -> None:
    with within(30):
        async with dashboard() as door:
            assert door.app.url == f"{door.base}/?token={TOKEN}"
            answer = await door.get(f"/?token={TOKEN}", headers={"Sec-Fetch-Site": "cross-site"})
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
            assert answer.headers["cache-control"] == "no-store"
            cookie, *attributes = answer.headers["set-cookie"].split("; ")
            assert attributes == ["Path=/", "HttpOnly", "SameSite=Strict"]
            assert TOKEN not in answer.headers["set-cookie"]
            others = f'odd="x; {door.app.access.cookie_name}=tossed; {cookie}; {{"a": [1]}}'
            assert (await door.get("/api/runs", headers={"Cookie": others})).status_code == 200

            wrong = await door.get(f"/?token={TOKEN}x", headers={"Cookie": cookie})
            assert wrong.status_code == 401
            assert "set-cookie" not in wrong.headers


async def test_each_server_has_a_token_of_its_own_that_its_cookie_does_not_give_away(runtime: Path) -> None:
    with within(30):
        async with dashboard(token=None) as one, dashboard(token=None) as other:
            tokens = {one.app.access.token, other.app.access.token}
            assert len(tokens) == 2
            assert all(len(token) >= 43 for token in tokens)
            assert not tokens & {one.app.access.cookie, other.app.access.cookie}
            assert one.app.access.cookie_name != other.app.access.cookie_name
            assert TOKEN not in repr(one.app)
    with pytest.raises(ValueError, match="32"):
        async with dashboard(token="short"):
            pass


async def test_a_browser_is_opened_with_a_file_that_only_its_user_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def browser(address: str) -> bool:
        seen.append(address)
        return True

    monkeypatch.setattr("webbrowser.open", browser)
    monkeypatch.setenv("BROWSER", "x")
    with within(30), opened(f"http://127.0.0.1:1/?token={TOKEN}&x=\"'<") as open_it:
        assert await open_it()
        assert TOKEN not in seen[0]
        file = Path(seen[0].removeprefix("file://"))
        assert modes_of(file) == (0o600, 0o700)
        assert f"url=http://127.0.0.1:1/?token={TOKEN}&amp;x=&quot;&#x27;&lt;" in text_of(file)
    assert not file.parent.exists()


def text_of(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def modes_of(file: Path) -> tuple[int, int]:
    """Who may do what with a file of this user's, and with its folder."""
    assert file.stat().st_uid == os.geteuid()
    return stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)


# --- from where -------------------------------------------------------------------------------------------------------


async def test_it_answers_to_its_own_names_alone_so_that_no_name_can_be_led_to_it(runtime: Path) -> None:
    with within(30):
        async with dashboard(allowed_hosts=["box.example:9000", "proxy.example"]) as door:
            port = door.port
            ours = [f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}", "BOX.example:9000"]
            ours += ["proxy.example", f"proxy.example:{port}"]
            for host in ours:
                assert (await door.get("/api/runs", {**OURS, "Host": host})).status_code == 200, host
            foreign = ["evil.example", f"evil.example:{port}", "127.0.0.1", "localhost", f"127.0.0.1:{port + 1}", "x"]
            foreign += [f"localhost.evil.example:{port}", f"evil.example#127.0.0.1:{port}", f"user@localhost:{port}"]
            foreign += [
                f"0.0.0.0:{port}",
                f"127.0.0.1.:{port}",
                "box.example",
                f"box.example:{port}",
                "proxy.example:1",
            ]
            for host in foreign:
                for path in ("/", "/assets/app.js", "/api/runs", f"/?token={TOKEN}"):
                    answer = await door.get(path, {**OURS, "Host": host})
                    assert answer.status_code == 421, (host, path)
                    assert "set-cookie" not in answer.headers
            said = await door.raw(b"GET /api/runs HTTP/1.0\r\n\r\n")
            assert b"421" in said.splitlines()[0]
            twice = f"GET / HTTP/1.1\r\nHost: evil.example\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
            assert (await door.raw(twice.encode())).split()[1] in (b"400", b"421")


async def test_no_page_but_our_own_has_anything_done(runtime: Path) -> None:
    run = PlayedRun()
    with within(30):
        async with served(run, runtime), dashboard(control=True) as door:
            cookie = await cookie_of(door)
            ours = page_of(door, cookie)
            other_port = f"http://127.0.0.1:{door.port + 1}"
            foreign: list[dict[str, str | None]] = [
                {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
                {"Origin": "http://evil.example"},
                {"Origin": "http://evil.example", "Sec-Fetch-Site": None},
                {"Origin": other_port, "Sec-Fetch-Site": "same-site"},
                {"Origin": other_port, "Sec-Fetch-Site": None},
                {"Origin": f"http://localhost:{door.port}"},
                {"Origin": "null"},
                {"Origin": None},
                {"Origin": f"{door.base}.evil.example"},
                {"Sec-Fetch-Site": "cross-site"},
                {"X-Callsheet": None},
                {"X-Callsheet": "2"},
                {"Content-Type": "text/plain"},
                {"Content-Type": "application/x-www-form-urlencoded"},
                {"Content-Type": None},
            ]
            for change in foreign:
                headers = {name: value for name, value in {**ours, **change}.items() if value is not None}
                for path in DONE:
                    answer = await door.post(path, headers=headers)
                    assert answer.status_code in (403, 415), (change, path)
            for site in ("cross-site", "same-site", "x"):
                for path in ASKED:
                    answer = await door.get(path, {"Cookie": cookie, "Sec-Fetch-Site": site})
                    assert answer.status_code == 403
                    assert RUN not in answer.text
            assert run.deeds == []
            answer = await door.post(f"/api/runs/{RUN}/pause", headers=ours)
            assert answer.json() == {"done": True, "changed": True}
    assert run.deeds == [("pause", "a person in the browser")]


async def test_without_control_nothing_can_be_done_not_even_with_the_token(runtime: Path) -> None:
    run = PlayedRun()
    with within(30):
        async with served(run, runtime), dashboard() as door:
            cookie = await cookie_of(door)
            for headers in ({**OURS, **DEED}, page_of(door, cookie)):
                for path in DONE:
                    answer = await door.post(path, headers=headers)
                    assert answer.status_code == 403
                    assert answer.json()["error"]["kind"] == "read_only"
                    assert "--control" in answer.json()["error"]["message"]
            for path in (*ASKED, "/", "/assets/app.js"):
                for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
                    assert (await door.client.request(method, path, headers=OURS)).status_code == 405
            for path in DONE:
                assert (await door.get(path)).status_code == 405
    assert run.deeds == []


async def test_every_answer_says_that_nothing_from_elsewhere_belongs_to_it(runtime: Path) -> None:
    with within(30):
        async with dashboard() as door:
            answers = [
                await door.get("/api/runs"),
                await door.get("/api/runs", {}),
                await door.get("/nothing"),
                await door.get("/assets/nothing"),
                await door.get(f"/?token={TOKEN}"),
                await door.get("/", {"Host": "evil.example"}),
                await door.client.options("/api/runs", headers={**OURS, "Origin": "http://evil.example"}),
                await door.post(f"/api/runs/{RUN}/pause"),
            ]
            for answer in answers:
                headers = answer.headers
                policy = headers["content-security-policy"].split("; ")
                assert policy[0] == "default-src 'none'"
                assert "frame-ancestors 'none'" in policy
                assert "script-src 'self'" in policy
                assert headers["x-content-type-options"] == "nosniff"
                assert headers["referrer-policy"] == "no-referrer"
                assert headers["cache-control"] in ("no-store", "no-cache")
                assert not [name for name in headers if name.startswith("access-control-")]
                assert "server" not in headers
            assert answers[0].headers["cache-control"] == "no-store"


# --- what -------------------------------------------------------------------------------------------------------------

STRANGE_PATHS = [
    "/assets/../app.py",
    "/assets/..%2fapp.py",
    "/assets/%2e%2e/%2e%2e/cli/commands.py",
    "/assets//etc/passwd",
    "/assets/%2fetc%2fpasswd",
    "/assets/app.js%00",
    "/assets/",
    "//etc/passwd",
    "/api/runs/..",
    "/api/runs/%2e%2e%2f%2e%2e",
    "/api/runs/last",
    "/api/runs/run_",
    "/api/runs/run_%25",
    f"/api/runs/{RUN[:-1]}",
    f"/api/runs/{RUN}%00",
    f"/api/runs/{RUN}/agents/..%2f..",
    f"/api/runs/{RUN}/agents/a'%20OR%201=1--",
    f"/api/runs/{'run_' + 'x' * 5000}",
    f"/API/runs/{RUN}",
    f"/api/runs/{RUN}/",
]


async def test_strange_paths_lead_nowhere(runtime: Path) -> None:
    with within(30):
        async with served(PlayedRun(), runtime), dashboard() as door:
            for path in STRANGE_PATHS:
                head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
                said = await door.raw(f"{head}Connection: close\r\n\r\n".encode())
                assert said.split()[1] == b"404", path
                assert b"root:" not in said
                assert b"import" not in said


async def test_strange_numbers_and_bodies_are_refused_with_a_reason(runtime: Path) -> None:
    run = PlayedRun()
    message, answer = f"/api/runs/{RUN}/agents/a0001/message", f"/api/runs/{RUN}/questions/q0001/answer"
    strange: list[tuple[str, bytes]] = [
        (message, b""),
        (message, b"{}"),
        (message, b"[]"),
        (message, b'{"text": ""}'),
        (message, b'{"text": 1}'),
        (message, b'{"text": "x", "by": "root"}'),
        (message, b"\xff\xfe"),
        (message, b'{"text": ' * 50_000),
        (message, b"[" * 200_000),
        (answer, b'{"verdict": "unanswered"}'),
        (answer, b'{"verdict": ["once"]}'),
        (f"/api/runs/{RUN}/pause", b'{"now": true}'),
    ]
    with within(30):
        async with served(run, runtime), dashboard(control=True) as door:
            for path, body in strange:
                refused = await door.client.post(path, content=body, headers={**OURS, **DEED})
                assert refused.status_code == 400, body[:40]
                assert refused.json()["error"]["kind"] == "usage"
            for query in ("limit=0", "limit=-1", "limit=1e3", "limit=99999", "limit=９", "before=x' OR 1=1"):
                assert (await door.get(f"/api/runs?{query}")).status_code in (400, 404)
            large = await door.client.post(message, content=b"x" * 3_000_000, headers={**OURS, **DEED})
            assert large.status_code == 413
            assert (await door.get("/api/runs")).status_code == 200
    assert run.deeds == []


async def test_who_says_a_request_slowly_or_not_at_all_is_cut_off_and_others_are_served(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callsheet.web.server.REQUEST_S", 0.3)
    head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
    begun = [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST /api/runs/run_1/pause HTTP/1.1\r\nContent-Length: 9\r\n"]
    with within(30):
        async with dashboard(control=True) as door:
            begun.append(
                f"POST /api/runs/run_1/pause HTTP/1.1\r\n{head}Content-Length: 9\r\n\r\n{{".replace(
                    "127.0.0.1", f"127.0.0.1:{door.port}"
                ).encode()
            )
            async with anyio.create_task_group() as tasks:
                for data in begun * 20:
                    tasks.start_soon(door.raw, data)  # each ends when the server closes
                assert (await door.get("/api/runs")).status_code == 200
            assert (await door.get("/api/runs")).status_code == 200


async def test_a_head_without_end_is_not_read_to_its_end(runtime: Path) -> None:
    with within(30):
        async with dashboard() as door:
            said = await door.raw(b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 200_000)
            assert said == b"" or said.split()[1] in (b"400", b"431")
            assert (await door.get("/api/runs")).status_code == 200


async def test_a_web_socket_is_not_opened(runtime: Path) -> None:
    with within(30):
        async with dashboard() as door:
            asked = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
            key = {"Sec-WebSocket-Key": "eDEyMzQ1Njc4OTAxMjM0NQ=="}
            answer = await door.get(f"/api/runs/{RUN}/nothing", {**OURS, **asked, **key})
            assert answer.status_code == 404
