"""The site's process: `fedpriv-site`, set by environment variables (docs/reference/settings.md)."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from fedpriv_client.settings import SiteSettings
from fedpriv_common.contract import load_contract
from fedpriv_common.log import configure_logging
from fedpriv_common.service import run_service, serve_figures

if TYPE_CHECKING:
    from fedpriv_client.lease import Lease
    from fedpriv_client.prometheus import SiteFigures

log = logging.getLogger(__name__)


def main() -> None:
    """The entry point."""
    run_service(SiteSettings, run)


def run(settings: SiteSettings) -> None:
    """Take a partition where partitions are shared out, assemble the site, go online, serve. Returns after a signal."""
    configure_logging(settings.log_level)
    quiet_libraries()
    # Until there is a node to stop, a signal ends whatever is going on here, and what is held is given up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    from fedpriv_client.prometheus import SiteFigures  # imported here, so that a wrong setting is told at once

    figures = SiteFigures()

    @cache
    def show_figures() -> None:
        # Not before there is something to show: for who checks its health, a site that answers here is well.
        if settings.prometheus_port:
            serve_figures(figures.registry, str(settings.prometheus_host), settings.prometheus_port)

    def stand_by() -> None:
        figures.standing_by(True)
        show_figures()

    if settings.lease_table is None:
        _serve(settings.for_partition(settings.partition), figures, show_figures, lease=None)
        return
    from fedpriv_client.lease import LeaseTable  # boto3, which a site of its own never needs

    dataset = load_contract(settings.contract).dataset
    lease = LeaseTable(settings.lease_table, dataset, settings.partitions, settings.lease_seconds).wait(stand_by)
    try:
        lease.keep()
        figures.standing_by(False)
        _serve(settings.for_partition(lease.partition), figures, show_figures, lease)
    finally:
        lease.release()


def _serve(settings: SiteSettings, figures: SiteFigures, show_figures: Callable[[], None], lease: Lease | None) -> None:
    from fedpriv_client.app import SiteApp
    from fedpriv_client.assemble import assemble
    from fedpriv_client.fleet import Fleet, read_authority, read_node_key
    from fedpriv_client.node import Node
    from fedpriv_client.state import StateDir

    # The lease, where there is one, says who is the only process; a former holder may still have the folder open.
    state = StateDir(settings.state_dir, alone=lease is None)
    node_key = read_node_key(settings.node_key)
    fleet = Fleet(settings.server, read_authority(settings.ca), node_key)
    assembled = assemble(settings, lease, node_key)
    show_figures()
    node = Node(fleet, SiteApp(assembled.site, figures.replied), state, figures.online, assembled.require_lease)

    def warm_up() -> None:
        """Import torch while the site is already online; a request that comes earlier waits for the import."""
        try:
            import_module("fedpriv_client.training")
            figures.budget(assembled.contract.dataset, assembled.epsilon_spent(), assembled.policy.epsilon)
            log.info("ready")
        except BaseException as error:  # a site that cannot train must not look as if it could
            node.fail(error)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: node.stop())
    log.info("starting", extra={"site": settings.site, "server": settings.server, "partition": settings.partition})
    if lease is not None:
        lease.when_lost(node.fail)
    threading.Thread(target=warm_up, daemon=True).start()
    node.run()


def quiet_libraries() -> None:
    """httpx tells every request, botocore where it found credentials; Flower has a handler and colours of its own."""
    for name in ("botocore", "httpx", "httpcore", "flwr"):
        logging.getLogger(name).setLevel(logging.WARNING)
    flower = logging.getLogger("flwr")
    flower.handlers.clear()
    flower.propagate = True


if __name__ == "__main__":
    main()
