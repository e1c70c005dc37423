"""A server that dies again and again, with its disk, costs real sites nothing: their ledgers hold the plan, once."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from fedpriv_client.data.breast_cancer import write_files
from fedpriv_client.privacy.ledger.entries import Evaluation, Release, parse_entry
from fedpriv_client.privacy.ledger.ledger import verify
from fedpriv_client.privacy.ledger.opening import open_store
from fedpriv_common import keys
from fedpriv_common.accounting import epsilon
from fedpriv_common.canonical import sha256_hex
from fedpriv_common.plan import Phase, Plan, RunSettings
from fedpriv_common.records import RunInfo, RunState
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import decode_array
from fedpriv_server.strategy import FloatArray, Iterate, make_strategy, reply_size
from tests.emulator import Emulator
from tests.faulty_s3 import FaultyS3, faulty_s3
from tests.integration.node_process import running
from tests.integration.server_harness import Server
from tests.integration.server_harness import running as serving
from tests.integration.server_run.runs import read, started
from tests.integration.test_server_faults import tensors
from tests.rounds.test_mlp import site
from tests.waiting import until

SITES = ("site-1", "site-2")
ROUNDS = 4
#: The server dies when it puts these, one after the other.
PUTS = ("records/000000/site-1", "checkpoints/000002", "decision.json")


def test_each_ledger_holds_the_plan_once_and_the_replies_that_make_the_model(
    emulator: Emulator, object_store: ObjectStore, tmp_path: Path
) -> None:
    write_files(tmp_path)
    with faulty_s3(emulator.endpoint) as s3, ExitStack() as stack:
        endpoints = {key: s3.endpoint for key, value in emulator.environment.items() if value == emulator.endpoint}
        server = Server(tmp_path, object_store, endpoints)
        stack.enter_context(serving(server))
        for partition, name in enumerate(SITES):
            stack.enter_context(running(site(server, name, partition)))
        _die_at_put(server, s3, PUTS[0])
        run_id = started(server, RunSettings(sites=2, rounds=ROUNDS, admission_deadline_s=60, round_deadline_s=60))
        for following in (*PUTS[1:], None):
            process = server.process
            assert process is not None
            until(lambda process=process: process.poll() is not None, "the server's death", 60)  # type: ignore[misc]
            shutil.rmtree(server.folder / "state")
            server.process = None
            if following is not None:
                _die_at_put(server, s3, following)
            server.launch()
        status = server.finish(run_id, 90)
        assert (status.state, status.round) == (RunState.FINISHED, ROUNDS), server.log[-3000:]
    plan = RunInfo.model_validate_json(read(object_store, keys.run_info(run_id))).plan
    for told in status.sites:
        ledger = _ledger(server, told.site)
        assert _charges(ledger, run_id) == _planned(plan), "every planned entry, reserved once and committed once"
        run = verify(open_store(ledger)).runs[run_id]
        assert sorted(map(str, run.charged())) == sorted(map(str, plan.events()))
        assert told.epsilon_spent == pytest.approx(epsilon(plan.events(), plan.delta))
        assert run.closed
    model = tensors(object_store, run_id)
    recomputed = _recomputed(server, plan, run_id)
    assert model["parameters"].tobytes() == recomputed.published().tobytes()
    assert model["centre"].tobytes() == recomputed.centre.tobytes()


def _die_at_put(server: Server, s3: FaultyS3, part: str) -> None:
    """The server is killed when it puts the next object of that name, maybe before it answers anything."""

    def kill() -> None:
        process = until(lambda: server.process, "the process")
        assert process is not None
        process.kill()

    s3.before("PUT", part, kill)


def _ledger(server: Server, name: str) -> Path:
    return server.folder / "records-of" / name / "ledger.db"


def _charges(ledger: Path, run_id: str) -> Counter[tuple[int, Phase, str]]:
    """How often each round and phase stands in the chain, by state."""
    entries = [parse_entry(body) for _, body in open_store(ledger).read(-1)]
    return Counter(
        (entry.round, entry.phase, entry.state)
        for entry in entries
        if isinstance(entry, Release | Evaluation) and entry.run_id == run_id
    )


def _planned(plan: Plan) -> Counter[tuple[int, Phase, str]]:
    asked = [(number, Phase.TRAIN) for number in range(1, plan.rounds + 1)]
    asked += [(0, Phase.CENTRE)] if plan.centre is not None else []
    asked += [(number, Phase.EVALUATE) for number in plan.evaluate.at] if plan.evaluate else []
    return Counter((*release, state) for release in asked for state in ("reserved", "committed"))


def _recomputed(server: Server, plan: Plan, run_id: str) -> Iterate:
    """The model that the strategy makes of the bytes that the ledgers keep."""
    iterate = Iterate.first(plan, hashlib.sha256(run_id.encode()).digest())
    if plan.centre is not None:
        iterate = iterate.centred(plan, _replies(server, plan, run_id, 0, Phase.CENTRE))
    for number in range(1, plan.rounds + 1):
        iterate = iterate.trained(plan, make_strategy(plan), _replies(server, plan, run_id, number, Phase.TRAIN))
    return iterate


def _replies(server: Server, plan: Plan, run_id: str, number: int, phase: Phase) -> list[FloatArray]:
    arrays = []
    for name in SITES:
        store = open_store(_ledger(server, name))
        release = verify(store).runs[run_id].releases[number, phase]
        payload = store.reply(release.reply_digest or "")
        assert payload is not None and sha256_hex(payload) == release.reply_digest
        arrays.append(np.array(decode_array(payload, reply_size(plan, phase))))
    return arrays
