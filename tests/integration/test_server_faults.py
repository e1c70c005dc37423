"""Whatever dies, the run goes on: the same model, nothing lost, nothing asked twice that was answered otherwise."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from fedpriv_common import keys
from fedpriv_common.errors import FedprivError
from fedpriv_common.plan import Phase, RunSettings
from fedpriv_common.records import EndCause, EventKind, RunEnd, RunEvent, RunState
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import Operation, Reply, Request
from fedpriv_server.status import RunStatus
from tests.emulator import Emulator
from tests.integration.server_harness import (
    SITES,
    LightSite,
    Server,
    online,
    running,
    three_sites,
    until,
)

SETTINGS = RunSettings(rounds=6, admission_deadline_s=30, round_deadline_s=30)


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


@pytest.fixture
def store(own_emulator: Emulator) -> ObjectStore:
    return own_emulator.store()


@pytest.fixture
def server(tmp_path: Path, store: ObjectStore) -> Iterator[Server]:
    with running(Server(tmp_path, store)) as server:
        yield server


def started(server: Server) -> str:
    def start() -> str | None:
        try:
            return server.client.start(SETTINGS)
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
    prefix = keys.run_prefix(run_id)
    return {key.removeprefix(prefix) for key in store.list_keys(prefix) if "/events/" not in key}


def complete(rounds: int = 6) -> set[str]:
    run_id = "run"
    expected = {keys.run_info(run_id), keys.run_end(run_id), keys.model(run_id), keys.statement(run_id)}
    expected |= {keys.admission(run_id, site) for site in SITES}
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


@pytest.mark.parametrize("fatal", [(0, "kill"), (1, "kill"), (4, "kill"), (6, "kill"), (3, "stop")])
def test_a_server_that_dies_in_a_round_goes_on_to_the_same_model(
    server: Server, store: ObjectStore, fatal: tuple[int, str]
) -> None:
    number, how = fatal
    reached, go_on = threading.Event(), threading.Event()

    def die_here() -> None:
        reached.set()
        assert go_on.wait(30)

    with three_sites(server) as sites:
        undisturbed = server.finish(started(server))
        assert_finished(undisturbed)

        sites["site-2"].behave = at_round(number, die_here)
        run_id = started(server)
        assert reached.wait(30)
        if how == "kill":
            server.kill()
        else:
            assert server.stop() == 0
        go_on.set()
        server.start()
        assert_finished(server.finish(run_id))

        assert_asked_alike(sites, run_id)
        assert everything(store, run_id) == complete()
        disturbed, reference = tensors(store, run_id), tensors(store, undisturbed.run_id)
        assert disturbed["parameters"].tobytes() == reference["parameters"].tobytes()
        assert disturbed["centre"].tobytes() == reference["centre"].tobytes()
        assert EventKind.RUN_RESUMED in kinds(store, run_id)
        assert "store_conflict" not in server.log, "what was repeated was not written twice"
        assert {run.run_id for run in server.client.runs()} == {run_id, undisturbed.run_id}


def test_a_server_whose_disk_is_lost_goes_on_from_what_the_bucket_has(server: Server, store: ObjectStore) -> None:
    import shutil

    with three_sites(server) as sites:
        reached, go_on = threading.Event(), threading.Event()

        def die_here() -> None:
            reached.set()
            assert go_on.wait(30)

        sites["site-1"].behave = at_round(5, die_here)
        run_id = started(server)
        assert reached.wait(30)
        until(lambda: store.get(keys.checkpoint(run_id, 2)), "a checkpoint in the bucket")
        server.kill()
        shutil.rmtree(server.folder / "state")
        go_on.set()
        server.start()
        assert_finished(server.finish(run_id))
        assert_asked_alike(sites, run_id)
        assert everything(store, run_id) == complete()
        assert "store_conflict" not in server.log


def test_while_s3_is_away_rounds_go_on_and_nothing_is_lost(
    server: Server, store: ObjectStore, own_emulator: Emulator
) -> None:
    with three_sites(server) as sites:
        sites["site-1"].behave = at_round(2, own_emulator.stop)
        run_id = started(server)
        until(lambda: server.client.status(run_id).round == 6, "the last round, without S3")
        assert server.client.status(run_id).state is RunState.ACTIVE, "not ended before the bucket had a chance"
        own_emulator.start()
        status = server.finish(run_id)
        assert_finished(status)
        until(lambda: everything(store, run_id) == complete(), "everything in the bucket")
        end = RunEnd.model_validate_json(store.get(keys.run_end(run_id)) or b"")
        assert end.state is RunState.FINISHED
        assert "store_conflict" not in server.log


def test_what_s3_could_not_take_is_sent_by_the_next_start(
    server: Server, store: ObjectStore, own_emulator: Emulator
) -> None:
    with three_sites(server) as sites:
        sites["site-1"].behave = at_round(3, own_emulator.stop)
        run_id = started(server)
        status = server.finish(run_id)
        assert_finished(status)
        assert status.warning is not None
        assert "S3 does not have everything yet" in status.warning
        server.kill()
        own_emulator.start()
        server.start()
        until(lambda: everything(store, run_id) == complete(), "everything in the bucket")
        assert "run_resumed" not in server.log, "a run that ended is not begun again"
        listed = until(lambda: [run for run in server.client.runs() if run.run_id == run_id], "the run in the list")
        assert_finished(listed[0])


def test_a_server_that_starts_without_s3_serves_says_so_and_begins_when_it_is_back(
    tmp_path: Path, store: ObjectStore, own_emulator: Emulator
) -> None:
    own_emulator.stop()
    try:
        with running(Server(tmp_path, store)) as server, three_sites(server):
            with pytest.raises(FedprivError, match="has not read from S3 yet"):
                server.client.start(SETTINGS)
            until(lambda: "STORE_UNAVAILABLE" in server.log, "word of the bucket that is away")
            own_emulator.start()
            assert_finished(server.finish(started(server)))
    finally:
        own_emulator.start() if own_emulator._process is None else None


def test_a_site_that_dies_in_a_round_is_asked_again_when_it_is_back(server: Server, store: ObjectStore) -> None:
    site, reached, go_on = LightSite("site-3"), threading.Event(), threading.Event()

    def die_here() -> None:
        reached.set()
        go_on.wait(30)

    def connected(name: str, site: LightSite, state: str) -> object:
        return online(site, server.hub, server.node_key(name), server.port, server.folder / state)

    with ExitStack() as stack:
        for name in SITES[:2]:
            stack.enter_context(connected(name, LightSite(name), name))  # type: ignore[arg-type]
        site.behave = at_round(3, die_here)
        dying = stack.enter_context(ExitStack())
        dying.enter_context(connected("site-3", site, "site-3"))  # type: ignore[arg-type]
        run_id = started(server)
        assert reached.wait(30)
        # Another process of the site, while the first hangs: it ends the first one's session.
        again = LightSite("site-3")
        (server.folder / "elsewhere").mkdir()
        (server.folder / "elsewhere" / "node_id").write_text((server.folder / "site-3" / "node_id").read_text())
        again._plan, again._entries = site._plan, site._entries
        stack.enter_context(connected("site-3", again, "elsewhere"))  # type: ignore[arg-type]
        until(lambda: again.releases(run_id), "the question to the site's new process")
        go_on.set()
        assert_finished(server.finish(run_id))
        assert again.releases(run_id)[0][0] == 3
        assert_asked_alike({"site-3": site, "again": again}, run_id)
        assert everything(store, run_id) == complete()
