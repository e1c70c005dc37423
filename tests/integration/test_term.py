"""Of several servers on one bucket, the one that started last serves the runs; the others write nothing any more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from fedpriv_common import keys
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.store import ObjectStore
from fedpriv_server.outbox import Outbox, StoredObject
from fedpriv_server.term import TakenOverError, Term
from fedpriv_server.writer import Writer
from tests.waiting import until

RUN = "01J9ZZZZZZZZZZZZZZZZZZZZZZ"


def test_the_first_of_two_starts_is_over_when_the_second_has_begun(object_store: ObjectStore) -> None:
    old, new = Term(object_store), Term(object_store)
    old.take()
    old.check()
    new.take()
    with pytest.raises(TakenOverError, match=r"another one took over at \d{4}-"):
        old.check()
    new.check()
    new.take()
    assert (old.number, new.number) == (1, 2), "a term is taken once"


def test_starts_at_the_same_moment_get_terms_of_their_own(object_store: ObjectStore) -> None:
    terms = [Term(object_store) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(Term.take, terms))
    assert sorted(term.number or 0 for term in terms) == [1, 2, 3, 4, 5, 6]
    newest = max(terms, key=lambda term: term.number or 0)
    for term in terms:
        if term is not newest:
            with pytest.raises(TakenOverError):
                term.check()
    newest.check()


def test_what_cannot_be_known_while_s3_is_away_is_not_taken_for_the_end(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    term = Term(object_store)
    term.take()
    absent = Term(ObjectStore(object_store.client, "no-such-bucket-here", object_store.kms_key_id))
    monkeypatch.setattr(absent, "_number", 1)
    with pytest.raises(FedprivError) as raised:
        absent.check()
    assert raised.value.code is ErrorCode.STORE_UNAVAILABLE
    assert absent.over is None


@pytest.mark.parametrize("key", [keys.run_decision(RUN), keys.run_end(RUN)])
def test_a_server_that_was_taken_over_ends_no_run(object_store: ObjectStore, tmp_path: Path, key: str) -> None:
    outbox, old = Outbox(tmp_path), Term(object_store)
    old.take()
    writer = Writer(outbox, object_store, lambda _: None, old)
    writer.start()
    number = outbox.add([StoredObject(keys.run_info(RUN), b"{}")])
    assert outbox.wait_until_sent(number, 10)
    Term(object_store).take()
    outbox.add([StoredObject(keys.admission(RUN, "site-1"), b"{}"), StoredObject(key, b"{}")])
    until(lambda: old.over, "the old server's end")
    writer.stop(5)
    assert list(object_store.list_keys(keys.RUNS)) == [keys.run_info(RUN)]
    assert len(outbox) == 1, "it stays on the disk"


@pytest.mark.parametrize("same", [True, False])
def test_another_checkpoint_in_the_bucket_is_the_end_unless_its_tensors_are_the_same(
    object_store: ObjectStore, tmp_path: Path, same: bool
) -> None:
    outbox, term, key = Outbox(tmp_path), Term(object_store), keys.checkpoint(RUN, 3)
    term.take()
    object_store.put_once(key, save({"parameters": np.arange(3.0)}, {"closed": "in 1 s"}))
    writer = Writer(outbox, object_store, lambda _: None, term)
    writer.start()
    outbox.add([StoredObject(key, save({"parameters": np.arange(3.0) + (not same)}, {"closed": "in 2 s"}))])
    assert outbox.wait_until_empty(10)
    assert (term.over is None) is same
    assert same or "another v1/runs/" in str(term.over)
    writer.stop(5)
