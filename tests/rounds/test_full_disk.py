"""A server whose disk takes nothing any more."""

from __future__ import annotations

import pytest

from fedpriv_common.plan import RunSettings
from fedpriv_common.records import RunState
from fedpriv_common.store import ObjectStore
from tests.integration.server_harness import Server, running, three_sites
from tests.integration.test_server_faults import Trap, started
from tests.waiting import until


def test_it_stops_when_it_is_told_to_and_goes_on_when_there_is_space(
    store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(Server(tmp_path_factory.mktemp("server"), store)) as server, three_sites(server) as sites:
        trap = Trap(sites["site-1"], 2)
        run_id = started(server, RunSettings(rounds=4))
        trap.wait()
        outbox = server.folder / "state" / "outbox"
        until(lambda: not list(outbox.iterdir()), "everything in the bucket")
        outbox.rename(outbox.with_name("away"))
        trap.go_on.set()
        until(lambda: '"outbox_unavailable"' in server.log, "the full disk")
        assert server.stop() == 0
        outbox.with_name("away").rename(outbox)
        server.start()
        status = server.finish(run_id)
        assert (status.state, status.round) == (RunState.FINISHED, 4)
