"""The demo's processes under supervisord: started, restarted when they die, and gone when the demo is gone.

demo ── guard ── supervisord ── guard ── program
  └───── lock ─────┴──────────────┘           (guard.py says why)
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

from fedpriv_common.errors import EXIT_STATUS, ErrorCode, FedprivError
from scripts.demo import guard
from scripts.demo.programs import Program
from scripts.demo.ready import until
from scripts.demo.settings import Places

#: Seconds that a program has to end in after SIGTERM: longer than any needs, shorter than a person waits.
GRACE_S = 10.0
#: A program that ends this soon after its start did not start; after as many tries it is given up.
START_SECONDS, START_TRIES = 1, 3
_LOG_TAIL_LINES, _LOG_TAIL_WIDTH = 6, 300


@dataclass(frozen=True)
class Status:
    """What is known of one program: `pid` is its guard's (0: it does not run), `exit_status` that of its last end."""

    name: str
    state: str
    exit_status: int
    pid: int

    @property
    def dead(self) -> bool:
        """It will not be started again, or in vain: it said with a documented exit status why it cannot run."""
        # One that was killed is EXITED too, for as long as supervisord takes to start it again.
        documented = self.exit_status in EXIT_STATUS.values()
        return self.state == "FATAL" or (self.state in ("EXITED", "BACKOFF") and documented)


class Supervisor:
    """Runs programs. `start` once, `stop` always; programs without `autostart` wait for `launch`."""

    def __init__(self, places: Places, grace: float = GRACE_S) -> None:
        self._places = places
        self._grace = grace
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets = _socket_folder(places.work)
        self._groups: dict[str, str | None] = {}

    def start(self, programs: Sequence[Program], later: Sequence[Program] = ()) -> None:
        """Start supervisord and `programs`; those of `later` are known to it but wait for `launch`."""
        logs = self._places.log("supervisord").parent
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        everything = (*programs, *later)
        self._groups = {program.name: program.group for program in everything}
        for program in everything:
            self._write_guarded(program.name, program.command, program.environment)
        configuration = self._places.work / "supervisord.conf"
        configuration.write_text(self._configuration(everything, {program.name for program in later}))
        command = (sys.executable, "-m", "supervisor.supervisord", "--configuration", str(configuration))
        self._write_guarded("supervisord", command, dict(os.environ))
        with self._places.log("supervisord").open("ab") as log:
            # A session of its own: Ctrl-C reaches the demo alone, which then ends everything in order.
            self._process = subprocess.Popen(
                self._guard("supervisord"), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until(self._answers, "supervisord", deadline=20)

    def launch(self, program: Program) -> None:
        """Start a program, or start it again with what it needs now."""
        self._write_guarded(program.name, program.command, program.environment)
        name = self._full_name(program.name)
        with contextlib.suppress(xmlrpc.client.Fault):  # not running: nothing to stop
            self._call("stopProcess", name)
        self._call("startProcess", name, False)

    def statuses(self) -> dict[str, Status]:
        """Every program's state. Raises PROCESS_DIED when supervisord itself has ended."""
        return {
            info["name"]: Status(info["name"], info["statename"], self._exit_status(info["name"]), info["pid"])
            for info in self._call("getAllProcessInfo")
        }

    def stop(self) -> None:
        """End all programs, in order, and wait until they are gone."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(6 * self._grace)
            self._process.kill()
            self._process.wait()
        if self._sockets != self._places.work:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def died(self, status: Status) -> FedprivError:
        """The error that tells of a dead program: how it ended, the end of its log and where the log is."""
        code = next((str(code) for code, number in EXIT_STATUS.items() if number == status.exit_status), None)
        how = f"ended with {code}" if code else f"keeps ending (exit status {status.exit_status})"
        log = self._places.log(status.name)
        return FedprivError(
            ErrorCode.PROCESS_DIED,
            f"{status.name} {how}; everything was stopped.",
            f"Its log is {log}, and ends:\n{tail(log)}",
        )

    def _answers(self) -> bool:
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except OSError:
            return False

    def _call(self, method: str, *arguments: object) -> Any:
        """One call to supervisord. A connection per call: it is used from two threads."""
        if self._process is None or self._process.poll() is not None:
            log = self._places.log("supervisord")
            raise FedprivError(
                ErrorCode.PROCESS_DIED,
                "supervisord, which keeps the demo's programs, has ended; they were stopped.",
                f"Its log is {log}, and ends:\n{tail(log)}",
            )
        transport = SupervisorTransport(serverurl=f"unix://{self._sockets}/supervisor.sock")
        with xmlrpc.client.ServerProxy("http://supervisor", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def _exit_status(self, program: str) -> int:
        try:
            return int(self._specification(program).with_suffix(".exit").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _full_name(self, program: str) -> str:
        group = self._groups[program]
        return f"{group}:{program}" if group else program

    def _guard(self, name: str) -> tuple[str, ...]:
        # -I and -S: without site packages a guard starts in 30 ms.
        return (sys.executable, "-I", "-S", guard.__file__, str(self._specification(name)))

    def _specification(self, name: str) -> Path:
        return self._places.work / "programs" / f"{name}.json"

    def _write_guarded(self, name: str, command: Sequence[str], environment: dict[str, str]) -> None:
        path = self._specification(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        specification = {
            "lock": str(self._places.lock),
            "command": list(command),
            "environment": environment,
            "grace": self._grace,
        }
        path.write_text(json.dumps(specification))
        path.with_suffix(".exit").unlink(missing_ok=True)

    def _configuration(self, programs: Sequence[Program], waiting: set[str]) -> str:
        sections: list[tuple[str, dict[str, object]]] = [
            ("unix_http_server", {"file": self._sockets / "supervisor.sock", "chmod": "0700"}),
            (
                "rpcinterface:supervisor",
                {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
            ),
            (
                "supervisord",
                {
                    "nodaemon": "true",
                    "silent": "true",
                    "logfile": self._places.log("supervisord"),
                    "pidfile": self._sockets / "supervisord.pid",
                },
            ),
        ]
        for program in programs:
            sections.append(
                (
                    f"program:{program.name}",
                    {
                        "command": shlex.join(self._guard(program.name)),
                        "autostart": "false" if program.name in waiting else "true",
                        # A documented exit status is a person's to mend; everything else is worth another try.
                        "autorestart": "unexpected",
                        "exitcodes": ",".join(str(status) for status in EXIT_STATUS.values()),
                        "startsecs": START_SECONDS,
                        "startretries": START_TRIES,
                        # Longer than the guard's own patience, which then kills the whole group.
                        "stopwaitsecs": round(self._grace + 2),
                        "killasgroup": "true",
                        "priority": program.order,
                        "redirect_stderr": "true",
                        "stdout_logfile": self._places.log(program.name),
                        "stdout_logfile_maxbytes": "10MB",
                        "stdout_logfile_backups": 1,
                    },
                )
            )
        for group in sorted({program.group for program in programs if program.group}):
            members = [program for program in programs if program.group == group]
            names = ",".join(program.name for program in members)
            sections.append((f"group:{group}", {"programs": names, "priority": members[0].order}))
        return "\n".join(
            "\n".join([f"[{title}]", *(f"{key} = {_escaped(value)}" for key, value in entries.items())]) + "\n"
            for title, entries in sections
        )


def _socket_folder(preferred: Path) -> Path:
    """A socket's path may have a hundred characters, a checkout's more."""
    return preferred if len(str(preferred)) < 80 else Path(tempfile.mkdtemp(prefix="fedpriv-demo-"))


def tail(log: Path) -> str:
    """The last lines of a log, cut to a readable width."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return "(empty)"
    return "\n".join(line[:_LOG_TAIL_WIDTH] for line in lines[-_LOG_TAIL_LINES:]) or "(empty)"


def _escaped(value: object) -> str:
    """supervisord expands %(…)s."""
    return str(value).replace("%", "%%")
