"""Admit, reserve, commit, close: nothing is computed that was not charged, nothing leaves that was not committed.

admit ── reserve ── (train) ── commit ── (send)          close
  │         │                     │
  │         └ charged from here   └ only these bytes are ever sent for (run, round, phase)
  └ the whole plan fits the budget, together with all that was charged or is still held
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from fedpriv_client.privacy.ledger.entries import (
    NO_HASH,
    Admit,
    Approval,
    Close,
    Entry,
    Evaluation,
    Genesis,
    Release,
    new_salt,
    now,
)
from fedpriv_client.privacy.ledger.history import History, RunHistory, foreseen
from fedpriv_client.privacy.ledger.marker import FileMarker, Marker, read_marker, write_marker
from fedpriv_client.privacy.ledger.store import LedgerStore, OvertakenError
from fedpriv_common.accounting import within
from fedpriv_common.canonical import sha256_hex
from fedpriv_common.errors import ErrorCode, FedprivError, Refusal, RefusalError
from fedpriv_common.plan import Evaluation as PlannedEvaluation
from fedpriv_common.plan import Phase, Plan
from fedpriv_common.plan import Release as PlannedRelease
from fedpriv_common.rounding import spell_spent

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

#: How a storage fails: FedprivError is S3's, ValueError a chain that does not fit.
_FAULTS = (sqlite3.Error, ValueError, OSError, FedprivError)
#: How often a step is decided again because another process wrote first.
_ATTEMPTS = 6


@dataclass(frozen=True)
class LedgerIdentity:
    """What a ledger was made for; another data set, partition, split or key is refused."""

    dataset: str
    partition: int
    partitions: int
    held_out_share: float
    site_key_commitment: str
    canonical_form: int


@dataclass(frozen=True)
class Reserved:
    """A reservation to train on: charged, nothing sent yet."""


@dataclass(frozen=True)
class Skipped:
    """The held-out records' budget does not pay for this evaluation: nothing is charged, nothing is released."""


@dataclass(frozen=True)
class Replay:
    """The bytes that were committed for this request before; sending them again costs nothing."""

    payload: bytes


def _decided_again_when_overtaken(step: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Repeat a step whose entry came second, from what the first one changed; refuse when that does not end."""

    @wraps(step)
    def settled(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        for attempt in range(_ATTEMPTS):
            try:
                return step(*arguments, **named)
            except OvertakenError:
                time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - spreads writers, hides nothing
        raise RefusalError(Refusal.LEDGER_UNAVAILABLE, f"other processes wrote first, {_ATTEMPTS} times")

    return settled


class Ledger:
    """A verified ledger. Safe to use from several threads and, through its store, from several processes."""

    def __init__(self, store: LedgerStore, history: History) -> None:
        self._store = store
        self._history = history
        self._lock = threading.RLock()

    @classmethod
    def begin(cls, store: LedgerStore, marker: Marker | Path, identity: LedgerIdentity) -> Ledger:
        """Write the genesis entry, then its marker, which lives outside the ledger's storage; a path stands for a file.

        A beginning that was interrupted is completed; a ledger that was begun is opened; one that was used and has
        lost its marker is refused. Raises LEDGER_UNWRITABLE when the disk takes neither.
        """
        marker = FileMarker(marker) if isinstance(marker, Path) else marker
        try:
            if marker.read() is None:
                with suppress(OvertakenError), store.exclusive():  # overtaken: someone else has begun it
                    history = verify(store)
                    if history.seq < 0:
                        genesis = Genesis(seq=0, prev_hash=NO_HASH, at=now(), **vars(identity))
                        store.append(0, genesis.body())
                history = verify(store)
                if history.seq == 0 and history.genesis is not None:
                    write_marker(marker, history.genesis)
        except (sqlite3.Error, OSError) as error:
            raise FedprivError(
                ErrorCode.LEDGER_UNWRITABLE,
                f"The ledger or its marker at {marker} cannot be written ({error}).",
                "Free disk space or let this user write there, then begin it again: what was begun is completed.",
            ) from None
        return cls.open(store, marker, identity)

    @classmethod
    def open(cls, store: LedgerStore, marker: Marker | Path, identity: LedgerIdentity | None = None) -> Ledger:
        """Verify every entry, the marker and the identity; raises LEDGER_INVALID or LEDGER_MISMATCH."""
        history = verify(store)
        expected = read_marker(FileMarker(marker) if isinstance(marker, Path) else marker)
        if history.genesis is None or history.hashes[0] != expected:
            raise FedprivError(
                ErrorCode.LEDGER_INVALID,
                f"The ledger does not begin with the entry that {marker} names.",
                "This is another ledger than the one this site began with: restore the right one from backup.",
            )
        if identity is not None:
            for name, value in vars(identity).items():
                written = getattr(history.genesis, name)
                if written != value:
                    raise FedprivError(
                        ErrorCode.LEDGER_MISMATCH,
                        f"The ledger was made for {name} {written!r}, the site is set to {value!r}.",
                        "Records would change places: set it back, or begin a new data set with a ledger of its own.",
                    )
        return cls(store, history)

    # -- the four steps ------------------------------------------------------------------------------------------

    @_decided_again_when_overtaken
    def admit(
        self,
        run_id: str,
        plan: Plan,
        policy_digest: str,
        *,
        epsilon_limit: float,
        delta: float,
        needs_approval: bool = False,
    ) -> None:
        """Hold a run's whole plan against the budget; raises BUDGET_EXHAUSTED, RUN_CLOSED or REQUEST_CHANGED.

        One ledger counts one unit: POLICY_REFUSED for a plan of another than what was released or is held already.
        With `needs_approval`, a person must have approved exactly this plan: raises APPROVAL_NEEDED before anyone has
        said anything, POLICY_REFUSED when it was denied. Admitting the same plan again changes nothing.
        """
        with self._exclusive() as history:
            known = history.runs.get(run_id)
            if known is not None:
                if known.closed:
                    raise RefusalError(Refusal.RUN_CLOSED, f"run {run_id} was closed")
                if known.admit.plan_digest != plan.digest():
                    raise RefusalError(Refusal.REQUEST_CHANGED, f"run {run_id} was admitted with another plan")
                return
            unit = history.unit()
            if unit not in (None, plan.unit):
                raise RefusalError(
                    Refusal.POLICY_REFUSED,
                    f"unit: this ledger's lifetime is counted for one {unit}, the plan's unit is one {plan.unit}; "
                    "what was released for the one says nothing of the other",
                )
            fits, total = within([*history.charged(), *history.held(), *plan.events()], epsilon_limit, delta)
            if not fits:
                raise RefusalError(
                    Refusal.BUDGET_EXHAUSTED,
                    f"epsilon would be {spell_spent(total, 4)} of {epsilon_limit} at delta {delta}",
                )
            if needs_approval:
                _require_approval(history, run_id, plan.digest())
            self._append(
                Admit(
                    seq=history.seq + 1,
                    prev_hash=history.head,
                    at=now(),
                    run_id=run_id,
                    plan_digest=plan.digest(),
                    plan=plan,
                    policy_digest=policy_digest,
                )
            )

    @_decided_again_when_overtaken
    def reserve(
        self, run_id: str, round_number: int, phase: Phase, request_digest: str, *, epsilon_limit: float = 0.0
    ) -> Reserved | Replay | Skipped:
        """Charge one release of an admitted run, durably, or give back what was committed for the same request.

        A reservation that was never committed serves the same request again: nothing of it had left. Admission has
        seen to it that training fits the budget; an evaluation has to fit `epsilon_limit` now, or is skipped. Raises
        NOT_ADMITTED, RUN_CLOSED, BAD_REQUEST (not in the plan) or REQUEST_CHANGED.
        """
        with self._exclusive() as history:
            run = _open_run(history, run_id)
            before = run.charge(round_number, phase)
            approval = history.approvals.get((run_id, run.admit.plan_digest))
            if approval is not None and not approval.granted and (before is None or before.state == "reserved"):
                raise RefusalError(Refusal.POLICY_REFUSED, f"{approval.by} denied run {run_id}")
            if before is not None:
                if before.request_digest != request_digest:
                    raise RefusalError(Refusal.REQUEST_CHANGED, f"round {round_number} {phase} was asked differently")
                if before.state == "committed":
                    return Replay(self._committed_payload(before))
                if run.closed:
                    raise RefusalError(Refusal.RUN_CLOSED, f"run {run_id} was closed")
                return Reserved()
            if run.closed:
                raise RefusalError(Refusal.RUN_CLOSED, f"run {run_id} was closed")
            planned = planned_release(run.admit.plan, round_number, phase)
            if isinstance(planned, PlannedEvaluation) and history.held_out_epsilon() + planned.epsilon > epsilon_limit:
                return Skipped()
            self._append(_reservation(history, run, planned, round_number, phase, request_digest))
            return Reserved()

    @_decided_again_when_overtaken
    def commit(self, run_id: str, round_number: int, phase: Phase, request_digest: str, payload: bytes) -> bytes:
        """Store the release's bytes and return the bytes to send: of two that commit, only the first's ever leave."""
        with self._exclusive() as history:
            run = _open_run(history, run_id)
            before = run.charge(round_number, phase)
            if before is None or before.request_digest != request_digest:
                raise RefusalError(Refusal.REQUEST_CHANGED, f"round {round_number} {phase} was not reserved so")
            if before.state == "committed":
                return self._committed_payload(before)
            if run.closed:
                raise RefusalError(Refusal.RUN_CLOSED, f"run {run_id} was closed")
            reply_digest = sha256_hex(payload)
            self._append(
                before.model_copy(
                    update={
                        "seq": history.seq + 1,
                        "prev_hash": history.head,
                        "at": now(),
                        "salt": new_salt(),
                        "state": "committed",
                        "reply_digest": reply_digest,
                    }
                ),
                (reply_digest, payload),
            )
            return payload

    @_decided_again_when_overtaken
    def close(self, run_id: str) -> None:
        """Free what the run never reserved, and refuse the run for ever after. Closing again changes nothing."""
        with self._exclusive() as history:
            if not _open_run(history, run_id).closed:
                self._append(Close(seq=history.seq + 1, prev_hash=history.head, at=now(), run_id=run_id))

    @_decided_again_when_overtaken
    def approve(self, run_id: str, plan_digest: str, *, granted: bool, by: str) -> None:
        """Record what a person at the site says to a run with this plan. The last word counts until it is admitted.

        It is written by a command while the site's process holds the ledger, so it claims nothing: the store
        serialises both, and that process reads the entry with its next request.
        """
        with self._exclusive() as history:
            self._append(
                Approval(
                    seq=history.seq + 1,
                    prev_hash=history.head,
                    at=now(),
                    run_id=run_id,
                    plan_digest=plan_digest,
                    granted=granted,
                    by=by,
                )
            )

    # -- reading -------------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[History]:
        """The history up to now, including what other processes wrote. Not to be changed."""
        with self._lock, _as_refusal():
            self._catch_up()
            yield self._history

    def shut_out(self) -> bool:
        """Whether another process has claimed the ledger since this one did.

        Not known of a ledger that cannot be read: it refuses by itself.
        """
        with self._lock, suppress(*_FAULTS):
            return self._store.shut_out()
        return False

    def contains(self, seq: int, entry_hash: str) -> bool:
        """Whether entry `seq` has this hash: true of every head that this ledger ever had. −1 is always true."""
        with self.reading() as history:
            return seq < 0 or (seq <= history.seq and history.hashes[seq] == entry_hash)

    def export(self) -> Iterator[dict[str, Any]]:
        """One JSON-ready object per reservation, in its latest state."""
        with self.reading() as history:
            for release in history.charges():
                yield release.model_dump(mode="json", exclude={"kind"})

    # -- inside --------------------------------------------------------------------------------------------------

    @contextmanager
    def _exclusive(self) -> Iterator[History]:
        with self._lock, _as_refusal(), self._store.exclusive():
            self._catch_up()
            yield self._history

    def _catch_up(self) -> None:
        for seq, body in self._store.read(self._history.seq):
            self._history.apply(seq, body)

    def _append(self, entry: Entry, reply: tuple[str, bytes] | None = None) -> None:
        # Only what is durable is believed: the history takes the entry up from the store at the next call.
        self._store.append(entry.seq, entry.body(), reply)

    def _committed_payload(self, release: Release | Evaluation) -> bytes:
        payload = None if release.reply_digest is None else self._store.reply(release.reply_digest)
        if payload is None or sha256_hex(payload) != release.reply_digest:
            raise RefusalError(Refusal.LEDGER_UNAVAILABLE, f"the bytes of entry {release.seq} are gone or changed")
        return payload


def planned_release(plan: Plan, round_number: int, phase: Phase) -> PlannedRelease | PlannedEvaluation:
    """What the plan foresees for (round, phase); raises BAD_REQUEST when that is nothing."""
    planned = foreseen(plan, round_number, phase)
    if planned is None:
        raise RefusalError(Refusal.BAD_REQUEST, f"the plan has no {phase} in round {round_number}")
    return planned


def _reservation(
    history: History,
    run: RunHistory,
    planned: PlannedRelease | PlannedEvaluation,
    round_number: int,
    phase: Phase,
    request_digest: str,
) -> Release | Evaluation:
    """The next entry: `planned` is charged from now on."""
    common: dict[str, Any] = {
        "seq": history.seq + 1,
        "prev_hash": history.head,
        "at": now(),
        "run_id": run.admit.run_id,
        "round": round_number,
        "phase": phase,
        "request_digest": request_digest,
        "policy_digest": run.admit.policy_digest,
        "state": "reserved",
        "reply_digest": None,
    }
    if isinstance(planned, PlannedEvaluation):
        return Evaluation(**common, epsilon_pure=planned.epsilon)
    return Release(
        **common,
        noise_multiplier=planned.noise_multiplier,
        max_grad_norm=planned.max_grad_norm,
        sample_rate=planned.sample_rate,
        steps=planned.steps,
    )


def verify(store: LedgerStore) -> History:
    """Read and check the whole chain; raises LEDGER_INVALID naming the first entry that does not fit."""
    history = History()
    try:
        for seq, body in store.read(-1):
            history.apply(seq, body)
    except (ValueError, sqlite3.Error) as error:
        fault = " ".join(str(error).split())
        raise FedprivError(
            ErrorCode.LEDGER_INVALID,
            f"The ledger is damaged after entry {history.seq}: {fault}.",
            "Nothing more is released from this data set until it is restored from backup.",
        ) from None
    return history


def _require_approval(history: History, run_id: str, plan_digest: str) -> None:
    said = history.approvals.get((run_id, plan_digest))
    if said is None:
        raise RefusalError(
            Refusal.APPROVAL_NEEDED, f"policy line `approval: true`: `fedpriv approve show {run_id}` says what is asked"
        )
    if not said.granted:
        raise RefusalError(
            Refusal.POLICY_REFUSED, f"policy line `approval: true`: denied by {said.by} at {said.at:%Y-%m-%d %H:%M} UTC"
        )


def _open_run(history: History, run_id: str) -> RunHistory:
    run = history.runs.get(run_id)
    if run is None:
        raise RefusalError(Refusal.NOT_ADMITTED, f"run {run_id} was not admitted")
    return run


@contextmanager
def _as_refusal() -> Iterator[None]:
    """A ledger that cannot be read or written refuses; it never lets a release through."""
    try:
        yield
    except _FAULTS as error:
        raise RefusalError(Refusal.LEDGER_UNAVAILABLE, f"{type(error).__name__}: {error}") from error
