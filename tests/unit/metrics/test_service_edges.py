"""Settings, cache, description and the outermost layer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.settings import load_settings
from fedpriv_metrics import openapi
from fedpriv_metrics.cache import ByteCache
from fedpriv_metrics.edge import Edge
from fedpriv_metrics.prometheus import Figures
from fedpriv_metrics.settings import MetricsSettings

COMMITTED = Path(__file__).parents[3] / "services" / "metrics-api" / "openapi.json"


def test_the_committed_description_is_this_versions() -> None:
    assert COMMITTED.read_text() == openapi.text(), "run: python -m fedpriv_metrics.openapi > openapi.json"


def test_every_error_is_described_as_a_problem() -> None:
    for path, operations in openapi.document()["paths"].items():
        for status, response in operations["get"]["responses"].items():
            if int(status) >= 400 and path != "/readyz":
                assert list(response["content"]) == ["application/problem+json"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FEDPRIV_CORS_ORIGINS", "*"),
        ("FEDPRIV_CORS_ORIGINS", "https://a.example,*"),
        ("FEDPRIV_CORS_ORIGINS", "https://*.example"),
        ("FEDPRIV_CORS_ORIGINS", "https://a.example/path"),
        ("FEDPRIV_HOST", "localhost"),
        ("FEDPRIV_PORT", "0"),
        ("FEDPRIV_POLL_SECONDS", "0"),
        ("FEDPRIV_LOG_LEVEL", "loud"),
        ("FEDPRIV_BUCKET", ""),
    ],
)
def test_a_setting_that_is_not_allowed_is_named(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDPRIV_BUCKET", "bucket")
    monkeypatch.setenv(variable, value)
    with pytest.raises(FedprivError, match=variable) as refusal:
        load_settings(MetricsSettings)
    assert refusal.value.code is ErrorCode.BAD_SETTING


def test_origins_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDPRIV_BUCKET", "bucket")
    monkeypatch.setenv("FEDPRIV_CORS_ORIGINS", "http://localhost:5173, https://a.example")
    assert load_settings(MetricsSettings).cors_origins == ("http://localhost:5173", "https://a.example")


def test_an_answer_is_built_once_for_each_state_and_the_cache_stays_within_its_bound() -> None:
    cache, built = ByteCache(most_bytes=1000), []

    def build(name: str) -> bytes:
        built.append(name)
        return name.encode() * 10

    assert cache.get("a", "1", lambda: build("first")) == cache.get("a", "1", lambda: build("again"))
    assert cache.get("a", "2", lambda: build("second")) == b"second" * 10
    for number in range(100):
        cache.get(number, "1", lambda: build("x" * 10))
    cache.get("a", "2", lambda: build("dropped"))
    assert [name for name in built if "x" not in name] == ["first", "second", "dropped"]


def answer(app: Edge, **request: object) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/v1/x", **request)  # type: ignore[arg-type]

    return asyncio.run(ask())


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("secret detail")


def test_an_unforeseen_error_is_a_problem_without_internals() -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    response = answer(Edge(failing, Figures()), headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-trace-id"] == response.json()["trace_id"] == trace_id
    assert "secret" not in response.text
    assert json.loads(response.text)["instance"] == "/v1/x"
