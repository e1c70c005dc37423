"""Two real servers on one bucket: the newer one finishes the run, and the older one ends nothing."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from fedpriv_common import keys
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import EndCause, RunEnd, RunState
from fedpriv_common.store import ObjectStore
from tests.integration.server_harness import SITES, LightSite, Server, online, running
from tests.integration.test_server_faults import Trap, assert_asked_alike, complete, everything, started
from tests.waiting import until

ROUNDS = 3


def test_a_server_that_was_overtaken_in_a_run_leaves_it_to_the_newer_one(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    old, new = Server(tmp_path / "old", object_store), Server(tmp_path / "new", object_store)
    new.hub = old.hub
    sites = {name: LightSite(name) for name in SITES}
    with ExitStack() as stack:
        stack.enter_context(running(old))
        for name, site in sites.items():
            stack.enter_context(online(site, old.hub, old.node_key(name), old.port, old.folder / "sites" / name))
        trap = Trap(sites["site-2"], 2)
        # The old server would halt the run when the round's deadline comes.
        run_id = started(old, RunSettings(rounds=ROUNDS, admission_deadline_s=30, round_deadline_s=60))
        trap.wait()
        until(lambda: object_store.get(keys.round_closed(run_id, 1)), "round 1 in the bucket")
        stack.enter_context(running(new))
        until(lambda: "stood_down" in old.log, "the old server's standing down")
        until(lambda: "run_interrupted" in old.log, "the run's interruption there")
        trap.go_on.set()
        with pytest.raises(FedprivError) as raised:
            old.client.start(RunSettings(rounds=1))
        assert raised.value.code is ErrorCode.TAKEN_OVER
        assert "another one took over at" in raised.value.message
        for name, site in sites.items():
            stack.enter_context(online(site, new.hub, old.node_key(name), new.port, new.folder / "sites" / name))
        status = new.finish(run_id)
        assert (status.state, status.cause, status.round) == (RunState.FINISHED, EndCause.COMPLETE, ROUNDS)
        until(lambda: everything(object_store, run_id) == complete(ROUNDS), "every object of the run, and no other")
        assert old.process is not None and old.process.poll() is None, "it lives on, so that nothing starts it again"
        assert old.stop() == 0
    assert RunEnd.model_validate_json(object_store.get(keys.run_end(run_id)) or b"").state is RunState.FINISHED
    assert "run_ends" not in old.log
    assert "store_conflict" not in old.log + new.log
    assert_asked_alike(sites, run_id)
