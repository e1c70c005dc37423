"""The ledger on the site's own disk: SQLite, write-ahead log, synchronous=FULL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from fedpriv_common.errors import ErrorCode, FedprivError

#: How long to wait for another process that is writing.
_BUSY_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS replies (digest TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS entries_kept BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS entries_fixed BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS replies_kept BEFORE DELETE ON replies BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS replies_fixed BEFORE UPDATE ON replies BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""


class SqliteStore:
    """A LedgerStore in one SQLite file. The triggers stop accidents; the hash chain is what detects edits."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def create(cls, path: Path) -> SqliteStore:
        """Make the file and its tables where they are missing, as provisioning does; the result may hold entries."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        store = cls._connect(path)
        store._connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        return store

    @classmethod
    def open(cls, path: Path) -> SqliteStore:
        """Open an existing file; one that is not there is never made, because missing does not mean unspent."""
        if not path.is_file():
            raise FedprivError(
                ErrorCode.LEDGER_MISSING,
                f"There is no ledger at {path}.",
                "Restore it from its backup. Only a data set that was never used may get one by `fedpriv ledger init`.",
            )
        return cls._connect(path)

    @classmethod
    def _connect(cls, path: Path) -> SqliteStore:
        try:
            connection = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode=rw",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error as error:
            raise FedprivError(
                ErrorCode.LEDGER_INVALID, f"{path} cannot be opened as a ledger ({error}).", "Restore it from backup."
            ) from None
        return cls(path, connection)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold SQLite's write lock; commits on leaving, rolls back on an exception."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def read(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Entries with a sequence number above `after`, in order."""
        yield from self._connection.execute("SELECT seq, body FROM entries WHERE seq > ? ORDER BY seq", (after,))

    def append(self, seq: int, body: bytes, reply: tuple[str, bytes] | None = None) -> None:
        """Add an entry and, with it, a reply."""
        self._connection.execute("INSERT INTO entries (seq, body) VALUES (?, ?)", (seq, body))
        if reply is not None:
            self._connection.execute("INSERT OR IGNORE INTO replies (digest, body) VALUES (?, ?)", reply)

    def reply(self, digest: str) -> bytes | None:
        """The stored bytes of a reply."""
        row = self._connection.execute("SELECT body FROM replies WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else bytes(row[0])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
