"""Whatever dies, the run goes on: the same model, nothing lost, nothing asked twice that was answered otherwise."""

from __future__ import annotations

import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import numpy as np
import pytest
from safetensors.numpy import load

from fedpriv_client.node import Node
from fedpriv_common import keys
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.plan import Phase, RunSettings
from fedpriv_common.records import EndCause, EventKind, RunEvent, RunState
from fedpriv_common.statement.sign import parse_public_key
from fedpriv_common.statement.verify import verify
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import Operation, Reply, Request
from fedpriv_server.provision.statement_key import ensure_kms_key
from fedpriv_server.status import RunStatus
from tests.emulator import Emulator
from tests.integration.server_harness import SITES, LightSite, Server, online, running
from tests.waiting import until

SETTINGS = RunSettings(rounds=6, admission_deadline_s=30, round_deadline_s=30)


STATEMENT_KEY = "alias/statements"


@pytest.fixture(scope="module")
def own_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An S3 of these tests' own, since they stop it."""
    emulator = Emulator(tmp_path_factory.mktemp("aws"))
    emulator.start()
    with pytest.MonkeyPatch.context() as environment:
        for key, value in emulator.environment.items():
            environment.setenv(key, value)
        yield emulator
    emulator.stop()


@pytest.fixture(scope="module")
def store(own_emulator: Emulator) -> ObjectStore:
    return own_emulator.store()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, store: ObjectStore) -> Iterator[Server]:
    """A server that tests kill, and leave running again. Its statements are signed in the KMS that they stop."""
    ensure_kms_key(STATEMENT_KEY)
    with running(Server(tmp_path_factory.mktemp("server"), store, {"FEDPRIV_STATEMENT_KEY": STATEMENT_KEY})) as server:
        yield server


@pytest.fixture(scope="module")
def ledgers() -> dict[str, LightSite]:
    """The sites, which remember from test to test: the server would notice a ledger that went back."""
    return {name: LightSite(name) for name in SITES}


@pytest.fixture
def sites(server: Server, ledgers: dict[str, LightSite]) -> Iterator[dict[str, LightSite]]:
    """The three sites, online."""
    with ExitStack() as stack:
        for site in ledgers.values():
            stack.enter_context(connected(server, site))
        yield ledgers


def connected(server: Server, site: LightSite, state: str = "") -> AbstractContextManager[Node]:
    """A process of the site; `state` is the folder of one that is not its first."""
    folder = server.folder / "sites" / (state or site.name)
    return online(site, server.hub, server.node_key(site.name), server.port, folder)


@pytest.fixture(scope="module")
def undisturbed(server: Server, store: ObjectStore, ledgers: dict[str, LightSite]) -> dict[str, np.ndarray]:
    """The model of a run that nothing happens to."""
    with ExitStack() as stack:
        for site in ledgers.values():
            stack.enter_context(connected(server, site))
        status = server.finish(started(server))
    assert_finished(status)
    return tensors(store, status.run_id)


def started(server: Server, settings: RunSettings = SETTINGS) -> str:
    def start() -> str | None:
        try:
            return server.client.start(settings)
        except FedprivError as error:
            assert "has not read from S3 yet" in error.message, error
            return None

    return str(until(start, "a run's start"))


def at_round(number: int, act: Callable[[], object]) -> Callable[[Request], Reply | None]:
    """A behaviour that acts once, when the release of a round is asked for, and then answers as ever."""
    acted = threading.Event()

    def behave(request: Request) -> Reply | None:
        if request.operation is Operation.RELEASE and request.round == number and not acted.is_set():
            acted.set()
            act()
        return None

    return behave


def everything(store: ObjectStore, run_id: str) -> set[str]:
    """What the run wrote, besides its events; its segments and manifests are copies that come a moment later."""
    prefix = keys.run_prefix(run_id)
    besides = ("events/", "segments/", "manifests/")
    names = {key.removeprefix(prefix) for key in store.list_keys(prefix)}
    return {name for name in names if not name.startswith(besides)}


def complete(rounds: int = 6) -> set[str]:
    run_id = "run"
    expected = {keys.run_info(run_id), keys.run_decision(run_id), keys.run_end(run_id), keys.model(run_id)}
    expected |= {keys.run_asked(run_id), keys.run_admitted(run_id)}
    expected |= {keys.statement(run_id), keys.statement_page(run_id)}
    expected |= {keys.admission(run_id, site) for site in SITES} | {keys.evaluation(run_id, rounds)}
    expected |= {keys.record(run_id, rounds, site, Phase.EVALUATE) for site in SITES}
    for number in range(rounds + 1):
        phase = Phase.TRAIN if number else Phase.CENTRE
        expected |= {keys.record(run_id, number, site, phase) for site in SITES}
        expected |= {keys.round_closed(run_id, number), keys.checkpoint(run_id, number)}
    return {key.removeprefix(keys.run_prefix(run_id)) for key in expected}


def tensors(store: ObjectStore, run_id: str) -> dict[str, np.ndarray]:
    model = store.get(keys.model(run_id))
    assert model is not None
    return dict(load(model))


def kinds(store: ObjectStore, run_id: str) -> list[EventKind]:
    prefix = f"{keys.run_prefix(run_id)}events/"
    return [RunEvent.model_validate_json(store.get(key) or b"").kind for key in store.list_keys(prefix)]


def assert_asked_alike(sites: dict[str, LightSite], run_id: str) -> None:
    """Every repetition of a question was the same question: a site's ledger refuses any other."""
    for site in sites.values():
        digests = defaultdict(set)
        for number, phase, digest in site.releases(run_id):
            digests[number, phase].add(digest)
        assert all(len(different) == 1 for different in digests.values())


def assert_finished(status: RunStatus) -> None:
    assert (status.state, status.cause, status.round) == (RunState.FINISHED, EndCause.COMPLETE, 6)


class Trap:
    """Holds a site's answer back once, until the test goes on."""

    def __init__(self, site: LightSite, number: int) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        site.behave = at_round(number, self._hold)

    def _hold(self) -> None:
        self.reached.set()
        assert self.go_on.wait(60)

    def wait(self) -> None:
        assert self.reached.wait(60)


def assert_same_model(store: ObjectStore, run_id: str, undisturbed: dict[str, np.ndarray]) -> None:
    disturbed = tensors(store, run_id)
    for name in ("parameters", "centre"):
        assert disturbed[name].tobytes() == undisturbed[name].tobytes()


def test_a_server_killed_in_centring_in_training_and_in_the_last_round_reaches_the_same_model(
    server: Server, store: ObjectStore, undisturbed: dict[str, np.ndarray], sites: dict[str, LightSite]
) -> None:
    run_id = ""
    for name, number in (("site-1", 0), ("site-2", 4), ("site-3", 6)):
        trap = Trap(sites[name], number)
        run_id = run_id or started(server)
        trap.wait()
        server.kill()
        trap.go_on.set()
        server.start()
    assert_finished(server.finish(run_id))
    assert_asked_alike(sites, run_id)
    assert_same_model(store, run_id, undisturbed)
    assert everything(store, run_id) == complete()
    assert kinds(store, run_id).count(EventKind.RUN_RESUMED) == 3
    assert "store_conflict" not in server.log, "what was repeated was not written twice"


def test_a_server_that_is_stopped_goes_on_with_its_run(
    server: Server, store: ObjectStore, undisturbed: dict[str, np.ndarray], sites: dict[str, LightSite]
) -> None:
    trap = Trap(sites["site-2"], 3)
    run_id = started(server)
    trap.wait()
    assert server.stop() == 0
    trap.go_on.set()
    assert not store.get(keys.run_end(run_id)), "a run that was interrupted has not ended"
    server.start()
    assert_finished(server.finish(run_id))
    assert_same_model(store, run_id, undisturbed)


def test_a_server_whose_disk_is_lost_goes_on_from_what_the_bucket_has(
    server: Server, store: ObjectStore, undisturbed: dict[str, np.ndarray], sites: dict[str, LightSite]
) -> None:
    trap = Trap(sites["site-1"], 5)
    run_id = started(server)
    trap.wait()
    until(lambda: store.get(keys.checkpoint(run_id, 2)), "a checkpoint in the bucket")
    server.kill()
    shutil.rmtree(server.folder / "state")
    trap.go_on.set()
    server.start()
    assert_finished(server.finish(run_id))
    assert_asked_alike(sites, run_id)
    assert_same_model(store, run_id, undisturbed)
    assert everything(store, run_id) == complete()
    assert "store_conflict" not in server.log


def test_while_s3_is_away_rounds_go_on_and_nothing_is_lost(
    server: Server, store: ObjectStore, own_emulator: Emulator, sites: dict[str, LightSite]
) -> None:
    sites["site-1"].behave = at_round(2, own_emulator.stop)
    run_id = started(server)
    try:
        until(lambda: server.client.status(run_id).round == 6, "the last round, without S3")
    finally:
        own_emulator.start()
    assert_finished(server.finish(run_id))
    until(lambda: everything(store, run_id) == complete(), "everything in the bucket")
    assert "store_unavailable" in server.log
    assert "store_conflict" not in server.log


def test_what_s3_could_not_take_is_sent_by_the_next_start_even_if_s3_is_still_away_then(
    server: Server, store: ObjectStore, own_emulator: Emulator, sites: dict[str, LightSite]
) -> None:
    sites["site-1"].behave = at_round(3, own_emulator.stop)
    run_id = started(server)
    try:
        status = server.finish(run_id)
        assert_finished(status)
        assert status.warning is not None
        assert "S3 does not have everything yet" in status.warning
        server.kill()
        resumed = server.log.count("run_resumed")
        server.start(s3_is_away=True)
        with pytest.raises(FedprivError, match="has not read from S3 yet"):
            server.client.start(SETTINGS)
        with pytest.raises(FedprivError) as unknown:
            server.client.status(run_id)
        assert unknown.value.code is ErrorCode.STORE_UNAVAILABLE
        until(lambda: '"code": "STORE_UNAVAILABLE"' in server.log, "word of the bucket that is away")
    finally:
        own_emulator.start()
    until(lambda: everything(store, run_id) == complete(), "everything in the bucket")
    assert_finished(server.finish(run_id))
    assert server.log.count("run_resumed") == resumed, "a run that ended is not begun again"
    # KMS was away as well when the run ended: the statement waited for its signature on the server's disk.
    assert "statement_waits" in server.log
    key, body = parse_public_key(ensure_kms_key(STATEMENT_KEY)), store.get(keys.statement(run_id))
    assert verify(body or b"", key, {}, unsigned=set(SITES)).first_failure is None


def test_a_round_that_closed_without_a_site_is_not_opened_again_for_it(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    """With the site's answer round 2 would end otherwise, and the others have charged for what followed."""
    slow, trap = Trap(sites["site-3"], 2), Trap(sites["site-1"], 3)
    try:
        run_id = started(server, SETTINGS.model_copy(update={"quorum": 2, "round_deadline_s": 1.0}))
        trap.wait()
        server.kill()
    finally:
        slow.go_on.set()
        trap.go_on.set()
    server.start()
    assert_finished(server.finish(run_id))
    assert_asked_alike(sites, run_id)


def test_a_site_that_was_away_at_the_end_hears_of_it_before_its_next_run(
    server: Server, ledgers: dict[str, LightSite]
) -> None:
    with ExitStack() as stack:
        for name in SITES[:2]:
            stack.enter_context(connected(server, ledgers[name]))
        leaving = stack.enter_context(ExitStack())
        leaving.enter_context(connected(server, ledgers["site-3"]))
        ledgers["site-1"].behave = at_round(2, leaving.close)
        first = started(server, SETTINGS.model_copy(update={"quorum": 2}))
        assert_finished(server.finish(first))
        asked = ledgers["site-3"].asked
        assert asked[-1].operation is Operation.RELEASE, "it left in the middle"
        stack.enter_context(connected(server, ledgers["site-3"]))
        before = len(asked)
        second = started(server)
        assert_finished(server.finish(second))
        told = [(request.operation, request.run_id) for request in asked[before:]]
        assert told[:2] == [(Operation.CLOSE, first), (Operation.ADMIT, second)]
        third = started(server)
        assert_finished(server.finish(third))
        assert (Operation.CLOSE, first) not in [(r.operation, r.run_id) for r in asked[before + 1 :]], "told once"


def test_a_site_that_dies_in_a_round_is_asked_again_when_it_is_back(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    dying = sites["site-3"]
    trap = Trap(dying, 3)
    try:
        run_id = started(server)
        trap.wait()
        # The site's next process, while the first hangs for ever; it ends the first one's session.
        again, elsewhere = LightSite("site-3"), server.folder / "sites" / "elsewhere"
        again.take_over(dying)
        elsewhere.mkdir()
        shutil.copy(server.folder / "sites" / "site-3" / "node_id", elsewhere)
        with connected(server, again, "elsewhere"):
            assert_finished(server.finish(run_id))
    finally:
        trap.go_on.set()
    assert again.releases(run_id)[0] == dying.releases(run_id)[-1], "the very question that was lost"
    assert everything(store, run_id) == complete()
    dying.take_over(again)
