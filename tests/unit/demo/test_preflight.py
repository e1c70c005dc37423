"""What is in the way is said in one line before anything is started."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fedpriv_common.errors import ErrorCode, FedprivError
from scripts.demo import preflight
from scripts.demo.settings import ROOT, Ports


def test_a_port_in_use_is_named_with_its_purpose_and_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(FedprivError) as refusal:
            preflight.check_ports({"the server": port})
    line = str(refusal.value)
    assert refusal.value.code is ErrorCode.PORT_IN_USE
    assert f"Port {port}, for the server, is in use" in line
    assert "FEDPRIV_DEMO_PORT_BASE" in line
    assert "\n" not in line
    if sys.platform == "linux":
        assert f"(process {os.getpid()})" in line


def test_every_taken_port_is_named_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [one.getsockname()[1], two.getsockname()[1]]
        with pytest.raises(FedprivError) as refusal:
            preflight.check_ports(dict(zip(("the server", "the dashboard"), ports, strict=True)))
    assert all(str(port) in str(refusal.value) for port in ports)


def test_a_port_that_was_closed_a_moment_ago_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), listener.accept()[0]:
            pass
    preflight.check_ports({"the server": port})


def test_a_full_disk_is_named_with_what_is_free(tmp_path: Path) -> None:
    with pytest.raises(FedprivError, match=r"MB are free at .*, 1000000000 MB are needed") as refusal:
        preflight.check_disk(tmp_path / "not" / "there" / "yet", minimum=10**15)
    assert refusal.value.code is ErrorCode.DISK_FULL
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_set_up_is_named() -> None:
    with pytest.raises(FedprivError, match=r"Not set up: .*absent.*make setup") as refusal:
        preflight.check_tools((ROOT / "absent",))
    assert refusal.value.code is ErrorCode.MISSING_TOOL


def test_a_second_demo_in_the_same_folder_is_refused_at_once(tmp_path: Path) -> None:
    lock = tmp_path / "var" / "demo" / "lock"
    held = preflight.take_lock(lock)
    program = (
        "import sys; from pathlib import Path; from scripts.demo.preflight import take_lock\n"
        "try: take_lock(Path(sys.argv[1]), patience=60)\n"
        "except Exception as error: print(error)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(lock)], capture_output=True, text=True, timeout=30, check=True
    )
    assert f"Another demo (process {os.getpid()}) runs in {tmp_path / 'var'}" in answer.stdout
    os.close(held)


def test_programs_that_a_killed_demo_left_are_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    ended = subprocess.Popen(["true"])
    ended.wait()
    lock.write_text(str(ended.pid))  # the demo that died
    # A guard's program that takes its time: it lets go when its standard input ends.
    program = (
        "import fcntl, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_SH)\n"
        "print(flush=True); sys.stdin.read(1)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as guard:
        assert guard.stdin is not None
        assert guard.stdout is not None
        guard.stdout.readline()
        with pytest.raises(FedprivError, match="Another demo"):
            preflight.take_lock(lock, patience=0.2)
        guard.stdin.close()
        held = preflight.take_lock(lock, patience=30)
    assert os.pread(held, 20, 0).decode() == str(os.getpid())
    os.close(held)


def test_the_lock_is_not_inherited_by_what_the_demo_starts(tmp_path: Path) -> None:
    held = preflight.take_lock(tmp_path / "lock")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        os.close(held)
        other = os.open(tmp_path / "lock", os.O_RDONLY)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
        child.communicate()


def test_ports_in_a_row_are_nine_different_ones() -> None:
    assert sorted(Ports.starting_at(20_000).by_use().values()) == list(range(20_000, 20_009))
    assert Ports.starting_at(None).by_use()["the server"] == 8080
