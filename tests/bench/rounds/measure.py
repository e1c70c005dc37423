"""Processes that are started, measured from /proc, and ended; medians and percentiles."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
#: How long the machine is looked at before a bench, seconds.
_LOOKED_AT_S = 3.0


@dataclass
class Process:
    """A child process."""

    popen: subprocess.Popen[bytes]
    log_path: Path

    @classmethod
    def start(cls, command: Sequence[str], environment: Mapping[str, str], log_path: Path) -> Process:
        """Start it; what it prints goes to the file."""
        with log_path.open("ab") as log:
            return cls(subprocess.Popen(command, env=environment, stdout=log, stderr=log), log_path)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not end it."""
        self.popen.terminate()
        try:
            self.popen.wait(20)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(20)


def cpu_ms(pid: int) -> float:
    """Processor time of a process so far, milliseconds, in steps of the kernel's tick (10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return _TICK_MS * (int(fields[11]) + int(fields[12]))


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    """Resident memory of a process now, or at its peak (`VmHWM`), MB (10⁶ bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"process {pid} has no {what}")


def p90(values: Sequence[float]) -> float:
    """The 90th percentile; of one value, that value."""
    return statistics.quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else values[0]


def machine() -> dict[str, object]:
    """The class of the machine, not which one it is."""
    with Path("/proc/meminfo").open() as file:
        total_gb = int(file.readline().split()[1]) * 1024 / 1e9
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(total_gb),
        "python": platform.python_version(),
        "busy_cores_at_start": round(_busy_cores(), 2),
    }


def _busy_cores() -> float:
    """Cores that are at work now, over some seconds. A load average still tells of what has ended."""
    before, began = _busy_seconds(), time.monotonic()
    time.sleep(_LOOKED_AT_S)
    return (_busy_seconds() - before) / (time.monotonic() - began)


def _busy_seconds() -> float:
    """Seconds that all cores together were neither idle nor waiting for a disk, since the machine started."""
    with Path("/proc/stat").open() as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
