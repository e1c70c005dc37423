"""A site whose disk fills up in the middle of a request: nothing unpaid leaves, and then the same request goes on."""

import numpy as np
import pytest

from fedpriv_client.privacy.ledger.ledger import Ledger
from fedpriv_common.errors import Refusal
from fedpriv_common.plan import Phase
from fedpriv_common.wire import OK, encode_array

from .conftest import admission, plan_of, release
from .test_ledger_faults import full_disk

PLAN = plan_of()


@pytest.fixture
def log_size(on_disk):
    return lambda: on_disk.ledger_path.with_name("ledger.db-wal").stat().st_size


def charges(on_disk):
    return [(line["round"], line["state"]) for line in on_disk.ledger.export()]


def test_full_before_a_request_charges_and_computes_nothing(on_disk, log_size):
    site = on_disk.start()
    with full_disk(log_size()):
        assert site.handle(admission(PLAN)).code == Refusal.LEDGER_UNAVAILABLE
    assert site.handle(admission(PLAN)).code == OK
    with full_disk(log_size()):
        reply = site.handle(release(PLAN, 0, "centre"))
    assert (reply.code, reply.payload, reply.facts) == (Refusal.LEDGER_UNAVAILABLE, b"", None)
    assert charges(on_disk) == on_disk.trained == []
    assert site.handle(release(PLAN, 0, "centre")).code == OK


def test_full_when_the_reply_is_committed_sends_nothing_and_the_reservation_serves_the_next_try(
    on_disk, log_size, monkeypatch
):
    site = on_disk.start()
    site.handle(admission(PLAN))
    commit = Ledger.commit

    def on_a_full_disk(*arguments):
        with full_disk(log_size()):
            return commit(*arguments)

    monkeypatch.setattr(Ledger, "commit", on_a_full_disk)
    for _ in range(2):
        reply = site.handle(release(PLAN, 0, "centre"))
        assert (reply.code, reply.payload) == (Refusal.LEDGER_UNAVAILABLE, b"")
        assert charges(on_disk) == [(0, "reserved")]
    monkeypatch.undo()
    assert site.handle(release(PLAN, 0, "centre")).code == OK
    assert charges(on_disk) == [(0, "committed")]
    assert [phase for phase, _ in on_disk.trained] == [Phase.CENTRE] * 3


def test_full_after_the_commit_the_reply_leaves_and_is_the_same_ever_after(on_disk, log_size, monkeypatch):
    site = on_disk.start()
    site.handle(admission(PLAN))
    request = release(PLAN, 1, "train", parameters=encode_array(np.zeros(PLAN.model.n_parameters)))
    first = site.handle(request)
    with full_disk(log_size()):
        again = site.handle(request)
        restarted = on_disk.start().handle(request)
    assert first.code == again.code == restarted.code == OK
    assert first.payload == again.payload == restarted.payload
    assert len(on_disk.trained) == 1
