"""A ledger that was set back, lost, damaged, forked, copied or exchanged is refused, and nothing leaves.

If this failed, restoring yesterday's backup would give a site its spent budget back, and each record more releases
than the statement says. A loss within the ledger shows when it is opened; one of its newest entries shows at the first
request, which carries the head that the server's witness has seen.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fedpriv_client.data.site_data import SiteData
from fedpriv_client.privacy.ledger.ledger import Ledger, LedgerIdentity, Replay
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_client.privacy.policy import Policy
from fedpriv_client.privacy.randomness import SystemRandomness
from fedpriv_client.privacy.requests import RunRequests
from fedpriv_client.site import FloatArray, Site
from fedpriv_client.training import Trainer
from fedpriv_common.errors import ErrorCode, FedprivError, Refusal, RefusalError
from fedpriv_common.plan import Phase, Plan
from fedpriv_common.wire import OK, Operation, Reply, Request
from fedpriv_server.witness import Witness
from tests.unit.client.conftest import CONTRACT, RUN, admission, plan_of, records, release

PLAN = plan_of()
NAME = "site-1"
IDENTITY = LedgerIdentity(CONTRACT.dataset, 0, 1, 0.0, "key", 1)
AT_OPENING = {ErrorCode.LEDGER_MISSING, ErrorCode.LEDGER_INVALID, ErrorCode.LEDGER_MISMATCH, ErrorCode.OTHER_VERSION}


@dataclass
class Hospital:
    """A site with its files, and what its trainer was asked for."""

    folder: Path
    identity: LedgerIdentity = IDENTITY
    trained: int = 0
    data: SiteData = field(default_factory=records)

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.db"

    @property
    def log(self) -> Path:
        return self.folder / "ledger.db-wal"

    @property
    def marker(self) -> Path:
        return self.folder / "marker.json"

    def begin(self) -> Hospital:
        self.folder.mkdir()
        store = SqliteStore.create(self.ledger)
        Ledger.begin(store, self.marker, self.identity)
        store.close()
        return self

    def open(self) -> Ledger:
        return Ledger.open(SqliteStore.open(self.ledger), self.marker, self.identity)

    def site(self, ledger: Ledger) -> Site:
        def make_trainer(plan: Plan) -> Trainer:
            hospital = self

            class Counted(Trainer):
                def release(self, phase: Phase, parameters: FloatArray, centre: FloatArray) -> FloatArray:
                    hospital.trained += 1
                    return super().release(phase, parameters, centre)

            return Counted(plan, self.data, SystemRandomness())

        return Site(CONTRACT, Policy(), ledger, make_trainer, RunRequests(self.folder / "state", "https://hub"))

    def keep(self, name: str) -> Path:
        """A copy of the ledger as it is on the disk, as a backup program or kill -9 would leave it."""
        copy = self.folder / name
        copy.mkdir()
        for file in (self.ledger, self.log):
            with suppress(FileNotFoundError):
                shutil.copy(file, copy)
        return copy

    def put_back(self, copy: Path) -> None:
        for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
            (self.folder / name).unlink(missing_ok=True)
        for file in copy.iterdir():
            shutil.copy(file, self.folder)


class Hub:
    """A server's part: requests that carry its witness, replies that its witness accepts."""

    def __init__(self) -> None:
        self.witness = Witness(CONTRACT.dataset)
        self.replies: dict[tuple[int, Phase], Reply] = {}

    def ask(self, site: Site, request: Request) -> Reply:
        head = self.witness.of(NAME)
        reply = site.handle(replace(request, witness_seq=head.seq, witness_head=head.head))
        if reply.facts is not None:
            self.witness.accept(NAME, reply.facts)
        if reply.code == OK and request.operation is Operation.RELEASE:
            self.replies[(request.round, request.phase)] = reply
        return reply

    def rounds(self, site: Site, numbers: range) -> None:
        for number in numbers:
            assert self.ask(site, release(PLAN, number, "train")).code == OK


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    return Hospital(tmp_path / "hospital").begin()


@pytest.fixture
def hub() -> Hub:
    return Hub()


@dataclass
class History:
    """What the ledger was on its way: `older` in round 2, `killed` now with its log, `now` with all in one file."""

    older: Path
    killed: Path
    now: Path


@pytest.fixture
def past(hospital: Hospital, hub: Hub) -> History:
    ledger = hospital.open()
    site = hospital.site(ledger)
    assert hub.ask(site, admission(PLAN)).code == OK
    assert hub.ask(site, release(PLAN, 0, "centre")).code == OK
    hub.rounds(site, range(1, 3))
    older = hospital.keep("older")
    hub.rounds(site, range(3, 6))
    killed = hospital.keep("killed")
    ledger._store.close()
    return History(older, killed, hospital.keep("now"))


def outcome(hospital: Hospital, hub: Hub) -> ErrorCode | Refusal | None:
    """What a start and the next request come to: the code of a refusal, which lets nothing leave, or None."""
    trained, entries = hospital.trained, _size(hospital.ledger)
    try:
        ledger = hospital.open()
    except FedprivError as error:
        assert error.code in AT_OPENING, error
        assert error.remedy
        return error.code
    reply = hub.ask(hospital.site(ledger), release(PLAN, 6, "train"))
    ledger._store.close()
    if reply.code == OK:
        return None
    assert (reply.payload, reply.facts, hospital.trained) == (b"", None, trained)
    assert _size(hospital.ledger) == entries, "something was written by a request that was refused"
    return Refusal(reply.code)


def _size(path: Path) -> int | None:
    """How many entries the file has; None if that cannot be read."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])
    return None


def test_a_ledger_that_nobody_touched_goes_on(hospital: Hospital, hub: Hub, past: History) -> None:
    for copy in (past.killed, past.now):
        hospital.put_back(copy)
        assert outcome(hospital, hub) is None
        hospital.put_back(past.now)
        hub.witness = Witness(CONTRACT.dataset)


# -- files that are gone, older, or another's ----------------------------------------------------------------------


def forked(hospital: Hospital, past: History) -> None:
    """An older copy that went on by itself, and is as long as the ledger was."""
    hospital.put_back(past.older)
    ledger = hospital.open()
    Hub().rounds(hospital.site(ledger), range(3, 6))
    ledger._store.close()


def begun_anew(hospital: Hospital, _: History) -> None:
    for file in (hospital.ledger, hospital.marker):
        file.unlink()
    Ledger.begin(SqliteStore.create(hospital.ledger), hospital.marker, IDENTITY)._store.close()


def another(hospital: Hospital, *, with_marker: bool, **identity: object) -> None:
    other = Hospital(hospital.folder.with_name("other"), replace(IDENTITY, **identity)).begin()
    shutil.copy(other.ledger, hospital.ledger)
    if with_marker:
        shutil.copy(other.marker, hospital.marker)


def stolen(hospital: Hospital, past: History) -> None:
    """A copy in the place of another site's ledger, marker and all; the other site has a key of its own."""
    hospital.put_back(past.now)
    hospital.identity = replace(IDENTITY, site_key_commitment="another key")


CASES: dict[str, tuple[Callable[[Hospital, History], object], ErrorCode | Refusal]] = {
    "an older copy": (lambda it, past: it.put_back(past.older), Refusal.LEDGER_ROLLED_BACK),
    "a forked chain": (forked, Refusal.LEDGER_ROLLED_BACK),
    "begun anew": (begun_anew, Refusal.LEDGER_ROLLED_BACK),
    "deleted": (lambda it, _: it.ledger.unlink(), ErrorCode.LEDGER_MISSING),
    "emptied": (lambda it, _: it.ledger.write_bytes(b""), ErrorCode.LEDGER_INVALID),
    "no marker": (lambda it, _: it.marker.unlink(), ErrorCode.LEDGER_INVALID),
    "half a marker": (lambda it, _: it.marker.write_bytes(it.marker.read_bytes()[:40]), ErrorCode.LEDGER_INVALID),
    "another's marker": (
        lambda it, _: it.marker.write_text('{"genesis":"' + "0" * 64 + '"}'),
        ErrorCode.LEDGER_INVALID,
    ),
    "another site's": (lambda it, _: another(it, with_marker=False), ErrorCode.LEDGER_INVALID),
    "another data set's": (lambda it, _: another(it, with_marker=False, dataset="x@1"), ErrorCode.LEDGER_INVALID),
    "another data set's, with its marker": (
        lambda it, _: another(it, with_marker=True, dataset="x@1"),
        ErrorCode.LEDGER_MISMATCH,
    ),
    "another partition's, with its marker": (
        lambda it, _: another(it, with_marker=True, partition=1, partitions=2),
        ErrorCode.LEDGER_MISMATCH,
    ),
    "copied to another site": (stolen, ErrorCode.LEDGER_MISMATCH),
}


@pytest.mark.parametrize("how", CASES)
def test_what_is_not_the_ledger_of_this_site_and_moment_is_refused(
    hospital: Hospital, hub: Hub, past: History, how: str
) -> None:
    change, code = CASES[how]
    change(hospital, past)
    for _ in range(2):  # and it stays so
        assert outcome(hospital, hub) is code


def test_a_killed_sites_ledger_whose_log_was_tidied_away_is_refused(
    hospital: Hospital, hub: Hub, past: History
) -> None:
    hospital.put_back(past.killed)
    assert hospital.log.stat().st_size
    hospital.log.unlink()
    assert outcome(hospital, hub) in {Refusal.LEDGER_ROLLED_BACK, ErrorCode.LEDGER_INVALID}


# -- truncated and flipped -----------------------------------------------------------------------------------------

REFUSED, UNTOUCHED = "refused", "nothing that counts was changed"


def damaged(hospital: Hospital, hub: Hub) -> str:
    """What a damaged ledger comes to. It is used only when it ends in the entry that the witness has seen, which names
    all before it, and it sends only what it has sent before."""
    head = hub.witness.of(NAME)
    try:
        ledger = hospital.open()
    except FedprivError as error:
        assert error.code in AT_OPENING, error
        return REFUSED
    try:
        if not ledger.contains(head.seq, head.head):
            return REFUSED
        for (number, phase), sent in hub.replies.items():
            assert ledger.reserve(RUN, number, phase, release(PLAN, number, phase).digest()) == Replay(sent.payload)
    except RefusalError as refusal:
        assert refusal.refusal is Refusal.LEDGER_UNAVAILABLE, refusal
        return REFUSED
    finally:
        ledger._store.close()
    return UNTOUCHED


def positions(file: bytes, parts: list[bytes]) -> list[int]:
    """Where the bytes of the parts are in the file."""
    found = [(file.find(part), len(part)) for part in parts]
    return [start + offset for start, length in found if start >= 0 for offset in range(length)]


def test_one_flipped_byte_is_refused_wherever_it_counts(hospital: Hospital, hub: Hub, past: History) -> None:
    file, log = (past.now / "ledger.db").read_bytes(), (past.killed / "ledger.db-wal").read_bytes()
    with closing(sqlite3.connect(past.now / "ledger.db")) as connection:
        bodies = [body for (body,) in connection.execute("SELECT body FROM entries")]
    entries_at = positions(file, bodies)
    replies_at = positions(file, [reply.payload for reply in hub.replies.values()])
    assert len(entries_at) > 5000
    elsewhere = sorted(set(range(100, len(file))) - set(entries_at) - set(replies_at))
    regions = {
        "header": ("ledger.db", list(range(100)), {REFUSED, UNTOUCHED}),
        "entries": ("ledger.db", random.sample(entries_at, 80), {REFUSED}),
        "replies": ("ledger.db", random.sample(replies_at, 40), {REFUSED}),
        "elsewhere": ("ledger.db", random.sample(elsewhere, 80), {REFUSED, UNTOUCHED}),
        "log's header": ("ledger.db-wal", list(range(32)), {REFUSED}),
        "log": ("ledger.db-wal", random.sample(range(32, len(log)), 80), {REFUSED}),
    }
    for region, (name, places, allowed) in regions.items():
        outcomes: Counter[str] = Counter()
        for place in places:
            hospital.put_back(past.now if name == "ledger.db" else past.killed)
            with (hospital.folder / name).open("r+b") as flipped:
                flipped.seek(place)
                (byte,) = flipped.read(1)
                flipped.seek(place)
                flipped.write(bytes([byte ^ random.randint(1, 255)]))
            came_to = damaged(hospital, hub)
            assert came_to in allowed, f"byte {place} of the {region}: {came_to}"
            outcomes[came_to] += 1
        print(f"{region}: {len(places)} flips, {dict(outcomes)}")


def test_a_truncated_ledger_is_refused(hospital: Hospital, hub: Hub, past: History) -> None:
    for copy, name, unit, first in ((past.now, "ledger.db", 4096, 0), (past.killed, "ledger.db-wal", 4120, 32)):
        size = (copy / name).stat().st_size
        for length in {*range(first, size, unit), *random.sample(range(size), 30), size - 1}:
            hospital.put_back(copy)
            with (hospital.folder / name).open("r+b") as file:
                file.truncate(length)
            assert damaged(hospital, hub) is REFUSED, f"{name} cut to {length} of {size} bytes"
