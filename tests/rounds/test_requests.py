"""How many requests a round takes: what a site sends beyond them, a round would wait for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flwr.supernode.fleet_http_client import FleetHttpClient

from fedpriv_common.plan import RunSettings
from fedpriv_common.records import RunState
from fedpriv_common.store import ObjectStore
from tests.integration.server_harness import Server, running, three_sites


def test_a_question_costs_a_site_one_pull_and_one_push(
    tmp_path: Path, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: Counter[str] = Counter()
    send = FleetHttpClient._unary_unary

    def counted(client: FleetHttpClient, **call: Any) -> Any:
        sent[call["path"].rpartition("/")[2]] += 1
        return send(client, **call)

    monkeypatch.setattr(FleetHttpClient, "_unary_unary", counted)
    with running(Server(tmp_path, object_store)) as server, three_sites(server) as sites:
        run_id = server.client.start(RunSettings(rounds=5))
        assert server.finish(run_id).state is RunState.FINISHED, server.log
        asked = sum(len(site.asked) for site in sites.values())
    assert asked >= 3 * (1 + 1 + 5 + 1), "admission, centring, rounds and close, for each site"
    assert sent["push-messages"] == asked
    # One is held for the next question, and one may have been answered empty, as nodes do not all come at once.
    assert asked < sent["pull-messages"] <= asked + 2 * len(sites)
    assert not sent.keys() & {"pull-object", "push-object", "confirm-message-received"}
