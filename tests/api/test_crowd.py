"""Ten thousand requests at one moment: each is answered, none hangs, none is cut off, and the process stays small."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from pathlib import Path

from fedpriv_common.store import ObjectStore
from tests.emulator import Emulator
from tests.integration.metrics_process import Api, running
from tests.run_writer import write_run

REQUESTS = 10_000
#: Seconds in which every one of them has been answered, whatever else the machine does.
DEADLINE_S = 120.0


def test_each_of_ten_thousand_parallel_requests_gets_a_defined_answer(
    emulator: Emulator, object_store: ObjectStore, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    write_run(object_store)
    try:
        with running(Api.over(object_store, emulator, tmp_path / "log")) as api:
            statuses = asyncio.run(asyncio.wait_for(crowd(api.port), DEADLINE_S))
            assert sum(statuses.values()) == REQUESTS
            assert set(statuses) <= {200, 429, 503}, statuses
            assert statuses[200] > 0
            assert api.resident_mb() <= 200
            assert api.get("/healthz").status_code == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def crowd(port: int) -> Counter[int]:
    """The statuses of all answers; nobody waits for anybody."""

    async def one() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"GET /v1/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            head, _, body = answer.partition(b"\r\n\r\n")
            status = int(head.split()[1])
            if status != 200:
                assert b"application/problem+json" in head
                assert b"retry-after" in head.lower()
                assert b'"code"' in body
            return status
        finally:
            writer.close()

    return Counter(await asyncio.gather(*(one() for _ in range(REQUESTS))))
