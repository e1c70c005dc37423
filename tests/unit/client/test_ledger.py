"""The ledger, on disk and in S3: charged before, committed once, never refunded, refused when in doubt."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from fedpriv_client.privacy.ledger.ledger import Ledger, LedgerIdentity, Replay, Reserved
from fedpriv_common.accounting import coalesce, epsilon
from fedpriv_common.errors import ErrorCode, FedprivError, Refusal, RefusalError
from fedpriv_common.lifetime import read_history
from fedpriv_common.plan import Phase
from tests.unit.client.ledgers import DELTA, IDENTITY, OTHER_PLAN, PLAN, InS3, OnDisk, admit, race


@pytest.fixture(params=["disk", "s3"])
def place(request, tmp_path):
    """A place for one ledger, in each kind of storage."""
    if request.param == "disk":
        return OnDisk(tmp_path)
    return InS3.fresh(request.getfixturevalue("ledger_bucket"))


def refusal_of(action, *arguments):
    with pytest.raises(RefusalError) as raised:
        action(*arguments)
    return raised.value.refusal


def test_a_release_is_charged_before_it_is_committed(place):
    ledger = place.begin()
    admit(ledger)
    assert ledger.reserve("A", 0, Phase.CENTRE, "q") == Reserved()
    (line,) = place.open().export()
    assert (line["state"], line["reply_digest"]) == ("reserved", None)
    assert ledger.commit("A", 0, Phase.CENTRE, "q", b"bytes") == b"bytes"
    (line,) = place.open().export()
    assert line["state"] == "committed"


def test_the_same_request_gets_the_same_bytes_for_ever_and_is_charged_once(place):
    ledger = place.begin()
    admit(ledger)
    ledger.reserve("A", 1, Phase.TRAIN, "q")
    ledger.commit("A", 1, Phase.TRAIN, "q", b"first")
    again = place.open()
    assert again.reserve("A", 1, Phase.TRAIN, "q") == Replay(b"first")
    assert again.commit("A", 1, Phase.TRAIN, "q", b"second") == b"first"
    again.close("A")
    assert again.reserve("A", 1, Phase.TRAIN, "q") == Replay(b"first")
    assert len(list(again.export())) == 1


def test_a_reservation_that_was_never_committed_serves_the_next_try_and_stays_charged(place):
    ledger = place.begin()
    admit(ledger)
    ledger.reserve("A", 1, Phase.TRAIN, "q")
    again = place.open()
    assert again.reserve("A", 1, Phase.TRAIN, "q") == Reserved()
    assert len(list(again.export())) == 1


def test_another_request_for_the_same_round_is_refused(place):
    ledger = place.begin()
    admit(ledger)
    ledger.reserve("A", 1, Phase.TRAIN, "q")
    assert refusal_of(ledger.reserve, "A", 1, Phase.TRAIN, "other") is Refusal.REQUEST_CHANGED
    assert refusal_of(ledger.commit, "A", 1, Phase.TRAIN, "other", b"") is Refusal.REQUEST_CHANGED


@pytest.mark.parametrize(
    ("number", "phase"), [(1, Phase.CENTRE), (0, Phase.TRAIN), (14, Phase.TRAIN), (0, Phase.EVALUATE)]
)
def test_what_the_plan_does_not_hold_is_refused(place, number, phase):
    ledger = place.begin()
    admit(ledger)
    assert refusal_of(ledger.reserve, "A", number, phase, "q") is Refusal.BAD_REQUEST
    assert list(ledger.export()) == []


def test_runs_must_be_admitted_and_closed_runs_release_nothing(place):
    ledger = place.begin()
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


def test_the_budget_is_the_data_sets_over_all_runs(place):
    ledger = place.begin()
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


def test_closing_frees_only_what_was_never_reserved(place):
    ledger = place.begin()
    admit(ledger)
    ledger.reserve("A", 0, Phase.CENTRE, "q")
    ledger.close("A")
    with ledger.reading() as history:
        assert history.held() == []
        assert epsilon(history.charged(), DELTA) == epsilon([PLAN.centre.event()], DELTA)


def test_a_missing_ledger_is_never_an_empty_one(place):
    place.begin()
    place.lose()
    for _ in range(2):  # the first look must not have made one
        with pytest.raises(FedprivError) as raised:
            place.open()
        assert raised.value.code is ErrorCode.LEDGER_MISSING


def test_a_ledger_without_its_marker_is_refused_once_it_was_used(place):
    admit(place.begin())
    place.lose_marker()
    for opening in (place.open, place.begin):
        with pytest.raises(FedprivError) as raised:
            opening()
        assert raised.value.code is ErrorCode.LEDGER_INVALID


def test_an_interrupted_beginning_is_completed(place):
    place.begin()
    place.lose_marker()
    place.begin()
    assert place.open().contains(-1, "")


def test_another_ledger_in_its_place_is_refused(place):
    place.begin()
    other = place.another()
    other.begin()
    other.take_place_of(place)
    with pytest.raises(FedprivError, match="does not begin with the entry") as raised:
        place.open()
    assert raised.value.code is ErrorCode.LEDGER_INVALID


@pytest.mark.parametrize("field", ["partition", "partitions", "held_out_share", "site_key_commitment", "dataset"])
def test_what_the_genesis_fixed_cannot_change(place, field):
    place.begin()
    changed = LedgerIdentity(**(vars(IDENTITY) | {field: 2 if field.startswith("partition") else "x"}))
    with pytest.raises(FedprivError, match=f"made for {field}"):
        place.open(changed)


TAMPERING = {
    "edited": lambda place: place.edit(2, lambda body: body.replace(b"steps", b"stepz")),
    "cheaper": lambda place: place.edit(2, lambda body: body.replace(b'multiplier":', b'multiplier":9')),
    "one bit": lambda place: place.edit(1, lambda body: body[:-9] + bytes([body[-9] ^ 1]) + body[-8:]),
    "removed": lambda place: place.remove(2),
    "genesis removed": lambda place: place.remove(0),
    "renumbered": lambda place: place.renumber(3, 9),
    "swapped": lambda place: (place.remove(2), place.renumber(3, 2)),
    "not JSON": lambda place: place.edit(3, lambda _: b"x"),
    "empty": lambda place: place.edit(3, lambda _: b""),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_a_tampered_ledger_is_refused(place, how):
    ledger = place.begin()
    admit(ledger)
    ledger.reserve("A", 0, Phase.CENTRE, "q")
    ledger.commit("A", 0, Phase.CENTRE, "q", b"bytes")
    TAMPERING[how](place)
    with pytest.raises(FedprivError) as raised:
        place.open()
    assert raised.value.code is ErrorCode.LEDGER_INVALID


@pytest.mark.parametrize(
    "change",
    [
        lambda place: place.edit(2, lambda body: body.replace(b"centre", b"center")),
        lambda place: place.remove(2),
        lambda place: place.renumber(2, 7),
    ],
    ids=["edited", "removed", "renumbered"],
)
def test_a_ledger_that_is_changed_under_a_running_site_is_refused(place, change):
    ledger = place.begin()
    admit(ledger)
    ledger.reserve("A", 0, Phase.CENTRE, "q")
    assert len(list(ledger.export())) == 1  # so it has read what is about to change
    change(place)
    for _ in range(2):
        assert refusal_of(ledger.commit, "A", 0, Phase.CENTRE, "q", b"bytes") is Refusal.LEDGER_UNAVAILABLE
        assert refusal_of(ledger.reserve, "A", 1, Phase.TRAIN, "r") is Refusal.LEDGER_UNAVAILABLE


def test_changed_reply_bytes_are_never_sent(place):
    ledger = place.begin()
    admit(ledger)
    ledger.reserve("A", 0, Phase.CENTRE, "q")
    ledger.commit("A", 0, Phase.CENTRE, "q", b"bytes")
    place.change_replies()
    assert refusal_of(ledger.reserve, "A", 0, Phase.CENTRE, "q") is Refusal.LEDGER_UNAVAILABLE


def test_a_truncated_ledger_does_not_hold_the_head_that_a_witness_saw(place):
    ledger = place.begin()
    admit(ledger)
    ledger.reserve("A", 0, Phase.CENTRE, "q")
    with ledger.reading() as history:
        seen = history.seq, history.head
    assert ledger.contains(*seen)
    place.remove(seen[0])
    assert not place.open().contains(*seen)


def test_a_fork_does_not_hold_the_head_that_a_witness_saw(place):
    ledger = place.begin()
    admit(ledger)
    fork = place.another()
    place.take_place_of(fork)
    assert place.open().contains(1, "") is False
    ledger.reserve("A", 0, Phase.CENTRE, "q")
    with ledger.reading() as history:
        seen = history.seq, history.head
    forked = Ledger.open(fork.store(), place.marker(), IDENTITY)
    forked.reserve("A", 0, Phase.CENTRE, "another")
    assert not forked.contains(*seen)


def test_entries_of_a_fork_do_not_follow(place):
    ledger = place.begin()
    admit(ledger)
    fork = place.another()
    place.take_place_of(fork)
    forked = Ledger.open(fork.store(), place.marker(), IDENTITY)
    for each, digest in ((ledger, "q"), (forked, "r")):
        each.reserve("A", 0, Phase.CENTRE, digest)
        each.commit("A", 0, Phase.CENTRE, digest, digest.encode())
    (theirs,) = (body for seq, body in fork.store().read(2))
    place.edit(3, lambda _: theirs)
    with pytest.raises(FedprivError, match="damaged after entry 2") as raised:
        place.open()
    assert raised.value.code is ErrorCode.LEDGER_INVALID


def test_of_two_processes_on_one_ledger_only_one_answers_each_round(tmp_path):
    race(OnDisk(tmp_path))  # in S3: tests/privacy/test_s3_ledger.py


class LedgerMachine(RuleBasedStateMachine):
    """Any order of the four steps, over runs and restarts: what was sent is charged, and stays what it was."""

    make_place = staticmethod(lambda: OnDisk(Path(tempfile.mkdtemp())))
    runs = st.sampled_from(["A", "B", "C"])
    rounds = st.integers(1, 3)

    @initialize()
    def begin(self):
        self.place = self.make_place()
        self.ledger = self.place.begin()
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
        self.ledger = self.place.open()

    @invariant()
    def whatever_was_sent_is_charged_and_all_together_is_within_the_limit(self):
        with self.ledger.reading() as history:
            charged = {(release.run_id, release.round) for release in history.charges()}
            assert epsilon([*history.charged(), *history.held()], DELTA) <= 1.5
            releases = [each for run in history.runs.values() for each in run.releases.values()]
            assert tuple(history.charged()) == coalesce(release.event() for release in releases)
            # Admitted runs are charged or hold all of their plan, but for what closed ones never reserved.
            open_runs = [run for run in history.runs.values() if not run.closed]
            planned = [event for run in open_runs for event in run.admit.plan.events()]
            closed = [each.event() for each in releases if history.runs[each.run_id].closed]
            assert coalesce([*history.charged(), *history.held()]) == coalesce([*planned, *closed])
            for run in history.runs.values():
                others = [each.event() for each in releases if each.run_id != run.admit.run_id]
                assert tuple(history.charged(but_of=run)) == coalesce(others)
        assert set(self.sent) <= charged


LedgerMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase


def test_ledger_machine_in_s3(ledger_bucket):
    class InBucket(LedgerMachine):
        make_place = staticmethod(lambda: InS3.fresh(ledger_bucket))

    run_state_machine_as_test(
        InBucket, settings=settings(max_examples=5, stateful_step_count=15, deadline=None, database=None)
    )


# -- former holders ------------------------------------------------------------------------------------------------


def test_a_former_holder_of_the_ledger_writes_nothing(place):
    place.begin()
    former, holder = place.store(), place.store()
    assert former.claim(1) == -1
    mine = Ledger.open(former, place.marker(), IDENTITY)
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
    # What it had reserved serves the new holder, charged once.
    theirs = Ledger.open(holder, place.marker(), IDENTITY)
    assert not theirs.shut_out()
    assert theirs.reserve("A", 0, Phase.CENTRE, "q") == Reserved()
    assert theirs.commit("A", 0, Phase.CENTRE, "q", b"bytes") == b"bytes"


def test_an_approval_reaches_the_holder_from_a_command_that_holds_nothing(place):
    """The command claims nothing, so the holder is shut out neither then nor later; the last word counts."""
    store = place.create()
    site = Ledger.begin(store, place.marker(), IDENTITY)
    store.claim(1)

    def ask():
        site.admit("A", PLAN, "policy", epsilon_limit=8.0, delta=DELTA, needs_approval=True)

    assert refusal_of(ask) is Refusal.APPROVAL_NEEDED
    place.open().approve("A", PLAN.digest(), granted=False, by="me")
    assert refusal_of(ask) is Refusal.POLICY_REFUSED
    place.open().approve("A", OTHER_PLAN.digest(), granted=True, by="me")
    assert refusal_of(ask) is Refusal.POLICY_REFUSED, "of another plan"
    place.open().approve("A", PLAN.digest(), granted=True, by="me")
    ask()
    assert site.reserve("A", 0, Phase.CENTRE, "q") == Reserved()
    assert not site.shut_out()


def test_a_former_holder_does_not_even_repeat_what_it_committed(place):
    place.begin()
    former, holder = place.store(), place.store()
    former.claim(1)
    mine = Ledger.open(former, place.marker(), IDENTITY)
    admit(mine)
    mine.reserve("A", 0, Phase.CENTRE, "q")
    mine.commit("A", 0, Phase.CENTRE, "q", b"bytes")
    holder.claim(2)
    assert refusal_of(mine.reserve, "A", 0, Phase.CENTRE, "q") is Refusal.LEDGER_UNAVAILABLE
    assert Ledger.open(holder, place.marker()).reserve("A", 0, Phase.CENTRE, "q") == Replay(b"bytes")


@pytest.mark.parametrize("token", [1, 2])
def test_a_claim_that_is_not_newer_does_not_hold(place, token):
    place.begin()
    holder, late = place.store(), place.store()
    holder.claim(2)
    assert late.claim(token) == 2
    ledger = Ledger.open(holder, place.marker(), IDENTITY)
    admit(ledger)
    assert not ledger.shut_out()
    assert not late.shut_out()


def test_what_a_ledger_exports_is_a_history_that_the_planner_reads(tmp_path):
    ledger = OnDisk(tmp_path).begin()
    admit(ledger)
    ledger.reserve("A", 0, Phase.CENTRE, "q")
    ledger.commit("A", 0, Phase.CENTRE, "q", b"bytes")
    ledger.reserve("A", 1, Phase.TRAIN, "r")
    assert ledger.reserve("A", PLAN.rounds, Phase.EVALUATE, "e", epsilon_limit=8.0) == Reserved()
    history = read_history((json.dumps(line) for line in ledger.export()), "export")
    with ledger.reading() as own:
        assert epsilon(history.training, DELTA) == pytest.approx(epsilon(own.charged(), DELTA))
        assert history.held_out_epsilon == own.held_out_epsilon() > 0
