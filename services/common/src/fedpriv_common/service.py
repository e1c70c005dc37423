"""What every service's process does alike: start or say in one line why not, listen, answer Prometheus."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable
from typing import TypeVar

from prometheus_client import CollectorRegistry, start_http_server

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.settings import ServiceSettings, load_settings

SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


def run_service(settings_class: type[SettingsT], run: Callable[[SettingsT], None]) -> None:
    """Read the settings and run; a FedprivError becomes one line on standard error and its exit status."""
    try:
        run(load_settings(settings_class))
    except FedprivError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the last word of the process, for whoever started it
        sys.exit(error.exit_status)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises PORT_IN_USE, or BAD_SETTING for an address that is not this machine's."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise _not_listening(error, host, port, "FEDPRIV_PORT") from None
    # Connections inherit it. Without it an answer's head waits for the caller's acknowledgement, 40 ms, before its body
    # follows: asyncio sets it only on sockets that name their protocol, which those of a listener do not.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve_figures(registry: CollectorRegistry, host: str, port: int) -> None:
    """Answer Prometheus from threads of its own; raises as `listen` does."""
    try:
        start_http_server(port, host, registry)
    except OSError as error:
        raise _not_listening(error, host, port, "FEDPRIV_PROMETHEUS_PORT") from None


def _not_listening(error: OSError, host: str, port: int, setting: str) -> FedprivError:
    if error.errno == errno.EADDRINUSE:
        return FedprivError(
            ErrorCode.PORT_IN_USE,
            f"{setting}: {host}:{port} is in use by another process.",
            "End what listens there, or choose another port.",
        )
    return FedprivError(
        ErrorCode.BAD_SETTING,
        f"{setting}: cannot listen on {host}:{port} ({error.strerror or error}).",
        "Give an address of this machine and a port that this user may use.",
    )
