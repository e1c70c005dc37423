"""The MLP recipe whole: a server, two sites with records, torch and ledgers in processes of their own, a statement."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from fedpriv_client.cli import init_ledger
from fedpriv_client.data.breast_cancer import write_files
from fedpriv_common import keys
from fedpriv_common.plan import RunSettings
from fedpriv_common.recipes import Recipe
from fedpriv_common.records import RunState
from fedpriv_common.statement.sign import read_public_key
from fedpriv_common.statement.verify import parse, verify
from fedpriv_common.store import ObjectStore
from tests.integration.node_process import REAL, SiteProcess, environment, running
from tests.integration.server_harness import Server
from tests.integration.server_harness import running as serving
from tests.integration.server_run.runs import read, started
from tests.waiting import until

SITES = ("site-1", "site-2")
SETTINGS = RunSettings(
    recipe=Recipe.FEDAVG_MLP,
    strategy="fedprox",
    strategy_options={"proximal_mu": 0.05},
    epsilon=3.0,
    sites=2,
    rounds=3,
)


@pytest.fixture
def server(tmp_path: Path, object_store: ObjectStore) -> Server:
    write_files(tmp_path)
    return Server(tmp_path, object_store, {"FEDPRIV_VALIDATION": str(tmp_path / "public-validation.csv")})


def site(server: Server, name: str, partition: int) -> SiteProcess:
    """One of two sites that share the table, with a new ledger."""
    folder = server.folder / "records-of" / name
    folder.mkdir(parents=True)
    files = {"ledger": folder / "ledger.db", "ledger_marker": folder / "marker" / "marker.json"}
    site_key = server.folder / "site.key"
    init_ledger(files["ledger"], files["ledger_marker"], "breast-cancer-wisconsin", site_key, partition, 2)
    settings: dict[str, object] = {
        **files,
        "site": name,
        "server": f"localhost:{server.port}",
        "ca": server.hub.authority,
        "node_key": server.node_key(name),
        "contract": "breast-cancer-wisconsin",
        "data": server.folder / "records.csv",
        "site_key": site_key,
        "partition": partition,
        "partitions": 2,
        "state_dir": folder / "state",
        "prometheus_port": 0,
    }
    return SiteProcess(environment(settings), server.folder / f"{name}.log", REAL)


def test_two_sites_train_an_mlp_with_fedprox_and_its_statement_says_and_proves_so(
    server: Server, object_store: ObjectStore
) -> None:
    with serving(server), ExitStack() as stack:
        for partition, name in enumerate(SITES):
            stack.enter_context(running(site(server, name, partition)))
        status = server.finish(started(server, SETTINGS), 150)
        assert status.state is RunState.FINISHED, server.log[-3000:]
    assert status.round == 3
    assert status.metrics["accuracy"] > 0.8
    body = until(lambda: object_store.get(keys.statement(status.run_id)), "the statement")
    model = read(object_store, keys.model(status.run_id))
    public = {name: read_public_key(server.hub.sites / f"{name}.pem") for name in SITES}
    hub = read_public_key(server.hub.statement_public_key)
    report = verify(body, hub, public, expected=set(SITES), model=model)
    assert report.first_failure is None
    statement = parse(body).statement
    assert statement.plan.strategy_options == {"proximal_mu": 0.05}
    assert "strategy fedprox (proximal_mu 0.05)" in statement.words.hyper_parameters
    for section in statement.sections:
        assert section.signed is not None
        part = section.signed.part
        assert [entry.round for entry in part.entries if entry.mechanism == "gaussian"] == [1, 2, 3]
        assert 2.9 < part.epsilon.run.add_remove <= 3.0
