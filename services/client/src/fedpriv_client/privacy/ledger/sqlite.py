"""The ledger on the site's own disk: SQLite, write-ahead log, synchronous=FULL.

Every COMMIT appends to the log and waits for fsync before it returns, and before others can read what it wrote: what
was read or answered from is on the disk. A COMMIT that fails, as on a full disk, has written nothing that is believed;
the next try starts afresh.
"""

from __future__ import annotations

import os
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
#: SQLite quotes what is damaged in its messages, which then need not be UTF-8.
_ERRORS = (sqlite3.Error, UnicodeDecodeError)

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
        self._files = self._identify_files()
        #: The last entry that was read.
        self._last = (-1, b"")

    @classmethod
    def create(cls, path: Path) -> SqliteStore:
        """Make the file and its tables where they are missing, as provisioning does; the result may hold entries."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        store = cls._connect(path)
        try:
            store._connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except _ERRORS as error:
            raise _fault(path, error) from None
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
            connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone leaves the data in the disk's own cache
            written_as = connection.execute("PRAGMA user_version").fetchone()[0]
        except _ERRORS as error:
            raise _fault(path, error) from None
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

        Raises LEDGER_BUSY when another process holds the write lock and does not let go, LEDGER_UNWRITABLE when the
        disk does not take the claim.
        """
        try:
            with self._transaction():
                self._connection.execute(_HOLDER)
                before = self._newest_token()
                if before < token:
                    self._connection.execute("INSERT OR REPLACE INTO holder (only, token) VALUES (1, ?)", (token,))
        except _ERRORS as error:
            raise _fault(self.path, error) from None
        if before < token:
            self._token = token
        return before

    def shut_out(self) -> bool:
        """Whether another claim has come after this store's own."""
        return self._token is not None and self._newest_token() != self._token

    def _newest_token(self) -> int:
        row = self._connection.execute("SELECT token FROM holder").fetchone()
        return -1 if row is None else int(row[0])

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold SQLite's write lock; commits on leaving, rolls back on an exception.

        Raises OSError when the files that were opened are no longer the ones at the ledger's path: what was written
        would be gone with the next start.
        """
        with self._transaction():
            if self.shut_out():
                raise LedgerHeldError(f"{self.path} is held under a newer token than {self._token}")
            yield
        if self._identify_files() != self._files:
            raise OSError(f"{self.path} or its -wal was replaced while it was open: restore the newest, then restart")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # After some failures, as on a full disk, SQLite has rolled back by itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _identify_files(self) -> tuple[tuple[int, int], ...]:
        """Device and inode of the database and its log; as long as this connection is open, nobody replaces them."""
        found = [os.stat(f"{self.path}{suffix}") for suffix in ("", "-wal")]  # noqa: PTH116 - no path of its own
        return tuple((file.st_dev, file.st_ino) for file in found)

    def read(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Entries with a sequence number above `after`, in order.

        Raises ValueError when the last one that was read before is not there any more, as after an older copy was
        written over the file.
        """
        last = self._last[0]
        goes_on = after >= last >= 0
        first = last if goes_on else after + 1
        rows = self._connection.execute("SELECT seq, body FROM entries WHERE seq >= ? ORDER BY seq", (first,))
        if goes_on and next(rows, None) != self._last:
            raise ValueError(f"entry {last} is gone or changed: another copy was written over {self.path}")
        for seq, body in rows:
            self._last = seq, body
            yield seq, body

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


#: SQLite's primary result codes for files that are at fault themselves, and for a lock that others hold.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _fault(path: Path, error: Exception) -> FedprivError:
    """What a person must do about an SQLite error at a ledger."""
    primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if primary in _LOCKED:
        return FedprivError(
            ErrorCode.LEDGER_BUSY,
            f"The ledger at {path} is being written by another process ({error}).",
            "End that process if it hangs; nothing was changed.",
        )
    if primary in _DAMAGED:
        return FedprivError(
            ErrorCode.LEDGER_INVALID, f"{path} cannot be opened as a ledger ({error}).", "Restore it from backup."
        )
    return FedprivError(
        ErrorCode.LEDGER_UNWRITABLE,
        f"The ledger at {path} cannot be written ({error}).",
        "Free disk space, or let this user write the file and its folder; nothing was changed.",
    )
