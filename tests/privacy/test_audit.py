"""What the audit's bounds rest on, and that each seeded defect is noticed by the check that is meant for it."""

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent, pld
from scipy.stats import norm

from fedpriv_client.audit.canaries import measure
from fedpriv_client.audit.defects import DEFECTS
from fedpriv_client.audit.run import check_directly
from fedpriv_client.audit.subject import Subject, lab_plan
from fedpriv_common.accounting import epsilon, gaussian_mu
from fedpriv_common.recipes import Recipe

#: The check that must notice each defect; others may too.
NOTICED_BY = {
    "no_noise": "noise.deviation_of_gradient_sum",
    "half_noise": "noise.deviation_of_local_update",
    "fixed_seed": "noise.independent_sites",
    "same_noise": "noise.independent_rounds",
    "no_clip": "clipping.gradients_of_mlp",
    "nan_kept": "clipping.gradients_of_logreg",
    "accountant_reset": "ledger.epsilon_of_mlp",
    "size_dependent_rate": "neighbours.noise_scale_of_mlp",
    "patient_by_record": "patients.gradients_of_mlp",
    "shuffled_batches": "sampling.poisson",
}


def test_a_poisson_plan_read_as_gaussian_is_never_above_its_epsilon():
    """The Gaussian bound turns a point of the trade-off curve into μ and epsilon. The curve of composed Poisson
    samples is not a Gaussian's: nowhere between rates of 1e-4 and 0.45 may its μ be above that of the claim."""
    plan = lab_plan(Recipe.FEDAVG_MLP, 30)
    (event,) = plan.events()
    step = PoissonSampledDpEvent(event.sample_rate, GaussianDpEvent(event.noise_multiplier))
    accountant = pld.PLDAccountant().compose(SelfComposedDpEvent(step, event.steps))
    grid = np.linspace(0.0, 6.0, 301)
    deltas = np.array([accountant.get_delta(float(point)) for point in grid])
    claimed = gaussian_mu(epsilon(plan.events(), plan.delta), plan.delta)
    for false_positives in (1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.3, 0.45):
        misses = max(
            np.max(1 - deltas - np.exp(grid) * false_positives), np.max(np.exp(-grid) * (1 - deltas - false_positives))
        )
        assert norm.ppf(1 - false_positives) - norm.ppf(misses) <= claimed


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_each_defect_is_noticed_by_the_check_that_is_meant_for_it(defect):
    checks = check_directly(defect.subject(), noisy_steps=200, samples=1000, tables=("one more", "infinite"))
    assert NOTICED_BY[defect.name] in {check.name for check in checks if not check.passed}


def test_the_code_of_sites_passes_the_same_checks():
    checks = check_directly(Subject(), noisy_steps=200, samples=1000, tables=("one more", "infinite"))
    assert [check.name for check in checks if not check.passed] == []
    assert set(NOTICED_BY.values()) <= {check.name for check in checks}


def test_canaries_refute_code_without_noise_and_not_the_code_of_sites():
    assert not measure(Subject(), Recipe.FEDSGD_LOGREG, 4000).refutes
    (silent,) = (defect for defect in DEFECTS if defect.name == "no_noise")
    without = measure(silent.subject(), Recipe.FEDSGD_LOGREG, 4000)
    # Each bound refutes it on its own.
    assert without.clopper_pearson > without.claim
    assert without.gaussian > without.claim
