"""What a well-chained ledger may still not say: the chain shows edits, the history shows what no site would write."""

import pytest

from fedpriv_client.privacy.ledger.entries import NO_HASH, Admit, Close, Evaluation, Genesis, Release, now
from fedpriv_client.privacy.ledger.history import History
from fedpriv_common.plan import Phase
from tests.unit.client.ledgers import IDENTITY, PLAN

CHARGE = {"run_id": "A", "request_digest": "q", "policy_digest": "p", "state": "reserved", "reply_digest": None}


def written(*entries):
    """The history of the entries, chained as a ledger would."""
    history = History()
    for kind, fields in ((Genesis, vars(IDENTITY)), *entries):
        entry = kind(seq=history.seq + 1, prev_hash=history.head, at=now(), **fields)
        history.apply(entry.seq, entry.body())
    return history


ADMISSION = (Admit, {"run_id": "A", "plan": PLAN, "plan_digest": PLAN.digest(), "policy_digest": "p"})


def reservation(**changes):
    train = PLAN.train
    parameters = {
        "noise_multiplier": train.noise_multiplier,
        "max_grad_norm": train.max_grad_norm,
        "sample_rate": train.sample_rate,
        "steps": train.steps,
    }
    return Release, CHARGE | {"round": 1, "phase": Phase.TRAIN} | parameters | changes


COMMIT = {"state": "committed", "reply_digest": "r"}
EVALUATION = {"round": PLAN.evaluate.at[0], "epsilon_pure": PLAN.evaluate.epsilon}


def test_what_a_ledger_writes_is_accepted():
    history = written(ADMISSION, reservation(), reservation(**COMMIT), (Evaluation, CHARGE | EVALUATION))
    assert history.seq == 4
    assert history.head != NO_HASH


@pytest.mark.parametrize(
    "entries",
    {
        "less noise than planned": [ADMISSION, reservation(noise_multiplier=PLAN.train.noise_multiplier / 2)],
        "more noise than planned": [ADMISSION, reservation(noise_multiplier=PLAN.train.noise_multiplier * 2)],
        "another clip": [ADMISSION, reservation(max_grad_norm=PLAN.train.max_grad_norm * 2)],
        "a round too far": [ADMISSION, reservation(round=PLAN.rounds + 1)],
        "a cheaper evaluation": [ADMISSION, (Evaluation, CHARGE | EVALUATION | {"epsilon_pure": 1e-9})],
        "an evaluation too many": [ADMISSION, (Evaluation, CHARGE | EVALUATION | {"round": 1})],
        "an unknown run": [reservation()],
        "reserved twice": [ADMISSION, reservation(), reservation()],
        "committed unreserved": [ADMISSION, reservation(**COMMIT)],
        "committed twice": [ADMISSION, reservation(), reservation(**COMMIT), reservation(**COMMIT)],
        "committed cheaper": [ADMISSION, reservation(), reservation(**COMMIT, noise_multiplier=1e6)],
        "committed for another request": [ADMISSION, reservation(), reservation(**COMMIT | {"request_digest": "x"})],
        "reserved after the end": [ADMISSION, (Close, {"run_id": "A"}), reservation()],
        "admitted twice": [ADMISSION, ADMISSION],
        "another plan than its digest": [(Admit, ADMISSION[1] | {"plan_digest": "0" * 64})],
    }.items(),
    ids=lambda entries: entries[0],
)
def test_what_no_ledger_writes_is_refused(entries):
    with pytest.raises(ValueError, match="entry"):
        written(*entries[1])
