"""kill -9 of the server at every point of a run, with its disk and without it: the run is that of a quiet day."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pytest

from fedpriv_common import keys
from fedpriv_common.errors import ErrorCode, FedprivError, Refusal
from fedpriv_common.plan import Phase, RunSettings
from fedpriv_common.records import EndCause, RoundClosed, RunEnd, RunState
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import Operation, Reply, Request
from tests.emulator import Emulator
from tests.faulty_s3 import Fault, FaultyS3, faulty_s3
from tests.integration.server_harness import SITES, LightSite, Server, online, running
from tests.integration.test_server_faults import (
    Trap,
    assert_asked_alike,
    assert_same_model,
    complete,
    everything,
    started,
    tensors,
)
from tests.waiting import until

ROUNDS = 4
SETTINGS = RunSettings(rounds=ROUNDS, admission_deadline_s=30, round_deadline_s=30)
#: The server dies when it puts these, one after the other: whether or not the put still arrives, in turns.
PUTS = (
    "run.json",
    "admissions/site-2",
    "checkpoints/000000",
    "records/000002/site-3",
    "rounds/000002",
    "evaluations/",
    "decision.json",
    "statement.json",
    "end.json",
)
#: For a busy machine: a server dies and starts a dozen times.
_PATIENCE_S = 150.0
#: It dies as well each time that the sites have been asked so often since it was started.
ASKED = (2, 4, 7, 5)


@dataclass
class Hospital:
    """A server behind an S3 that tells when it writes, its sites, and what a quiet run makes of them."""

    server: Server
    s3: FaultyS3
    store: ObjectStore
    sites: dict[str, LightSite]
    quiet: dict[str, np.ndarray]

    def die_at_put(self, part: str, *, arrives: bool) -> None:
        """The server is killed when it puts the next object of that name."""
        assert self.server.process is not None
        if not arrives:
            self.s3.next(Fault.THROTTLED, "PUT", part)
        process = self.server.process
        self.s3.before("PUT", part, process.kill)

    def dead(self, why: str) -> None:
        """Wait for it."""
        process = self.server.process
        assert process is not None
        until(lambda: process.poll() is not None, f"the server's death: {why}", _PATIENCE_S)

    def again(self, *, disk: bool) -> None:
        """Another one in its place, with its disk or without."""
        if not disk:
            shutil.rmtree(self.server.folder / "state")
        self.server.start()


@pytest.fixture(scope="module")
def hospital(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    with pytest.MonkeyPatch.context() as environment, faulty_s3(emulator.endpoint) as s3, ExitStack() as stack:
        for key, value in emulator.environment.items():
            environment.setenv(key, value)
        store = emulator.store()
        endpoints = {key: s3.endpoint for key, value in emulator.environment.items() if value == emulator.endpoint}
        server = Server(tmp_path_factory.mktemp("server"), store, endpoints)
        stack.enter_context(running(server))
        sites = {name: LightSite(name) for name in SITES}
        for name, site in sites.items():
            folder = server.folder / "sites" / name
            stack.enter_context(online(site, server.hub, server.node_key(name), server.port, folder))
        run_id = started(server, SETTINGS)
        assert server.finish(run_id).state is RunState.FINISHED
        yield Hospital(server, s3, store, sites, tensors(store, run_id))


@pytest.fixture(autouse=True)
def _behaving(hospital: Hospital) -> Iterator[None]:
    yield
    for site in hospital.sites.values():
        site.behave = lambda _: None


def assert_undisturbed(hospital: Hospital, run_id: str) -> None:
    status = hospital.server.finish(run_id, _PATIENCE_S)
    assert (status.state, status.cause, status.round) == (RunState.FINISHED, EndCause.COMPLETE, ROUNDS)
    until(lambda: everything(hospital.store, run_id) == complete(ROUNDS), "every object of the run, and no other")
    assert_same_model(hospital.store, run_id, hospital.quiet)
    assert_asked_alike(hospital.sites, run_id)
    assert "store_conflict" not in hospital.server.log, "what was repeated was not written twice"
    asked_first = {site.releases(run_id)[0][0] for site in hospital.sites.values()}
    assert asked_first == {0}
    for number in range(ROUNDS + 1):
        closed = RoundClosed.model_validate_json(hospital.store.get(keys.round_closed(run_id, number)) or b"")
        assert closed.received == SITES


@pytest.mark.parametrize("disk", [True, False], ids=["disk kept", "disk lost"])
def test_a_run_whose_server_dies_at_every_object_it_writes_is_the_run_that_nothing_happened_to(
    hospital: Hospital, disk: bool
) -> None:
    hospital.die_at_put(PUTS[0], arrives=True)
    run_id = started(hospital.server, SETTINGS)
    for index, part in enumerate(PUTS):
        hospital.dead(part)
        if index + 1 < len(PUTS):
            _start_to_die(hospital, PUTS[index + 1], disk=disk, arrives=bool(index % 2))
        else:
            hospital.again(disk=disk)
    assert_undisturbed(hospital, run_id)


def _start_to_die(hospital: Hospital, part: str, *, disk: bool, arrives: bool) -> None:
    """Start the server, which will be killed at that put, maybe before it answers anything."""
    if not disk:
        shutil.rmtree(hospital.server.folder / "state")
    hospital.server.process = None

    def kill() -> None:
        until(lambda: hospital.server.process is not None, "the process")
        assert hospital.server.process is not None
        hospital.server.process.kill()

    if not arrives:
        hospital.s3.next(Fault.THROTTLED, "PUT", part)
    hospital.s3.before("PUT", part, kill)
    hospital.server.launch()


@pytest.mark.parametrize("disk", [True, False], ids=["disk kept", "disk lost"])
def test_a_run_whose_server_dies_whenever_its_sites_were_asked_is_the_run_that_nothing_happened_to(
    hospital: Hospital, disk: bool
) -> None:
    server, asked, lock = hospital.server, [0, ASKED[0]], threading.Lock()

    def behave(request: Request) -> Reply | None:
        with lock:
            asked[0] += request.operation is not Operation.CLOSE
            if asked[0] == asked[1] and server.process is not None:
                server.process.kill()
        return None

    for site in hospital.sites.values():
        site.behave = behave
    run_id = started(server, SETTINGS)
    for following in (*ASKED[1:], 0):
        hospital.dead("a question")
        asked[:] = [0, following]
        server.process = None
        if not disk:
            shutil.rmtree(server.folder / "state")
        server.launch()
    assert_undisturbed(hospital, run_id)


def test_a_round_that_closed_without_a_site_is_in_the_bucket_before_the_next_is_asked_for(hospital: Hospital) -> None:
    """With the disk lost and the site's answer, it would end otherwise, and the others have charged what followed."""
    slow, trap = Trap(hospital.sites["site-3"], 2), Trap(hospital.sites["site-1"], 3)
    try:
        run_id = started(hospital.server, SETTINGS.model_copy(update={"quorum": 2, "round_deadline_s": 2.0}))
        trap.wait()
        hospital.server.kill()
    finally:
        slow.go_on.set()
        trap.go_on.set()
    hospital.again(disk=False)
    status = hospital.server.finish(run_id)
    assert (status.state, status.round) == (RunState.FINISHED, ROUNDS)
    assert_asked_alike(hospital.sites, run_id)
    closed = RoundClosed.model_validate_json(hospital.store.get(keys.round_closed(run_id, 2)) or b"")
    assert closed.received == SITES[:2]


def test_a_round_that_a_site_may_miss_is_in_the_bucket_before_the_next_is_asked_for(hospital: Hospital) -> None:
    """Every site answered, and one of them is away when the round is asked for again."""
    hospital.die_at_put("checkpoints/000002", arrives=False)
    run_id = started(hospital.server, SETTINGS.model_copy(update={"quorum": 2, "round_deadline_s": 2.0}))
    hospital.dead("checkpoint of round 2")
    for site in hospital.sites.values():
        assert [number for number, _, _ in site.releases(run_id)] == [0, 1, 2]
    away = Trap(hospital.sites["site-3"], 2)
    try:
        hospital.again(disk=False)
        status = hospital.server.finish(run_id)
    finally:
        away.go_on.set()
    assert (status.state, status.round) == (RunState.FINISHED, ROUNDS)
    assert_asked_alike(hospital.sites, run_id)
    closed = RoundClosed.model_validate_json(hospital.store.get(keys.round_closed(run_id, 2)) or b"")
    assert closed.received == SITES[:2]


def test_a_run_says_that_its_disk_alone_has_it_until_the_bucket_has_it_too(hospital: Hospital) -> None:
    trap, back = Trap(hospital.sites["site-1"], ROUNDS), threading.Event()
    hospital.s3.before("PUT", "run.json", lambda: back.wait(60))
    try:
        run_id = started(hospital.server, SETTINGS.model_copy(update={"round_deadline_s": 300}))
        trap.wait()
        warning = hospital.server.client.status(run_id).warning
        assert warning is not None
        assert "S3 does not take what the run has decided" in warning
        back.set()
        until(lambda: hospital.server.client.status(run_id).warning is None, "S3's taking it", 15.0)
        assert hospital.server.client.status(run_id).state is RunState.ACTIVE
    finally:
        back.set()
        trap.go_on.set()
    status = hospital.server.finish(run_id)
    assert (status.state, status.warning) == (RunState.FINISHED, None)


@pytest.mark.parametrize(("part", "disk"), [("decision.json", False), ("end.json", True)])
def test_a_cancelled_run_ends_as_cancelled_wherever_the_server_dies(hospital: Hospital, part: str, disk: bool) -> None:
    hospital.die_at_put(part, arrives=True)
    trap = Trap(hospital.sites["site-2"], 2)
    run_id = started(hospital.server, SETTINGS)
    trap.wait()
    cancelling = threading.Thread(target=_ignoring_its_death, args=(lambda: hospital.server.client.cancel(run_id),))
    before = hospital.server.log.count('"run_ends"')
    cancelling.start()
    until(lambda: hospital.server.log.count('"run_ends"') > before, "the decision")
    trap.go_on.set()
    hospital.dead(part)
    cancelling.join()
    hospital.again(disk=disk)
    status = hospital.server.finish(run_id)
    assert (status.state, status.cause, status.round) == (RunState.CANCELLED, EndCause.OPERATOR, 1)
    end = RunEnd.model_validate_json(hospital.store.get(keys.run_end(run_id)) or b"")
    assert (end.state, end.rounds) == (RunState.CANCELLED, 1)
    assert hospital.server.client.cancel(run_id).state is RunState.CANCELLED, "once more changes nothing"


def _ignoring_its_death(act: Callable[[], object]) -> None:
    try:
        act()
    except FedprivError as error:
        assert error.code is ErrorCode.SERVER_UNREACHABLE


def test_a_run_that_too_few_sites_answered_ends_so_although_they_would_answer_after_a_crash(hospital: Hospital) -> None:
    refusing = hospital.sites["site-3"]
    refusing.behave = lambda request: Reply(code=Refusal.POLICY_REFUSED) if request.round == 2 else None
    hospital.die_at_put("decision.json", arrives=False)
    run_id = started(hospital.server, SETTINGS)
    hospital.dead("decision.json")
    refusing.behave = lambda _: None
    hospital.again(disk=False)
    status = hospital.server.finish(run_id)
    assert (status.state, status.cause, status.round) == (RunState.HALTED, EndCause.REFUSED, 1)
    assert [number for number, _, _ in refusing.releases(run_id)] == [0, 1, 2], "nothing more was asked"


def test_a_run_whose_checkpoint_is_damaged_fails_with_a_code_and_keeps_its_last_model(hospital: Hospital) -> None:
    run_id = _dead_before_round_three(hospital)
    damage(hospital.store, keys.checkpoint(run_id, 2), b"\0" * 100)
    hospital.again(disk=False)
    status = hospital.server.finish(run_id)
    assert (status.state, status.cause, status.code) == (RunState.FAILED, EndCause.INTERNAL, ErrorCode.RUN_DAMAGED)
    assert (status.round, status.model) == (1, keys.model(run_id))
    assert f"checkpoints/{2:06d}" in hospital.server.log


def test_a_run_of_which_nothing_can_be_read_is_written_off(hospital: Hospital) -> None:
    run_id = _dead_before_round_three(hospital)
    store = hospital.store
    damage(store, keys.run_info(run_id), b'{"schema_version": "9"}')
    hospital.again(disk=False)
    until(lambda: store.get(keys.run_end(run_id)), "the run's end")
    end = RunEnd.model_validate_json(store.get(keys.run_end(run_id)) or b"")
    assert (end.state, end.code) == (RunState.FAILED, ErrorCode.RUN_DAMAGED)
    following = started(hospital.server, SETTINGS)
    assert hospital.server.finish(following).state is RunState.FINISHED
    for site in hospital.sites.values():
        closes = [request.run_id for request in site.asked if request.operation is Operation.CLOSE]
        assert run_id in closes, "it holds no budget for it any more"


def test_a_run_goes_on_without_a_site_that_was_taken_off_the_list_or_halts(hospital: Hospital) -> None:
    key = hospital.server.hub.sites / "site-3.pem"
    kept = key.read_bytes()
    for quorum, expected in ((2, (RunState.FINISHED, EndCause.COMPLETE)), (3, (RunState.HALTED, EndCause.QUORUM))):
        run_id = _dead_before_round_three(hospital, quorum)
        try:
            key.unlink()
            hospital.again(disk=True)
            status = hospital.server.finish(run_id)
            assert (status.state, status.cause) == expected
            hospital.server.kill()
        finally:
            key.write_bytes(kept)
        hospital.again(disk=True)


def damage(store: ObjectStore, key: str, body: bytes) -> None:
    """What only somebody with other rights than the server's can do."""
    store.client.delete_object(Bucket=store.bucket, Key=key)
    store.put_once(key, body)


def _dead_before_round_three(hospital: Hospital, quorum: int | None = None) -> str:
    """A run whose server died when round 3 was asked for, with round 2 in the bucket."""
    trap = Trap(hospital.sites["site-1"], 3)
    run_id = started(hospital.server, SETTINGS.model_copy(update={"quorum": quorum}))
    trap.wait()
    until(lambda: hospital.store.get(keys.round_closed(run_id, 2)), "round 2 in the bucket")
    hospital.server.kill()
    trap.go_on.set()
    assert hospital.store.get(keys.record(run_id, 3, "site-2", Phase.TRAIN)) is None
    return run_id
