"""A run that an operator was told the id of."""

from __future__ import annotations

import pytest

from fedpriv_common import keys
from fedpriv_common.plan import RunSettings
from fedpriv_common.store import ObjectStore
from fedpriv_server.outbox import Outbox
from tests.integration.server_harness import Server, running
from tests.integration.test_server_faults import started


def test_it_is_there_whenever_the_server_dies_after_that(
    store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(Server(tmp_path_factory.mktemp("server"), store)) as server:
        for _ in range(3):
            run_id = started(server, RunSettings(rounds=1, admission_deadline_s=0.01))
            server.kill()
            waiting = {entry.key for entry in Outbox(server.folder / "state" / "outbox").objects()}
            assert keys.run_info(run_id) in waiting or store.get(keys.run_info(run_id))
            server.start()
            server.finish(run_id)
