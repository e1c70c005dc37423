"""Whatever reaches the gate is answered: no crash, no hang, no 500 without a code, and nothing that stays behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpriv_common.canonical import sha256_hex
from fedpriv_common.plan import RunSettings
from fedpriv_server.operator import KeyHashes, make_operator_app
from fedpriv_server.runs import Runs
from fedpriv_server.superlink import FLEET_ROUTES
from tests.fuzz.conftest import fuzzing, share
from tests.fuzz.gate_calls import SPECIAL, Calls, mutated

ROUTES = sorted(FLEET_ROUTES)
CLIENTS = [("203.0.113.5", 1), ("2001:db8::1", 1), ("::ffff:10.0.0.1", 1), None, ("", 0), ("no address", 1)]
seeds = st.integers(0, 2**64 - 1)


@pytest.fixture(scope="module")
def calls() -> Iterator[Calls]:
    calls = Calls()
    before = calls.size()
    yield calls
    assert calls.size() <= before + 20, "what was refused, or sent again and again, left something behind"
    calls.loop.close()


segments = st.one_of(
    st.sampled_from(["v1", "fleet", "operator", "runs", "control", "runtime", "..", ".", "", "health", "%2e%2e"]),
    st.text(max_size=12),
)
paths = st.one_of(st.lists(segments, max_size=6).map(lambda parts: "/" + "/".join(parts)), st.sampled_from(ROUTES))
names = st.one_of(
    st.sampled_from([b"content-length", b"content-type", b"transfer-encoding", b"x-forwarded-for", b"flwr-public-key"]),
    st.binary(max_size=20),
)
headers = st.lists(
    st.tuples(names, st.one_of(st.binary(max_size=40), st.sampled_from([b"1" * 5000, b"-1", b"127.0.0.1"]))), max_size=6
)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PRI", ""])


@fuzzing
@given(paths, methods, headers, st.lists(st.binary(max_size=200), max_size=3), st.sampled_from(CLIENTS))
def test_arbitrary_requests(
    calls: Calls, path: str, method: str, headers: list[tuple[bytes, bytes]], body: list[bytes], client: Any
) -> None:
    status, _ = calls.call(path, body, headers, method=method, client=client)
    assert status not in (200, 201) or path in ("/health", "/health/"), "a stranger was served"


@fuzzing
@given(st.sampled_from(ROUTES), seeds)
def test_requests_that_nobody_signed_rightly(calls: Calls, route: str, seed: int) -> None:
    random = Random(seed)
    valid = calls.valid_once.get(route, b"")
    headers = [
        (name, mutated(value, random)[:200] if name.startswith(b"flwr-") else value)
        for name, value in calls.signed_once
    ]
    if headers == calls.signed_once:
        headers.pop()
    body = random.choice((valid, mutated(valid, random), random.randbytes(random.randint(0, 300))))
    status, _ = calls.call(route, [body], headers)
    assert status in (400, 401, 403, 404, 409, 412, 413, 415, 422), status


@fuzzing
@given(st.sampled_from(ROUTES), seeds)
def test_mutated_requests_of_a_site(calls: Calls, route: str, seed: int) -> None:
    random = Random(seed)
    valid = calls.valid_once.get(route) or random.choice(list(calls.valid_once.values()))
    calls.call(route, [mutated(valid, random)], calls.signed_once)


@fuzzing
@given(st.sampled_from(ROUTES), st.binary(max_size=400))
def test_arbitrary_bytes_of_a_site(calls: Calls, route: str, body: bytes) -> None:
    calls.call(route, [body], calls.signed_once)


# -- operators ---------------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)),
    max_leaves=10,
)
settings_like = st.dictionaries(st.sampled_from(sorted(RunSettings.model_fields)), json_values, max_size=6)


@pytest.fixture(scope="module")
def operator(calls: Calls) -> Any:
    """The operator's application of a server that has not read its bucket yet: it plans nothing, and says so."""
    hub: Any = type("Hub", (), {"postbox": calls.hub.postbox})()
    return make_operator_app(Runs(hub), KeyHashes([sha256_hex(b"right")]))


@share(0.3)
@given(
    settings_like,
    st.sampled_from(["", "/x", "/../x", "/01J9ZZZZZZZZZZZZZZZZZZZZZZ", "/x/cancel", "/%00/cancel"]),
    st.sampled_from(["GET", "POST", "PUT"]),
    seeds,
)
def test_operator_routes(calls: Calls, operator: Any, settings: Any, path: str, method: str, seed: int) -> None:
    random, body = Random(seed), json.dumps(settings).encode()
    body = random.choice((body, mutated(body, random), random.choice(SPECIAL)))
    headers = [(b"authorization", b"Bearer right"), (b"content-type", b"application/json")]
    status, answer = calls.call(f"/v1/operator/runs{path}", [body], headers, method=method, app=operator)
    assert status != 500
    assert json.loads(answer)["code"], "an operator is told a code with every refusal"
