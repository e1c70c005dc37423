"""The metrics API's process: `fedpriv-metrics`, set by environment variables (docs/reference/settings.md)."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys

import uvicorn

from fedpriv_common.log import configure_logging
from fedpriv_common.service import listen, run_service, serve_figures
from fedpriv_common.store import ObjectStore
from fedpriv_metrics.app import create_app
from fedpriv_metrics.contracts import load_contracts
from fedpriv_metrics.prometheus import Figures
from fedpriv_metrics.service import Service
from fedpriv_metrics.settings import MetricsSettings
from fedpriv_metrics.tail import S3Tail, count_requests

log = logging.getLogger(__name__)

#: Seconds that requests under way have at shutdown.
GRACE_S = 5


class _Server(uvicorn.Server):
    """Ends the event streams first; they would go on for ever."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let viewers go, then the rest."""
        self._service.streams.close()
        await super().shutdown(sockets)


def main() -> None:
    """The entry point."""
    run_service(MetricsSettings, run)


def run(settings: MetricsSettings) -> None:
    """Put the parts together and serve; the bucket need not be in reach yet."""
    configure_logging(settings.log_level)
    # It tells where it found credentials and endpoint, each time.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    # uvicorn ends in order and then raises the signal again; the process has ended well all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = listen(str(settings.host), settings.port)
    figures = Figures()
    if settings.prometheus_port:
        serve_figures(figures.registry, str(settings.host), settings.prometheus_port)
    store = ObjectStore.connect(settings.bucket, settings.kms_key_id)
    count_requests(store, figures.s3_request)
    service = Service(
        S3Tail(store),
        figures,
        settings.poll_seconds,
        load_contracts(settings.contracts),
        store,
        settings.auditor_keys,
    )
    # What has been loaded stays: without it, every full collection while history is read would go through it again.
    gc.freeze()
    config = uvicorn.Config(
        create_app(service, settings.cors_origins),
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    if not settings.host.is_loopback:
        log.warning("answers are given to everybody who reaches this address", extra={"host": str(settings.host)})
    log.info("serving", extra={"host": str(settings.host), "port": settings.port, "bucket": settings.bucket})
    _Server(config, service).run(sockets=[listener])


if __name__ == "__main__":
    main()
