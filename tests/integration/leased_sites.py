"""Two processes that take turns with one partition of a site, on a ledger of whatever kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from fedpriv_client.cli import init_ledger
from fedpriv_client.data.breast_cancer import write_files
from fedpriv_common.store import ObjectStore
from fedpriv_server.provision.leases import provision_leases
from tests.integration.node_process import REAL, SiteProcess, environment
from tests.integration.server_harness import SITES, Server

BUILT_IN = "breast-cancer-wisconsin"


@contextmanager
def two_processes(
    server: Server, object_store: ObjectStore, ledger: str, marker: str, kms_key: str | None = None
) -> Iterator[list[SiteProcess]]:
    """Two processes for partition 0, whose ledger is begun; neither is started."""
    folder = server.folder
    table = f"leases-{object_store.bucket}"
    provision_leases(table, object_store.kms_key_id)
    write_files(folder)
    (name, *_) = SITES
    (folder / "nodes").mkdir(exist_ok=True)
    (folder / "nodes" / "0.key").symlink_to(server.node_key(name))
    init_ledger(ledger, marker, BUILT_IN, folder / "partition.key", kms_key=kms_key)
    settings: dict[str, object] = {
        "site": "hospital-{partition}",
        "server": f"127.0.0.1:{server.port}",
        "ca": server.hub.authority,
        "node_key": folder / "nodes" / "{partition}.key",
        "contract": BUILT_IN,
        "data": folder / "records.csv",
        "ledger": ledger,
        "ledger_marker": marker,
        "ledger_kms_key": kms_key or "",
        "site_key": folder / "partition.key",
        "state_dir": folder / "state-{partition}",
        "lease_table": table,
        "lease_seconds": 2,
        "prometheus_port": 0,
    }
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    made = [SiteProcess(environment(settings) | threads, folder / f"{letter}.log", REAL) for letter in "ab"]
    with ExitStack() as stack:
        for process in made:
            stack.callback(process.kill)
        yield made
