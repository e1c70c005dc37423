"""What tests of runs do again and again: start one, run one, read what it left."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fedpriv_common import keys
from fedpriv_common.errors import FedprivError
from fedpriv_common.plan import Phase, RunSettings
from fedpriv_common.records import (
    RunEvent,
)
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import Operation, Reply, Request
from fedpriv_server.status import RunStatus
from tests.integration.server_harness import Server
from tests.waiting import until

SHORT = RunSettings(rounds=4, admission_deadline_s=20, round_deadline_s=20)


def started(server: Server, settings: RunSettings = SHORT) -> str:
    """A run's id; the server may still be reading its bucket."""

    def start() -> str | None:
        try:
            return server.client.start(settings)
        except FedprivError as error:
            assert "has not read from S3 yet" in error.message, error
            return None

    return str(until(start, "a run's start"))


def ran(server: Server, settings: RunSettings = SHORT) -> RunStatus:
    return server.finish(started(server, settings))


def read(store: ObjectStore, key: str) -> bytes:
    body = store.get(key)
    assert body is not None, f"{key} is not in the bucket"
    return body


def events(store: ObjectStore, run_id: str) -> list[RunEvent]:
    prefix = f"{keys.run_prefix(run_id)}events/"
    return [RunEvent.model_validate_json(read(store, key)) for key in store.list_keys(prefix)]


def waiting(number: int, reached: threading.Event, go_on: threading.Event) -> Callable[[Request], Reply | None]:
    """A behaviour that holds back the answer of a training round."""

    def behave(request: Request) -> Reply | None:
        if request.operation is Operation.RELEASE and request.phase is Phase.TRAIN and request.round == number:
            reached.set()
            assert go_on.wait(30)
        return None

    return behave
