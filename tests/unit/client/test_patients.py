"""The patient as the unit: all records of one move a sum by at most C, and nothing of it depends on how many."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fedpriv_client.data.partition import SiteKey
from fedpriv_client.data.site_data import NOBODY, Records, SiteData, load_site_data
from fedpriv_client.privacy.policy import Policy, load_policy
from fedpriv_client.privacy.randomness import BenchmarkRandomness
from fedpriv_client.privacy.release import clip, noisy_sum
from fedpriv_client.privacy.review import describe
from fedpriv_client.privacy.units import by_unit, unit_means
from fedpriv_client.training import Trainer
from fedpriv_common.contract import DataContract
from fedpriv_common.errors import ErrorCode, FedprivError, Refusal
from fedpriv_common.plan import Phase, Plan, RunSettings, make_plan

from .conftest import CONTRACT, SiteOnDisk, admission, plan_of, release

OF_PATIENTS = DataContract.model_validate(
    CONTRACT.model_dump(mode="json") | {"group": "patient", "nominal_patients": 230}
)
KEY = SiteKey(bytes(range(32)))


@cache  # calibrating a mini-batch plan takes a second
def planned(**changes):
    return make_plan(RunSettings(unit="patient", min_reply_ms=0, **changes), OF_PATIENTS)


class Noiseless(BenchmarkRandomness):
    """Draws samples from a seed and adds no noise, so that sums can be compared."""

    def gaussian(self, size, standard_deviation):
        return np.zeros(size)


def clipped(vector, bound):
    """One record's contribution, written down once more."""
    largest = np.abs(vector).max()
    if not np.isfinite(largest) or largest == 0:
        return np.zeros(len(vector))
    relative = vector / largest  # no square overflows
    limit = bound / np.linalg.norm(relative)
    return vector if largest <= limit else relative * limit


def total(vectors, units, cuts):
    """The sum over units with C = 1 and without noise, of rows that come in chunks."""
    chunks = (clip(chunk, 1.0) for chunk in np.split(vectors, sorted(cuts)))
    return noisy_sum(
        unit_means(chunks, units), vectors.shape[1], max_norm=1.0, noise_multiplier=1.0, randomness=Noiseless(1)
    )


WILD = (np.nan, np.inf, -np.inf, 1e300, -1e300, 1.7e308, 5e-324, 0.0)


@st.composite
def tables(draw):
    """Vectors of any values, the unit of each, ascending, and places to cut the rows into chunks."""
    counts = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    units = np.repeat(np.arange(len(counts)), counts)
    ordinary = st.floats(-1e3, 1e3)
    cells = draw(st.lists(ordinary | st.sampled_from(WILD), min_size=3 * len(units), max_size=3 * len(units)))
    cuts = draw(st.lists(st.integers(0, len(units)), max_size=5))
    return np.array(cells).reshape(len(units), 3), units, cuts


@settings(max_examples=60, deadline=None)
@given(tables(), st.data())
def test_all_records_of_one_patient_move_a_sum_by_at_most_c_and_so_does_one_of_them(table, data):
    vectors, units, cuts = table
    gone = data.draw(st.integers(0, int(units[-1])))
    one = data.draw(st.sampled_from(np.flatnonzero(units == gone)))
    for kept in (units != gone, np.arange(len(units)) != one):
        _, renumbered = np.unique(units[kept], return_inverse=True)
        without = total(vectors[kept], renumbered, [cut for cut in cuts if cut <= kept.sum()])
        assert np.linalg.norm(total(vectors, units, cuts) - without) <= 1 + 1e-9


@settings(max_examples=60, deadline=None)
@given(tables())
def test_the_sum_is_that_of_a_loop_over_patients_however_the_rows_are_cut(table):
    vectors, units, cuts = table
    expected = np.zeros(3)
    for unit in range(int(units[-1]) + 1):
        own = vectors[units == unit]
        expected += sum(clipped(vector, 1.0) for vector in own) / len(own)
    np.testing.assert_allclose(total(vectors, units, cuts), expected, atol=1e-9)


def patients(counts, seed=3):
    """A site whose patient p has counts[p] records, shuffled, and half as many records of nobody."""
    generator = np.random.default_rng(seed)
    owners = np.concatenate([np.repeat(np.arange(len(counts)), counts), np.full(sum(counts) // 2, NOBODY)])
    generator.shuffle(owners)
    count = len(owners)
    return SiteData(generator.uniform(-1, 1, (count, 30)), generator.integers(0, 2, count), patients=owners)


def logistic(weights, features, label):
    return (1 / (1 + np.exp(-features @ weights)) - label) * features


def test_full_batch_releases_are_loops_over_patients():
    plan, data = planned(), patients([1, 4, 2, 30])
    trainer, weights, centre = Trainer(plan, data, Noiseless(1)), np.linspace(-1, 1, 31), np.full(30, 0.1)
    gradients, features = np.zeros(31), np.zeros(30)
    for patient in range(4):
        own = np.flatnonzero(data.patients == patient)
        rows = np.hstack([data.z[own] - centre, np.full((len(own), 1), 0.3)])
        each = [logistic(weights, row, label) for row, label in zip(rows, data.labels[own], strict=True)]
        gradients += sum(clipped(gradient, plan.train.max_grad_norm) for gradient in each) / len(own)
        features += sum(clipped(z, plan.centre.max_grad_norm) for z in data.z[own]) / len(own)
    np.testing.assert_allclose(trainer.release(Phase.TRAIN, weights, centre), gradients, atol=1e-12)
    np.testing.assert_allclose(trainer.release(Phase.CENTRE, np.zeros(0), np.zeros(0)), features, atol=1e-12)


def test_mini_batches_are_samples_of_patients():
    """With q < 1 a patient is in a step with all records or none, and a step's sum is a loop over those who are."""
    plan, data = planned(recipe="fedavg-mlp", rounds=1, local_steps=2), patients([3] * 40)
    start = np.random.default_rng(5).normal(size=plan.model.n_parameters) * 0.2
    released = Trainer(plan, data, Noiseless(8)).release(Phase.TRAIN, start, np.zeros(0))

    sampler, change = Noiseless(8), np.zeros_like(start)
    for _ in range(2):
        sampled = np.flatnonzero(sampler.uniform(40) < plan.train.sample_rate)
        assert 0 < len(sampled) < 40
        step = np.zeros_like(start)
        for patient in sampled:
            own = data.patients == patient
            alone = SiteData(data.z[own], data.labels[own], patients=data.patients[own])
            everyone = plan.model_copy(update={"train": plan.train.model_copy(update={"sample_rate": 1.0, "steps": 1})})
            one = Trainer(everyone, alone, Noiseless(1)).release(Phase.TRAIN, start + change, np.zeros(0))
            assert np.linalg.norm(one) <= plan.local_learning_rate / plan.batch_size * (1 + 1e-9)
            step += one
        change += step
    np.testing.assert_allclose(released, change, atol=1e-10)


def test_a_patient_with_more_records_than_a_chunk_is_still_one_patient():
    plan, one = planned(), patients([3000])
    with_records = Trainer(plan, one, Noiseless(1)).release(Phase.TRAIN, np.ones(31), np.zeros(30))
    assert np.linalg.norm(with_records) <= plan.train.max_grad_norm * (1 + 1e-9)
    assert with_records.any()


def test_records_of_nobody_count_where_the_unit_is_the_record_and_only_there():
    data = patients([2, 2])
    assert by_unit(data, "record").n_units == len(data) == 6
    assert (by_unit(data, "patient").n_units, len(by_unit(data, "patient").labels)) == (2, 4)


@pytest.mark.parametrize("owners", [[], [NOBODY] * 5])
def test_a_table_without_patients_releases_noise_alone(owners):
    data = SiteData(np.ones((len(owners), 30)), np.ones(len(owners), np.int64), patients=np.array(owners, np.int64))
    for changes in ({}, {"recipe": "fedavg-mlp", "rounds": 1}):
        plan = planned(**changes)
        released = Trainer(plan, data, Noiseless(1)).release(
            Phase.TRAIN, np.ones(plan.model.n_parameters), np.zeros(30)
        )
        assert not released.any()


# -- the table -------------------------------------------------------------------------------------------------------


def write(path, rows):
    features = [feature.name for feature in OF_PATIENTS.features]
    lines = [",".join([*features, OF_PATIENTS.label.column, "patient"])]
    lines += [",".join([*(str(value) for _ in features), label, who]) for value, label, who in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def loaded(path, share=0.5):
    return load_site_data(path, OF_PATIENTS, KEY, partition=0, partitions=1, held_out_share=share)


ROWS = [(10 + number / 7, "benign", who) for number, who in enumerate(["a", "b", "", "a", "c", "d", "", "b", "a", "e"])]


def test_a_patient_is_held_out_whole_with_one_record_to_evaluate_on(tmp_path):
    data = loaded(write(tmp_path / "t.csv", ROWS))
    assert len(data) + len(data.held_out) == len(ROWS)
    assert data.held_out_patients is not None
    training, held = {row.tobytes() for row in data.z}, {row.tobytes() for row in data.held_out.z}
    assert not training & held
    named = {who for who in data.held_out.patients if who != NOBODY}
    assert len(data.held_out_patients) == len(named) > 0
    assert {row.tobytes() for row in data.held_out_patients.z} <= held


def test_which_record_evaluates_for_a_patient_depends_on_nothing_else(tmp_path):
    everyone = loaded(write(tmp_path / "t.csv", ROWS), share=0.9).held_out_patients
    for change in (ROWS[::-1], [row for row in ROWS if row[2] != "a"]):
        other = loaded(write(tmp_path / "u.csv", change), share=0.9).held_out_patients
        moved = {row.tobytes() for row in everyone.z} ^ {row.tobytes() for row in other.z}
        assert len(moved) == len(everyone) - len(other) <= 1


def test_evaluation_counts_patients_where_they_are_the_unit():
    held, one_each = (Records(np.ones((count, 30)), np.ones(count, np.int64)) for count in (5, 2))
    data = SiteData(np.zeros((0, 30)), np.zeros(0, np.int64), held, one_each, patients=np.zeros(0, np.int64))
    assert data.evaluation("record") is held
    assert data.evaluation("patient") is one_each


# -- the border ------------------------------------------------------------------------------------------------------


def test_a_run_of_patients_is_planned_for_the_declared_patients():
    plan = planned()
    assert (plan.unit, plan.nominal_size) == ("patient", 230)
    assert make_plan(RunSettings(), OF_PATIENTS).nominal_size == 460
    # Half as many units: the same epsilon costs twice the noise on the mean.
    assert plan.rounds < make_plan(RunSettings(), OF_PATIENTS).rounds


@pytest.mark.parametrize(
    ("changes", "lacks"), [({}, "group and nominal_patients"), ({"group": "patient"}, "nominal_patients")]
)
def test_a_run_of_patients_that_nobody_declared_is_refused_at_the_operator(changes, lacks):
    with pytest.raises(ValueError, match=f"has no {lacks}"):
        make_plan(RunSettings(unit="patient"), CONTRACT.model_copy(update=changes))
    with pytest.raises(ValidationError):
        RunSettings(unit="hospital")


def of_patients(tmp_path, policy=None):
    return SiteOnDisk(tmp_path, policy, patients([3] * 20), OF_PATIENTS)


def test_a_site_serves_patients_and_says_so(tmp_path):
    site, plan = of_patients(tmp_path).start(), planned()
    replies = [
        site.handle(admission(plan)),
        site.handle(release(plan, 0, "centre")),
        site.handle(release(plan, 1, "train")),
    ]
    assert [reply.code for reply in replies] == ["OK"] * 3
    assert {reply.facts.unit for reply in replies} == {"patient"}


def test_a_site_refuses_patients_that_its_contract_does_not_declare(on_disk):
    plan = Plan.model_validate(plan_of().model_dump(mode="json") | {"unit": "patient"})
    assert on_disk.start().handle(admission(plan)).code == Refusal.BAD_REQUEST


@pytest.mark.parametrize("size", [230, 900])
def test_a_plan_cannot_declare_another_size_than_the_contract(tmp_path, size):
    """A larger one would pass the policy's least size, and lower the noise of the mean."""
    plan = make_plan(RunSettings(min_reply_ms=0), OF_PATIENTS).model_copy(update={"nominal_size": size})
    assert of_patients(tmp_path).start().handle(admission(plan)).code == Refusal.BAD_REQUEST


def test_a_policy_that_allows_patients_only_refuses_records(tmp_path):
    site = of_patients(tmp_path, Policy(units=("patient",))).start()
    assert site.handle(admission(make_plan(RunSettings(), OF_PATIENTS))).code == Refusal.POLICY_REFUSED
    assert site.handle(admission(planned())).code == "OK"


@pytest.mark.parametrize("first", ["record", "patient"])
def test_one_ledger_counts_one_unit(tmp_path, caplog, first):
    plans = {"patient": planned(), "record": make_plan(RunSettings(min_reply_ms=0), OF_PATIENTS)}
    site, other = of_patients(tmp_path).start(), next(unit for unit in plans if unit != first)
    site.handle(admission(plans[first]))
    site.handle(release(plans[first], 0, "centre"))
    assert site.handle(admission(plans[other], "01J9ZZZZZZZZZZZZZZZZZZZZZY")).code == Refusal.POLICY_REFUSED
    assert f"counted for one {first}" in caplog.records[-1].detail


def test_a_policy_of_patients_needs_them_declared(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("units: [patient]\nmin_nominal_size: 300\n")
    with pytest.raises(FedprivError, match="line 2, min_nominal_size: 300 is more than the 230 patients") as raised:
        load_policy(path, OF_PATIENTS)
    assert raised.value.code is ErrorCode.BAD_POLICY


def test_a_person_who_approves_is_told_whom_it_protects_and_how_far(tmp_path):
    on_disk = of_patients(tmp_path, Policy(approval=True))
    site, shown = on_disk.start(), {}
    for unit, run_id in (("record", "01J9ZZZZZZZZZZZZZZZZZZZZZA"), ("patient", "01J9ZZZZZZZZZZZZZZZZZZZZZB")):
        site.handle(admission(make_plan(RunSettings(unit=unit), OF_PATIENTS), run_id))
        with on_disk.ledger.reading() as history:
            shown[unit] = describe(on_disk.requests.find(run_id), history, on_disk.policy, OF_PATIENTS)
    assert "This run: ε 6.17 for a patient with 5 records." in shown["record"]
    assert "adding or removing one patient with all their records" in shown["patient"]
    assert "note" not in shown["patient"]


def test_a_person_is_told_what_one_record_does_not_protect():
    assert "k times this epsilon" in OF_PATIENTS.unprotected("record")
    assert OF_PATIENTS.unprotected("patient") is CONTRACT.unprotected("record") is None
