"""What a site tells of its budget after each release: upper bounds that are ready, exact where nothing is sampled."""

import pytest

from fedpriv_client.privacy.budget import BudgetMeter
from fedpriv_common.accounting import GaussianEvent, epsilon
from fedpriv_common.plan import Phase
from fedpriv_common.recipes import Recipe

from .conftest import RUN, plan_of

DELTA = 1e-5
OTHER = "01J9ZZZZZZZZZZZZZZZZZZZZZY"


def budgets(on_disk, plan, run_id=RUN):
    """The budget after the admission and after each reservation of a run."""
    on_disk.start()
    meter, ledger = BudgetMeter(DELTA), on_disk.ledger
    ledger.admit(run_id, plan, "0" * 64, epsilon_limit=8.0, delta=DELTA)
    reservations = [(0, Phase.CENTRE)] if plan.centre else []
    reservations += [(number, Phase.TRAIN) for number in range(1, plan.rounds + 1)]
    for reservation in (None, *reservations):
        if reservation is not None:
            ledger.reserve(run_id, *reservation, "1" * 64)
        with ledger.reading() as history:
            yield meter.read(history, run_id), history


@pytest.mark.parametrize("recipe", Recipe)
def test_no_release_is_told_at_less_than_it_costs(on_disk, recipe):
    for plan, run_id in ((plan_of(recipe=recipe), RUN), (plan_of(recipe=recipe, epsilon=0.7), OTHER)):
        read = list(budgets(on_disk, plan, run_id))
        last = read[-1][0]
        told = [budget for budget, _ in read]
        assert [budget.epsilon_run for budget in told] == sorted(budget.epsilon_run for budget in told)
        assert [budget.epsilon_spent for budget in told] == sorted(budget.epsilon_spent for budget in told)
        assert {budget.epsilon_planned for budget in told} == {told[0].epsilon_planned}
        assert told[0].epsilon_run == 0.0
        assert last.epsilon_run == pytest.approx(epsilon(plan.events(), DELTA), rel=1e-3)
        assert last.epsilon_spent <= last.epsilon_planned


def test_each_full_batch_release_is_told_exactly(on_disk):
    plan = plan_of()
    for number, (budget, history) in enumerate(budgets(on_disk, plan)):
        train = GaussianEvent(plan.train.noise_multiplier, 1.0, max(1, number - 1))
        charged = [plan.centre.event(), train][:number]
        assert (
            budget.epsilon_run == epsilon(charged, DELTA) == epsilon(history.charged(), DELTA) == budget.epsilon_spent
        )
