"""Lighthouse over every view, with the figures of a real consortium: at least 95 in each of its four categories.

    .venv/bin/python -m tests.page.lighthouse [VIEW …]

The page is served as it is built, compressed as nginx sends it. Reports go to var/results/lighthouse.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.emulator import Emulator
from tests.page.consortium import showing
from tests.page.visits import CHROMIUM, DASHBOARD

VIEWS = ("", "runs", "ledger", "sites", "compare", "plan", "audit", "statement")
LEAST = 95
REPORTS = DASHBOARD.parent / "var" / "results" / "lighthouse"


def main() -> int:
    """Measure the views that were named, or all; 1 when one falls short."""
    tools = DASHBOARD / "tools" / "lighthouse"
    with tempfile.TemporaryDirectory() as folder:
        emulator = Emulator(Path(folder))
        emulator.start()
        try:
            with showing(emulator, Path(folder)) as consortium:
                addresses = [f"{consortium.address}/{view}" for view in sys.argv[1:] or VIEWS]
                command = ("node", str(tools / "run.mjs"), str(REPORTS), str(LEAST), *addresses)
                return subprocess.run(command, env=os.environ | {"CHROME_PATH": CHROMIUM}, check=False).returncode
        finally:
            emulator.stop()


if __name__ == "__main__":
    sys.exit(main())
