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
from fedpriv_common.plan import Phase


@dataclass
class RunHistory:
    """One run: its admission, its releases by (round, phase) and evaluations by round in their latest state, and
    whether it was closed."""

    admit: Admit
    releases: dict[tuple[int, Phase], Release] = field(default_factory=dict)
    evaluations: dict[int, Evaluation] = field(default_factory=dict)
    closed: bool = False

    def charge(self, round_number: int, phase: Phase) -> Release | Evaluation | None:
        """What was charged for (round, phase), if anything."""
        if phase is Phase.EVALUATE:
            return self.evaluations.get(round_number)
        return self.releases.get((round_number, phase))

    def charged(self) -> list[GaussianEvent]:
        """Everything reserved so far of the training records."""
        return [release.event() for release in self.releases.values()]

    def held(self) -> list[GaussianEvent]:
        """What the plan may still reserve; nothing once the run is closed."""
        if self.closed:
            return []
        plan = self.admit.plan
        events = []
        for release in (plan.centre, plan.train):
            if release is None:
                continue
            used = sum(phase is release.phase for _, phase in self.releases)
            events += [release.event()] * (release.rounds - used)
        return events


class History:
    """The verified content of a ledger, built entry by entry; ValueError at the first entry that does not fit."""

    def __init__(self) -> None:
        self.genesis: Genesis | None = None
        self.runs: dict[str, RunHistory] = {}
        #: The last word of the site's people on each run and plan digest.
        self.approvals: dict[tuple[str, str], Approval] = {}
        self.hashes: list[str] = []
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
                self.runs[entry.run_id] = RunHistory(entry)
            case Release() | Evaluation():
                self._apply_charge(seq, entry)
            case Close():
                self._run(seq, entry.run_id).closed = True
            case Approval():
                self.approvals[(entry.run_id, entry.plan_digest)] = entry
        if self.genesis is None:
            raise ValueError("the first entry is no genesis")
        self.hashes.append(entry.hash())

    def _apply_charge(self, seq: int, entry: Release | Evaluation) -> None:
        run = self._run(seq, entry.run_id)
        before = run.charge(entry.round, entry.phase)
        if entry.state == "reserved":
            if before is not None or run.closed:
                raise ValueError(f"entry {seq} reserves twice or in a closed run")
        elif before is None or before.state != "reserved" or before.request_digest != entry.request_digest:
            raise ValueError(f"entry {seq} commits what was not reserved")
        match entry:
            case Release():
                run.releases[(entry.round, entry.phase)] = entry
            case Evaluation():
                if before is None:
                    self._held_out.append(entry.epsilon_pure)
                run.evaluations[entry.round] = entry

    def _run(self, seq: int, run_id: str) -> RunHistory:
        if run_id not in self.runs:
            raise ValueError(f"entry {seq} names a run that was never admitted")
        return self.runs[run_id]

    def charged(self) -> list[GaussianEvent]:
        """Everything ever reserved, over all runs."""
        return [event for run in self.runs.values() for event in run.charged()]

    def held(self) -> list[GaussianEvent]:
        """What open admissions may still reserve, over all runs."""
        return [event for run in self.runs.values() for event in run.held()]

    def held_out_epsilon(self) -> float:
        """Epsilon of everything ever reserved of the held-out records: pure epsilons add."""
        return math.fsum(self._held_out)

    def charges(self) -> Iterator[Release | Evaluation]:
        """Every reservation in its latest state, run by run."""
        for run in self.runs.values():
            yield from run.releases.values()
            yield from run.evaluations.values()
