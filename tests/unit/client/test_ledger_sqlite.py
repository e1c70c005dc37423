"""What only the ledger on disk can meet."""

import sqlite3
from contextlib import closing

import pytest

from fedpriv_common.errors import ErrorCode, FedprivError
from tests.unit.client.ledgers import OnDisk


@pytest.fixture
def place(tmp_path):
    place = OnDisk(tmp_path)
    place.begin()
    return place


def test_a_ledger_that_is_being_written_cannot_be_claimed(place, monkeypatch):
    monkeypatch.setattr("fedpriv_client.privacy.ledger.sqlite._BUSY_SECONDS", 0.1)
    paused, other = place.store(), place.store()
    with paused.exclusive(), pytest.raises(FedprivError, match="being written") as raised:
        other.claim(1)
    assert raised.value.code is ErrorCode.LEDGER_BUSY
    assert other.claim(1) == -1


def test_a_ledger_of_a_newer_form_is_left_alone(place):
    with closing(sqlite3.connect(place.path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(FedprivError, match="form 2") as raised:
        place.open()
    assert raised.value.code is ErrorCode.OTHER_VERSION


@pytest.mark.parametrize("statement", ["DELETE FROM entries", "UPDATE entries SET seq = 9", "DELETE FROM replies"])
def test_the_file_itself_stops_accidents(place, statement):
    place.store().append(1, b"{}", ("digest", b"reply"))
    with closing(sqlite3.connect(place.path)) as connection, pytest.raises(sqlite3.DatabaseError, match="append-only"):
        connection.execute(statement)
