"""Light sites in a process of their own: the real node on the real wire, replies that need neither records nor torch.

    python -m tests.bench.rounds.light HUB_FOLDER PORT STATE_FOLDER NAME=KEY …

Ends when its standard input does, so that none outlives the bench.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

from fedpriv_client.main import quiet_libraries
from fedpriv_server.provision.pki import Hub
from tests.integration.server_harness import LightSite, online


def main() -> None:
    hub, port, state = Hub(Path(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3])
    quiet_libraries()
    with ExitStack() as stack:
        for named in sys.argv[4:]:
            name, _, key = named.partition("=")
            stack.enter_context(online(LightSite(name), hub, Path(key), port, state / name))
        sys.stdin.read()


if __name__ == "__main__":
    main()
