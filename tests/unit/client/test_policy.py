"""The site's own rules: a file that cannot be right stops the start, a plan that asks for too much names its line."""

import logging

import pytest

from fedpriv_client.privacy.policy import Policy, load_policy
from fedpriv_common.errors import ErrorCode, FedprivError, Refusal

from .conftest import CONTRACT, SiteOnDisk, admission, plan_of


def loaded(tmp_path, text):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return load_policy(path, CONTRACT)


def fault_of(tmp_path, text):
    with pytest.raises(FedprivError) as raised:
        loaded(tmp_path, text)
    assert raised.value.code is ErrorCode.BAD_POLICY
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("epsilon: -1", "line 1, epsilon: -1: Input should be greater than 0"),
        ("# ours\nepsilon: 0", "line 2, epsilon: 0: Input should be greater than 0"),
        ("epsilon: .inf", "line 1, epsilon: inf: Input should be a finite number"),
        ("epsilon: yes", "line 1, epsilon: True: a number is needed"),
        ("epsilon: lots", "line 1, epsilon: lots: Input should be a valid number"),
        ("delta: 0", "line 1, delta: 0: Input should be greater than 0"),
        ("delta: 0.01", "line 1, delta: 0.01 is more than 1/460"),
        ("epsilon: 2\nmax_run_epsilon: 3", "line 2, max_run_epsilon: 3: more than the whole lifetime's epsilon, 2"),
        ("max_run_epsilon: 9", "line 1, max_run_epsilon: 9: more than the whole lifetime's epsilon, 8"),
        ("recipes: []", "line 1, recipes: []: Tuple should have at least 1 item"),
        ("recipes: [fedsgd]", "line 1, recipes.0: fedsgd: Input should be 'fedsgd-logreg' or 'fedavg-mlp'"),
        ("models: [forest]", "line 1, models.0: forest: Input should be 'logreg' or 'mlp'"),
        ("recipes: [fedavg-mlp]\nmodels: [logreg]", "line 2, models: ['logreg']: no allowed recipe (fedavg-mlp)"),
        ("min_noise_multiplier: 0", "line 1, min_noise_multiplier: 0"),
        ("min_nominal_size: 500", "line 1, min_nominal_size: 500 is more than the 460 records"),
        ("units: [hospital]", "line 1, units.0: hospital: Input should be 'record' or 'patient'"),
        ("units: []", "line 1, units: []: Tuple should have at least 1 item"),
        (
            "units: [patient]",
            "line 1, units: the unit is the patient, but contract breast-cancer-wisconsin@1 has no",
        ),
        ("approval: 1", "line 1, approval: 1: Input should be a valid boolean"),
        ("held_out_share: 1", "line 1, held_out_share: 1: Input should be less than or equal to 0.5"),
        ("epsilom: 4", "line 1, epsilom: not a field of a policy; did you mean epsilon?"),
        ("budget: 4", "line 1, budget: not a field of a policy; known are epsilon, delta"),
        ("epsilon: 4\nepsilon: 5", "epsilon stands on line 1 and again on line 2"),
        ("- epsilon", "expected lines of the form `field: value`"),
        ("epsilon", "expected lines of the form `field: value`"),
        ("[", "not YAML"),
        ("at: 2001-99-99", "not YAML"),
    ],
)
def test_a_policy_that_cannot_be_right_names_its_line(tmp_path, text, fault):
    assert fault in fault_of(tmp_path, text)


def test_every_fault_is_named_at_once(tmp_path):
    fault = fault_of(tmp_path, "epsilon: -1\ndelta: 2\n")
    assert "line 1, epsilon" in fault
    assert "line 2, delta" in fault


def test_a_policy_that_is_not_there_or_not_text_is_refused(tmp_path):
    (tmp_path / "binary").write_bytes(b"epsilon: \xff")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "binary"):
        with pytest.raises(FedprivError) as raised:
            load_policy(path, CONTRACT)
        assert raised.value.code is ErrorCode.BAD_POLICY


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}"])
def test_an_empty_policy_is_the_default_one(tmp_path, text):
    assert loaded(tmp_path, text) == load_policy(None, CONTRACT) == Policy()


def test_a_policy_says_what_it_says(tmp_path):
    policy = loaded(tmp_path, "epsilon: 4\ndelta: 1e-6\nrecipes: [fedsgd-logreg]\nmodels: [logreg]\n")
    assert (policy.epsilon, policy.delta, policy.recipes) == (4.0, 1e-6, ("fedsgd-logreg",))


def test_one_run_may_by_default_not_plan_more_than_the_lifetime(tmp_path):
    assert loaded(tmp_path, "epsilon: 2").max_run_epsilon == 2.0
    assert loaded(tmp_path, "epsilon: 20").max_run_epsilon == 3.0


def test_delta_follows_the_nominal_size_unless_the_site_sets_it():
    assert Policy().delta_for(CONTRACT) == 1e-5
    assert Policy().delta_for(CONTRACT.model_copy(update={"nominal_size": 20_000})) == 5e-6
    assert Policy(delta=1e-7).delta_for(CONTRACT) == 1e-7


@pytest.mark.parametrize(
    ("policy", "settings", "line"),
    [
        ({"max_run_epsilon": 0.5}, {}, "`max_run_epsilon: 0.5`: the plan states 1"),
        ({}, {"epsilon": 8.0}, "`max_run_epsilon: 3.0`: the plan states 8"),
        ({"min_noise_multiplier": 20}, {}, "`min_noise_multiplier: 20.0`: the plan's centre phase has 11.8"),
        ({"min_nominal_size": 1000}, {}, "`min_nominal_size: 1000`: the plan declares 460"),
        ({"recipes": ["fedavg-mlp"]}, {}, "`recipes: [fedavg-mlp]`: the plan's recipe is fedsgd-logreg"),
        ({"models": ["mlp"]}, {}, "`models: [mlp]`: the plan's model is logreg"),
        ({"delta": 1e-6}, {}, "`delta: 1e-06`: the plan's is 1e-05"),
    ],
)
def test_a_plan_over_the_policy_is_refused_by_a_line_that_the_site_reads_and_the_server_does_not(
    tmp_path, caplog, policy, settings, line
):
    on_disk = SiteOnDisk(tmp_path, Policy(**policy))
    with caplog.at_level(logging.WARNING):
        reply = on_disk.start().handle(admission(plan_of(**settings)))
    assert (reply.code, reply.payload, reply.facts) == (Refusal.POLICY_REFUSED, b"", None)
    assert line in caplog.records[-1].detail
    with on_disk.ledger.reading() as history:
        assert history.seq == 0, "nothing is charged"
