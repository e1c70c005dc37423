"""One ledger in each kind of storage, and what an intruder could do to it there. Both answer to the same names."""

from __future__ import annotations

import multiprocessing
import secrets
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from fedpriv_client.privacy.ledger.ledger import Ledger, LedgerIdentity
from fedpriv_client.privacy.ledger.marker import FileMarker, Marker, ObjectMarker
from fedpriv_client.privacy.ledger.s3 import S3Store
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_client.privacy.ledger.store import LedgerStore
from fedpriv_common.contract import load_contract
from fedpriv_common.plan import Phase, RunSettings, make_plan
from fedpriv_common.store import ObjectStore

IDENTITY = LedgerIdentity(
    dataset="breast-cancer-wisconsin@1",
    partition=0,
    partitions=3,
    held_out_share=0.0,
    site_key_commitment="c",
    canonical_form=1,
)
PLAN = make_plan(RunSettings(epsilon=1.0), load_contract("breast-cancer-wisconsin"))
OTHER_PLAN = make_plan(RunSettings(epsilon=0.5), load_contract("breast-cancer-wisconsin"))
DELTA = 1e-5


def admit(ledger, run_id="A", plan=PLAN, limit=8.0):
    ledger.admit(run_id, plan, "policy", epsilon_limit=limit, delta=DELTA)


class Place(ABC):
    """Where one ledger is; every `open` is what a new process does."""

    @abstractmethod
    def create(self) -> LedgerStore:
        """The storage, as provisioning makes it."""

    @abstractmethod
    def store(self) -> LedgerStore:
        """The storage, which must be there."""

    @abstractmethod
    def marker(self) -> Marker:
        """The genesis marker."""

    def begin(self) -> Ledger:
        """The ledger, begun."""
        return Ledger.begin(self.create(), self.marker(), IDENTITY)

    def open(self, identity: LedgerIdentity = IDENTITY) -> Ledger:
        """The ledger, verified."""
        return Ledger.open(self.store(), self.marker(), identity)


@dataclass(frozen=True)
class OnDisk(Place):
    folder: Path

    @property
    def path(self):
        return self.folder / "ledger.db"

    def create(self):
        return SqliteStore.create(self.path)

    def store(self):
        return SqliteStore.open(self.path)

    def marker(self):
        return FileMarker(self.folder / "marker" / "genesis.json")

    def another(self):
        folder = self.folder / "other"
        folder.mkdir()
        return OnDisk(folder)

    def lose(self):
        for file in self.folder.glob("ledger.db*"):
            file.unlink()

    def lose_marker(self):
        (self.folder / "marker" / "genesis.json").unlink()

    def edit(self, seq: int, change: Callable[[bytes], bytes]):
        self._tamper("UPDATE entries SET body = ? WHERE seq = ?", lambda body: (change(body), seq), seq)

    def remove(self, seq: int):
        self._tamper("DELETE FROM entries WHERE seq = ?", lambda _: (seq,), seq)

    def renumber(self, seq: int, to: int):
        self._tamper("UPDATE entries SET seq = ? WHERE seq = ?", lambda _: (to, seq), seq)

    def change_replies(self):
        self._tamper("UPDATE replies SET body = CAST('other' AS BLOB)", lambda _: (), 0)

    def take_place_of(self, other):
        """Copy all of it over the other one's storage; the marker stays."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.lose()
        other.path.write_bytes(self.path.read_bytes())

    def _tamper(self, statement, arguments, seq):
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            for name in ("entries_kept", "entries_fixed", "replies_kept", "replies_fixed"):
                connection.execute(f"DROP TRIGGER IF EXISTS {name}")
            (body,) = connection.execute("SELECT body FROM entries WHERE seq = ?", (seq,)).fetchone()
            connection.execute(statement, arguments(body))


@dataclass(frozen=True)
class InS3(Place):
    """As long as nobody claims the ledger, entry n is object n of the log."""

    bucket: str
    kms_key: str
    objects: ObjectStore
    prefix: str

    @classmethod
    def fresh(cls, objects: ObjectStore):
        return cls(objects.bucket, objects.kms_key_id, objects, f"v1/ledgers/{secrets.token_hex(6)}/0")

    def __reduce__(self):
        # In another process, with a connection of its own.
        return _in_another_process, (self.bucket, self.kms_key, self.prefix)

    def create(self):
        return S3Store(self.objects, self.prefix)

    def store(self):
        return S3Store.open(self.objects, self.prefix)

    def marker(self):
        return ObjectMarker(self.objects, f"v1/markers/{self.prefix}")

    def another(self):
        return replace(self, prefix=f"{self.prefix}-other")

    def lose(self):
        for key in self._keys():
            self._delete(key)

    def lose_marker(self):
        self._delete(f"v1/markers/{self.prefix}")

    def edit(self, seq: int, change: Callable[[bytes], bytes]):
        self._put(self._key(seq), change(self.objects.get(self._key(seq))))

    def remove(self, seq: int):
        self._delete(self._key(seq))

    def renumber(self, seq: int, to: int):
        self._put(self._key(to), self.objects.get(self._key(seq)))
        self.remove(seq)

    def change_replies(self):
        for key in self.objects.list_keys(f"{self.prefix}/replies/"):
            self._put(key, b"other")

    def take_place_of(self, other):
        other.lose()
        for key in self._keys():
            self._put(other.prefix + key.removeprefix(self.prefix), self.objects.get(key))

    def _keys(self):
        return list(self.objects.list_keys(f"{self.prefix}/"))

    def _key(self, number: int):
        return f"{self.prefix}/log/{number:012d}"

    def _put(self, key, body):
        self.objects.client.put_object(Bucket=self.bucket, Key=key, Body=body)

    def _delete(self, key):
        self.objects.client.delete_object(Bucket=self.bucket, Key=key)


def _in_another_process(bucket, kms_key, prefix):
    return InS3(bucket, kms_key, ObjectStore.connect(bucket, kms_key), prefix)


def race(place: Place) -> None:
    """Two processes answer the same rounds of one run at once: each round has one answer, and is charged once."""
    admit(place.begin())
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    racers = [context.Process(target=_race, args=(place, barrier, results)) for _ in range(2)]
    for racer in racers:
        racer.start()
    sent = [results.get(timeout=120) for _ in range(2 * PLAN.rounds)]
    for racer in racers:
        racer.join(30)
        assert racer.exitcode == 0
    for number in range(1, PLAN.rounds + 1):
        assert len({payload for round_number, payload in sent if round_number == number}) == 1
    assert len(list(place.open().export())) == PLAN.rounds


def _race(place, barrier, results):
    ledger = place.open()
    barrier.wait(60)
    for number in range(1, PLAN.rounds + 1):
        ledger.reserve("A", number, Phase.TRAIN, f"q{number}")
        payload = f"{multiprocessing.current_process().pid}-{number}".encode()
        results.put((number, ledger.commit("A", number, Phase.TRAIN, f"q{number}", payload)))
