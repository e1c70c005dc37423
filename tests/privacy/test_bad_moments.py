"""A disk that is full or read-only, for real: a small file system that is mounted for the test.

If this failed, a full disk could cost a site its ledger, let a release leave that was not charged, or leave the site
refusing after there is space again. (A limit on file size, which needs no right to mount, is in
tests/unit/client/test_ledger_faults.py and test_site_faults.py.)
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

UNSHARE = ("unshare", "--map-root-user", "--mount")
ROOT = Path(__file__).resolve().parents[2]


def may_mount() -> bool:
    command = (*UNSHARE, "sh", "-c", "mount -t tmpfs tmpfs /mnt")
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="this user may not mount")
def test_a_disk_that_is_full_or_read_only_refuses_and_what_was_asked_goes_on_afterwards(tmp_path: Path) -> None:
    command = (*UNSHARE, sys.executable, "-m", "tests.privacy.tight_disk", str(tmp_path))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    full = "LEDGER_UNAVAILABLE"
    assert json.loads(done.stdout) == {
        "begin": ["LEDGER_UNWRITABLE", "Ledger"],
        # Twice on a full disk, then twice with space: the same reservation, the same bytes.
        "admit": [full, full, "None", "None"],
        "reserve": [full, full, "Reserved", "Reserved"],
        "commit": [full, full, "b'bytes'", "b'bytes'"],
        "replay on a full disk": "Replay",
        "opened on a full disk": "Ledger",
        "started on a full disk": "LEDGER_UNWRITABLE",
        "opened read-only": "LEDGER_UNWRITABLE",
        "writable again": "Reserved",
        "entries": ["committed", "reserved"],
    }
