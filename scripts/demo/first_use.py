"""Keys, tables and ledgers of the demo: made by the first one, used by all later ones."""

from __future__ import annotations

import contextlib
import io
import json
import os

from fedpriv_client.cli import init_ledger
from fedpriv_client.privacy.ledger.ledger import Ledger
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_server.provision.bucket import Storage, provision_storage
from fedpriv_server.provision.files import replace
from fedpriv_server.provision.pki import provision_hub, provision_site
from scripts.demo.programs import aws_environment
from scripts.demo.settings import BUCKET, CONTRACT, KMS_ALIAS, SITES, Places, Ports


def prepare_files(places: Places) -> None:
    """Everything that needs no running process. A lost or damaged ledger is refused here, never made again."""
    hub = provision_hub(places.hub.folder)
    for site in SITES:
        provision_site(hub, site, places.node_key(site))
        places.state(site).mkdir(parents=True, exist_ok=True)
        places.marker(site).parent.mkdir(parents=True, exist_ok=True)
    places.state("server").mkdir(parents=True, exist_ok=True)
    if not (places.records.exists() and places.validation.exists()):
        from fedpriv_client.data.breast_cancer import write_files  # scikit-learn takes a second to import

        write_files(places.records.parent)
    for number, site in enumerate(SITES):
        with contextlib.redirect_stdout(io.StringIO()):
            init_ledger(
                ledger=str(places.ledger(site)),
                marker=str(places.marker(site)),
                contract=CONTRACT,
                site_key=places.site_key,
                partition=number,
                partitions=len(SITES),
            )


def use_emulator(ports: Ports) -> None:
    """Make this process's own boto3 speak to the emulator and to nothing else: no own account, no proxy."""
    environment = aws_environment(ports)
    os.environ.clear()
    os.environ.update(environment)


def prepare_storage() -> Storage:
    """The KMS key and the bucket in the emulator, made or repaired."""
    return provision_storage(BUCKET, KMS_ALIAS)


def export_ledgers(places: Places) -> dict[str, str]:
    """Write each site's ledger as JSON lines under results/ledgers; returns the files' paths."""
    folder = places.results / "ledgers"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for site in SITES:
        ledger = Ledger.open(SqliteStore.open(places.ledger(site)), places.marker(site))
        lines = "".join(json.dumps(line, sort_keys=True) + "\n" for line in ledger.export())
        path = folder / f"{site}.jsonl"
        replace(path, lines.encode())
        paths[site] = str(path)
    return paths
