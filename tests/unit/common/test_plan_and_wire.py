"""Plans charge what they say; messages hold exactly the fields of the boundary."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fedpriv_common.accounting import epsilon
from fedpriv_common.contract import load_contract
from fedpriv_common.errors import EXIT_STATUS, ErrorCode, Refusal, RefusalError
from fedpriv_common.plan import Phase, Plan, RunSettings, make_plan
from fedpriv_common.recipes import Recipe
from fedpriv_common.wire import Operation, Reply, Request, SiteFacts, decode_array, encode_array

CONTRACT = load_contract("breast-cancer-wisconsin")


def test_the_default_plan_is_the_designed_recipe():
    plan = make_plan(RunSettings(), CONTRACT)
    assert plan.centre is not None
    assert (plan.rounds, plan.average_from) == (13, 7)
    assert plan.train.noise_multiplier == pytest.approx(14.2, abs=0.1)
    assert plan.centre.noise_multiplier == pytest.approx(11.8, abs=0.1)
    assert plan.learning_rate == pytest.approx(9.8, abs=0.1)


@settings(max_examples=30)
@given(st.floats(0.1, 20), st.integers(1, 20))
def test_a_plan_spends_its_epsilon_and_no_more(target, sites):
    plan = make_plan(RunSettings(epsilon=target, sites=sites), CONTRACT)
    assert 0.995 * target <= epsilon(plan.events(), plan.delta) <= target


def test_the_mlp_plan_spends_its_epsilon_and_no_more():
    plan = make_plan(RunSettings(recipe=Recipe.FEDAVG_MLP, epsilon=2.0, rounds=3), CONTRACT)
    assert plan.train.sample_rate == pytest.approx(32 / (460 / 3))
    assert 1.98 <= epsilon(plan.events(), plan.delta) <= 2.0


@pytest.mark.parametrize(
    "change",
    [
        {"train": {"sample_rate": 0.01}},
        {"train": {"steps": 5}},
        {"train": {"phase": "centre"}},
        {"centre": None},
        {"recipe": "fedavg-mlp"},
        {"average_from": 99},
        {"delta": 0.0},
    ],
)
def test_a_plan_that_would_charge_too_little_cannot_exist(change):
    fields = make_plan(RunSettings(), CONTRACT).model_dump(mode="json")
    for name, value in change.items():
        fields[name] = fields[name] | value if isinstance(value, dict) else value
    with pytest.raises(ValidationError):
        Plan.model_validate(fields)


def test_settings_refuse_a_quorum_above_the_sites():
    with pytest.raises(ValidationError, match="quorum 4 is more than"):
        RunSettings(sites=3, quorum=4)


REQUEST = Request(operation=Operation.RELEASE, run_id="R", round=3, phase=Phase.TRAIN, parameters=b"12345678")


def test_requests_and_replies_survive_the_wire():
    assert Request.from_fields(REQUEST.to_fields()) == REQUEST
    facts = SiteFacts(
        dataset="d@1",
        epsilon_run=0.5,
        epsilon_spent=1.5,
        epsilon_planned=2.0,
        epsilon_limit=8,
        delta=1e-5,
        policy_digest="p",
        ledger_seq=4,
        ledger_head="h",
    )
    reply = Reply(code="OK", payload=b"x", facts=facts)
    assert Reply.from_fields(reply.to_fields()) == reply


@given(st.sampled_from(sorted(REQUEST.to_fields())), st.sampled_from([None, 1.5, True, [], "?", b"?", 7]))
def test_a_field_of_another_type_is_a_bad_request(name, value):
    fields = dict(REQUEST.to_fields()) | {name: value}
    try:
        parsed = Request.from_fields(fields)
    except RefusalError as refusal:
        assert refusal.refusal is Refusal.BAD_REQUEST
    else:
        assert type(parsed.to_fields()[name]) is type(value)


@pytest.mark.parametrize(
    "change", [{"round": 4}, {"phase": Phase.CENTRE}, {"parameters": b"87654321"}, {"centre": b"c"}, {"run_id": "S"}]
)
def test_the_digest_covers_whatever_determines_the_reply(change):
    assert replace(REQUEST, **change).digest() != REQUEST.digest()


def test_the_digest_does_not_depend_on_the_witness():
    assert replace(REQUEST, witness_seq=9, witness_head="h").digest() == REQUEST.digest()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_arrays_survive_the_wire_bit_for_bit(values):
    array = np.array(values, dtype=np.float64)
    assert decode_array(encode_array(array), len(values)).tobytes() == array.tobytes()


@pytest.mark.parametrize("data", [b"", b"1234567", encode_array(np.array([math.nan])), encode_array(np.ones(2))])
def test_arrays_of_another_length_or_not_finite_are_refused(data):
    with pytest.raises(RefusalError) as raised:
        decode_array(data, 1)
    assert raised.value.refusal is Refusal.BAD_PARAMETERS


def test_every_code_has_its_own_exit_status_and_an_entry_in_the_reference():
    reference = (Path(__file__).parents[3] / "docs" / "reference" / "errors.md").read_text()
    for code in (*ErrorCode, *Refusal):
        assert f"`{code}`" in reference, code
    assert len(set(EXIT_STATUS.values())) == len(ErrorCode)
    for code, status in EXIT_STATUS.items():
        assert f"| `{code}` | {status} |" in reference, code


@pytest.mark.parametrize(
    ("path", "value"),
    [
        # Below the normal range of float64, rounding lets clipped vectors pass the bound that the noise is made for.
        ("train.max_grad_norm", 5e-324),
        ("train.max_grad_norm", 1e300),
        ("centre.max_grad_norm", 1e-300),
        ("train.noise_multiplier", 1e300),
        ("train.rounds", 10**12),
        ("train.steps", 10**12),
        ("min_reply_ms", 10**12),
    ],
)
def test_a_plan_with_absurd_constants_cannot_exist(path, value):
    fields = make_plan(RunSettings(), CONTRACT).model_dump(mode="json")
    *parents, name = path.split(".")
    target = fields
    for parent in parents:
        target = target[parent]
    target[name] = value
    fields["train"]["sample_rate"] = 1.0
    with pytest.raises(ValidationError, match=name):
        Plan.model_validate(fields)


def test_an_mlp_plan_with_an_absurd_step_cannot_exist():
    plan = make_plan(RunSettings(recipe=Recipe.FEDAVG_MLP, epsilon=2.0, rounds=1), CONTRACT)
    for absurd in ({"local_learning_rate": 1e300}, {"batch_size": 0}):
        with pytest.raises(ValidationError):
            Plan.model_validate(plan.model_dump(mode="json") | absurd)
