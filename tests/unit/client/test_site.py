"""The border: what a site answers, what it refuses, and what that costs."""

import itertools
import json
import math
import time

import numpy as np
import pytest

from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_client.privacy.policy import Policy
from fedpriv_common.accounting import epsilon, pld_epsilon
from fedpriv_common.errors import Refusal
from fedpriv_common.plan import Phase, RunSettings, make_plan
from fedpriv_common.wire import Operation, Request, decode_array, encode_array

from .conftest import CONTRACT, RUN, SiteOnDisk, admission, plan_of, release

PLAN = plan_of()


def run_to_the_end(site, plan, run_id=RUN):
    replies = [site.handle(admission(plan, run_id)), site.handle(release(plan, 0, Phase.CENTRE, run_id))]
    replies += [site.handle(release(plan, number, Phase.TRAIN, run_id)) for number in range(1, plan.rounds + 1)]
    return [*replies, site.handle(Request(operation=Operation.CLOSE, run_id=run_id))]


def test_a_run_is_charged_as_planned_and_reported_exactly(on_disk):
    site = on_disk.start()
    replies = run_to_the_end(site, PLAN)
    assert {reply.code for reply in replies} == {"OK"}
    spent = [reply.facts.epsilon_run for reply in replies]
    assert spent == sorted(spent)
    assert spent[0] == 0.0
    assert 0.97 <= spent[-1] <= 1.0
    with on_disk.ledger.reading() as history:
        assert replies[-1].facts.epsilon_spent == epsilon(history.charged(), 1e-5)
    assert replies[1].facts.epsilon_planned == pytest.approx(spent[-1])


def test_a_second_run_composes_with_the_first(on_disk):
    site = on_disk.start()
    run_to_the_end(site, PLAN)
    facts = run_to_the_end(site, PLAN, "01J9ZZZZZZZZZZZZZZZZZZZZZY")[-1].facts
    assert facts.epsilon_run == pytest.approx(0.999, abs=0.001)
    # Not 2: Gaussian releases compose below the sum.
    assert facts.epsilon_spent == pytest.approx(pld_epsilon([*PLAN.events(), *PLAN.events()], 1e-5), abs=1e-3)


def test_every_release_was_charged_before_it_was_computed(on_disk):
    run_to_the_end(on_disk.start(), PLAN)
    assert [charged for _, charged in on_disk.trained] == list(range(1, 15))


def test_a_restarted_site_answers_with_the_same_bytes_without_training(on_disk):
    first = run_to_the_end(on_disk.start(), PLAN)
    trained = len(on_disk.trained)
    again = on_disk.start().handle(release(PLAN, 5, Phase.TRAIN))
    assert again.payload == first[6].payload
    assert len(on_disk.trained) == trained


def test_a_restarted_site_goes_on_with_an_open_run(on_disk):
    on_disk.start().handle(admission(PLAN))
    assert on_disk.start().handle(release(PLAN, 0, Phase.CENTRE)).code == "OK"


def refused(site, request):
    reply = site.handle(request)
    assert (reply.payload, reply.facts) == (b"", None)
    return reply.code


def test_a_plan_that_states_less_than_it_charges_is_refused(on_disk):
    lying = PLAN.model_copy(update={"epsilon": 0.9, "evaluate": None})
    assert refused(on_disk.start(), admission(lying)) == Refusal.POLICY_REFUSED


def test_the_lifetime_budget_refuses_the_run_that_does_not_fit(tmp_path):
    site = SiteOnDisk(tmp_path, Policy(epsilon=1.5)).start()
    run_to_the_end(site, PLAN)
    run_to_the_end(site, PLAN, "01J9ZZZZZZZZZZZZZZZZZZZZZY")
    assert refused(site, admission(PLAN, "01J9ZZZZZZZZZZZZZZZZZZZZZX")) == Refusal.BUDGET_EXHAUSTED


PARAMETERS = PLAN.model.n_parameters
SHORT, NAN = encode_array(np.zeros(PARAMETERS - 1)), encode_array(np.full(PARAMETERS, math.nan))
HOSTILE = {
    "another app": (admission(PLAN, app="evil/1"), Refusal.UNKNOWN_APP),
    "no plan": (admission(PLAN, plan="{}"), Refusal.BAD_REQUEST),
    "another plan's digest": (admission(PLAN, plan_digest="0" * 64), Refusal.BAD_REQUEST),
    "another contract": (
        admission(PLAN.model_copy(update={"contract_digest": "0" * 64})),
        Refusal.CONTRACT_MISMATCH,
    ),
    "wrong length": (
        release(PLAN, 1, "train", parameters=SHORT),
        Refusal.BAD_PARAMETERS,
    ),
    "NaN": (release(PLAN, 1, "train", parameters=NAN), Refusal.BAD_PARAMETERS),
    "no centre": (release(PLAN, 1, "train", centre=b""), Refusal.BAD_PARAMETERS),
    "parameters in centring": (release(PLAN, 0, "centre", parameters=b"12345678"), Refusal.BAD_PARAMETERS),
    "a round too many": (release(PLAN, 14, "train"), Refusal.BAD_REQUEST),
    "centring twice": (release(PLAN, 1, "centre"), Refusal.BAD_REQUEST),
    "evaluation": (release(PLAN, 1, "evaluate"), Refusal.BAD_REQUEST),
    "unknown run": (release(PLAN, 1, "train", run_id="01J9ZZZZZZZZZZZZZZZZZZZZZA"), Refusal.NOT_ADMITTED),
    "plan changed": (release(PLAN, 1, "train", plan_digest="0" * 64), Refusal.REQUEST_CHANGED),
    "rolled back": (release(PLAN, 1, "train", witness_seq=99, witness_head="h"), Refusal.LEDGER_ROLLED_BACK),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_requests_get_a_fixed_refusal_and_cost_nothing(on_disk, name):
    site = on_disk.start()
    site.handle(admission(PLAN))
    request, code = HOSTILE[name]
    assert refused(site, request) == code
    assert list(on_disk.ledger.export()) == []


def test_huge_parameters_get_a_bounded_answer(on_disk):
    site = on_disk.start()
    site.handle(admission(PLAN))
    reply = site.handle(release(PLAN, 1, "train", parameters=encode_array(np.full(PARAMETERS, 1e6))))
    released = decode_array(reply.payload, PARAMETERS)
    assert np.linalg.norm(released) < 60 * 0.1 + 12 * PLAN.train.noise_multiplier * 0.1


def test_the_same_round_asked_differently_is_refused_after_a_restart(on_disk):
    site = on_disk.start()
    site.handle(admission(PLAN))
    site.handle(release(PLAN, 1, "train"))
    other = release(PLAN, 1, "train", parameters=encode_array(np.ones(PARAMETERS)))
    assert refused(on_disk.start(), other) == Refusal.REQUEST_CHANGED


def test_a_model_of_the_servers_own_size_is_refused(on_disk):
    """Its size would choose at how many records the site runs out of memory."""
    plan = plan_of(recipe="fedavg-mlp")
    larger = plan.model_copy(update={"model": plan.model.model_copy(update={"hidden": 4096})})
    assert refused(on_disk.start(), admission(larger)) == Refusal.BAD_REQUEST


def test_a_stricter_policy_holds_for_runs_that_were_admitted_before(on_disk):
    on_disk.start().handle(admission(PLAN))
    on_disk.policy = Policy(recipes=("fedavg-mlp",), min_reply_ms=0)
    assert refused(on_disk.start(), release(PLAN, 0, "centre")) == Refusal.POLICY_REFUSED


def test_rounds_asked_out_of_order_are_told_at_what_they_cost(on_disk):
    site = on_disk.start()
    site.handle(admission(PLAN))
    facts = [site.handle(release(PLAN, number, "train")).facts for number in (3, 1)]
    with on_disk.ledger.reading() as history:
        cost = epsilon(history.charged(), 1e-5)
    assert facts[-1].epsilon_run == facts[-1].epsilon_spent == cost
    closed = site.handle(Request(operation=Operation.CLOSE, run_id=RUN)).facts
    assert closed.epsilon_run == closed.epsilon_spent == closed.epsilon_planned == cost


def test_nothing_tells_when_an_entry_was_written(on_disk):
    """An entry's hash crosses the border: its time must not be found by trying every microsecond."""
    site = on_disk.start()
    site.handle(admission(PLAN))
    site.handle(release(PLAN, 0, "centre"))
    entries = [json.loads(body) for _, body in SqliteStore.open(on_disk.ledger_path).read(-1)]
    assert len({entry["salt"] for entry in entries}) == len(entries) == 4
    assert all(len(entry["salt"]) == 32 for entry in entries)


@pytest.mark.parametrize(("took", "waits"), [(0.03, 0.02), (0.12, 0.03)])
def test_an_answer_comes_at_a_whole_multiple_of_the_public_time(on_disk, monkeypatch, took, waits):
    on_disk.policy = Policy(min_reply_ms=50)
    site, slept = on_disk.start(), []
    monkeypatch.setattr("fedpriv_client.site.time.sleep", slept.append)
    monkeypatch.setattr("fedpriv_client.site.time.monotonic", itertools.count(1.0, took).__next__)
    for request in (admission(PLAN), release(PLAN, 0, "centre"), release(PLAN, 40, "train")):
        site.handle(request)
    assert slept == [pytest.approx(waits, abs=1e-9)] * 3


@pytest.mark.parametrize("field", ["parameters", "centre"])
def test_values_that_no_model_of_ours_has_are_refused(on_disk, field):
    site = on_disk.start()
    site.handle(admission(PLAN))
    size, beyond = (PARAMETERS, 1.1e6) if field == "parameters" else (30, 1.1)
    request = release(PLAN, 1, "train", **{field: encode_array(np.full(size, beyond))})
    assert refused(site, request) == Refusal.BAD_PARAMETERS
    assert list(on_disk.ledger.export()) == []


def test_an_answer_takes_at_least_the_public_time(on_disk):
    plan = make_plan(RunSettings(min_reply_ms=150), CONTRACT)
    site = on_disk.start()
    site.handle(admission(plan))
    for _ in range(2):  # the replay takes as long as the first answer
        started = time.monotonic()
        site.handle(release(plan, 0, "centre"))
        assert time.monotonic() - started >= 0.15
