"""The ledger: charged before, committed once, never refunded, refused when in doubt."""

import multiprocessing
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fedpriv_client.privacy.ledger.ledger import Ledger, LedgerIdentity, Replay, Reserved
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_common.accounting import epsilon
from fedpriv_common.contract import load_contract
from fedpriv_common.errors import ErrorCode, FedprivError, Refusal, RefusalError
from fedpriv_common.plan import Phase, RunSettings, make_plan

IDENTITY = LedgerIdentity(
    dataset="breast-cancer-wisconsin@1",
    partition=0,
    partitions=3,
    held_out_share=0.0,
    site_key_commitment="c",
    canonical_form=1,
)
PLAN = make_plan(RunSettings(epsilon=1.0), load_contract("breast-cancer-wisconsin"))
OTHER_PLAN = make_plan(RunSettings(epsilon=0.5), load_contract("breast-cancer-wisconsin"))
DELTA = 1e-5


class Files:
    """The paths of one ledger, and ways to open it as a new process would."""

    def __init__(self, folder):
        self.ledger, self.marker = folder / "ledger.db", folder / "marker" / "genesis.json"

    def begin(self):
        self.store = SqliteStore.create(self.ledger)
        return Ledger.begin(self.store, self.marker, IDENTITY)

    def open(self, identity=IDENTITY):
        return Ledger.open(SqliteStore.open(self.ledger), self.marker, identity)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def admit(ledger, run_id="A", plan=PLAN, limit=8.0):
    ledger.admit(run_id, plan, "policy", epsilon_limit=limit, delta=DELTA)


def refusal_of(action, *arguments):
    with pytest.raises(RefusalError) as raised:
        action(*arguments)
    return raised.value.refusal


def test_a_release_is_charged_before_it_is_committed(files):
    ledger = files.begin()
    admit(ledger)
    assert ledger.reserve("A", 0, Phase.CENTRE, "q") == Reserved()
    (line,) = files.open().export()
    assert (line["state"], line["reply_digest"]) == ("reserved", None)
    assert ledger.commit("A", 0, Phase.CENTRE, "q", b"bytes") == b"bytes"
    (line,) = files.open().export()
    assert line["state"] == "committed"


def test_the_same_request_gets_the_same_bytes_for_ever_and_is_charged_once(files):
    ledger = files.begin()
    admit(ledger)
    ledger.reserve("A", 1, Phase.TRAIN, "q")
    ledger.commit("A", 1, Phase.TRAIN, "q", b"first")
    again = files.open()
    assert again.reserve("A", 1, Phase.TRAIN, "q") == Replay(b"first")
    assert again.commit("A", 1, Phase.TRAIN, "q", b"second") == b"first"
    again.close("A")
    assert again.reserve("A", 1, Phase.TRAIN, "q") == Replay(b"first")
    assert len(list(again.export())) == 1


def test_a_reservation_that_was_never_committed_serves_the_next_try_and_stays_charged(files):
    ledger = files.begin()
    admit(ledger)
    ledger.reserve("A", 1, Phase.TRAIN, "q")
    again = files.open()
    assert again.reserve("A", 1, Phase.TRAIN, "q") == Reserved()
    assert len(list(again.export())) == 1


def test_another_request_for_the_same_round_is_refused(files):
    ledger = files.begin()
    admit(ledger)
    ledger.reserve("A", 1, Phase.TRAIN, "q")
    assert refusal_of(ledger.reserve, "A", 1, Phase.TRAIN, "other") is Refusal.REQUEST_CHANGED
    assert refusal_of(ledger.commit, "A", 1, Phase.TRAIN, "other", b"") is Refusal.REQUEST_CHANGED


@pytest.mark.parametrize(
    ("number", "phase"), [(1, Phase.CENTRE), (0, Phase.TRAIN), (14, Phase.TRAIN), (0, Phase.EVALUATE)]
)
def test_what_the_plan_does_not_hold_is_refused(files, number, phase):
    ledger = files.begin()
    admit(ledger)
    assert refusal_of(ledger.reserve, "A", number, phase, "q") is Refusal.BAD_REQUEST
    assert list(ledger.export()) == []


def test_runs_must_be_admitted_and_closed_runs_release_nothing(files):
    ledger = files.begin()
    assert refusal_of(ledger.reserve, "A", 0, Phase.CENTRE, "q") is Refusal.NOT_ADMITTED
    admit(ledger)
    admit(ledger)
    assert refusal_of(admit, ledger, "A", OTHER_PLAN) is Refusal.REQUEST_CHANGED
    ledger.reserve("A", 0, Phase.CENTRE, "q")
    ledger.close("A")
    ledger.close("A")
    assert refusal_of(admit, ledger) is Refusal.RUN_CLOSED
    assert refusal_of(ledger.reserve, "A", 1, Phase.TRAIN, "q") is Refusal.RUN_CLOSED
    assert refusal_of(ledger.reserve, "A", 0, Phase.CENTRE, "q") is Refusal.RUN_CLOSED
    assert refusal_of(ledger.commit, "A", 0, Phase.CENTRE, "q", b"late") is Refusal.RUN_CLOSED


def test_the_budget_is_the_data_sets_over_all_runs(files):
    ledger = files.begin()
    limit = 2.0
    admitted = 0
    for number in range(10):
        try:
            admit(ledger, f"run-{number}", PLAN, limit)
            admitted += 1
        except RefusalError as refused:
            assert refused.refusal is Refusal.BUDGET_EXHAUSTED
            break
    with ledger.reading() as history:
        assert epsilon(history.held(), DELTA) <= limit < epsilon([*history.held(), *PLAN.events()], DELTA)
    assert admitted == 3


def test_closing_frees_only_what_was_never_reserved(files):
    ledger = files.begin()
    admit(ledger)
    ledger.reserve("A", 0, Phase.CENTRE, "q")
    ledger.close("A")
    with ledger.reading() as history:
        assert history.held() == []
        assert epsilon(history.charged(), DELTA) == epsilon([PLAN.centre.event()], DELTA)


def test_a_missing_ledger_is_never_an_empty_one(files):
    files.begin()
    files.ledger.unlink()
    with pytest.raises(FedprivError) as raised:
        files.open()
    assert raised.value.code is ErrorCode.LEDGER_MISSING
    assert not files.ledger.exists()


def test_a_ledger_without_its_marker_is_refused_once_it_was_used(files):
    admit(files.begin())
    files.marker.unlink()
    for opening in (files.open, files.begin):
        with pytest.raises(FedprivError) as raised:
            opening()
        assert raised.value.code is ErrorCode.LEDGER_INVALID


def test_an_interrupted_beginning_is_completed(files):
    files.begin()
    files.marker.unlink()
    files.begin()
    assert files.open().contains(-1, "")


def test_another_ledger_in_its_place_is_refused(files, tmp_path):
    files.begin()
    other = Files(tmp_path / "other")
    other.ledger.parent.mkdir()
    other.begin()
    for each in (files, other):
        each.store.close()
    files.ledger.write_bytes(other.ledger.read_bytes())
    with pytest.raises(FedprivError, match="another ledger"):
        files.open()


@pytest.mark.parametrize("field", ["partition", "partitions", "held_out_share", "site_key_commitment", "dataset"])
def test_what_the_genesis_fixed_cannot_change(files, field):
    files.begin()
    changed = LedgerIdentity(**(vars(IDENTITY) | {field: 2 if field.startswith("partition") else "x"}))
    with pytest.raises(FedprivError, match=f"made for {field}"):
        files.open(changed)


TAMPERING = {
    "edited": "UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), 'steps', 'stepz') AS BLOB) WHERE seq = 2",
    "cheaper": "UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), '11.8', '91.8') AS BLOB) WHERE seq = 2",
    "removed": "DELETE FROM entries WHERE seq = 2",
    "renumbered": "UPDATE entries SET seq = 9 WHERE seq = 3",
    "swapped": "UPDATE entries SET body = (SELECT body FROM entries WHERE seq = 1) WHERE seq = 2",
    "not JSON": "UPDATE entries SET body = CAST('x' AS BLOB) WHERE seq = 3",
}


@pytest.mark.parametrize("how", TAMPERING)
def test_a_tampered_ledger_is_refused(files, how):
    ledger = files.begin()
    admit(ledger)
    ledger.reserve("A", 0, Phase.CENTRE, "q")
    ledger.commit("A", 0, Phase.CENTRE, "q", b"bytes")
    with sqlite3.connect(files.ledger) as connection:
        for trigger in ("entries_kept", "entries_fixed"):
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(TAMPERING[how])
    connection.close()
    with pytest.raises(FedprivError) as raised:
        files.open()
    assert raised.value.code is ErrorCode.LEDGER_INVALID


def test_changed_reply_bytes_are_never_sent(files):
    ledger = files.begin()
    admit(ledger)
    ledger.reserve("A", 0, Phase.CENTRE, "q")
    ledger.commit("A", 0, Phase.CENTRE, "q", b"bytes")
    with sqlite3.connect(files.ledger) as connection:
        connection.execute("DROP TRIGGER replies_fixed")
        connection.execute("UPDATE replies SET body = CAST('other' AS BLOB)")
    connection.close()
    assert refusal_of(ledger.reserve, "A", 0, Phase.CENTRE, "q") is Refusal.LEDGER_UNAVAILABLE


def test_a_truncated_ledger_does_not_hold_the_head_that_a_witness_saw(files):
    ledger = files.begin()
    admit(ledger)
    before = files.ledger.read_bytes(), files.ledger.with_name("ledger.db-wal").read_bytes()
    ledger.reserve("A", 0, Phase.CENTRE, "q")
    with ledger.reading() as history:
        seen = history.seq, history.head
    assert ledger.contains(*seen)
    files.store.close()
    files.ledger.write_bytes(before[0])
    files.ledger.with_name("ledger.db-wal").write_bytes(before[1])
    restored = files.open()
    assert not restored.contains(*seen)


def _race(path, marker, barrier, results):
    ledger = Ledger.open(SqliteStore.open(path), marker)
    barrier.wait(30)
    for number in range(1, 14):
        ledger.reserve("A", number, Phase.TRAIN, f"q{number}")
        payload = f"{multiprocessing.current_process().pid}-{number}".encode()
        results.put((number, ledger.commit("A", number, Phase.TRAIN, f"q{number}", payload)))


def test_of_two_processes_on_one_ledger_only_one_answers_each_round(files):
    admit(files.begin())
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    racers = [context.Process(target=_race, args=(files.ledger, files.marker, barrier, results)) for _ in range(2)]
    for racer in racers:
        racer.start()
    sent = [results.get(timeout=60) for _ in range(26)]
    for racer in racers:
        racer.join(30)
        assert racer.exitcode == 0
    for number in range(1, 14):
        assert len({payload for round_number, payload in sent if round_number == number}) == 1
    assert len(list(files.open().export())) == 13


class LedgerMachine(RuleBasedStateMachine):
    """Any order of the four steps, over runs and restarts: what was sent is charged, and stays what it was."""

    runs = st.sampled_from(["A", "B", "C"])
    rounds = st.integers(1, 3)

    @initialize()
    def begin(self):
        self.files = Files(Path(tempfile.mkdtemp()))
        self.ledger = self.files.begin()
        self.sent = {}

    @rule(run_id=runs, plan=st.sampled_from([PLAN, OTHER_PLAN]))
    def admit(self, run_id, plan):
        with suppress(RefusalError):
            admit(self.ledger, run_id, plan, 1.5)

    @rule(run_id=runs, number=rounds, digest=st.sampled_from(["p", "q"]))
    def reserve(self, run_id, number, digest):
        with suppress(RefusalError):
            self.ledger.reserve(run_id, number, Phase.TRAIN, digest)

    @rule(run_id=runs, number=rounds, digest=st.sampled_from(["p", "q"]), payload=st.binary(max_size=3))
    def commit(self, run_id, number, digest, payload):
        try:
            sent = self.ledger.commit(run_id, number, Phase.TRAIN, digest, payload)
        except RefusalError:
            return
        assert self.sent.setdefault((run_id, number), sent) == sent

    @rule(run_id=runs)
    def close(self, run_id):
        with suppress(RefusalError):
            self.ledger.close(run_id)

    @rule()
    def restart(self):
        self.ledger = self.files.open()

    @invariant()
    def whatever_was_sent_is_charged_and_all_together_is_within_the_limit(self):
        with self.ledger.reading() as history:
            charged = {(release.run_id, release.round) for release in history.charges()}
            assert epsilon([*history.charged(), *history.held()], DELTA) <= 1.5
        assert set(self.sent) <= charged


LedgerMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase


# -- former holders ------------------------------------------------------------------------------------------------


def test_a_former_holder_of_the_ledger_writes_nothing(files):
    files.begin()
    former, holder = SqliteStore.open(files.ledger), SqliteStore.open(files.ledger)
    assert former.claim(1) == -1
    mine = Ledger.open(former, files.marker, IDENTITY)
    admit(mine)
    mine.reserve("A", 0, Phase.CENTRE, "q")
    assert not mine.shut_out()
    assert holder.claim(2) == 1
    assert mine.shut_out()
    before = list(holder.read(-1))
    for action in (
        lambda: mine.commit("A", 0, Phase.CENTRE, "q", b"late"),
        lambda: mine.reserve("A", 1, Phase.TRAIN, "r"),
        lambda: mine.close("A"),
        lambda: admit(mine, "B"),
    ):
        assert refusal_of(action) is Refusal.LEDGER_UNAVAILABLE
    assert list(holder.read(-1)) == before
    assert not Ledger.open(holder, files.marker, IDENTITY).shut_out()
    # What it had reserved serves the new holder, charged once.
    theirs = Ledger.open(holder, files.marker, IDENTITY)
    assert theirs.reserve("A", 0, Phase.CENTRE, "q") == Reserved()
    assert theirs.commit("A", 0, Phase.CENTRE, "q", b"bytes") == b"bytes"


@pytest.mark.parametrize("token", [1, 2])
def test_a_claim_that_is_not_newer_does_not_hold(files, token):
    files.begin()
    holder, late = SqliteStore.open(files.ledger), SqliteStore.open(files.ledger)
    holder.claim(2)
    assert late.claim(token) == 2
    admit(Ledger.open(holder, files.marker, IDENTITY))


def test_a_ledger_that_is_being_written_cannot_be_claimed(files, monkeypatch):
    files.begin()
    monkeypatch.setattr("fedpriv_client.privacy.ledger.sqlite._BUSY_SECONDS", 0.1)
    paused, other = SqliteStore.open(files.ledger), SqliteStore.open(files.ledger)
    with paused.exclusive(), pytest.raises(FedprivError, match="being written") as raised:
        other.claim(1)
    assert raised.value.code is ErrorCode.LEDGER_BUSY
    assert other.claim(1) == -1


def test_a_ledger_of_a_newer_form_is_left_alone(files):
    files.begin()
    connection = sqlite3.connect(files.ledger)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(FedprivError, match="form 2") as raised:
        files.open()
    assert raised.value.code is ErrorCode.OTHER_VERSION
