"""What the bucket says beside its runs: starts of servers, allow-lists, privacy statements, witness objects.

Read by a task of its own, slowly, since nothing here is urgent. Its requests depend on objects, never on viewers:

    every 30 s      one LIST of terms and one of allow-lists, one GET for each that is new
    every 10 min    one LIST of the witness objects for each thousand of them, and no GET
    once per run    one GET of its statement when it has ended; again, ever later, while the signature is awaited

Of statements it keeps the digest and what each part says of its ledger. The figures are believed for as long as they
are shown as what the object says: whether the object is genuine is for the check to tell (check.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fedpriv_common import keys
from fedpriv_common.canonical import sha256_hex
from fedpriv_common.errors import FedprivError
from fedpriv_common.records import AllowList, Digest, SiteName
from fedpriv_common.store import ObjectStore

log = logging.getLogger(__name__)

#: Seconds between looks for new terms and allow-lists.
SWEEP_S = 30.0
#: Seconds between listings of the witness objects.
WITNESS_S = 600.0
#: Longest pause before a statement that was not there is asked for again, seconds.
LONGEST_WAIT_S = 600.0
#: Objects got in one look; the rest waits for the next.
MOST_GETS = 200
#: Witness objects whose keys are listed.
MOST_WITNESSES = 50_000
#: Newest runs whose statements are read.
MOST_STATEMENTS = 1000
#: Bytes of a statement; a thousand rounds of a hundred sites, each with an audit, are a third of it.
MOST_BYTES = 64_000_000

ALLOW_LISTS = "v1/allow-list/"
WITNESSES = "v1/witness/"

ModelT = TypeVar("ModelT", bound=BaseModel)


class TermStarted(BaseModel):
    """`v1/terms/{n}.json`: the start of a server. The one before stands down."""

    model_config = ConfigDict(frozen=True)

    started_at: AwareDatetime


class _Told(BaseModel):
    """The fields of a statement that are read here; a later version may have others."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ToldLedger(_Told):
    """What a part says of the ledger that it was made from."""

    genesis: Digest
    partition: int
    partitions: int
    seq: int
    head: Digest


class _ToldPart(_Told):
    dataset: str
    ledger: ToldLedger


class _ToldSignature(_Told):
    key: Digest


class _ToldSigned(_Told):
    part: _ToldPart
    signature: _ToldSignature


class _ToldSection(_Told):
    site: SiteName
    signed: _ToldSigned | None


class _ToldBody(_Told):
    at: AwareDatetime
    sections: tuple[_ToldSection, ...]


class _ToldStatement(_Told):
    statement: _ToldBody


@dataclass(frozen=True, slots=True)
class StatementFacts:
    """Of one run's statement: its object, its digest, and what its parts say of their ledgers, by site."""

    run_id: str
    object: str
    digest: str
    #: None where the object is no statement that can be read.
    at: datetime | None
    dataset: str
    ledgers: Mapping[str, ToldLedger]
    unsigned: tuple[str, ...]


@dataclass(slots=True)
class Registry:
    """What was read so far. Read and changed in the event loop only."""

    terms: dict[int, TermStarted] = field(default_factory=dict)
    allow_lists: dict[str, AllowList] = field(default_factory=dict)
    statements: dict[str, StatementFacts] = field(default_factory=dict)
    #: Highest entry number witnessed, and its object, by site and data set.
    witnessed: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    witnesses: int = 0
    #: Keys of objects that are not what they should be, and when each was met.
    malformed: dict[str, datetime] = field(default_factory=dict)
    read_at: datetime | None = None
    #: Grows with every change.
    revision: int = 0

    def apply(self, found: Found) -> None:
        """Take over what a look found."""
        before = (len(self.terms), len(self.allow_lists), len(self.statements), self.witnesses, len(self.malformed))
        self.terms |= found.terms
        self.allow_lists |= found.allow_lists
        self.statements |= found.statements
        self.malformed = found.malformed | self.malformed
        if found.witnessed is not None:
            self.witnessed, self.witnesses = found.witnessed, found.witnesses
        after = (len(self.terms), len(self.allow_lists), len(self.statements), self.witnesses, len(self.malformed))
        self.revision += before != after
        self.read_at = found.read_at or self.read_at


@dataclass(slots=True)
class Found:
    """What one look found."""

    terms: dict[int, TermStarted] = field(default_factory=dict)
    allow_lists: dict[str, AllowList] = field(default_factory=dict)
    statements: dict[str, StatementFacts] = field(default_factory=dict)
    witnessed: dict[tuple[str, str], tuple[int, str]] | None = None
    witnesses: int = 0
    malformed: dict[str, datetime] = field(default_factory=dict)
    #: When terms and allow-lists were listed to their ends; None when this look did not.
    read_at: datetime | None = None


class RegistryReader:
    """Looks into the bucket. One look at a time; it blocks, so it has a thread."""

    def __init__(self, store: ObjectStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._read: set[str] = set()
        self._swept_at: float | None = None
        self._witnessed_at: float | None = None
        #: By run whose statement was not there: when to ask again, and the pause after that.
        self._awaited: dict[str, tuple[float, float]] = {}

    def look(self, ended: Iterable[str]) -> Found:
        """What is new. `ended`: runs that have ended with a model and whose statement is not known, newest first.

        Raises STORE_UNAVAILABLE; what was found before is found again by the next look.
        """
        swept, witnessed = self._swept_at, self._witnessed_at
        try:
            return self._look(ended, self._clock())
        except FedprivError:
            self._swept_at, self._witnessed_at = swept, witnessed
            raise

    def _look(self, ended: Iterable[str], now: float) -> Found:
        found, read = Found(), set[str]()
        if self._swept_at is None or now - self._swept_at >= SWEEP_S:
            complete = self._terms(found, read) and self._allow_lists(found, read)
            found.read_at = datetime.now(UTC)
            self._swept_at = now if complete else None
        if self._witnessed_at is None or now - self._witnessed_at >= WITNESS_S:
            self._list_witnesses(found)
            self._witnessed_at = now
        for run_id in islice(ended, MOST_GETS):
            self._statement(run_id, found, now)
        self._read |= read
        return found

    def _terms(self, found: Found, read: set[str]) -> bool:
        def take(name: str, body: bytes) -> None:
            found.terms[int(name)] = TermStarted.model_validate_json(body)

        return self._new(keys.TERMS, take, found, read)

    def _allow_lists(self, found: Found, read: set[str]) -> bool:
        def take(name: str, body: bytes) -> None:
            found.allow_lists[name] = AllowList.model_validate_json(body)

        return self._new(ALLOW_LISTS, take, found, read)

    def _new(self, prefix: str, take: Callable[[str, bytes], None], found: Found, read: set[str]) -> bool:
        """Get what is new under `prefix`, newest first; False when some of it waits for the next look."""
        new = [key for key in self._store.list_keys(prefix) if key not in self._read]
        for key in reversed(new[-MOST_GETS:]):
            body = self._store.get(key)
            if body is None:
                continue
            read.add(key)
            try:
                take(key.removeprefix(prefix).removesuffix(".json"), body)
            except ValueError:
                found.malformed[key] = datetime.now(UTC)
                log.warning("object skipped", extra={"key": key})
        return len(new) <= MOST_GETS

    def _list_witnesses(self, found: Found) -> None:
        highest: dict[tuple[str, str], tuple[int, str]] = {}
        for key in islice(self._store.list_keys(WITNESSES), MOST_WITNESSES):
            site, _, rest = key.removeprefix(WITNESSES).partition("/")
            dataset, _, name = rest.rpartition("/")
            number = name.removesuffix(".json")
            if not (site and dataset and number.isascii() and number.isdigit()):
                found.malformed[key] = datetime.now(UTC)
                continue
            found.witnesses += 1
            if int(number) > highest.get((site, dataset), (-1, ""))[0]:
                highest[site, dataset] = int(number), key
        found.witnessed = highest

    def _statement(self, run_id: str, found: Found, now: float) -> None:
        due, pause = self._awaited.get(run_id, (now, 1.0))
        if due > now:
            return
        key = keys.statement(run_id)
        body = self._store.get(key)
        if body is None:
            self._awaited[run_id] = now + pause, min(2 * pause, LONGEST_WAIT_S)
            return
        self._awaited.pop(run_id, None)
        found.statements[run_id] = read_statement(run_id, key, body)
        if found.statements[run_id].at is None:
            found.malformed[key] = datetime.now(UTC)


def read_statement(run_id: str, key: str, body: bytes) -> StatementFacts:
    """The facts of a statement's bytes; without a time where they are none."""
    digest = sha256_hex(body)
    try:
        told = _ToldStatement.model_validate_json(body).statement if len(body) <= MOST_BYTES else None
    except ValidationError:
        told = None
    if told is None:
        return StatementFacts(run_id, key, digest, None, "", {}, ())
    signed = {section.site: section.signed.part for section in told.sections if section.signed is not None}
    return StatementFacts(
        run_id=run_id,
        object=key,
        digest=digest,
        at=told.at,
        dataset=next((part.dataset for part in signed.values()), ""),
        ledgers={site: part.ledger for site, part in signed.items()},
        unsigned=tuple(section.site for section in told.sections if section.signed is None),
    )
