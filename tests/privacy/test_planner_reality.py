"""The planner against reality: the mean accuracy of 50 fresh seeds lies where it was foretold.

What is foretold, what a cell is and what the ceiling is: `tests/bench/planner.py`, which runs more of the same. The
curve was fitted on other seeds than those here.
"""

from functools import cache
from itertools import islice

import numpy as np
import pytest

from fedpriv_client.data.breast_cancer import load_table
from fedpriv_common.plan import RunSettings, make_plan
from fedpriv_common.utility import Basis, expected_loss
from tests.bench import utility
from tests.bench.planner import EPSILONS, FITTED_SEEDS, FRESH_SEEDS, SITES, measure, other_table, tasks, wisconsin_grid
from tests.bench.vectorised import Splits, accuracies


@cache
def grid():
    return tuple(wisconsin_grid(FRESH_SEEDS))


@pytest.mark.parametrize(("epsilon", "sites", "records"), [(1.0, 3, None), (3.0, 2, 150)])
def test_the_fast_recipe_gives_the_models_of_the_product(epsilon, sites, records):
    contract, table = load_table()
    sized = contract if records is None else contract.model_copy(update={"nominal_size": records})
    plan = make_plan(RunSettings(epsilon=epsilon, sites=sites), sized)
    splits = Splits.of(contract.standardise(table.features), table.labels, FRESH_SEEDS[:3], records)
    assert accuracies(plan, splits).tolist() == [utility.run(plan, seed, records).accuracy for seed in splits.seeds]


def test_on_its_own_table_nine_cells_in_ten_lie_in_their_interval():
    assert not set(FRESH_SEEDS) & set(FITTED_SEEDS)
    missed = [(cell.epsilon, cell.sites, cell.records, cell.mean) for cell in grid() if not cell.held]
    assert len(grid()) == 60
    assert len(missed) <= 6, missed


def test_one_run_in_ten_loses_more_than_it_says():
    beyond = np.mean([cell.losses > cell.foretold.one_in_ten for cell in grid()])
    assert 0.05 <= beyond <= 0.15


def test_the_intervals_are_narrow_enough_to_miss_twice_the_noise():
    """What was foretold for half the records must not hold as well, or the test above would mean nothing."""
    confused = [expected_loss(2 * cell.nu, Basis.MEASURED) for cell in grid()]
    held = sum(told.low <= max(cell.mean, 0.0) <= told.high for cell, told in zip(grid(), confused, strict=True))
    assert held <= 6


def test_records_that_sites_hold_out_count_as_absent():
    """Of the 460 that the contract declares, 322 are trained on: the plan does not know, the forecast does."""
    contract, table = load_table()
    splits = Splits.of(contract.standardise(table.features), table.labels, FRESH_SEEDS, 322)
    cells = list(measure(contract, splits, EPSILONS, SITES, held_out_share=0.3))
    assert sum(cell.held for cell in cells) >= 18
    ignored = [expected_loss(0.7 * cell.nu, Basis.MEASURED).expected for cell in cells]
    told = [cell.foretold.expected for cell in cells]
    assert error(told, cells) < error(ignored, cells)


def error(told, cells):
    return sum(abs(loss - cell.mean) for loss, cell in zip(told, cells, strict=True))


def test_on_other_tables_nine_cells_in_ten_lie_in_their_wider_interval():
    cells = []
    for _, z, labels in islice(tasks(), 0, None, 3):
        contract = other_table(z.shape[1], 280)
        splits = Splits.of(z, labels, FRESH_SEEDS, 280)
        cells += measure(contract, splits, (0.5, 1.0, 3.0, 8.0), (1, 3, 10))
    assert len(cells) == 7 * 12
    assert {cell.foretold.basis for cell in cells} == {Basis.OTHER_TABLE}
    assert sum(cell.held for cell in cells) >= 76
