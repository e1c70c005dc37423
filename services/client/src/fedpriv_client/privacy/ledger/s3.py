"""The ledger in S3, for tasks without a disk: one log of objects, each put once and never again.

    {prefix}/log/000000000000      the genesis entry
    {prefix}/log/000000000001      a claim: {"claim": 1, "holder": "…"}
    {prefix}/log/000000000002      an entry
    {prefix}/replies/{digest}      a reply, sealed; the key is in the object of its entry
    {prefix}/packs/000000000       a copy of the log's first thousand objects, for opening it fast (s3_packs.py)

S3 has no lock. What takes its place is the order of the log: whoever wants to write has read every object there is,
and puts the next one with `If-None-Match: *`. The put succeeds only if nothing has come since, so what was decided
from the log still holds at the moment of writing:

    A, token 1   read 0…7 ──────────── put 8 ─> 412: OvertakenError, decide again from what 8 says
    B, token 1     read 0…7 ── put 8 ─> 200

Claims are objects of the same log, which is what shuts former holders out for good. A writer that was paused, for
however long, between its look at the log and its put meets the claim in the very place that it wanted:

    A, token 1   read 0…7 ───(paused)───────────────── put 8 ─> 412, reads claim 2: LedgerHeldError
    B, token 2               read 0…7 ── claim 2 as 8 ─> 200

If A's put comes first, B's claim gets the 412, and B reads A's entry before it claims: it was A's turn still. There is
no third order, so no entry of a former holder ever follows a newer claim, and no bytes of one are ever committed.

A put whose answer was lost is repeated and meets 412; then the bytes that are there tell whose they are. Entries name
their moment, their predecessor and the digest of their reply, claims a number drawn for them: equal bytes are our own,
or say exactly what ours said. A reply goes first, sealed with a key of its own, and its entry after, in one object with
that key: a committed entry without its reply cannot come about, and what was sealed for an entry that was never written
can be read by nobody. Two tries of one round have independent noise; together they would tell more than was charged.
Kept apart, replies need not be loaded to read the log.

Losses show: each look begins at the last object that was known, which must be there as it was, and from there on the
numbers must follow each other without a gap. Objects that were cut off before this process began are what the witness
is for, as with every other storage.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedpriv_client.privacy.ledger.s3_packs import PACK_SIZE, Packs
from fedpriv_client.privacy.ledger.store import LedgerHeldError, OvertakenError
from fedpriv_common.canonical import canonical_json, sha256_hex
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.store import ObjectStore

#: How often a claim is tried while others write.
_CLAIM_ATTEMPTS: Final = 5
#: Objects that are fetched at a time while a ledger is opened.
_PARALLEL: Final = 16
#: How claims begin. An entry cannot: its keys are sorted, and it has an `at`.
_CLAIM_START: Final = b'{"claim":'
#: A key seals one reply only, so every one may have the same.
_NONCE: Final = bytes(12)


class S3Store:
    """A LedgerStore of the objects below one prefix.

    Everything raises STORE_UNAVAILABLE when S3 declines or cannot be reached, LEDGER_INVALID when an object is missing.
    """

    def __init__(self, objects: ObjectStore, prefix: str) -> None:
        """`prefix` is the ledger's own; it has no slash at its end."""
        self._objects = objects
        self._prefix = prefix
        self._packs = Packs(objects, prefix)
        self._token: int | None = None
        self._inside = False
        self._rewind()

    def __str__(self) -> str:
        return f"s3://{self._objects.bucket}/{self._prefix}"

    @classmethod
    def open(cls, objects: ObjectStore, prefix: str) -> S3Store:
        """Open a ledger that was begun; raises LEDGER_MISSING without one, because missing does not mean unspent."""
        store = cls(objects, prefix)
        if next(objects.list_keys(store._key_of_log()), None) is None:
            raise FedprivError(
                ErrorCode.LEDGER_MISSING,
                f"There is no ledger at {store}.",
                "Look for its objects' older versions, which the bucket keeps. Only a data set that was never used "
                "may get a ledger by `fedpriv ledger init`.",
            )
        return store

    def claim(self, token: int) -> int:
        """Shut out every holder with a lower token; returns the highest token before, −1 if there was none.

        Raises LEDGER_BUSY when others write without pause.
        """
        body = canonical_json({"claim": token, "holder": secrets.token_hex(8)})
        for _ in range(_CLAIM_ATTEMPTS):
            try:
                self._look(pack=True)
                before = self._newest
                if before < token:
                    self._put(body)
                    self._token = token
            except OvertakenError:
                continue
            return before
        raise FedprivError(
            ErrorCode.LEDGER_BUSY,
            f"The ledger at {self} is being written by another process.",
            "End that process; nothing was changed.",
        )

    def shut_out(self) -> bool:
        """Whether another claim has come after this store's own."""
        if self._token is None:
            return False
        self._look()
        return self._is_shut_out()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Read what is new; `append`, once, then succeeds only if nothing else has come."""
        self._look()
        self._refuse_former_holder()
        self._inside = True
        try:
            yield
        finally:
            self._inside = False

    def read(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Entries with a sequence number above `after`, in order."""
        if after + 1 < self._entries - len(self._unread):
            self._rewind()
        if not self._inside or not self._slots:
            self._look()
        while self._unread:
            seq, body = self._unread.popleft()
            if seq > after:
                yield seq, body

    def append(self, seq: int, body: bytes, reply: tuple[str, bytes] | None = None) -> None:
        """Add an entry after its reply; raises OvertakenError when something else is in its place."""
        self._refuse_former_holder()
        if seq != self._entries:
            raise FileExistsError(f"entry {seq} cannot follow {self._entries} entries")
        self._put(body if reply is None else body + b"\n" + self._put_sealed(*reply))

    def reply(self, digest: str) -> bytes | None:
        """The stored bytes of a reply; None where they are gone or were changed."""
        name, key = self._seals.get(digest, ("", b""))
        sealed = self._objects.get(self._key_of_reply(name)) if name else None
        if sealed is None:
            return None
        try:
            return AESGCM(key).decrypt(_NONCE, sealed, digest.encode())
        except (InvalidTag, ValueError):
            return None

    def _put_sealed(self, digest: str, payload: bytes) -> bytes:
        """Store a reply that cannot be read yet; returns what its entry's object has to say of it."""
        key = secrets.token_bytes(32)
        sealed = AESGCM(key).encrypt(_NONCE, payload, digest.encode())
        name = sha256_hex(sealed)
        self._objects.put_once(self._key_of_reply(name), sealed, "application/octet-stream")
        return canonical_json({"key": key.hex(), "name": name, "reply": digest})

    def close(self) -> None:
        """There is nothing to release."""

    # -- the log -------------------------------------------------------------------------------------------------

    def _rewind(self) -> None:
        #: Objects of the log that are known, entries among them, and the newest claim's token.
        self._slots, self._entries, self._newest = 0, 0, -1
        #: Number and ETag of the last object that was listed.
        self._last = (-1, "")
        #: Name and key of each reply, by the digest of its bytes.
        self._seals: dict[str, tuple[str, bytes]] = {}
        #: Entries that are known and were not read yet.
        self._unread: deque[tuple[int, bytes]] = deque()

    def _look(self, pack: bool = False) -> None:
        """Take in what others wrote; `pack` what has no pack yet."""
        first = max(0, self._slots - 1)  # the last one that is known must be there still
        listed = list(self._objects.list_objects(self._key_of_log(), self._key_of_log(first - 1) if first else ""))
        for number, (key, _) in enumerate(listed, first):
            if key != self._key_of_log(number):
                raise self._damaged(f"object {self._key_of_log(number)} is missing before {key}")
        end = first + len(listed)
        if end < self._slots:
            raise self._damaged(f"object {self._key_of_log(first)} is gone")
        if self._last[0] == first and self._last != (first, listed[0][1]):
            raise self._damaged(f"object {self._key_of_log(first)} was written again since it was read")
        if listed:
            self._last = end - 1, listed[-1][1]
        while self._slots < end:
            until = min(end, self._slots + PACK_SIZE - self._slots % PACK_SIZE)
            for body in self._fetch(listed[self._slots - first : until - first], pack):
                self._take(body)

    def _fetch(self, listed: list[tuple[str, str]], pack: bool) -> list[bytes]:
        """What the next objects hold, up to PACK_SIZE of them: from their pack if they have one."""
        keys, etags = zip(*listed, strict=True)
        number = self._slots // PACK_SIZE
        packed = self._packs.read(number, etags) if len(listed) == PACK_SIZE else None
        if packed is not None:
            return packed
        bodies = self._fetch_each(keys)
        if pack and len(listed) == PACK_SIZE:
            self._packs.write(number, etags, bodies)
        return bodies

    def _fetch_each(self, keys: Sequence[str]) -> list[bytes]:
        bodies = []
        executor = ThreadPoolExecutor(_PARALLEL)
        try:
            for key, body in zip(keys, executor.map(self._objects.get, keys), strict=True):
                if body is None:
                    raise self._damaged(f"object {key} is gone")
                bodies.append(body)
        finally:
            executor.shutdown(cancel_futures=True)
        return bodies

    def _put(self, body: bytes) -> None:
        """Write the next object of the log, or learn that another was first."""
        try:
            self._objects.put_once(self._key_of_log(self._slots), body)
        except FedprivError as error:
            if error.code is ErrorCode.STORE_CONFLICT:
                raise OvertakenError(f"{self._key_of_log(self._slots)} was written by another process") from None
            raise
        self._take(body)

    def _take(self, body: bytes) -> None:
        if body.startswith(_CLAIM_START):
            try:
                self._newest = int(json.loads(body)["claim"])
            except (ValueError, TypeError):
                raise self._damaged(f"object {self._key_of_log(self._slots)} is no claim") from None
        else:
            entry, _, seal = body.partition(b"\n")
            if seal:
                try:
                    said = json.loads(seal)
                    self._seals[said["reply"]] = str(said["name"]), bytes.fromhex(said["key"])
                except (ValueError, TypeError, KeyError):
                    raise self._damaged(f"object {self._key_of_log(self._slots)} has no seal") from None
            self._unread.append((self._entries, entry))
            self._entries += 1
        self._slots += 1

    def _is_shut_out(self) -> bool:
        return self._token is not None and self._newest != self._token

    def _refuse_former_holder(self) -> None:
        if self._is_shut_out():
            raise LedgerHeldError(f"{self._prefix} is held under token {self._newest}, newer than {self._token}")

    def _damaged(self, fault: str) -> FedprivError:
        return FedprivError(
            ErrorCode.LEDGER_INVALID,
            f"The ledger at {self} is damaged: {fault}.",
            "Nothing more is released from this data set until the older versions, which the bucket keeps, are back.",
        )

    def _key_of_log(self, number: int | None = None) -> str:
        return f"{self._prefix}/log/" + ("" if number is None else f"{number:012d}")

    def _key_of_reply(self, name: str) -> str:
        return f"{self._prefix}/replies/{name}"
