"""What the ledger costs a round, on disk and in S3, with ten entries in it and with ten thousand.

Every figure is a median over rounds in which each operation is done once on each ledger, beside one bare SQLite insert
with fsync in the same folder: what the machine does meanwhile hits all of them alike, so their ratios mean something.
S3 is the emulator on this machine, which goes through all of a ledger's keys to list the last one: its figures show
how many requests a step takes, not what AWS answers.

    python -m tests.bench.ledger [--rounds 100]
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from fedpriv_client.privacy.budget import BudgetMeter
from fedpriv_client.privacy.ledger.entries import NO_HASH, Admit, Close, Genesis, Release, now
from fedpriv_client.privacy.ledger.ledger import Ledger, LedgerIdentity
from fedpriv_client.privacy.ledger.marker import FileMarker, write_marker
from fedpriv_client.privacy.ledger.s3 import S3Store
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_client.privacy.ledger.store import LedgerStore
from fedpriv_common.canonical import sha256_hex
from fedpriv_common.contract import load_contract
from fedpriv_common.plan import Phase, Plan, RunSettings, make_plan
from fedpriv_common.recipes import Recipe
from fedpriv_common.store import ObjectStore
from tests.emulator import Emulator

RESULT = Path("var/results/bench-ledger.json")
SIZES = (10, 1_000, 10_000)
DELTA, LIMIT = 1e-5, 8.0
#: Bytes of a logistic regression's reply.
REPLY_BYTES = 31 * 2 * 8
IDENTITY = LedgerIdentity("breast-cancer-wisconsin@1", 0, 1, 0.2, "c", 1)
CONTRACT = load_contract("breast-cancer-wisconsin")
#: Ten thousand entries of it are below the default policy's budget.
PLAN = make_plan(RunSettings(epsilon=0.3, rounds=50), CONTRACT)
#: Different ones, so that none is answered from what was composed for another.
MINI_BATCH = [make_plan(RunSettings(epsilon=each, recipe=Recipe.FEDAVG_MLP), CONTRACT) for each in (1.0, 0.9, 0.8)]


def entries(count: int) -> Iterator[bytes]:
    """The bodies of a ledger with so many entries: runs that were admitted, reserved and committed in full, closed."""
    seq, head = 0, NO_HASH

    def body(kind: type[Genesis | Admit | Release | Close], **fields: object) -> bytes:
        nonlocal seq, head
        written: bytes = kind(seq=seq, prev_hash=head, at=now(), **fields).body()
        seq, head = seq + 1, sha256_hex(written)
        return written

    def run(number: int) -> Iterator[bytes]:
        run_id, train = f"run-{number}", PLAN.train
        yield body(Admit, run_id=run_id, plan=PLAN, plan_digest=PLAN.digest(), policy_digest="p")
        parameters = train.model_dump(include={"noise_multiplier", "max_grad_norm", "sample_rate", "steps"})
        for number_of_round in range(1, PLAN.rounds + 1):
            for state, reply in (("reserved", None), ("committed", "0" * 64)):
                yield body(
                    Release,
                    run_id=run_id,
                    round=number_of_round,
                    phase=Phase.TRAIN,
                    request_digest="q",
                    policy_digest="p",
                    state=state,
                    reply_digest=reply,
                    **parameters,
                )
        yield body(Close, run_id=run_id)

    yield body(Genesis, **vars(IDENTITY))
    number = 0
    while True:
        for each in run(number):
            if seq > count:
                return
            yield each
        number += 1


class Subject:
    """A ledger of one size in one storage, filled at once."""

    def __init__(self, backend: str, size: int, store: LedgerStore, marker: FileMarker) -> None:
        self.backend, self.size, self.store, self.marker = backend, size, store, marker
        self.opened_s, self.ledger = timed(lambda: Ledger.open(store, marker, IDENTITY))
        self.times: dict[str, list[float]] = {}

    def time(self, what: str, action: Callable[[], object]) -> None:
        """Do it, and note how long it took."""
        self.times.setdefault(what, []).append(timed(action)[0])

    def median_ms(self, what: str) -> float:
        """The median of what `time` noted."""
        return 1e3 * statistics.median(self.times[what])


def on_disk(size: int, folder: Path) -> Subject:
    store, marker = SqliteStore.create(folder / "ledger.sqlite"), FileMarker(folder / "marker.json")
    with store.exclusive():
        for seq, body in enumerate(entries(size)):
            store.append(seq, body)
            if seq == 0:
                write_marker(marker, Genesis.model_validate_json(body))
    return Subject("disk", size, store, marker)


def in_s3(size: int, folder: Path, objects: ObjectStore) -> Subject:
    prefix, marker = f"v1/ledgers/{size}", FileMarker(folder / "marker.json")
    bodies = list(entries(size))
    write_marker(marker, Genesis.model_validate_json(bodies[0]))
    with ThreadPoolExecutor(8) as executor:
        list(executor.map(lambda each: objects.put_once(f"{prefix}/log/{each[0]:012d}", each[1]), enumerate(bodies)))
    took, _ = timed(lambda: S3Store.open(objects, prefix).claim(1))  # what the first process after that many does
    print(f"s3: {size:,} entries read one by one in {took:.1f} s")
    return Subject("s3", size, S3Store.open(objects, prefix), marker)


def timed(action: Callable[[], object]) -> tuple[float, object]:
    """Seconds it took, and what came of it."""
    began = time.perf_counter()
    result = action()
    return time.perf_counter() - began, result


def bare_insert(folder: Path) -> Callable[[], object]:
    """One insert with fsync, and nothing of ours."""
    connection = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE entries (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")
    body = b"x" * 700
    return lambda: connection.execute("INSERT INTO entries (body) VALUES (?)", (body,))


def measure(subjects: list[Subject], rounds: int, folder: Path) -> list[float]:
    """Take every subject through `rounds` rounds side by side; seconds of the bare inserts."""
    insert, bare, meter = bare_insert(folder), [], {subject: BudgetMeter(DELTA) for subject in subjects}
    for number in range(rounds):
        run_id, of_run = f"bench-{number // PLAN.rounds}", number % PLAN.rounds + 1
        payload = secrets.token_bytes(REPLY_BYTES)
        bare.append(timed(insert)[0])
        for subject in subjects:
            take_round(subject, meter[subject], run_id, of_run, payload)
    for subject in subjects:
        for plan in MINI_BATCH:
            subject.time("admit_mini_batch", partial(admit, subject.ledger, f"mini-{plan.epsilon}", plan))
    return bare


def take_round(subject: Subject, meter: BudgetMeter, run_id: str, number: int, payload: bytes) -> None:
    """What a site does to its ledger for one round; before the first one the run is admitted."""
    ledger = subject.ledger
    if number == 1:
        subject.time("admit", lambda: admit(ledger, run_id, PLAN))
        with ledger.reading() as history:
            meter.read(history, run_id)  # composed once per run, at admission
    subject.time("reserve", lambda: ledger.reserve(run_id, number, Phase.TRAIN, "q"))
    subject.time("commit", lambda: ledger.commit(run_id, number, Phase.TRAIN, "q", payload))
    with ledger.reading() as history:
        subject.time("facts", lambda: meter.read(history, run_id))


def admit(ledger: Ledger, run_id: str, plan: Plan) -> None:
    ledger.admit(run_id, plan, "p", epsilon_limit=LIMIT, delta=DELTA)


def report(subjects: list[Subject], bare: list[float]) -> dict[str, object]:
    """Print the table; the same figures for the file."""
    bare_ms = 1e3 * statistics.median(bare)
    print(f"bare insert with fsync: {bare_ms:.2f} ms (median of {len(bare)})")
    print("                    open      reserve       commit      facts      admit  admit mini-batch")
    print("storage  entries       s    ms (×bare)    ms (×bare)      ms         ms          ms")
    rows = []
    for subject in subjects:
        row = {what: subject.median_ms(what) for what in subject.times}
        rows.append({"storage": subject.backend, "entries": subject.size, "open_s": subject.opened_s, **row})
        print(
            f"{subject.backend:7} {subject.size:8,} {subject.opened_s:7.2f}"
            f" {row['reserve']:7.2f} ({row['reserve'] / bare_ms:4.1f})"
            f" {row['commit']:6.2f} ({row['commit'] / bare_ms:4.1f})"
            f" {row['facts']:7.3f} {row['admit']:10.1f} {row['admit_mini_batch']:12.0f}"
        )
    growth = {}
    for backend in ("disk", "s3"):
        smallest, *_, largest = [subject for subject in subjects if subject.backend == backend]
        growth[backend] = {
            what: largest.median_ms(what) / smallest.median_ms(what) for what in ("reserve", "commit", "facts")
        }
        figures = ", ".join(f"{what} ×{ratio:.2f}" for what, ratio in growth[backend].items())
        print(f"{backend}: from {smallest.size:,} to {largest.size:,} entries {figures}")
    return {"bare_insert_ms": bare_ms, "rounds": len(bare), "ledgers": rows, "growth": growth}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    # Beside the result, so on the disk that ledgers are on: a folder for temporary files may be in memory.
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULT.parent) as name:
        folder = Path(name)
        emulator = Emulator(folder)
        emulator.start()
        try:
            os.environ.update(emulator.environment)
            objects, subjects = emulator.store(), []
            for backend in ("disk", "s3"):
                for size in SIZES:
                    own = folder / f"{backend}-{size}"
                    own.mkdir()
                    subjects.append(on_disk(size, own) if backend == "disk" else in_s3(size, own, objects))
            results = report(subjects, measure(subjects, rounds, folder))
        finally:
            emulator.stop()
    RESULT.write_text(json.dumps(results, indent=1) + "\n")
    print(f"{RESULT}")


if __name__ == "__main__":
    main()
