"""Each step of the ledger is on the disk before it returns: every write to its log is followed by an fsync of the log.

If this failed, a power cut after a reply was sent could take the charge for it away. kill -9 does not show that, as the
operating system still writes what a killed process has left; so the system calls themselves are looked at.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fedpriv_common.plan import Phase
from tests.unit.client.ledgers import OnDisk, admit

ROOT = Path(__file__).resolve().parents[2]
STEPS = ("admit", "reserve", "commit", "close")


def main(folder: Path) -> None:
    """One step after another, each told on standard output when it has returned."""
    ledger = OnDisk(folder).begin()
    steps = (
        lambda: admit(ledger),
        lambda: ledger.reserve("A", 1, Phase.TRAIN, "q"),
        lambda: ledger.commit("A", 1, Phase.TRAIN, "q", b"bytes"),
        lambda: ledger.close("A"),
    )
    for name, step in zip(STEPS, steps, strict=True):
        step()
        sys.stdout.write(f"done {name}\n")
        sys.stdout.flush()


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_every_step_is_on_the_disk_before_it_returns(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = ("strace", "-y", "-o", str(trace), "-e", "trace=write,pwrite64,fsync,fdatasync")
    command = (*calls, sys.executable, "-m", "tests.privacy.test_durable", str(tmp_path))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _, *rest = re.split(r"(?=pwrite64\(\d+<[^>]*ledger\.db-wal>)", trace.read_text(), maxsplit=1)
    (traced,) = rest
    for name in STEPS:
        before, told, traced = traced.partition(f'"done {name}\\n"')
        assert told
        on_the_log = re.findall(r"^(pwrite64|fdatasync|fsync)\(\d+<[^>]*ledger\.db-wal>", before, re.MULTILINE)
        assert "pwrite64" in on_the_log, f"{name} wrote nothing"
        assert on_the_log[-1] in {"fdatasync", "fsync"}, f"{name} returned before the disk had it: {on_the_log}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
