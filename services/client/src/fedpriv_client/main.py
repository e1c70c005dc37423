"""The site's process: `fedpriv-site`, set by environment variables (docs/reference/settings.md)."""

from __future__ import annotations

import logging
import signal
import threading
from importlib import import_module

from fedpriv_client.settings import SiteSettings
from fedpriv_common.log import configure_logging
from fedpriv_common.service import run_service, serve_figures

log = logging.getLogger(__name__)


def main() -> None:
    """The entry point."""
    run_service(SiteSettings, run)


def run(settings: SiteSettings) -> None:
    """Assemble the site, go online, serve. Returns after a signal."""
    # Imported here, so that a wrong setting is told at once.
    from fedpriv_client.app import SiteApp
    from fedpriv_client.assemble import assemble
    from fedpriv_client.fleet import Fleet, read_authority, read_node_key
    from fedpriv_client.node import Node
    from fedpriv_client.prometheus import SiteFigures
    from fedpriv_client.state import StateDir

    configure_logging(settings.log_level)
    quiet_libraries()
    state = StateDir(settings.state_dir)
    fleet = Fleet(settings.server, read_authority(settings.ca), read_node_key(settings.node_key))
    assembled = assemble(settings)
    figures = SiteFigures()
    if settings.prometheus_port:
        serve_figures(figures.registry, str(settings.prometheus_host), settings.prometheus_port)
    node = Node(fleet, SiteApp(assembled.site, figures.replied), state, figures.online)

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
    threading.Thread(target=warm_up, daemon=True).start()
    node.run()


def quiet_libraries() -> None:
    """httpx tells every request; Flower has a handler and colours of its own."""
    for name in ("httpx", "httpcore", "flwr"):
        logging.getLogger(name).setLevel(logging.WARNING)
    flower = logging.getLogger("flwr")
    flower.handlers.clear()
    flower.propagate = True


if __name__ == "__main__":
    main()
