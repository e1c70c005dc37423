"""Held-out records: what an evaluation releases, what it costs them, and that it costs training nothing."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chisquare

from fedpriv_client.data.site_data import Records, SiteData
from fedpriv_client.privacy.policy import Policy
from fedpriv_client.privacy.randomness import SystemRandomness, discrete_laplace
from fedpriv_common.confusion import confusion_matrix
from fedpriv_common.errors import Refusal
from fedpriv_common.plan import Phase, Plan, RunSettings
from fedpriv_common.wire import OK, Operation, Reply, Request, decode_array, encode_array

from .conftest import RUN, SiteOnDisk, admission, plan_of, records, release

PLAN = plan_of(evaluations=2)
ROUNDS = PLAN.rounds
OTHER = "01J9ZZZZZZZZZZZZZZZZZZZZZY"


def evaluation(number=ROUNDS, plan=PLAN, run_id=RUN, **changes):
    model = {
        "parameters": encode_array(np.linspace(-1, 1, plan.model.n_parameters)),
        "centre": encode_array(np.zeros(plan.model.n_features)),
    }
    return release(plan, number, Phase.EVALUATE, run_id, **(model | changes))


def with_held_out(count):
    training, held_out = records(), records(count, seed=9)
    return SiteData(training.z, training.labels, Records(held_out.z, held_out.labels))


@pytest.fixture
def site_with(tmp_path):
    def make(count=40, **policy):
        on_disk = SiteOnDisk(tmp_path, Policy(**policy), with_held_out(count))
        site = on_disk.start()
        assert site.handle(admission(PLAN)).code == OK
        return on_disk, site

    return make


def test_a_plan_evaluates_at_the_end_and_at_equal_distances_before_it():
    assert plan_of(evaluations=0).evaluate is None
    assert plan_of().evaluate.at == (ROUNDS,)
    thirds = plan_of(evaluations=3, epsilon=1.0).evaluate
    assert thirds.at == (ROUNDS // 3, 2 * ROUNDS // 3, ROUNDS)
    assert thirds.total <= 1.0 < thirds.total + 1e-12
    assert plan_of(evaluations=3, rounds=2).evaluate.at == (1, 2)


def test_evaluations_that_cost_more_than_the_run_are_refused():
    with pytest.raises(ValueError, match="more than the run's"):
        RunSettings(evaluations=2, evaluation_epsilon=0.6)
    lying = PLAN.model_dump(mode="json") | {"evaluate": {"epsilon": 0.6, "at": [1, 2]}}
    with pytest.raises(ValueError, match="past the run's epsilon"):
        Plan.model_validate(lying)
    for at in ([2, 1], [1, 1], [ROUNDS + 1]):
        with pytest.raises(ValueError, match=r"ascend|past the last round"):
            Plan.model_validate(PLAN.model_dump(mode="json") | {"evaluate": {"epsilon": 0.1, "at": at}})


def test_the_noise_is_two_sided_geometric():
    epsilon, draws = 0.7, SystemRandomness().two_sided_geometric(20_000, 0.7)
    a = math.exp(-epsilon)
    inner = np.arange(-8, 9)
    expected = (1 - a) / (1 + a) * a ** np.abs(inner)
    counts = np.array([(draws == value).sum() for value in inner])
    counts, expected = np.append(counts, 20_000 - counts.sum()), np.append(expected, 1 - expected.sum())
    assert chisquare(counts, 20_000 * expected).pvalue > 1e-6


def test_the_noise_takes_any_epsilon_that_a_plan_may_ask_for():
    for epsilon in (1e-3, 1 / 3, 50.0):
        assert isinstance(discrete_laplace(Fraction(epsilon)), int)
    assert not SystemRandomness().two_sided_geometric(50, 50.0).any()


def test_an_evaluation_is_charged_apart_from_training_and_gives_noisy_counts(site_with):
    on_disk, site = site_with()
    before = site.handle(release(PLAN, 0, Phase.CENTRE)).facts
    reply = site.handle(evaluation())
    assert reply.code == OK
    counts = decode_array(reply.payload, 4)
    np.testing.assert_array_equal(counts, np.rint(counts))
    held_out = on_disk.data.held_out
    exact = confusion_matrix(PLAN.model, np.linspace(-1, 1, 31), np.zeros(30), held_out.z, held_out.labels)
    # At ε ½ the sum of four draws is within 60 but once in 10¹².
    assert abs(counts.sum() - exact.sum()) < 60
    assert reply.facts.epsilon_held_out == PLAN.evaluate.epsilon
    assert (reply.facts.epsilon_run, reply.facts.epsilon_spent) == (before.epsilon_run, before.epsilon_spent)
    entry = list(on_disk.ledger.export())[-1]
    assert (entry["mechanism"], entry["epsilon_pure"], entry["state"]) == ("geometric", 0.5, "committed")


def test_the_same_question_is_answered_with_the_same_bytes_and_charged_once(site_with):
    on_disk, site = site_with()
    first, again = site.handle(evaluation()), on_disk.start().handle(evaluation())
    assert again.payload == first.payload
    assert again.facts.epsilon_held_out == 0.5
    other = encode_array(np.zeros(PLAN.model.n_parameters))
    assert site.handle(evaluation(parameters=other)).code == Refusal.REQUEST_CHANGED


@pytest.mark.parametrize("count", [0, 1, 40])
def test_nothing_but_noise_tells_how_many_records_are_held_out(site_with, count):
    _, site = site_with(count)
    reply = site.handle(evaluation())
    assert (reply.code, len(reply.payload), reply.facts.epsilon_held_out) == (OK, 32, 0.5)


def test_an_exhausted_budget_skips_the_evaluation_and_never_the_training(tmp_path):
    site = SiteOnDisk(tmp_path, Policy(epsilon=1.2, max_run_epsilon=1.2), with_held_out(40)).start()
    site.handle(admission(PLAN))
    assert [len(site.handle(evaluation(number)).payload) for number in PLAN.evaluate.at] == [32, 32]
    site.handle(Request(operation=Operation.CLOSE, run_id=RUN))

    assert site.handle(admission(PLAN, OTHER)).code == OK
    skipped = site.handle(evaluation(run_id=OTHER))
    assert skipped == Reply(code=OK, payload=b"", facts=skipped.facts)
    assert skipped.facts.epsilon_held_out == 1.0
    assert site.handle(release(PLAN, 0, Phase.CENTRE, OTHER)).code == OK


def test_a_site_that_holds_nothing_out_releases_and_charges_nothing(site_with):
    on_disk, site = site_with(0, held_out_share=0.0)
    reply = site.handle(evaluation())
    assert (reply.code, reply.payload, reply.facts.epsilon_held_out) == (OK, b"", 0.0)
    assert list(on_disk.ledger.export()) == []


@pytest.mark.parametrize(
    ("question", "code"),
    [
        (evaluation(ROUNDS - 1), Refusal.BAD_REQUEST),
        (evaluation(0), Refusal.BAD_REQUEST),
        (evaluation(parameters=b""), Refusal.BAD_PARAMETERS),
        (evaluation(parameters=encode_array(np.full(31, np.nan))), Refusal.BAD_PARAMETERS),
        (evaluation(centre=b""), Refusal.BAD_PARAMETERS),
        (evaluation(run_id=OTHER), Refusal.NOT_ADMITTED),
    ],
)
def test_what_the_plan_does_not_foresee_is_refused_and_costs_nothing(site_with, question, code):
    on_disk, site = site_with()
    assert site.handle(question).code == code
    assert list(on_disk.ledger.export()) == []


def test_after_the_run_is_closed_nothing_is_evaluated(site_with):
    _, site = site_with()
    site.handle(Request(operation=Operation.CLOSE, run_id=RUN))
    assert site.handle(evaluation()).code == Refusal.RUN_CLOSED
