"""Eight processes on one ledger near its limit: the budget holds at every moment, and nothing is lost or charged twice.

If this failed, a data set that is served by more than one process, as when a replaced task has not ended yet, could
release more than its policy allows, or answer one question with two noises.
"""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from fedpriv_client.privacy.ledger.entries import Admit, parse_entry
from fedpriv_client.privacy.ledger.history import History
from fedpriv_client.privacy.ledger.ledger import Replay
from fedpriv_common.accounting import epsilon
from fedpriv_common.canonical import sha256_hex
from fedpriv_common.contract import load_contract
from fedpriv_common.errors import Refusal, RefusalError
from fedpriv_common.plan import Phase, RunSettings, make_plan
from tests.privacy.mortal_site import mortal_site
from tests.privacy.test_kill import BUILT_IN, Books, Observer, provision, requests_of
from tests.unit.client.ledgers import DELTA, OTHER_PLAN, PLAN, OnDisk, admit

PROCESSES, RUNS = 8, 3
#: About half of the runs fit; those that are closed early make place for others.
LIMIT = 2.0
ROUNDS = 5


@dataclass
class Told:
    """What one process says of its work."""

    admitted: list[str]
    refused: list[str]
    closed: list[str]
    sent: list[tuple[str, int, bytes]]


def work(place: OnDisk, number: int, barrier: Barrier) -> Told:
    """Admit runs of its own; release some rounds of each, and of one that all processes share; close every other."""
    ledger, told = place.open(), Told([], [], [], [])
    barrier.wait(60)
    for attempt in range(RUNS):
        own = f"run-{number}-{attempt}"
        try:
            admit(ledger, own, OTHER_PLAN, LIMIT)
        except RefusalError as refusal:
            assert refusal.refusal is Refusal.BUDGET_EXHAUSTED, refusal
            told.refused.append(own)
        else:
            told.admitted.append(own)
        for run_id in ("shared", *told.admitted[-1:]):
            if run_id in told.closed:
                continue
            for round_number in random.sample(range(1, ROUNDS + 1), ROUNDS):
                digest, computed = f"q{round_number}", f"{number}-{attempt}-{round_number}".encode()
                reserved = ledger.reserve(run_id, round_number, Phase.TRAIN, digest)
                if isinstance(reserved, Replay):
                    payload = reserved.payload
                else:
                    payload = ledger.commit(run_id, round_number, Phase.TRAIN, digest, computed)
                told.sent.append((run_id, round_number, payload))
        if number % 2 and told.admitted[-1:] == [own]:
            ledger.close(own)
            told.closed.append(own)
    return told


def _worker(place: OnDisk, number: int, barrier: Barrier, results: multiprocessing.Queue) -> None:
    results.put(work(place, number, barrier))


def test_eight_processes_near_the_limit_never_exceed_it_and_lose_nothing(tmp_path: Path) -> None:
    place = OnDisk(tmp_path)
    admit(place.begin(), "shared", PLAN, LIMIT)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    barrier, results = context.Barrier(PROCESSES), context.Queue()
    workers = [context.Process(target=_worker, args=(place, number, barrier, results)) for number in range(PROCESSES)]
    for worker in workers:
        worker.start()
    told = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0

    # Entry by entry, as the processes wrote them: over the limit at no moment.
    history, admissions = History(), 0
    for seq, body in place.store().read(-1):
        history.apply(seq, body)
        if isinstance(parse_entry(body), Admit):
            admissions += 1
            assert epsilon([*history.charged(), *history.held()], DELTA) <= LIMIT
    admitted = {run for each in told for run in each.admitted}
    refused = {run for each in told for run in each.refused}
    assert set(history.runs) == {"shared"} | admitted
    assert admissions == len(history.runs)
    assert refused.isdisjoint(history.runs)
    assert {run for run, it in history.runs.items() if it.closed} == {run for each in told for run in each.closed}
    assert refused, "the limit was never near"
    print(f"{len(admitted)} admissions of {len(admitted) + len(refused)}, {history.seq + 1} entries")

    # Every release that a process answered with is committed, once, with the bytes that everyone was given.
    sent: defaultdict[tuple[str, int], set[bytes]] = defaultdict(set)
    for each in told:
        for run_id, round_number, payload in each.sent:
            sent[(run_id, round_number)].add(payload)
    charges = list(history.charges())
    assert Counter((it.run_id, it.round) for it in charges) == Counter(dict.fromkeys(sent, 1))
    assert {(it.run_id, it.round): {it.reply_digest} for it in charges} == {
        key: {sha256_hex(payload) for payload in payloads} for key, payloads in sent.items()
    }


@pytest.mark.timeout(180)
def test_eight_real_sites_on_one_ledger_answer_a_request_with_one_noise(tmp_path: Path) -> None:
    """Each trains when it is asked before another has committed; all send what the first one committed."""
    settings = provision(tmp_path)
    plan = make_plan(RunSettings(sites=1, rounds=4, evaluations=1, min_reply_ms=0), load_contract(BUILT_IN))
    books, observer = Books(settings), Observer(plan)
    with mortal_site(tmp_path / "processes", settings) as site:
        children = [site.start() for _ in range(PROCESSES)]
        for request, use in requests_of(plan, "01J9ZZZZZZZZZZZZZZZZZZZZZZ"):
            for child in children:
                child.ask(replace(request, witness_seq=observer.head[0], witness_head=observer.head[1]))
            replies = [child.reply() for child in children]
            for child, reply in zip(children, replies, strict=True):
                assert reply is not None, site.log.read_text()
                observer.take(request, reply)
                child.acknowledge()
            assert len({reply.payload for reply in replies if reply}) == 1
            use(replies[0])
            books.check(observer)
    assert len(observer.seen) == 1 + 4 + 1
