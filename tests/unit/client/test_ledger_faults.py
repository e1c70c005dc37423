"""Faults of the disk under a ledger: refused while they last, nothing unpaid leaves, and afterwards it goes on."""

import resource
import shutil
import sqlite3
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest

from fedpriv_client.privacy.ledger import ledger as ledger_module
from fedpriv_client.privacy.ledger.entries import now, parse_entry
from fedpriv_client.privacy.ledger.ledger import Replay, Reserved
from fedpriv_common.errors import ErrorCode, FedprivError, Refusal, RefusalError
from fedpriv_common.plan import Phase
from tests.unit.client.ledgers import OnDisk, admit

WHERE = ("A", 1, Phase.TRAIN, "q")


@pytest.fixture
def place(tmp_path):
    return OnDisk(tmp_path)


@contextmanager
def full_disk(size):
    """No file of this process may grow beyond `size` bytes: writes fail as on a full disk, for real."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def log_of(place):
    return place.path.with_name("ledger.db-wal")


def refusal_of(action, *arguments):
    with pytest.raises(RefusalError) as raised:
        action(*arguments)
    return raised.value.refusal


def error_of(action):
    with pytest.raises(FedprivError) as raised:
        action()
    return raised.value.code


def test_a_full_disk_refuses_each_step_and_once_there_is_space_the_same_step_goes_on(place):
    ledger = place.begin()
    for step, result in (
        (lambda: admit(ledger), None),
        (lambda: ledger.reserve(*WHERE), Reserved()),
        (lambda: ledger.commit(*WHERE, b"bytes"), b"bytes"),
        (lambda: ledger.close("A"), None),
    ):
        before = list(place.open().export())
        with full_disk(log_of(place).stat().st_size):
            for _ in range(2):  # the second failure must not find the first one's transaction
                assert refusal_of(step) is Refusal.LEDGER_UNAVAILABLE
        assert list(place.open().export()) == before
        assert step() == step() == result
    assert ledger.reserve(*WHERE) == Replay(b"bytes")


def test_a_payload_that_fills_the_disk_before_its_commit_is_refused_by_its_cause(place):
    """SQLite writes ahead of COMMIT when its cache is full, and rolls back by itself when that fails."""
    ledger = place.begin()
    admit(ledger)
    ledger.reserve(*WHERE)
    with full_disk(log_of(place).stat().st_size), pytest.raises(RefusalError, match=r"full|I/O"):
        ledger.commit(*WHERE, bytes(5_000_000))
    assert ledger.commit(*WHERE, bytes(5_000_000)) == bytes(5_000_000)


def test_a_beginning_on_a_full_disk_is_told_and_completed_later(place):
    with full_disk(10_000):
        assert error_of(place.begin) is ErrorCode.LEDGER_UNWRITABLE
    place.create()
    with full_disk(100):
        assert error_of(place.begin) is ErrorCode.LEDGER_UNWRITABLE
    with full_disk(0), pytest.raises(OSError, match="large"):
        place.marker().write(b"{}")
    assert list(place.folder.glob("marker/*")) == list(place.folder.glob("marker/.*")) == []
    place.begin()
    assert place.open().contains(-1, "")


def test_a_claim_that_the_disk_does_not_take_does_not_hold(place):
    place.begin()
    store = place.store()
    with full_disk(log_of(place).stat().st_size):
        assert error_of(lambda: store.claim(1)) is ErrorCode.LEDGER_UNWRITABLE
    assert not store.shut_out()
    assert place.store().claim(1) == -1


def test_a_clock_that_goes_back_changes_nothing(place, monkeypatch):
    ledger = place.begin()
    monkeypatch.setattr(ledger_module, "now", lambda: now() + timedelta(days=400))
    admit(ledger)
    ledger.reserve(*WHERE)
    monkeypatch.undo()
    assert ledger.commit(*WHERE, b"bytes") == b"bytes"
    bodies = [parse_entry(body) for _, body in place.store().read(-1)]
    assert bodies[-1].at < bodies[-2].at
    assert place.open().reserve(*WHERE) == Replay(b"bytes")


REPLACED = {
    "deleted": lambda place, _: place.path.unlink(),
    "an older copy moved over it": lambda place, old: old.rename(place.path),
    "its log deleted": lambda place, _: log_of(place).unlink(),
    "its folder moved": lambda place, _: place.folder.rename(place.folder.with_name("moved")),
}


@pytest.mark.parametrize("how", REPLACED)
def test_a_ledger_that_is_replaced_while_it_is_open_takes_and_gives_nothing_more(place, how, tmp_path):
    ledger = place.begin()
    admit(ledger)
    ledger.reserve("A", 2, Phase.TRAIN, "r")
    ledger.commit("A", 2, Phase.TRAIN, "r", b"bytes")
    ledger.reserve(*WHERE)
    old = tmp_path / "old.db"
    shutil.copy(place.path, old)
    REPLACED[how](place, old)
    for action in (
        lambda: ledger.reserve("A", 3, Phase.TRAIN, "s"),
        lambda: ledger.commit(*WHERE, b"late"),
        lambda: ledger.reserve("A", 2, Phase.TRAIN, "r"),
        lambda: admit(ledger, "B"),
    ):
        assert refusal_of(action) is Refusal.LEDGER_UNAVAILABLE


def test_an_older_copy_written_over_an_open_ledger_is_seen_at_the_next_request(place):
    admit(place.begin())
    with closing(sqlite3.connect(place.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    old = place.path.read_bytes()
    ledger = place.open()
    ledger.reserve(*WHERE)
    with ledger.reading() as history:
        seen = history.seq, history.head
    with closing(sqlite3.connect(place.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with place.path.open("r+b") as file:
        file.write(old)
        file.truncate()
    assert refusal_of(ledger.contains, *seen) is Refusal.LEDGER_UNAVAILABLE
    assert refusal_of(ledger.reserve, *WHERE) is Refusal.LEDGER_UNAVAILABLE


def test_a_ledger_that_sqlite_cannot_put_into_words_is_damaged_nonetheless(place):
    """Its message quotes the damaged statement, which is no UTF-8."""
    place.begin()
    with closing(sqlite3.connect(place.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file = place.path.read_bytes()
    place.path.write_bytes(file.replace(b"CREATE TABLE entries (", b"CREATE TABLE entries \xaa"))
    assert error_of(place.open) is ErrorCode.LEDGER_INVALID
