"""`fedpriv-server`: reads and opens what it needs, tells what is wrong with it in one line, then serves."""

from __future__ import annotations

import logging
import os
from typing import Final

from fedpriv_common.contract import load_contract
from fedpriv_common.log import configure_logging
from fedpriv_common.service import listen, run_service, serve_figures
from fedpriv_common.stamp import stamp
from fedpriv_common.statement.schema import Software
from fedpriv_server.credentials import make_tls_context, read_allow_list, read_key_hashes
from fedpriv_server.outbox import Outbox
from fedpriv_server.prometheus import Prometheus
from fedpriv_server.settings import ServerSettings
from fedpriv_server.unclosed import Unclosed

#: What a privacy statement names of the server's software.
_PACKAGES: Final = ("cryptography", "dp-accounting", "flwr", "numpy", "scipy")


def main() -> None:
    """The entry point."""
    run_service(ServerSettings, run)


def run(settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises whatever keeps the server from starting."""
    configure_logging(settings.log_level)
    contract = load_contract(settings.contract)
    sites, hashes = read_allow_list(settings.sites_dir), read_key_hashes(settings.operator_key_hash)
    tls = make_tls_context(settings.tls_cert, settings.tls_key)
    stamp(settings.state_dir, "FEDPRIV_STATE_DIR")
    outbox, unclosed = Outbox(settings.state_dir / "outbox"), Unclosed(settings.state_dir / "unclosed")
    listener = listen(settings.host, settings.port)
    prometheus = Prometheus()
    if settings.prometheus_port:
        serve_figures(prometheus.registry, settings.host, settings.prometheus_port)
    quiet_libraries()
    # Imported here: Flower takes seconds to load, and nobody should wait for them to read of a wrong path.
    from fedpriv_common.store import ObjectStore
    from fedpriv_server.evaluation import PublicSet
    from fedpriv_server.notary import open_notary
    from fedpriv_server.reload import KeyFiles
    from fedpriv_server.server import Door, Parts, serve
    from fedpriv_server.statements import Statements

    quiet_flower()
    public = PublicSet.read(settings.validation, contract) if settings.validation else None
    store = ObjectStore.connect(settings.bucket, settings.kms_key_id)
    software = Software.of("fedpriv-server", _PACKAGES, settings.image_digest)
    statements = Statements(settings.state_dir / "unsigned", open_notary(settings.statement_key), sites, software)
    keys = KeyFiles(settings.sites_dir, settings.operator_key_hash, settings.tls_cert, settings.tls_key)
    door = Door(sites, hashes, tls, listener, keys, settings.reload_seconds, settings.address_limits)
    serve(Parts(contract, public, door, outbox, unclosed, statements, store, prometheus))


def quiet_libraries() -> None:
    """Log only what matters of what libraries say, and tell nobody outside of it."""
    for name in ("alembic", "botocore", "flwr", "urllib3", "uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Flower tells its makers about usage unless told not to; a hospital's server does not.
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"


def quiet_flower() -> None:
    """Flower sets up its own handler and level when it is imported: one log, in one form."""
    flower = logging.getLogger("flwr")
    flower.handlers.clear()
    flower.propagate = True
    flower.setLevel(logging.WARNING)


if __name__ == "__main__":
    main()
