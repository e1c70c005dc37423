"""Ledger heads: those of a ledger that only grew never look bad, and a fork or a roll-back that shows is found."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpriv_metrics.chains import ADMISSION, CLOSE, MOST_EVIDENCE, Ledger, Part, Refused, Step, Told, judge
from fedpriv_metrics.models.chains import Chain

GENESIS = "9" * 64


def head_of(seq: int, ledger: str = "a") -> str:
    """The hash of an entry: another ledger has another."""
    return hashlib.sha256(f"{ledger}/{seq}".encode()).hexdigest()


def told(seq: int, run: int, step: Step, ledger: str = "a") -> Told:
    return Told(seq, head_of(seq, ledger), f"run-{run:03d}/{step[0]}.{step[1]}", f"run-{run:03d}", step)


@st.composite
def honest(draw: st.DrawFn, least_runs: int = 1) -> list[Told]:
    """Heads of one growing ledger over some runs, in the order in which they were told: some rounds are missing, some
    answers are repeated after the ledger has gone on."""
    seq, heads = draw(st.integers(0, 5)), []
    for run in range(draw(st.integers(least_runs, 4))):
        seq += draw(st.integers(1, 3))
        heads.append(told(seq, run, ADMISSION))
        for number in draw(st.lists(st.integers(0, 20), unique=True, max_size=6).map(sorted)):
            seq += draw(st.integers(0, 4))
            heads.append(told(seq, run, (number, 1)))
        if draw(st.booleans()):
            seq += draw(st.integers(0, 2))
            heads.append(told(seq, run, CLOSE))
    return heads


def ledger_of(heads: list[Told], **changes: object) -> Ledger:
    """The same heads, in any order, with the closes as signed parts."""
    shuffled = random.Random(len(heads)).sample(heads, len(heads))
    parts = [Part(head, GENESIS, 0, 3) for head in shuffled if head.step == CLOSE]
    ledger = Ledger("site-1", "data", [head for head in shuffled if head.step != CLOSE], parts)
    return replace(ledger, **changes)  # type: ignore[arg-type]


def failed(chain: Chain) -> list[str]:
    return [check.what for check in chain.checks if check.state == "failed"]


@given(honest())
def test_a_ledger_that_only_grew_is_consistent(heads: list[Told]) -> None:
    chain = judge(ledger_of(heads))
    assert (chain.state, failed(chain)) == ("consistent", [])
    assert chain.last is not None
    assert (chain.heads, chain.last.seq) == (len(heads), max(head.seq for head in heads))


@given(honest(), st.data())
def test_a_second_hash_of_an_entry_is_a_fork_and_names_both_objects(heads: list[Told], data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(range(len(heads))))
    forged = replace(heads[place], head=head_of(heads[place].seq, "b"), object="forged", step=(21, 0))
    later = replace(forged, run_id=heads[-1].run_id)
    chain = judge(ledger_of([*heads, later]))
    assert chain.state == "forked"
    named = {head.object for check in chain.checks for head in check.evidence}
    assert {"forged", heads[place].object} <= named | {head.object for head in heads if head.seq == forged.seq}


@given(honest(least_runs=2), st.integers(1, 50))
def test_a_ledger_that_went_back_is_rolled_back(heads: list[Told], back: int) -> None:
    high = max(head.seq for head in heads)
    again = told(high - back, 99, ADMISSION, ledger="a")
    chain = judge(ledger_of([*heads, again]))
    assert chain.state == "rolled_back"
    assert again.object in {head.object for check in chain.checks for head in check.evidence}


@given(honest(least_runs=2), st.integers(1, 5))
def test_a_ledger_that_was_restored_from_a_copy_and_went_on_is_not_consistent(heads: list[Told], lost: int) -> None:
    """Entries after the copy are other ones, so the numbers meet again with other hashes, or go back."""
    high = max(head.seq for head in heads)
    again = [told(high - lost + number, 99, (number, 1), ledger="copy") for number in range(lost + 2)]
    assert judge(ledger_of([*heads, *again])).state in ("forked", "rolled_back")


def test_signed_parts_of_ledgers_that_began_differently_are_a_fork() -> None:
    first, second = told(9, 0, CLOSE), told(12, 1, CLOSE)
    parts = [Part(first, GENESIS, 0, 3), Part(second, "8" * 64, 0, 3)]
    chain = judge(Ledger("site-1", "data", [], parts))
    assert (chain.state, failed(chain)) == ("forked", ["one beginning"])
    assert [head.object for head in chain.checks[2].evidence] == [first.object, second.object]


@pytest.mark.parametrize(("since", "state"), [(False, "rolled_back"), (True, "consistent")])
def test_a_refusal_counts_until_the_ledger_has_gone_on(since: bool, state: str) -> None:
    heads = [told(5, 0, ADMISSION), told(7, 0, (1, 1)), *([told(9, 2, ADMISSION)] if since else [])]
    chain = judge(Ledger("site-1", "data", heads, refused=[Refused("run-001/admission", "run-001", ADMISSION)]))
    assert chain.state == state
    assert [head.object for head in chain.checks[3].evidence] == ["run-001/admission"]


def test_a_ledger_of_which_nothing_was_told_is_unknown_rather_than_consistent() -> None:
    chain = judge(Ledger("site-1", "data"))
    assert (chain.state, chain.last, chain.heads) == ("unknown", None, 0)
    assert "not checked" in {check.state for check in chain.checks}


def test_a_witness_that_saw_more_than_any_record_is_said() -> None:
    chain = judge(Ledger("site-1", "data", [told(5, 0, ADMISSION)], witnessed=8, witness="witness/8"))
    order = chain.checks[1]
    assert (chain.state, order.state) == ("consistent", "not checked")
    assert "witness saw entry 8" in order.detail


def test_evidence_is_bounded() -> None:
    heads = [told(seq, 0, (seq, 1), ledger) for seq in range(100) for ledger in "ab"]
    assert all(len(check.evidence) <= MOST_EVIDENCE for check in judge(Ledger("s", "d", heads)).checks)
