"""224 records and a neighbour: whole runs of whole sites, from the file on disk to the bytes that leave, side by side.

What must be equal is all that is not a noisy number: codes, fields, sizes, facts, ledger entries, errors, and what
noise was drawn at which scale.
"""

from functools import cache

import numpy as np
import pytest

from fedpriv_client.audit.clipping import Silent, in_clips, one_step
from fedpriv_client.audit.neighbours import BASE, load_rows, neighbours, ordinary_rows, replay
from fedpriv_client.audit.subject import Subject, lab_plan
from fedpriv_client.training import Trainer
from fedpriv_common.errors import Refusal
from fedpriv_common.plan import Phase
from fedpriv_common.recipes import Recipe

FEATURES = 8
TABLES = neighbours()


@cache
def seen(recipe, name):
    """What a whole run of the default plan shows for that table; the base has no name."""
    rows = TABLES[name] if name else ordinary_rows(BASE)
    return replay(Subject(), lab_plan(recipe, FEATURES), load_rows(rows))


def test_the_tables_are_what_they_are_called():
    assert len(ordinary_rows(BASE)) == BASE == 224
    assert [len(TABLES[name]) for name in ("one more", "outlier of 1e6", "no number", "infinite")] == [225] * 4
    assert len(TABLES["no records"]) == 0
    training, held_out = load_rows(TABLES["one more"]), load_rows(TABLES["one more"]).held_out
    assert len(training) + len(held_out) == 225
    assert len(held_out) > 0


@pytest.mark.parametrize("recipe", Recipe)
def test_the_base_itself_is_served_to_the_end(recipe):
    plan, codes = lab_plan(recipe, FEATURES), [reply[0] for reply in seen(recipe, "").replies]
    answered = 1 + (plan.centre is not None) + plan.rounds + len(plan.evaluate.at)
    assert codes == ["OK"] * answered + [Refusal.BAD_PARAMETERS, Refusal.BAD_REQUEST, "OK"]
    assert len(seen(recipe, "").noise) == (plan.centre is not None) + plan.rounds * plan.train.steps + 1


@pytest.mark.parametrize("recipe", Recipe)
@pytest.mark.parametrize("name", TABLES)
class TestNeighbour:
    def test_every_reply_has_the_same_code_fields_size_and_facts(self, recipe, name):
        assert seen(recipe, name).replies == seen(recipe, "").replies

    def test_the_ledger_holds_the_same_mechanisms(self, recipe, name):
        assert seen(recipe, name).entries == seen(recipe, "").entries

    def test_noise_is_drawn_as_often_as_much_and_at_the_same_scale(self, recipe, name):
        assert seen(recipe, name).noise == seen(recipe, "").noise

    def test_every_number_is_finite(self, recipe, name):
        assert seen(recipe, name).finite

    def test_the_records_move_one_step_by_at_most_c_each(self, recipe, name):
        """From no record to all of them: the sum of what each may move it."""
        plan, data = one_step(lab_plan(recipe, FEATURES)), load_rows(TABLES[name])
        released = Trainer(plan, data, Silent()).release(
            Phase.TRAIN, np.full(plan.model.n_parameters, 0.1), np.zeros(8)
        )
        moved = np.linalg.norm(in_clips(plan, Phase.TRAIN, released))
        assert moved <= len(data) * (1 + 1e-9)


@pytest.mark.parametrize("recipe", Recipe)
@pytest.mark.parametrize("parameters", [0.0, 0.1, -3.0, 1e300])
@pytest.mark.parametrize("name", [name for name, rows in TABLES.items() if len(rows) == BASE + 1])
def test_one_record_more_moves_one_step_by_at_most_c(recipe, name, parameters):
    plan = one_step(lab_plan(recipe, FEATURES))
    at = np.full(plan.model.n_parameters, parameters)
    releases = [
        Trainer(plan, load_rows(rows, held_out_share=0.0), Silent()).release(Phase.TRAIN, at, np.zeros(FEATURES))
        for rows in (ordinary_rows(BASE), TABLES[name])
    ]
    assert np.linalg.norm(in_clips(plan, Phase.TRAIN, releases[1] - releases[0])) <= 1 + 1e-6
