"""The real site, `fedpriv-site`, from its settings to the bytes on the wire; and every start that must not be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpriv_client.cli import init_ledger
from fedpriv_client.data.breast_cancer import write_files
from fedpriv_common.contract import load_contract
from fedpriv_common.errors import EXIT_STATUS, ErrorCode
from fedpriv_common.plan import Phase, RunSettings, make_plan
from fedpriv_common.wire import Operation, Reply, Request, decode_array, encode_array
from fedpriv_server.provision.pki import Hub, provision_hub, provision_site
from tests.integration.node_process import REAL, RUN, SiteProcess, environment, free_port, running
from tests.integration.node_superlink import SuperLink, superlink
from tests.waiting import until

BUILT_IN = "breast-cancer-wisconsin"
CONTRACT = load_contract(BUILT_IN)
PLAN = make_plan(RunSettings(), CONTRACT)
SITE = "site-1"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    return provision_hub(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def link(hub: Hub) -> Iterator[SuperLink]:
    with superlink(hub, free_port(), hold=True) as link:
        yield link


@pytest.fixture
def settings(hub: Hub, link: SuperLink, tmp_path: Path) -> dict[str, object]:
    """Settings of a site that is provisioned, partition 1 of 3."""
    provision_site(hub, f"{SITE}-{os.urandom(4).hex()}", tmp_path / "node.key")
    records, _ = write_files(tmp_path)
    files = {name: tmp_path / name for name in ("ledger", "ledger_marker", "site_key")}
    init_ledger(files["ledger"], files["ledger_marker"], BUILT_IN, files["site_key"], 1, 3)
    return {
        **files,
        "site": SITE,
        "server": link.address,
        "ca": hub.authority,
        "node_key": tmp_path / "node.key",
        "contract": BUILT_IN,
        "data": records,
        "partition": 1,
        "partitions": 3,
        "state_dir": tmp_path / "state",
        "prometheus_port": free_port(),
    }


def process(settings: dict[str, object]) -> SiteProcess:
    return SiteProcess(environment(settings), Path(str(settings["state_dir"])).with_name("site.log"), REAL)


def fields(operation: Operation, **changes: Any) -> dict[str, Any]:
    return {**Request(operation=operation, run_id=RUN, plan_digest=PLAN.digest(), **changes).to_fields()}


ADMIT = fields(Operation.ADMIT, plan=PLAN.model_dump_json())
CENTRE = fields(Operation.RELEASE, round=0, phase=Phase.CENTRE)


def train(link: SuperLink, site: str, round_number: int, centre: bytes) -> Reply:
    parameters = encode_array(decode_array(bytes(8 * PLAN.model.n_parameters), PLAN.model.n_parameters))
    request = fields(Operation.RELEASE, round=round_number, phase=Phase.TRAIN, parameters=parameters, centre=centre)
    return Reply.from_fields(link.ask(site, request))


def test_a_run_is_answered_charged_and_repeated_after_a_kill(link: SuperLink, settings: dict[str, object]) -> None:
    name = f"a-{settings['prometheus_port']}"
    link.register(name, Path(str(settings["node_key"])))
    with running(process(settings)) as site:
        until(lambda: name in link.online(), "the site online")
        admitted = Reply.from_fields(link.ask(name, ADMIT))
        assert admitted.code == "OK"
        assert admitted.facts is not None
        assert admitted.facts.epsilon_run == 0.0
        first = Reply.from_fields(link.ask(name, CENTRE))
        assert decode_array(first.payload, CONTRACT.n_features).any()
        mean = decode_array(first.payload, CONTRACT.n_features) / CONTRACT.nominal_size
        trained = train(link, name, 1, encode_array(np.clip(mean, -1, 1)))
        assert decode_array(trained.payload, PLAN.model.n_parameters).any()
        assert trained.facts is not None
        assert 0 < trained.facts.epsilon_run < 1
        assert figures(settings)['fl_site_replies_total{code="OK"}'] == 3

        session = link.activations(name)
        site.kill()
        site.start()
        until(lambda: link.activations(name) != session, "a new session")
        again = Reply.from_fields(link.ask(name, CENTRE))
        assert again.payload == first.payload
        assert again.facts is not None
        assert again.facts.epsilon_run == trained.facts.epsilon_run
        spent = figures(settings)[f'fl_privacy_epsilon_spent{{dataset="{CONTRACT.dataset}"}}']
        assert spent == pytest.approx(again.facts.epsilon_spent)
        assert site.stop() == 0


def test_a_site_is_online_before_it_can_train_and_answers_when_it_can(
    link: SuperLink, settings: dict[str, object]
) -> None:
    name = f"b-{settings['prometheus_port']}"
    link.register(name, Path(str(settings["node_key"])))
    with running(process(settings)) as site:
        until(lambda: name in link.online(), "the site online")
        assert not site.entries("ready")
        assert link.ask(name, ADMIT)["code"] == "OK"


def test_what_a_site_does_before_it_is_online_needs_no_torch() -> None:
    modules = "main, settings, assemble, app, fleet, node, state, prometheus"
    program = f"from fedpriv_client import {modules}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("code", "change", "told"),
    [
        (ErrorCode.BAD_SETTING, {"site": "", "server": ""}, "FEDPRIV_SITE: Field required; FEDPRIV_SERVER: Field re"),
        (ErrorCode.BAD_KEY, {"ca": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
        (ErrorCode.DATA_FORMAT, {"data": "/nowhere/records.csv"}, "/nowhere/records.csv"),
        (ErrorCode.LEDGER_MISSING, {"ledger": "/nowhere/ledger"}, "/nowhere/ledger"),
    ],
    ids=str,
)
def test_a_start_that_must_not_be_is_one_line_and_an_exit_status_and_never_online(
    link: SuperLink, settings: dict[str, object], code: ErrorCode, change: dict[str, object], told: str
) -> None:
    asked_before = link.activation_count()
    with running(process({**settings, **change})) as site:
        assert site.wait() == EXIT_STATUS[code]
    assert len(site.log.splitlines()) == 1, site.log
    assert site.log.startswith(f"{code}: ")
    assert told in site.log
    assert link.activation_count() == asked_before


def test_a_port_in_use_is_told(link: SuperLink, settings: dict[str, object]) -> None:
    settings["prometheus_port"] = link.port
    with running(process(settings)) as site:
        assert site.wait() == EXIT_STATUS[ErrorCode.PORT_IN_USE]
    assert site.log.startswith("PORT_IN_USE: ")
    assert str(link.port) in site.log


def figures(settings: dict[str, object]) -> dict[str, float]:
    """What Prometheus would read."""
    connection = HTTPConnection("127.0.0.1", int(str(settings["prometheus_port"])), timeout=10)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return {key: float(value) for key, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}
