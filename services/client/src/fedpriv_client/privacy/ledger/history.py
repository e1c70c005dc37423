"""What a chain of entries says: which runs were admitted, what each has released, what is still held for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from fedpriv_client.privacy.ledger.entries import (
    FORMAT,
    NO_HASH,
    Admit,
    Approval,
    Close,
    Evaluation,
    Genesis,
    Release,
    parse_entry,
)
from fedpriv_common.accounting import GaussianEvent
from fedpriv_common.canonical import sha256_hex
from fedpriv_common.contract import Unit
from fedpriv_common.plan import Evaluation as PlannedEvaluation
from fedpriv_common.plan import Phase, Plan
from fedpriv_common.plan import Release as PlannedRelease


class Tally:
    """How many steps of each kind of Gaussian release: as small as the kinds are few, however many releases it has."""

    def __init__(self) -> None:
        self._steps: dict[tuple[float, float], int] = {}

    def add(self, event: GaussianEvent, times: int = 1) -> None:
        """Add an event so often, or take it away when `times` is negative."""
        key = (event.noise_multiplier, event.sample_rate)
        self._steps[key] = self._steps.get(key, 0) + times * event.steps

    def take(self, other: Tally) -> None:
        """Take away what the other one has."""
        for event in other.events():
            self.add(event, -1)

    def events(self, without: Tally | None = None) -> list[GaussianEvent]:
        """One event for each kind, all steps added up, in a fixed order; less what `without` has."""
        others = {} if without is None else without._steps
        left = ((sigma, rate, steps - others.get((sigma, rate), 0)) for (sigma, rate), steps in self._steps.items())
        return sorted(GaussianEvent(*each) for each in left if each[2])


@dataclass
class RunHistory:
    """One run: its admission, its releases by (round, phase) and evaluations by round in their latest state, and
    whether it was closed."""

    admit: Admit
    releases: dict[tuple[int, Phase], Release] = field(default_factory=dict)
    evaluations: dict[int, Evaluation] = field(default_factory=dict)
    closed: bool = False
    #: Kept up with each entry, so that no reply has to go through all of them.
    charged_tally: Tally = field(default_factory=Tally)
    held_tally: Tally = field(default_factory=Tally)

    def charge(self, round_number: int, phase: Phase) -> Release | Evaluation | None:
        """What was charged for (round, phase), if anything."""
        if phase is Phase.EVALUATE:
            return self.evaluations.get(round_number)
        return self.releases.get((round_number, phase))

    def charged(self) -> list[GaussianEvent]:
        """Everything reserved so far of the training records, added up by kind."""
        return self.charged_tally.events()

    def held(self) -> list[GaussianEvent]:
        """What the plan may still reserve, added up by kind; nothing once the run is closed."""
        return self.held_tally.events()


def foreseen(plan: Plan, round_number: int, phase: Phase) -> PlannedRelease | PlannedEvaluation | None:
    """What the plan has for (round, phase): centring in round 0, training in 1…T, evaluation after some of them."""
    if phase is Phase.EVALUATE:
        return plan.evaluate if plan.evaluate is not None and round_number in plan.evaluate.at else None
    planned, first = plan.release(phase), 0 if phase is Phase.CENTRE else 1
    return planned if planned is not None and first <= round_number < first + planned.rounds else None


class History:
    """The verified content of a ledger, built entry by entry; ValueError at the first entry that does not fit."""

    def __init__(self) -> None:
        self.genesis: Genesis | None = None
        self.runs: dict[str, RunHistory] = {}
        #: The last word of the site's people on each run and plan digest.
        self.approvals: dict[tuple[str, str], Approval] = {}
        self.hashes: list[str] = []
        self._charged = Tally()
        self._held = Tally()
        self._held_out: list[float] = []

    @property
    def seq(self) -> int:
        """Sequence number of the last entry, −1 when there is none."""
        return len(self.hashes) - 1

    @property
    def head(self) -> str:
        """Hash of the last entry."""
        return self.hashes[-1] if self.hashes else NO_HASH

    def apply(self, seq: int, body: bytes) -> None:
        """Take in the next entry as it is stored."""
        entry = parse_entry(body)
        if entry.seq != seq or seq != self.seq + 1:
            raise ValueError(f"entry {self.seq + 1} is missing")
        if entry.prev_hash != self.head:
            raise ValueError(f"entry {seq} does not follow entry {seq - 1}")
        match entry:
            case Genesis():
                if seq != 0 or entry.format != FORMAT:
                    raise ValueError(f"entry {seq} is a genesis of format {entry.format}, expected {FORMAT} at 0")
                self.genesis = entry
            case Admit():
                if entry.run_id in self.runs or entry.plan.digest() != entry.plan_digest:
                    raise ValueError(f"entry {seq} admits a run twice or with another plan")
                self._apply_admit(entry)
            case Release() | Evaluation():
                self._apply_charge(seq, entry)
            case Close():
                self._apply_close(self._run(seq, entry.run_id))
            case Approval():
                self.approvals[(entry.run_id, entry.plan_digest)] = entry
        if self.genesis is None:
            raise ValueError("the first entry is no genesis")
        self.hashes.append(sha256_hex(body))

    def _apply_admit(self, entry: Admit) -> None:
        run = self.runs[entry.run_id] = RunHistory(entry)
        for event in entry.plan.events():
            run.held_tally.add(event)
            self._held.add(event)

    def _apply_close(self, run: RunHistory) -> None:
        self._held.take(run.held_tally)
        run.held_tally = Tally()
        run.closed = True

    def _apply_charge(self, seq: int, entry: Release | Evaluation) -> None:
        run = self._run(seq, entry.run_id)
        before = run.charge(entry.round, entry.phase)
        if entry.state == "reserved":
            if before is not None or run.closed:
                raise ValueError(f"entry {seq} reserves twice or in a closed run")
            if not _is_planned(entry, foreseen(run.admit.plan, entry.round, entry.phase)):
                raise ValueError(f"entry {seq} is not what the run's plan holds")
        elif before is None or before.state != "reserved" or _reserved_by(entry) != _reserved_by(before):
            raise ValueError(f"entry {seq} commits what was not reserved")
        match entry:
            case Release():
                run.releases[(entry.round, entry.phase)] = entry
                if before is None:
                    event = entry.event()
                    for charged, held in ((run.charged_tally, run.held_tally), (self._charged, self._held)):
                        charged.add(event)
                        held.add(event, -1)
            case Evaluation():
                run.evaluations[entry.round] = entry
                if before is None:
                    self._held_out.append(entry.epsilon_pure)

    def _run(self, seq: int, run_id: str) -> RunHistory:
        if run_id not in self.runs:
            raise ValueError(f"entry {seq} names a run that was never admitted")
        return self.runs[run_id]

    def unit(self) -> Unit | None:
        """Whom everything that was released or may still be is accounted for; None while there is nothing."""
        for run in self.runs.values():
            if run.releases or run.evaluations or not run.closed:
                return run.admit.plan.unit
        return None

    def charged(self, but_of: RunHistory | None = None) -> list[GaussianEvent]:
        """Everything ever reserved of the training records, added up by kind; of all runs, or of all but one."""
        return self._charged.events(None if but_of is None else but_of.charged_tally)

    def held(self, but_of: RunHistory | None = None) -> list[GaussianEvent]:
        """What open admissions may still reserve, added up by kind; of all runs, or of all but one."""
        return self._held.events(None if but_of is None else but_of.held_tally)

    def held_out_epsilon(self) -> float:
        """Epsilon of everything ever reserved of the held-out records: pure epsilons add."""
        return math.fsum(self._held_out)

    def charges(self) -> Iterator[Release | Evaluation]:
        """Every reservation in its latest state, run by run."""
        for run in self.runs.values():
            yield from run.releases.values()
            yield from run.evaluations.values()


def _is_planned(entry: Release | Evaluation, planned: PlannedRelease | PlannedEvaluation | None) -> bool:
    match entry, planned:
        case Release(), PlannedRelease():
            return entry.event() == planned.event() and entry.max_grad_norm == planned.max_grad_norm
        case Evaluation(), PlannedEvaluation():
            return entry.epsilon_pure == planned.epsilon
    return False


def _reserved_by(entry: Release | Evaluation) -> dict[str, object]:
    """What a reservation fixes: all of it but its place in the chain and what became of it."""
    return entry.model_dump(exclude={"seq", "prev_hash", "at", "salt", "state", "reply_digest"})
