"""Runs one program, and ends it when whoever holds the lock is gone, however that happened.

    python -I -S guard.py SPEC.json     {"lock": path, "command": [...], "environment": {...}, "grace": seconds}

The demo holds an exclusive lock for as long as it lives. Each guard asks for a shared one: it gets it at the very
moment the demo ends (Ctrl-C, kill -9, power of the terminal gone) and then takes its own program down. The kernel
does the watching, nobody polls. Standard library only: one guard per program must start fast and stay small.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1


def main(spec_path: str) -> int:
    """Run the program; returns its exit status, or 128 + n when signal n ended it.

    The status is also left in a file beside the specification: supervisord forgets it when the program ended early.
    """
    spec = json.loads(Path(spec_path).read_text())
    lock = os.open(spec["lock"], os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        return 0  # the demo has ended already
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    guard = os.getpid()
    program = subprocess.Popen(
        spec["command"],
        env=spec["environment"],
        preexec_fn=lambda: _follow_guard(guard, before),  # noqa: PLW1509 - no other thread runs yet
    )

    def forward(number: int, _frame: FrameType | None) -> None:
        program.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    threading.Thread(target=_end_with_demo, args=(lock, program, spec["grace"]), daemon=True).start()
    ended = program.wait()
    status = ended if ended >= 0 else 128 - ended
    Path(spec_path).with_suffix(".exit").write_text(str(status))
    return status


def _end_with_demo(lock: int, program: subprocess.Popen[bytes], grace: float) -> None:
    fcntl.flock(lock, fcntl.LOCK_SH)
    program.terminate()
    try:
        program.wait(grace)
    except subprocess.TimeoutExpired:
        # Guard, program and whatever the program started are one process group.
        os.killpg(0, signal.SIGKILL)


def _follow_guard(guard: int, mask: set[int | signal.Signals]) -> None:
    """In the program, before it starts: on Linux it is to die with its guard, whatever kills that."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
