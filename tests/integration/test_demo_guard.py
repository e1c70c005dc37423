"""Nothing that the demo starts outlives it; what dies on its own is started again or told of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedpriv_common.errors import EXIT_STATUS, ErrorCode, FedprivError
from scripts.demo import preflight, ready
from scripts.demo.programs import Program
from scripts.demo.settings import ROOT, Places
from scripts.demo.supervise import Supervisor

DEADLINE_S = 30.0
GRACE_S = 1.0

#: Ends when asked to.
POLITE = "import signal; print('up', flush=True); signal.pause()"
#: Has a child of its own and ignores every polite signal, as does the child.
STUBBORN = """
import os, signal, sys
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
os.fork()
print('up', flush=True)
while True:
    signal.pause()
"""

#: A demo with one program of each kind, which tells when all are up and then waits to be killed.
DEMO = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, os.getcwd())
from scripts.demo import preflight, ready
from scripts.demo.programs import Program
from scripts.demo.settings import Places
from scripts.demo.supervise import Supervisor

places, grace = Places(Path(sys.argv[1])), float(sys.argv[2])
lock = preflight.take_lock(places.lock)
supervisor = Supervisor(places, grace)
programs = [
    Program(code.stem, (sys.executable, str(code)), dict(os.environ), 1) for code in (places.root / "code").iterdir()
]
supervisor.start(programs)
logs = [places.log(program.name) for program in programs]
ready.until(lambda: all(log.exists() and "up" in log.read_text() for log in logs), "programs", deadline=20)
print("up", flush=True)
signal.pause()
"""


def processes_of(folder: Path) -> dict[int, str]:
    """Every living process whose command line names `folder`."""
    listing = subprocess.run(
        ["ps", "-eww", "-o", "pid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = (line.split(None, 2) for line in listing.splitlines())
    return {
        int(pid): arguments
        for pid, state, arguments in rows
        if str(folder) in arguments and int(pid) != os.getpid() and not state.startswith("Z")
    }


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    program("polite", POLITE, Places(tmp_path))
    program("stubborn", STUBBORN, Places(tmp_path))
    script = tmp_path / "demo.py"
    script.write_text(DEMO)
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), str(GRACE_S)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
        process.kill()


def find(folder: Path, wanted: Callable[[str], bool]) -> int:
    return next(pid for pid, arguments in processes_of(folder).items() if wanted(arguments))


def test_a_killed_demo_takes_everything_with_it(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    # demo, supervisord and its guard, two programs and their guards, one grandchild
    assert len(processes_of(tmp_path)) == 8
    demo.kill()
    demo.wait()
    ready.until(lambda: not processes_of(tmp_path), "the end of every program", deadline=DEADLINE_S)


def test_a_killed_supervisord_is_noticed_and_nothing_of_it_stays(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    os.kill(find(tmp_path, lambda arguments: "-m supervisor.supervisord" in arguments), signal.SIGKILL)
    demo.kill()
    ready.until(lambda: not processes_of(tmp_path), "the end of every program", deadline=DEADLINE_S)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_a_program_dies_with_its_killed_guard_and_is_started_again(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    program = find(tmp_path, lambda arguments: "code/polite.py" in arguments)
    guard = find(tmp_path, lambda arguments: "guard.py" in arguments and "polite.json" in arguments)
    os.kill(guard, signal.SIGKILL)
    ready.until(lambda: program not in processes_of(tmp_path), "the end of the program", deadline=DEADLINE_S)
    ready.until(
        lambda: any("code/polite.py" in arguments for arguments in processes_of(tmp_path).values()),
        "the program's next start",
        deadline=DEADLINE_S,
    )


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[tuple[Supervisor, Places]]:
    places = Places(tmp_path)
    lock = preflight.take_lock(places.lock)
    supervisor = Supervisor(places, GRACE_S)
    yield supervisor, places
    supervisor.stop()
    os.close(lock)
    ready.until(lambda: processes_of(tmp_path) == {}, "the end of every process", deadline=DEADLINE_S)


def program(name: str, code: str, places: Places, order: int = 1, group: str | None = None) -> Program:
    script = places.root / "code" / f"{name}.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(code)
    return Program(name, (sys.executable, str(script)), dict(os.environ), order, group)


def test_stop_ends_everything_even_what_does_not_listen(supervisor: tuple[Supervisor, Places]) -> None:
    keeper, places = supervisor
    keeper.start([program("polite", POLITE, places), program("stubborn", STUBBORN, places)])
    ready.until(
        lambda: {status.state for status in keeper.statuses().values()} == {"RUNNING"}, "both", deadline=DEADLINE_S
    )
    keeper.stop()
    assert processes_of(places.root) == {}


def test_programs_end_in_the_order_that_lets_each_finish(supervisor: tuple[Supervisor, Places]) -> None:
    keeper, places = supervisor
    journal = places.root / "journal"
    code = (
        "import signal, sys\nprint('up', flush=True); signal.sigwait([signal.SIGTERM])\n"
        f"open({str(journal)!r}, 'a').write('NAME ')"
    )
    blocked = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
    programs = [
        program("store", blocked + code.replace("NAME", "store"), places, order=1),
        program("site-b", blocked + code.replace("NAME", "site"), places, order=3, group="sites"),
        program("site-a", blocked + code.replace("NAME", "site"), places, order=3, group="sites"),
        program("hub", blocked + code.replace("NAME", "hub"), places, order=2),
    ]
    keeper.start(programs)
    ready.until(
        lambda: (
            all("up" in places.log(each.name).read_text() for each in programs if places.log(each.name).exists())
            and {status.state for status in keeper.statuses().values()} == {"RUNNING"}
        ),
        "all four",
        deadline=DEADLINE_S,
    )
    keeper.stop()
    assert journal.read_text().split() == ["site", "site", "hub", "store"]


def test_a_program_that_says_why_it_cannot_run_is_dead_at_once(supervisor: tuple[Supervisor, Places]) -> None:
    keeper, places = supervisor
    status = EXIT_STATUS[ErrorCode.BAD_KEY]
    code = f"import sys; print('BAD_KEY: the key is empty.'); sys.exit({status})"
    keeper.start([program("site-9", code, places)])
    ready.until(lambda: keeper.statuses()["site-9"].dead, "the end of site-9", deadline=DEADLINE_S)
    error = keeper.died(keeper.statuses()["site-9"])
    assert error.code is ErrorCode.PROCESS_DIED
    assert "site-9 ended with BAD_KEY; everything was stopped." in str(error)
    assert str(places.log("site-9")) in str(error)
    assert "BAD_KEY: the key is empty." in str(error)


def test_a_killed_program_is_never_taken_for_a_dead_one(supervisor: tuple[Supervisor, Places]) -> None:
    keeper, places = supervisor
    keeper.start([program("polite", POLITE, places)])
    ready.until(lambda: keeper.statuses()["polite"].state == "RUNNING", "the program", deadline=DEADLINE_S)
    first = keeper.statuses()["polite"].pid
    os.kill(find(places.root, lambda arguments: "code/polite.py" in arguments), signal.SIGKILL)

    def started_again() -> bool:
        status = keeper.statuses()["polite"]
        assert not status.dead
        return status.state == "RUNNING" and status.pid != first

    ready.until(started_again, "its next start", deadline=DEADLINE_S)


def test_a_waiting_program_starts_when_it_is_launched_and_again_with_what_it_needs_then(
    supervisor: tuple[Supervisor, Places],
) -> None:
    keeper, places = supervisor
    waiting = program("store", POLITE, places)
    keeper.start([program("polite", POLITE, places)], later=[waiting])
    assert keeper.statuses()["store"].state == "STOPPED"
    keeper.launch(waiting)
    ready.until(lambda: keeper.statuses()["store"].state == "RUNNING", "store", deadline=DEADLINE_S)
    changed = program("store", "import os, signal; print(os.environ['KEY'], flush=True); signal.pause()", places)
    keeper.launch(Program("store", changed.command, changed.environment | {"KEY": 'new 100 % "key"'}, 1))
    ready.until(lambda: 'new 100 % "key"' in places.log("store").read_text(), "store's restart", deadline=DEADLINE_S)


def test_the_end_of_supervisord_is_told_with_its_log(supervisor: tuple[Supervisor, Places]) -> None:
    keeper, places = supervisor
    keeper.start([program("polite", POLITE, places)])
    os.kill(find(places.root, lambda arguments: "-m supervisor.supervisord" in arguments), signal.SIGKILL)

    def told() -> bool:
        try:
            keeper.statuses()
        except FedprivError as error:
            return error.code is ErrorCode.PROCESS_DIED and "supervisord" in str(error)
        except OSError:
            return False
        return False

    ready.until(told, "the news of supervisord's end", deadline=DEADLINE_S)
