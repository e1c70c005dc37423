"""The resident node against a stock SuperLink: it stays, comes back, and says nothing that it should not."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fedpriv_common.errors import EXIT_STATUS, ErrorCode
from fedpriv_server.provision.pki import Hub, provision_hub, provision_site
from tests.integration.node_process import (
    FAILS,
    SECRET,
    WORKS_LONG,
    SiteProcess,
    environment,
    expected_payload,
    free_port,
    request,
    running,
)
from tests.integration.node_superlink import SuperLink, superlink
from tests.waiting import until

#: All that a node may ever ask of a server: neither the run nor its bundle are among it.
ALLOWED = {
    f"/v1/fleet/{name}"
    for name in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "pull-object",
        "confirm-message-received",
        "push-messages",
        "push-object",
    )
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    return provision_hub(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def shared(hub: Hub) -> Iterator[SuperLink]:
    """A SuperLink for the tests that leave it as it is."""
    with superlink(hub, free_port()) as link:
        yield link


class Place:
    """One site's files."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        #: Names must differ between tests that share a SuperLink.
        self.site = f"site-{folder.name.replace('_', '-')}"[:60].lower()
        self.key = folder / "node.key"
        provision_site(hub, self.site, self.key)

    def process(self, link: SuperLink, **settings: object) -> SiteProcess:
        unused = {name: self.folder / name for name in ("data", "ledger", "ledger_marker", "site_key")}
        values: dict[str, object] = {
            "site": self.site,
            "server": link.address,
            "ca": self.hub.authority,
            "node_key": self.key,
            "contract": "breast-cancer-wisconsin",
            "state_dir": self.folder / "state",
            **unused,
        }
        return SiteProcess(environment(values | settings), self.folder / "site.log")

    def online(self, link: SuperLink) -> None:
        until(lambda: self.site in link.online(), f"{self.site} online")


@pytest.fixture
def place(hub: Hub, tmp_path: Path) -> Place:
    return Place(hub, tmp_path)


@pytest.fixture
def site(shared: SuperLink, place: Place) -> Iterator[SiteProcess]:
    """A site that is online at the shared SuperLink."""
    shared.register(place.site, place.key)
    with running(place.process(shared)) as process:
        process.logged("online")
        yield process


@pytest.mark.parametrize("hold", [False, True], ids=["answers-at-once", "holds-pulls-back"])
def test_a_request_is_answered_and_nothing_else_is_fetched(hub: Hub, place: Place, hold: bool) -> None:
    with superlink(hub, free_port(), hold=hold) as link:
        link.register(place.site, place.key)
        with running(place.process(link)):
            place.online(link)
            for number in (1, 2, 3):
                reply = link.ask(place.site, request(number))
                assert reply == {"code": "OK", "payload": expected_payload(number), "facts": "", "part": ""}
        assert link.asked_for() - {""} <= ALLOWED


def test_evaluate_and_query_messages_are_answered_alike(shared: SuperLink, place: Place, site: SiteProcess) -> None:
    for message_type in ("evaluate", "query"):
        reply = shared.reply(shared.send(place.site, request(4), message_type))
        assert reply["payload"] == expected_payload(4)


def test_an_exception_reaches_the_server_as_a_code_only(shared: SuperLink, place: Place, site: SiteProcess) -> None:
    reply = shared.ask(place.site, request(FAILS))
    assert reply == {"code": "INTERNAL", "payload": b"", "facts": "", "part": ""}
    assert SECRET in site.log
    assert shared.ask(place.site, request(2))["code"] == "OK"


def _foreign() -> dict[str, tuple[object, str, str]]:
    """Name → what is sent, as which message type, and the code that comes back."""
    good = request()
    arrays = ArrayRecord({"weights": Array(np.ones(3))})
    missing = {key: value for key, value in good.items() if key != "round"}
    return {
        "another app": ({**good, "app": "mallory/2"}, "train", "UNKNOWN_APP"),
        "no fields": ({}, "train", "BAD_REQUEST"),
        "a missing field": (missing, "train", "BAD_REQUEST"),
        "text for a number": ({**good, "round": "1"}, "train", "BAD_REQUEST"),
        "a truth for a number": ({**good, "round": True}, "train", "BAD_REQUEST"),
        "a list for bytes": ({**good, "parameters": [1.0, 2.0]}, "train", "BAD_REQUEST"),
        "an unknown operation": ({**good, "operation": "exec"}, "train", "BAD_REQUEST"),
        "a path for a run": ({**good, "run_id": "../../ledger"}, "train", "BAD_REQUEST"),
        "no record": (RecordDict(), "train", "BAD_REQUEST"),
        "arrays under our key": (RecordDict({"fedpriv": arrays}), "train", "BAD_REQUEST"),
        "metrics under our key": (RecordDict({"fedpriv": MetricRecord({"a": 1})}), "train", "BAD_REQUEST"),
        "a record too many": (RecordDict({"fedpriv": ConfigRecord(good), "arrays": arrays}), "train", "BAD_REQUEST"),
        "stock FedAvg": (RecordDict({"arrays": arrays, "config": ConfigRecord({"lr": 0.1})}), "train", "BAD_REQUEST"),
        "many objects": (
            RecordDict({f"r{number}": MetricRecord({"a": number}) for number in range(40)}),
            "train",
            "BAD_REQUEST",
        ),
        "20 MB": ({**good, "plan": "x" * 20_000_000}, "train", "BAD_REQUEST"),
        "an unknown action": (good, "train.exfiltrate", "BAD_REQUEST"),
        "a legacy message": (good, "get_parameters", "BAD_REQUEST"),
    }


def test_foreign_content_is_refused_and_the_site_goes_on(shared: SuperLink, place: Place, site: SiteProcess) -> None:
    for name, (records, message_type, code) in _foreign().items():
        reply = shared.reply(shared.send(place.site, records, message_type))
        # To a stock strategy, which is known by its arrays, only Flower's errors are failures.
        arrays = isinstance(records, RecordDict) and records.array_records
        assert reply == ({"error": code} if arrays else {"code": code, "payload": b"", "facts": "", "part": ""}), name
    assert shared.ask(place.site, request(2))["code"] == "OK"
    assert "Traceback" not in site.log


def test_a_run_that_ends_meanwhile_costs_its_reply_and_nothing_more(
    shared: SuperLink, place: Place, site: SiteProcess
) -> None:
    shared.send(place.site, request(WORKS_LONG))
    until((place.folder / "state" / "working").exists, "work")
    shared.finish_run()
    (place.folder / "state" / "finish").touch()
    site.logged("abandoned")
    assert shared.ask(place.site, request(2))["code"] == "OK"


@pytest.mark.parametrize("hold", [False, True], ids=["answers-at-once", "holds-pulls-back"])
def test_a_site_outlives_a_killed_server(hub: Hub, place: Place, hold: bool) -> None:
    with superlink(hub, free_port(), hold=hold) as link:
        link.register(place.site, place.key)
        with running(place.process(link)) as process:
            place.online(link)
            assert link.ask(place.site, request(1))["code"] == "OK"
            link.kill()
            process.logged("SERVER_UNREACHABLE", 2)
            link.start()
            link.register(place.site, place.key)
            place.online(link)
            assert link.ask(place.site, request(2))["payload"] == expected_payload(2)
            assert "Traceback" not in process.log
            assert process.stop() == 0


def test_a_killed_site_is_online_again_as_soon_as_it_is_back(
    shared: SuperLink, place: Place, site: SiteProcess
) -> None:
    before = shared.activations(place.site)
    site.kill()
    assert place.site in shared.online(), "the server cannot know yet"
    with running(site):
        # Without ending the old session, the server would refuse for 57 s.
        until(lambda: shared.activations(place.site) != before, "a new session", seconds=40)
        assert shared.ask(place.site, request(5))["payload"] == expected_payload(5)


def test_stopped_at_work_it_finishes_says_goodbye_and_exits_with_0(
    shared: SuperLink, place: Place, site: SiteProcess
) -> None:
    message_id = shared.send(place.site, request(WORKS_LONG))
    until((place.folder / "state" / "working").exists, "work")
    site.signal(signal.SIGTERM)
    (place.folder / "state" / "finish").touch()
    assert shared.reply(message_id)["payload"] == expected_payload(WORKS_LONG)
    assert site.wait() == 0
    assert place.site not in shared.online()


def test_stopped_while_a_pull_is_held_back_it_leaves_at_once(hub: Hub, place: Place) -> None:
    with superlink(hub, free_port(), hold=True) as link:
        link.register(place.site, place.key)
        with running(place.process(link)) as process:
            place.online(link)
            assert process.stop() == 0
            assert place.site not in link.online()


def test_a_server_that_is_away_at_the_start_is_waited_for(hub: Hub, place: Place) -> None:
    link = SuperLink(hub, free_port())
    with running(place.process(link)) as process:
        process.logged("SERVER_UNREACHABLE", 3)
        try:
            link.start()
            link.register(place.site, place.key)
            place.online(link)
        finally:
            link.kill()
        assert "Traceback" not in process.log
        waits = [entry["retry_in_s"] for entry in process.entries("SERVER_UNREACHABLE")]
        assert all(0 <= wait <= 5 for wait in waits)


def test_an_unknown_key_is_told_and_tried_again(shared: SuperLink, place: Place) -> None:
    with running(place.process(shared)) as process:
        process.logged("NODE_UNKNOWN")
        assert "allow-list" in process.entries("NODE_UNKNOWN")[0]["message"]
        shared.register(place.site, place.key)
        place.online(shared)


@pytest.mark.parametrize("fault", ["another CA", "another name"])
def test_a_certificate_that_is_not_accepted_ends_the_first_start(
    shared: SuperLink, place: Place, tmp_path: Path, fault: str
) -> None:
    wrong: dict[str, object] = (
        {"ca": provision_hub(tmp_path / "stranger").authority}
        if fault == "another CA"
        else {"server": f"0.0.0.0:{shared.port}"}  # this machine, by an address that is not in the certificate
    )
    with running(place.process(shared, **wrong)) as process:
        assert process.wait() == EXIT_STATUS[ErrorCode.SERVER_CERTIFICATE]
    lines = process.log.splitlines()
    assert [line for line in lines if line.startswith("SERVER_CERTIFICATE: ")] == lines[-1:]
    assert "FEDPRIV_CA" in lines[-1]
    assert "Traceback" not in process.log


def test_a_state_folder_serves_one_process(shared: SuperLink, place: Place, site: SiteProcess) -> None:
    twin = place.process(shared)
    twin.log_path = place.folder / "twin.log"
    with running(twin):
        assert twin.wait() == EXIT_STATUS[ErrorCode.BAD_SETTING]
    assert "in use by another process" in twin.log
    assert shared.ask(place.site, request(3))["code"] == "OK"
