"""When a page of records is another one, although no event has come."""

from __future__ import annotations

import asyncio

import httpx

from fedpriv_metrics.app import create_app
from fedpriv_metrics.compacted import Skipped
from fedpriv_metrics.prometheus import Figures
from fedpriv_metrics.service import Service
from fedpriv_metrics.tail import S3Tail
from tests.memory_store import MemoryStore
from tests.run_writer import Script
from tests.unit.metrics.scripted import RUN, parsed


def test_a_record_that_is_found_to_be_none_completes_its_round_for_who_holds_the_page_before() -> None:
    objects = parsed(Script())
    broken = next(entry for entry in objects if entry.key.endswith("records/000002/site-1.train.json"))

    async def ask() -> tuple[httpx.Response, httpx.Response, httpx.Response]:
        service = Service(S3Tail(MemoryStore()), Figures(), 1.0)
        service.index.apply(RUN, [entry for entry in objects if entry is not broken])
        transport = httpx.ASGITransport(app=create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            path = f"/v1/runs/{RUN}/records"
            first = await client.get(path)
            held = {"If-None-Match": first.headers["etag"]}
            again = await client.get(path, headers=held)
            service.index.skip(RUN, Skipped(broken.key, "it is not JSON"))
            return first, again, await client.get(path, headers=held)

    first, again, after = asyncio.run(ask())
    assert (first.status_code, again.status_code, after.status_code) == (200, 304, 200)
    assert first.json()["complete_round"] == 1
    assert after.json()["complete_round"] > 1
