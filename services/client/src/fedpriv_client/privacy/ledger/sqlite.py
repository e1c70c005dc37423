"""The ledger on the site's own disk: SQLite, write-ahead log, synchronous=FULL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from fedpriv_client.privacy.ledger.store import LedgerHeldError
from fedpriv_common.errors import ErrorCode, FedprivError

#: Version of the file's form, in SQLite's user_version; 0 is what files had before there was one, and the same form.
_FORMAT = 1
#: How long to wait for another process that is writing.
_BUSY_SECONDS = 30.0

_SCHEMA = f"""
PRAGMA user_version = {_FORMAT};
CREATE TABLE IF NOT EXISTS entries (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS replies (digest TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS entries_kept BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS entries_fixed BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS replies_kept BEFORE DELETE ON replies BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS replies_fixed BEFORE UPDATE ON replies BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""
# Made by the first claim. It has one row, whose token only grows, and so fences off former holders (see lease.py).
_HOLDER = "CREATE TABLE IF NOT EXISTS holder (only INTEGER PRIMARY KEY CHECK (only = 1), token INTEGER NOT NULL) STRICT"


class SqliteStore:
    """A LedgerStore in one SQLite file. The triggers stop accidents; the hash chain is what detects edits."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._token: int | None = None

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
            written_as = connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise FedprivError(
                ErrorCode.LEDGER_INVALID, f"{path} cannot be opened as a ledger ({error}).", "Restore it from backup."
            ) from None
        if written_as > _FORMAT:
            connection.close()
            raise FedprivError(
                ErrorCode.OTHER_VERSION,
                f"The ledger at {path} has form {written_as}, this version knows forms up to {_FORMAT}.",
                "Run the version that wrote it.",
            )
        return cls(path, connection)

    def claim(self, token: int) -> int:
        """Shut out every holder with a lower token; returns the highest token before, −1 if there was none.

        Raises LEDGER_BUSY when another process holds the write lock and does not let go.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise FedprivError(
                ErrorCode.LEDGER_BUSY,
                f"The ledger at {self.path} is being written by another process ({error}).",
                "End that process if it hangs; nothing was changed.",
            ) from None
        self._connection.execute(_HOLDER)
        before = self._newest_token()
        if before < token:
            self._connection.execute("INSERT OR REPLACE INTO holder (only, token) VALUES (1, ?)", (token,))
            self._token = token
        self._connection.execute("COMMIT")
        return before

    def shut_out(self) -> bool:
        """Whether another claim has come after this store's own."""
        return self._token is not None and self._newest_token() != self._token

    def _newest_token(self) -> int:
        row = self._connection.execute("SELECT token FROM holder").fetchone()
        return -1 if row is None else int(row[0])

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold SQLite's write lock; commits on leaving, rolls back on an exception."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if self.shut_out():
                raise LedgerHeldError(f"{self.path} is held under a newer token than {self._token}")
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
