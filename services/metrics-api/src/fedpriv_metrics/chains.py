"""Whether the ledger heads that a site told the hub can be of one ledger that only grew. Pure logic.

A ledger is a chain of entries, each of which holds the hash of the one before. The hub never sees an entry: it is told
the newest one's number and hash with every answer, and a site signs them once more at the end of each run. Of these
heads it can be said for certain that they contradict each other; that they do not is evidence, and no proof:

    consistent    entry numbers only grew, and no entry was seen with two hashes
    forked        one entry was seen with two hashes, or two signed parts name ledgers with different first entries
    rolled_back   an entry number went back, or the ledger was refused for that and was not heard of since

Heads of runs have an order that no clock can change: runs by their ids (one bucket has one active run at a time), in a
run its admission, then its rounds, then the part that the site signed at its close. Witness objects have none; they
take part in the comparison of hashes, and a ledger's end may not lie before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fedpriv_metrics.models.chains import Chain, ChainCheck, ChainHead, ChainState

#: Heads that are named as evidence of one contradiction; where there are more, they tell nothing new.
MOST_EVIDENCE = 10

NOT_PROVEN = [
    "That a newer head descends from an older one: only the site holds the entries in between. "
    "`fedpriv ledger verify` at the site recomputes every hash, and `fedpriv ledger export` lists the entries.",
    "That a site told every release to this hub: what its ledger charged for another hub shows in its lifetime ε only.",
    "That a site and the hub did not set a ledger and the records about it back together. Heads that somebody else "
    "keeps, such as those in privacy statements that were handed out, would tell.",
]

#: Where in its run a head was told: (-1, 0) the admission, (round, rank of the phase), CLOSE the signed part.
Step = tuple[int, int]
ADMISSION: Step = (-1, 0)
CLOSE: Step = (2**32, 0)


@dataclass(frozen=True, slots=True)
class Told:
    """A head, and where it was told. `run_id` and `step` are None for a witness object."""

    seq: int
    head: str
    object: str
    run_id: str | None = None
    step: Step | None = None

    def evidence(self) -> ChainHead:
        """As an answer names it."""
        return ChainHead(object=self.object, seq=self.seq, head=self.head, run_id=self.run_id)


@dataclass(frozen=True, slots=True)
class Part:
    """What a signed part says of the ledger that it was made from."""

    told: Told
    genesis: str
    partition: int
    partitions: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A ledger that was refused, by its site or by the hub, because it had been set back."""

    object: str
    run_id: str
    step: Step


@dataclass(slots=True)
class Ledger:
    """Everything the hub was told of one ledger, in any order."""

    site: str
    dataset: str
    told: list[Told] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    #: Highest entry number among the witness objects' keys, and its object; −1: none.
    witnessed: int = -1
    witness: str = ""


def judge(ledger: Ledger) -> Chain:
    """What follows from it; the order in which things were added does not matter."""
    heads = [*ledger.told, *(part.told for part in ledger.parts)]
    ordered = sorted((head for head in heads if head.run_id is not None), key=_order)
    checks = [_hashes(heads), _order_kept(ordered, ledger), _one_genesis(ledger.parts), _refusals(ledger, ordered)]
    last = max(heads, key=lambda head: (head.seq, head.object), default=None)
    newest = max(ledger.parts, key=lambda part: _order(part.told), default=None)
    return Chain(
        site=ledger.site,
        dataset=ledger.dataset,
        state=_state(checks, heads),
        heads=len(heads),
        runs=len({head.run_id for head in ordered}),
        signed=len(ledger.parts),
        last=last.evidence() if last else None,
        genesis=newest.genesis if newest else None,
        partition=newest.partition if newest else None,
        partitions=newest.partitions if newest else None,
        checks=checks,
    )


def _order(head: Told) -> tuple[str, Step, int, str]:
    # Within one step a repeated answer may tell the same or a later entry: equal steps are no contradiction.
    return head.run_id or "", head.step or ADMISSION, head.seq, head.object


def _state(checks: Sequence[ChainCheck], heads: Sequence[Told]) -> ChainState:
    hashes, order, genesis, refusals = (check.state == "failed" for check in checks)
    if hashes or genesis:
        return "forked"
    if order or refusals:
        return "rolled_back"
    return "consistent" if heads else "unknown"


def _hashes(heads: Iterable[Told]) -> ChainCheck:
    """No entry has two hashes."""
    first: dict[int, Told] = {}
    evidence: dict[str, ChainHead] = {}
    entries = 0
    for head in sorted(heads, key=lambda head: (head.seq, head.object)):
        known = first.get(head.seq)
        if known is None:
            first[head.seq] = head
            entries += 1
        elif known.head != head.head and len(evidence) < MOST_EVIDENCE:
            evidence |= {known.object: known.evidence(), head.object: head.evidence()}
    what = "one hash for each entry"
    if evidence:
        named = ", ".join(str(seq) for seq in sorted({head.seq or 0 for head in evidence.values()}))
        return _check(what, f"entry {named} was seen with two hashes: two ledgers go on from one", evidence.values())
    return _check(what, "", detail=_count(entries, "entry", "entries") + " seen, each with one hash")


def _order_kept(ordered: Sequence[Told], ledger: Ledger) -> ChainCheck:
    """Entry numbers never went back, and the end does not lie before what a witness saw."""
    what, highest = "entry numbers only grew", None
    evidence: dict[str, ChainHead] = {}
    for head in ordered:
        if highest is not None and head.seq < highest.seq:
            evidence |= {highest.object: highest.evidence(), head.object: head.evidence()}
        if highest is None or head.seq >= highest.seq:
            highest = head
    if evidence:
        before, after, *_ = evidence.values()
        return _check(what, f"entry {before.seq} was told, and after it entry {after.seq}", evidence.values())
    end = max((head.seq for head in ledger.told), default=-1)
    end = max([end, *(part.told.seq for part in ledger.parts)])
    if ledger.witnessed > end >= 0:
        # The witness is written with the answer that it is of: a crash in between loses the answer's record, no entry.
        detail = f"a witness saw entry {ledger.witnessed}; no record tells of it, and none went back"
        return _check(what, "", detail=detail, state="not checked")
    if highest is None:
        return _check(what, "", detail="no head was told", state="not checked")
    return _check(what, "", detail=f"from entry {ordered[0].seq} to {highest.seq}, in the order of runs and rounds")


def _one_genesis(parts: Sequence[Part]) -> ChainCheck:
    """Every signed part is of a ledger with the same beginning."""
    what = "one beginning"
    first = min(parts, key=lambda part: _order(part.told), default=None)
    if first is None:
        return _check(what, "", detail="no part was signed yet", state="not checked")
    begun = (first.genesis, first.partition, first.partitions)
    others = [part for part in parts if (part.genesis, part.partition, part.partitions) != begun]
    if others:
        evidence = [part.told.evidence() for part in (first, *others)]
        return _check(
            what, "signed parts name ledgers that began differently: what one charged, another forgot", evidence
        )
    return _check(what, "", detail=f"{_count(len(parts), 'signed part')}, all of the ledger {first.genesis[:16]}…")


def _refusals(ledger: Ledger, ordered: Sequence[Told]) -> ChainCheck:
    """A ledger that was refused as rolled back was explained, and goes on from where it was."""
    what = "no refusal for a roll-back"
    if not ledger.refused:
        return _check(what, "", detail="none")
    last = max(ledger.refused, key=lambda refused: (refused.run_id, refused.step))
    told = [ChainHead(object=refused.object, seq=None, head=None, run_id=refused.run_id) for refused in ledger.refused]
    since = [head for head in ordered if (head.run_id or "", head.step or ADMISSION) > (last.run_id, last.step)]
    times = _count(len(ledger.refused), "time")
    if not since:
        return _check(what, f"refused {times} because it was set back, and not heard of since", told)
    return _check(what, "", detail=f"refused {times}; it has gone on since, from where it was", evidence=told)


def _check(
    what: str,
    fault: str,
    evidence: Iterable[ChainHead] = (),
    *,
    detail: str = "",
    state: Literal["ok", "not checked"] = "ok",
) -> ChainCheck:
    return ChainCheck(
        what=what,
        state="failed" if fault else state,
        detail=fault or detail,
        evidence=list(evidence)[:MOST_EVIDENCE],
    )


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
