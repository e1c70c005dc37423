"""Who is let in and how much, without a network: the gate before an application that answers whatever comes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fedpriv_common.rates import Buckets
from fedpriv_metrics import gate
from fedpriv_metrics.edge import Edge
from fedpriv_metrics.gate import Admission, Gate
from fedpriv_metrics.keyring import Keyring, digest, new_key
from fedpriv_metrics.prometheus import Figures
from fedpriv_metrics.viewer import Role
from tests.unit.metrics.test_keyring import write

KEY = new_key()


async def told(scope: Scope, receive: Receive, send: Send) -> None:
    viewer = scope["state"]["viewer"]
    await Response(f"{viewer.role} {viewer.site}")(scope, receive, send)


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    path = tmp_path / "keys.json"
    write(path, {"name": "own", "role": "site", "site": "site-1", "sha256": digest(KEY)})
    return Keyring(path)


def behind(admission: Admission, app: ASGIApp = told, **settings: int) -> Edge:
    return Edge(Gate(app, admission, **settings), Figures())


def ask(app: Edge, *, method: str = "GET", path: str = "/v1/x", **request: Any) -> httpx.Response:
    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.request(method, path, **request)

    return asyncio.run(once())


@pytest.mark.parametrize(
    "headers", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}, {"authorization": f"bearer  {KEY} "}]
)
def test_a_key_is_taken_in_either_header(ring: Keyring, headers: dict[str, str]) -> None:
    response = ask(behind(Admission(ring)), headers=headers)
    assert (response.status_code, response.text) == (200, f"{Role.SITE} site-1")
    assert "Authorization" in response.headers["vary"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "NO_KEY"),
        ({"Authorization": "Basic eDp5"}, "NO_KEY"),
        ({"Authorization": "Bearer"}, "NO_KEY"),
        ({"Authorization": f"Bearer {KEY}x"}, "WRONG_KEY"),
        ({"X-API-Key": digest(KEY)}, "WRONG_KEY"),
    ],
)
def test_without_a_good_key_nothing_is_read(ring: Keyring, headers: dict[str, str], code: str) -> None:
    response = ask(behind(Admission(ring)), headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, code)
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert "key add" in response.json()["detail"]
    assert KEY not in response.text


@pytest.mark.parametrize("path", sorted(gate.PUBLIC))
def test_what_holds_no_figure_is_public(ring: Keyring, path: str) -> None:
    assert ask(behind(Admission(ring)), path=path).status_code == 200


def test_wrong_keys_run_out_and_right_ones_go_on(ring: Keyring) -> None:
    app = behind(Admission(ring, wrong_keys=Buckets(0.001, 3)))
    statuses = [ask(app, headers={"X-API-Key": f"guess {number}"}).status_code for number in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    assert ask(app, headers={"X-API-Key": KEY}).status_code == 200


def test_requests_above_the_rate_are_told_when_to_come_again() -> None:
    app = behind(Admission(requests=Buckets(0.5, 2)))
    responses = [ask(app) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert responses[2].json()["code"] == "RATE_LIMITED"
    assert responses[2].headers["retry-after"] == "2"
    assert ask(app, path="/healthz").status_code == 200


def test_requests_above_the_bound_are_refused_and_streams_do_not_count() -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        kind = b"text/event-stream" if scope["path"] == "/stream" else b"text/plain"
        headers = [(b"content-type", kind)]
        if scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        begun.set()
        await end.wait()
        if scope["path"] != "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def scenario() -> list[int]:
        transport = httpx.ASGITransport(app=behind(Admission(), slow, most_at_once=1))
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            stream = asyncio.create_task(client.get("/stream"))
            await begun.wait()
            begun.clear()
            first = asyncio.create_task(client.get("/first"))
            await begun.wait()
            refused = await client.get("/second")
            assert refused.headers["retry-after"] == "1"
            end.set()
            statuses = [(await stream).status_code, (await first).status_code, refused.status_code]
            return [*statuses, (await client.get("/third")).status_code]

    assert asyncio.run(scenario()) == [200, 200, 503, 200]


def test_a_name_that_was_made_to_point_here_is_refused_where_no_key_is_needed() -> None:
    app = behind(Admission(hosts=frozenset({"api"})))
    assert ask(app).status_code == 200
    response = ask(app, headers={"Host": "evil.example:8000"})
    assert (response.status_code, response.json()["code"]) == (421, "WRONG_HOST")


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"method": "POST"}, 405, "METHOD_NOT_ALLOWED"),
        ({"method": "DELETE"}, 405, "METHOD_NOT_ALLOWED"),
        ({"path": "/v1/x?" + "a" * 5000}, 414, "URL_TOO_LONG"),
        ({"headers": {"Content-Length": "1000001"}}, 413, "BODY_TOO_LARGE"),
        ({"headers": {"Content-Length": "9" * 5000}}, 413, "BODY_TOO_LARGE"),
        ({"content": iter([b"x" * 600_000, b"x" * 600_000])}, 413, "BODY_TOO_LARGE"),
    ],
)
def test_what_is_not_answered_here_is_a_problem(request_: dict[str, Any], status: int, code: str) -> None:
    if "content" in request_:
        body = list(request_["content"])

        async def chunks() -> Any:
            for chunk in body:
                yield chunk

        request_ = {"content": chunks()}
    response = ask(behind(Admission()), **request_)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["type"] == f"urn:fedpriv:problem:{code.lower().replace('_', '-')}"


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_S", 0.01)
    sent: list[Any] = []

    async def scenario() -> None:
        async def never() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/x",
            "raw_path": b"/v1/x",
            "query_string": b"",
            "headers": [(b"content-length", b"5")],
        }
        await behind(Admission())(scope, never, send)

    asyncio.run(scenario())
    assert sent[0]["status"] == 408


def test_head_is_answered_as_get_is() -> None:
    assert ask(behind(Admission()), method="HEAD").status_code == 200
