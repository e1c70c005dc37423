"""`python -m scripts.demo [--once]`; `make demo` sets up what it needs and calls it."""

from __future__ import annotations

import argparse
import contextlib
import errno
import signal
import sys
from collections.abc import Iterator

from rich.console import Console

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.settings import load_settings
from scripts.demo.settings import DemoSettings, Places, Ports
from scripts.demo.stop import Stopped, raise_when_asked


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="exit when the run has ended")
    once = parser.parse_args(arguments).once
    console = _console()
    raise_when_asked()
    try:
        settings = load_settings(DemoSettings)
        places, ports = Places(settings.demo_dir.absolute()), Ports.starting_at(settings.demo_port_base)
        with _disk_full(places):
            # Imported here: what boto3, scikit-learn and rich need to load should not delay a refusal.
            from scripts.demo.run import run_demo

            run_demo(console, places, ports, once=once)
    except FedprivError as error:
        print(error, file=sys.stderr)  # noqa: T201 - one line for a person
        return error.exit_status
    except Stopped as stopped:
        return 128 + stopped.number
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    return 0


@contextlib.contextmanager
def _disk_full(places: Places) -> Iterator[None]:
    """Tell of a disk that fills up while the demo runs as of any other fault."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FedprivError(
            ErrorCode.DISK_FULL, f"No space is left for {places.root}; everything was stopped.", "Make room, try again."
        ) from None


def _console() -> Console:
    """Plain lines where nobody watches: no colours, no control characters, no cut at eighty columns."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, color_system=None, width=200)


if __name__ == "__main__":
    sys.exit(main())
