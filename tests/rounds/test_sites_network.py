"""Whatever a site's network does, the run is the one that it would have been, or ends at a time that it told before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import flwr.app.message.message as flower_message
import pytest

from fedpriv_client.clock import ServerClock
from fedpriv_common import keys
from fedpriv_common.plan import RunSettings
from fedpriv_common.recipes import Recipe
from fedpriv_common.records import EndCause, RoundClosed, RunEnd, RunState
from fedpriv_common.store import ObjectStore
from fedpriv_server.progress import _stage
from tests.integration.server_harness import SITES, LightSite, Server, running
from tests.integration.server_run.runs import read, started
from tests.rounds.far_sites import far_sites, later, once_in
from tests.waiting import until

#: Shorter than this, and a site could not have been asked again in time.
SETTINGS = RunSettings(rounds=4, round_deadline_s=40, admission_deadline_s=40)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, store: ObjectStore) -> Iterator[Server]:
    with running(Server(tmp_path_factory.mktemp("server"), store)) as server:
        yield server


@pytest.fixture(scope="module")
def sites() -> dict[str, LightSite]:
    """The sites, whose ledgers go on from test to test: the server would notice one that went back."""
    return {name: LightSite(name) for name in SITES}


def closed(store: ObjectStore, run_id: str, number: int) -> RoundClosed:
    return RoundClosed.model_validate_json(read(store, keys.round_closed(run_id, number)))


@pytest.mark.parametrize(("fault", "seconds"), [("silence", 10.0), ("cut", 10.0), ("cut", 1.0)])
def test_a_site_that_loses_its_network_at_work_gives_the_same_answer_in_the_same_round(
    server: Server, store: ObjectStore, sites: dict[str, LightSite], fault: str, seconds: float
) -> None:
    with far_sites(server, sites) as far:

        def break_off() -> None:
            getattr(far.links["site-3"], fault)()
            later(seconds, far.links["site-3"].restore)

        far.sites["site-3"].behave = once_in(2, break_off)
        status = server.finish(started(server, SETTINGS), 100)
        assert status.state is RunState.FINISHED
        assert closed(store, status.run_id, 2).received == SITES
        asked = far.sites["site-3"].releases(status.run_id)
    again = [request for request in asked if request[0] == 2 and request[1] == "train"]
    assert len(set(again)) == 1, "asked again, it is for the same: its ledger answers with the bytes of the first time"
    assert len(again) <= 2, "and only when it was back"


def test_a_held_pull_whose_connection_died_in_silence_takes_no_letter_along(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    with far_sites(server, sites) as far:
        # Forgotten by a router on the way: both ends believe in the connection.
        far.links["site-3"].silence()
        far.links["site-3"].restore()
        status = server.finish(started(server, SETTINGS), 60)
        assert (status.state, status.round) == (RunState.FINISHED, 4)
        assert closed(store, status.run_id, 1).received == SITES


def test_a_link_of_100_kbit_s_is_asked_once_for_each_answer(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    settings = SETTINGS.model_copy(update={"recipe": Recipe.FEDAVG_MLP, "rounds": 2, "evaluations": 0})
    with far_sites(server, sites) as far:
        for link in far.links.values():
            link.rate, link.delay_s = 12_500, 0.15
        status = server.finish(started(server, settings), 100)
        assert status.state is RunState.FINISHED
        for site in far.sites.values():
            asked = site.releases(status.run_id)
            assert [number for number, _, _ in asked] == [1, 2]
        assert "asked_again" not in server.log


@pytest.mark.parametrize("hours", [1, -1])
def test_clocks_that_are_an_hour_off_are_made_up_for(
    server: Server, store: ObjectStore, sites: dict[str, LightSite], monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    def skewed() -> datetime:
        return datetime.now(UTC) + timedelta(hours=hours)

    monkeypatch.setattr(flower_message, "now", skewed)  # where a node's replies get their time
    with far_sites(server, sites, ServerClock(skewed)):
        status = server.finish(started(server, SETTINGS), 60)
    assert (status.state, status.round) == (RunState.FINISHED, 4)


def test_below_quorum_the_run_waits_until_the_time_it_told_and_halts_with_its_last_model(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    settings = SETTINGS.model_copy(update={"round_deadline_s": 6.0})
    with far_sites(server, sites) as far:

        def break_off() -> None:
            far.links["site-3"].cut()
            later(8.0, far.links["site-3"].restore)  # in time to hear of the end

        far.sites["site-3"].behave = once_in(3, break_off)
        run_id = started(server, settings)
        told = [status for status in server.client.follow(run_id) if status.waiting is not None and status.round == 2]
        status = server.finish(run_id)
    waiting = told[0].waiting
    assert waiting is not None
    assert (waiting.sites, waiting.lacking) == (("site-3",), 1)
    assert _stage(told[0]).startswith("waiting for site-3")
    assert (status.state, status.cause, status.round) == (RunState.HALTED, EndCause.QUORUM, 2)
    assert closed(store, run_id, 3).closed_at >= waiting.until - timedelta(seconds=0.5), "not before it said"
    assert closed(store, run_id, 3).received == SITES[:2]
    end = RunEnd.model_validate_json(read(store, keys.run_end(run_id)))
    assert end.model_digest is not None
    assert read(store, keys.model(run_id))
    until(lambda: store.get(keys.statement(run_id)), "the statement of what was released")
