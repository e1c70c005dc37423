"""The whole demo, as `make demo` starts it: what it reaches and costs, what it says, and that nothing stays."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import dp_accounting
import pytest

from fedpriv_common.errors import EXIT_STATUS, ErrorCode
from scripts.demo import programs, ready
from scripts.demo.settings import BUCKET, ROOT, SITES, Places, Ports
from tests.integration.test_demo_guard import processes_of

pytestmark = [pytest.mark.demo, pytest.mark.timeout(400)]

#: A busy machine with two cores needs most of it to import torch three times.
DEADLINE_S = 150.0


def free_base() -> int:
    """The first of nine ports in a row that are free now."""
    for base in range(23_000, 30_000, 10):
        try:
            for port in range(base, base + 9):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return base
    raise AssertionError("no free ports")


class Demo:
    """A folder and ports for demos, and what is left running of them."""

    def __init__(self, folder: Path) -> None:
        self.places = Places(folder)
        self.base = free_base()
        self.ports = Ports.starting_at(self.base)
        self.command = (sys.executable, "-m", "scripts.demo")
        self.environment = os.environ | {
            "FEDPRIV_DEMO_DIR": str(folder),
            "FEDPRIV_DEMO_PORT_BASE": str(self.base),
            # A person's own AWS account and proxy must not matter.
            "AWS_PROFILE": "nobody",
            "AWS_SESSION_TOKEN": "x",
            "HTTP_PROXY": "http://127.0.0.1:9",
            "HTTPS_PROXY": "http://127.0.0.1:9",
        }

    def once(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (*self.command, "--once"),
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def left(self) -> dict[int, str]:
        return processes_of(self.places.root)

    def ledger(self, site: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.places.results / "ledgers" / f"{site}.jsonl").open()]

    def result(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.places.results / "demo.json").read_text())
        return content


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return Demo(tmp_path_factory.mktemp("var"))


@pytest.fixture(scope="module")
def first(demo: Demo) -> subprocess.CompletedProcess[str]:
    return demo.once()


def pld_epsilon(entries: list[dict[str, Any]], delta: float) -> float:
    """Epsilon of exported ledger entries, by the public accountant."""
    events = [
        dp_accounting.SelfComposedDpEvent(
            dp_accounting.PoissonSampledDpEvent(
                entry["sample_rate"], dp_accounting.GaussianDpEvent(entry["noise_multiplier"])
            ),
            entry["steps"],
        )
        for entry in entries
    ]
    accountant = dp_accounting.pld.PLDAccountant(value_discretization_interval=1e-4)
    return float(accountant.compose(dp_accounting.ComposedDpEvent(events)).get_epsilon(delta))


def test_once_ends_well_says_so_in_plain_lines_and_leaves_nothing_running(
    demo: Demo, first: subprocess.CompletedProcess[str]
) -> None:
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stderr == ""
    assert not [character for character in first.stdout if character < " " and character != "\n"]
    assert "13 of 13" in first.stdout
    for site in SITES:
        assert f"{site}  1.00 of 1.00   1.00               8.00" in first.stdout
    assert "95 % interval" in first.stdout
    assert demo.left() == {}


def test_the_result_for_machines_is_complete(demo: Demo, first: subprocess.CompletedProcess[str]) -> None:
    result = demo.result()
    assert set(result) == {
        "run_id",
        "epsilon_target",
        "delta",
        "sites",
        "rounds",
        "accuracy",
        "accuracy_interval",
        "held_out",
        "duration_s",
        "median_round_ms",
        "model",
        "statement",
        "statement_page",
        "verify",
    }
    assert {site["site"] for site in result["sites"]} == set(SITES)
    assert all(set(site) == {"site", "epsilon_run", "epsilon_spent", "ledger"} for site in result["sites"])
    assert (result["epsilon_target"], result["rounds"]) == (1.0, 13)
    low, high = result["accuracy_interval"]
    assert 0.85 < low < result["accuracy"] < high <= 1.0
    assert set(result["held_out"]["sites"]) == set(SITES)
    held_out = result["held_out"]["figures"]["accuracy"]
    assert held_out["low"] < 0.98
    assert held_out["high"] > 0.7
    assert result["median_round_ms"] > 0
    assert result["run_id"] in first.stdout


def test_epsilon_recomputed_from_each_exported_ledger_is_what_was_promised(
    demo: Demo, first: subprocess.CompletedProcess[str]
) -> None:
    result = demo.result()
    for site in result["sites"]:
        entries = demo.ledger(site["site"])
        assert Path(site["ledger"]) == demo.places.results / "ledgers" / f"{site['site']}.jsonl"
        assert {entry["state"] for entry in entries} == {"committed"}
        releases = [entry for entry in entries if entry["mechanism"] == "gaussian"]
        (evaluation,) = [entry for entry in entries if entry["mechanism"] == "geometric"]
        assert len(releases) == 14
        # The held-out records are other records: what they lose is counted apart.
        assert evaluation["epsilon_pure"] == result["held_out"]["epsilon"] == 1.0
        epsilon = pld_epsilon(releases, result["delta"])
        assert 0.97 <= epsilon <= 1.0
        assert site["epsilon_run"] == pytest.approx(epsilon, abs=2e-3)


def test_the_command_that_the_demo_names_finds_its_statement_genuine(
    demo: Demo, first: subprocess.CompletedProcess[str]
) -> None:
    command = demo.result()["verify"]
    assert command in first.stdout
    checked = subprocess.run(
        shlex.split(command), cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "failed" not in checked.stdout
    assert all(f"{site}: signature" in checked.stdout for site in SITES)
    assert "<h1>Privacy statement</h1>" in Path(demo.result()["statement_page"]).read_text()


def test_what_was_stored_is_where_the_demo_says(demo: Demo, first: subprocess.CompletedProcess[str]) -> None:
    folder = demo.places.object(BUCKET, f"v1/runs/{demo.result()['run_id']}")
    assert str(folder) in first.stdout
    assert {"run.json", "end.json", "model.safetensors", "statement.json"} <= {path.name for path in folder.iterdir()}


class Terminal:
    """A demo that a person watches: on a pseudo-terminal, which may hang up."""

    def __init__(self, demo: Demo) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            demo.command, cwd=ROOT, env=demo.environment | {"TERM": "xterm"}, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        self.output = b""
        threading.Thread(target=self._read, daemon=True).start()

    def check(self) -> None:
        assert self.process.poll() is None, self.output.decode(errors="replace")

    def shows(self, text: str) -> bool:
        return text.encode() in self.output

    def _read(self) -> None:
        try:
            while chunk := os.read(self.master, 65_536):
                self.output += chunk
        except OSError:
            return  # the last program has closed it


def program_of(demo: Demo, name: str) -> int:
    """Process id of a program itself, not of its guard."""
    listing = subprocess.run(
        ["ps", "-eww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]
    specification = str(demo.places.work / "programs" / f"{name}.json")
    guard = next(pid for pid, _, arguments in rows if arguments.endswith(specification))
    return next(int(pid) for pid, parent, _ in rows if parent == guard)


@pytest.fixture(scope="module")
def killed(demo: Demo, first: subprocess.CompletedProcess[str]) -> dict[int, str]:
    """What was left of a second demo that was killed in the middle of its run."""
    terminal = Terminal(demo)
    try:
        ready.until(lambda: terminal.shows("Sites ready"), "the sites", deadline=DEADLINE_S, check=terminal.check)
        os.kill(program_of(demo, "site-3"), signal.SIGSTOP)  # the run cannot end without it
        ready.until(lambda: terminal.shows("/13"), "the run's start", deadline=DEADLINE_S, check=terminal.check)
    finally:
        terminal.process.kill()
        terminal.process.wait()
    ready.until(lambda: not demo.left(), "the end of every program", deadline=DEADLINE_S)
    return demo.left()


@pytest.fixture(scope="module")
def staying(demo: Demo, killed: dict[int, str]) -> Iterator[Terminal]:
    """The third demo in the same folder, with its run ended."""
    terminal = Terminal(demo)
    try:
        stays = "Everything stays up until Ctrl-C"
        ready.until(lambda: terminal.shows(stays), "the run", deadline=DEADLINE_S, check=terminal.check)
        yield terminal
    finally:
        terminal.process.kill()
        terminal.process.wait()


def test_a_killed_demo_leaves_nothing_running(killed: dict[int, str]) -> None:
    assert killed == {}


def test_a_later_demo_finishes_the_interrupted_run_and_makes_a_new_one_on_the_same_ledgers(
    demo: Demo, staying: Terminal
) -> None:
    assert staying.shows("which was interrupted")
    result = demo.result()
    by_run = defaultdict(list)
    for entry in demo.ledger("site-1"):
        by_run[entry["run_id"]].append(entry["phase"])
    assert [sorted(phases) for phases in by_run.values()] == 3 * [["centre", "evaluate", *13 * ["train"]]]
    assert result["run_id"] == max(by_run)
    training = [entry for entry in demo.ledger("site-1") if entry["mechanism"] == "gaussian"]
    lifetime = pld_epsilon(training, result["delta"])
    assert 1.7 < lifetime < 2.0
    for site in result["sites"]:
        assert site["epsilon_run"] <= 1.0
        assert site["epsilon_spent"] == pytest.approx(lifetime, abs=2e-3)


def test_every_object_was_encrypted_with_the_customer_key(demo: Demo, staying: Terminal) -> None:
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            environment.delenv(name, raising=False)
        for name, value in programs.emulated_aws(demo.ports).items():
            environment.setenv(name, value)
        s3, kms = boto3.client("s3"), boto3.client("kms")
    key = kms.describe_key(KeyId="alias/fedpriv")["KeyMetadata"]["Arn"]
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"v1/runs/{demo.result()['run_id']}/")
    names = [entry["Key"] for page in pages for entry in page["Contents"]]
    assert len(names) > 60
    heads = [s3.head_object(Bucket=BUCKET, Key=name) for name in names]
    assert {(head["ServerSideEncryption"], head["SSEKMSKeyId"]) for head in heads} == {("aws:kms", key)}


def test_the_page_answers_and_gets_its_runs_through_it(demo: Demo, staying: Terminal) -> None:
    page = f"http://127.0.0.1:{demo.ports.dashboard}"
    assert "<html" in (ready.read(page) or "")
    runs = json.loads(ready.read(f"{page}/api/v1/runs") or "")["runs"]
    assert [run["state"] for run in runs] == ["finished", "finished", "finished"]


def test_everything_listens_on_loopback_only(demo: Demo, staying: Terminal) -> None:
    if sys.platform != "linux":
        pytest.skip("read from /proc")
    ours = set(demo.ports.by_use().values())
    rows = [
        line.split()[:4] for table in ("tcp", "tcp6") for line in Path("/proc/net", table).read_text().splitlines()[1:]
    ]
    listening = {(row[1][:-5], int(row[1][-4:], 16)) for row in rows if row[3] == "0A"}
    found = {(address, port) for address, port in listening if port in ours}
    assert found == {("0100007F", port) for port in ours}


def test_a_killed_site_and_a_killed_emulator_come_back_and_storage_is_whole_again(
    demo: Demo, staying: Terminal
) -> None:
    for name in ("site-2", programs.EMULATOR_NAME):
        os.kill(program_of(demo, name), signal.SIGKILL)
    prometheus = f"http://127.0.0.1:{demo.ports.site_prometheus[1]}/metrics"
    ready.until(lambda: not ready.answers(prometheus), "the end of site-2", deadline=DEADLINE_S)
    ready.until(lambda: ready.site_is_ready(prometheus), "site-2", deadline=DEADLINE_S, check=staying.check)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in programs.emulated_aws(demo.ports).items():
            environment.setenv(name, value)
        kms = boto3.client("kms")

    def repaired() -> bool:
        try:
            kms.describe_key(KeyId="alias/fedpriv")
        except Exception:
            return False
        return ready.answers(f"http://127.0.0.1:{demo.ports.api}/readyz")

    ready.until(repaired, "key and API", deadline=DEADLINE_S, check=staying.check)


def test_a_terminal_that_hangs_up_ends_everything(demo: Demo, staying: Terminal) -> None:
    staying.process.send_signal(signal.SIGHUP)
    os.close(staying.master)
    ready.until(lambda: staying.process.poll() is not None, "the end of the demo", deadline=DEADLINE_S)
    assert demo.left() == {}


def test_a_taken_port_is_one_line_and_nothing_is_started(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "var")
    with socket.create_server(("127.0.0.1", demo.ports.dashboard)):
        done = demo.once()
    assert done.returncode == EXIT_STATUS[ErrorCode.PORT_IN_USE]
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"Port {demo.ports.dashboard}, for the dashboard, is in use" in done.stderr
    assert [path.name for path in demo.places.root.rglob("*") if path.is_file()] == ["lock"]


def test_a_site_that_cannot_run_ends_the_demo_with_the_reason(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "var")
    demo.places.records.parent.mkdir(parents=True)
    demo.places.records.write_text("this,is,another,table\n1,2,3,4\n")
    demo.places.validation.write_text("as is this one\n")
    done = demo.once()
    assert done.returncode == EXIT_STATUS[ErrorCode.PROCESS_DIED]
    assert "ended with DATA_FORMAT; everything was stopped." in done.stderr
    assert str(demo.places.work / "logs") in done.stderr
    assert "lacks columns of contract" in done.stderr
    assert "Traceback" not in done.stderr
    assert demo.left() == {}


def test_a_lost_ledger_is_refused_not_made_again(demo: Demo, first: subprocess.CompletedProcess[str]) -> None:
    kept = demo.places.ledger("site-3").read_bytes()
    demo.places.ledger("site-3").unlink()
    done = demo.once()
    assert done.returncode == EXIT_STATUS[ErrorCode.LEDGER_MISSING]
    assert done.stderr.startswith("LEDGER_MISSING: ")
    assert not demo.places.ledger("site-3").exists()
    demo.places.ledger("site-3").write_bytes(kept)
