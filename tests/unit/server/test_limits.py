"""How much one sender may ask: requests, bytes and time, each with a refusal that has a code."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from fedpriv_common.canonical import sha256_hex
from fedpriv_common.rates import Buckets, address_group
from fedpriv_server import limits
from fedpriv_server.body import Body, BodyError, reading
from fedpriv_server.gate import Gate
from fedpriv_server.limits import Limits
from fedpriv_server.operator import KeyHashes, make_operator_app
from tests.unit.server.nodes import Hub, client, no_operator, signed


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    clock = Clock()
    buckets = Buckets(10.0, 3.0, clock=clock)
    assert [buckets.take("a") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take("a") == pytest.approx(0.1)
    assert buckets.take("b") == 0.0
    clock.now += 0.11
    assert buckets.take("a") == 0.0
    assert buckets.take("a") > 0.0
    clock.now += 1000.0
    assert [buckets.take("a") for _ in range(4)].count(0.0) == 3


def test_a_table_forgets_who_was_not_heard_of_for_longest() -> None:
    buckets = Buckets(1.0, 1.0, most=100)
    for number in range(1000):
        buckets.take(str(number))
        buckets.take("attacker")
    assert len(buckets) == 100
    assert buckets.take("attacker") > 0.0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("10.0.0.1", "10.0.0.2", False),
    ],
)
def test_what_counts_as_one_sender(one: str, other: str, same: bool) -> None:
    assert (address_group((one, 1)) == address_group((other, 2))) is same


def test_strangers_of_one_address_are_slowed_down_while_sites_go_on() -> None:
    async def play() -> tuple[list[httpx.Response], httpx.Response, httpx.Response]:
        hub = Hub()
        hub.open()
        shared = Limits(strangers=Buckets(1.0, 5.0))
        gate = Gate(hub.link, hub.postbox, no_operator, shared)
        async with client(gate) as http, client(gate, ("203.0.113.6", 1)) as neighbour:
            strangers = [await http.post("/v1/fleet/pull-messages") for _ in range(7)]
            site = await http.post("/v1/fleet/get-run", headers=signed(hub.keys["a"]))
            return strangers, site, await neighbour.get("/health")

    strangers, site, neighbour = asyncio.run(play())
    assert [answer.status_code for answer in strangers] == [415] * 5 + [429] * 2
    assert strangers[-1].json()["code"] == "RATE_LIMITED"
    assert int(strangers[-1].headers["retry-after"]) >= 1
    assert site.status_code not in (429, 500)
    assert neighbour.status_code == 200


def test_a_site_that_asks_too_often_is_slowed_down_without_its_neighbour() -> None:
    async def play() -> list[int]:
        hub = Hub()
        hub.open()
        gate = Gate(hub.link, hub.postbox, no_operator, Limits(nodes=Buckets(0.1, 3.0)))
        async with client(gate) as http:
            return [
                (await http.post("/v1/fleet/deactivate-node", headers=signed(hub.keys[name]))).status_code
                for name in "aaaab"
            ]

    *first, last, neighbour = asyncio.run(play())
    assert 429 not in first
    assert (last, neighbour == 429) == (429, False)


def test_what_takes_the_server_long_counts_for_more() -> None:
    async def play(route: str, body: bytes = b"") -> int:
        hub = Hub()
        hub.open()
        clock = Clock()
        gate = Gate(hub.link, hub.postbox, no_operator, Limits(nodes=Buckets(1.0, limits.SLOW_COST, clock=clock)))
        async with client(gate) as http:
            for answered in range(30):
                headers = signed(hub.keys["a"])
                if (await http.post(f"/v1/fleet/{route}", content=body, headers=headers)).status_code == 429:
                    return answered
        return 30

    assert asyncio.run(play("deactivate-node")) == 20
    assert asyncio.run(play("get-run")) == 1
    assert asyncio.run(play("push-messages")) == 20
    assert asyncio.run(play("push-messages", b"\x12\x00" * limits.COST_BYTES)) == 7


def test_nobody_sends_much_without_a_key_that_is_known() -> None:
    async def play() -> list[int]:
        hub = Hub()
        hub.open()
        large = b"x" * (limits.MAX_SMALL_BODY + 1)
        async with client(hub.gate) as http:
            return [
                (await http.post(path, content=large, headers=headers)).status_code
                for path in ("/v1/fleet/push-object", "/v1/operator/runs")
                for headers in ({}, signed(hub.keys["a"]))
            ]

    # Of the four only the site on its own route may: then its 65 kB are no protobuf, which is another refusal.
    assert asyncio.run(play()) == [413, 400, 413, 413]


def read(events: list[Any], shared: Limits, *, then_hang: bool = False) -> bytes | None:
    async def receive() -> Any:
        if not events and then_hang:
            await asyncio.Event().wait()
        return events.pop(0)

    async def play() -> bytes | None:
        return await Body(shared, 1000).read({"headers": []}, receive)

    return asyncio.run(play())


def test_all_bodies_together_take_only_so_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_READING", 100)
    shared, part = Limits(), {"type": "http.request", "body": b"x" * 60}
    assert read([dict(part)], shared) == b"x" * 60
    with pytest.raises(BodyError) as refused:
        read([dict(part)], shared)
    assert (refused.value.answer.status_code, refused.value.answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(("site_key", "small"), [(b"b", limits.FREE_OF_SITE), (None, limits.FREE_OF_OTHERS)])
def test_a_site_that_fills_its_share_keeps_nobody_else_from_sending(site_key: bytes | None, small: int) -> None:
    shared = Limits()

    def body(key: bytes | None, size: int) -> bytes | None:
        async def receive() -> Any:
            return {"type": "http.request", "body": b"x" * size}

        async def play() -> bytes | None:
            with reading(shared, "/v1/fleet/push-object", key, known=True) as request:
                return await request.read({"headers": []}, receive)

        return asyncio.run(play())

    assert shared.hold(b"a", limits.MAX_OF_SENDER)
    with pytest.raises(BodyError):
        body(b"a", limits.FREE_OF_SITE + 1)
    assert body(site_key, limits.MAX_OF_SENDER) is not None
    for other in range(limits.MAX_READING // limits.MAX_OF_SENDER - 1):
        assert shared.hold(str(other), limits.MAX_OF_SENDER)
    with pytest.raises(BodyError):
        body(site_key, small + 1)
    assert body(site_key, small) is not None
    assert shared.held.total() == limits.MAX_READING, "what was read is not held any more"


def test_what_came_fast_is_no_credit_for_what_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.05)
    part = {"type": "http.request", "body": b"x" * 100_000, "more_body": True}

    async def play() -> bytes | None:
        return await Body(Limits(), 10**6).read({"headers": []}, receive)

    async def receive() -> Any:
        if not part:
            await asyncio.Event().wait()
        event = dict(part)
        part.clear()
        return event

    with pytest.raises(BodyError) as refused:
        asyncio.run(asyncio.wait_for(play(), 5))
    assert refused.value.answer.status_code == 408


def test_a_body_that_trickles_in_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.05)
    with pytest.raises(BodyError) as refused:
        read([{"type": "http.request", "body": b"x", "more_body": True}], Limits(), then_hang=True)
    assert refused.value.answer.status_code == 408


def test_whoever_tries_operator_keys_is_not_told_any_more_whether_one_is_right() -> None:
    async def play(*, by_address: bool) -> tuple[list[int], int, int]:
        runs: Any = type("Runs", (), {"list": lambda self: ()})()
        right = "ledger"
        hashes = KeyHashes(["0" * 64])
        hashes.replace([sha256_hex(right.encode())])
        app = make_operator_app(runs, hashes, Limits(by_address, wrong_keys=Buckets(0.1, 3.0)))

        async def ask(http: httpx.AsyncClient, key: str) -> int:
            return (await http.get("/v1/operator/runs", headers={"authorization": f"Bearer {key}"})).status_code

        async with client(app) as http, client(app, ("203.0.113.6", 1)) as other:
            tried = [await ask(http, key) for key in (right, "a", "b", right, "c", "d")]
            return tried, await ask(http, right), await ask(other, right)

    tried, locked, other = asyncio.run(play(by_address=True))
    assert tried == [200, 401, 401, 200, 401, 429]
    assert (locked, other) == (429, 200)
    tried, let_in, _ = asyncio.run(play(by_address=False))
    assert (tried[-1], let_in) == (429, 200), "behind a balancer, a stranger must not lock operators out"
