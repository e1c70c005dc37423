"""`fedpriv plan`: what is foretold is what would run, fits or is refused with what would fit, and is said plainly."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fedpriv_common import plan_cli
from fedpriv_common.accounting import GaussianEvent, epsilon
from fedpriv_common.advice import AdviceCode, advise
from fedpriv_common.contract import DataContract, Feature, Label, Transform, load_contract
from fedpriv_common.errors import EXIT_STATUS, ErrorCode, FedprivError
from fedpriv_common.plan import RunSettings, make_plan
from fedpriv_common.planner import Forecast, PlanQuestion, forecast, require_affordable
from fedpriv_common.recipes import Recipe
from fedpriv_common.utility import CURVE, Basis, expected_loss, noise_to_signal, nu_for_loss

CONTRACT = load_contract("breast-cancer-wisconsin")
DELTA = 1e-5


def contract_of(*features, nominal_size=460, classes=("no", "yes"), **patients):
    return DataContract(
        name="other",
        version="1",
        nominal_size=nominal_size,
        label=Label(column="y", classes=classes),
        features=features or (Feature(name="a", lo=0, hi=1),),
        **patients,
    )


OF_PATIENTS = contract_of(group="patient", nominal_patients=230)


def question(epsilon=1.0, contract=CONTRACT, **fields):
    chosen = {name: fields.pop(name) for name in list(fields) if name in RunSettings.model_fields}
    return PlanQuestion(settings=RunSettings(epsilon=epsilon, **chosen), contract=contract, **fields)


# -- utility -----------------------------------------------------------------------------------------------------------


@given(st.floats(1e-4, 5), st.floats(1e-4, 5), st.sampled_from(Basis))
def test_more_noise_never_costs_less(one, other, basis):
    less, more = (expected_loss(nu, basis) for nu in sorted((one, other)))
    assert (less.expected, less.low, less.high) <= (more.expected, more.low, more.high)
    assert less.one_in_ten <= more.one_in_ten
    assert 0 <= less.low <= less.expected <= min(less.high, less.one_in_ten) <= 0.5


@pytest.mark.parametrize(("nu", "loss"), CURVE)
def test_the_curve_passes_through_what_was_measured_and_can_be_inverted(nu, loss):
    assert expected_loss(nu, Basis.MEASURED).expected == pytest.approx(loss)
    for basis in Basis:
        assert expected_loss(nu_for_loss(loss, basis), basis).expected == pytest.approx(loss)


@given(st.floats(1e-3, 2))
def test_another_table_is_foretold_less_surely(nu):
    measured, other = expected_loss(nu, Basis.MEASURED), expected_loss(nu, Basis.OTHER_TABLE)
    assert other.low <= measured.low <= measured.high <= other.high


def test_noise_to_signal_is_the_published_number():
    """√(3·31)/(0.268·460) at ε 1, three sites, 30 features, 460 records."""
    assert noise_to_signal(0.2681, sites=3, features=30, records=460) == pytest.approx(0.0782, abs=1e-4)


def test_as_many_records_as_the_planner_asks_for_keep_the_loss():
    asked = forecast(question(acceptable_loss=0.01)).utility
    assert asked is not None
    enough = forecast(
        question(contract=CONTRACT.model_copy(update={"nominal_size": asked.records_needed})),
    ).utility
    assert enough is not None
    assert enough.loss.expected <= 0.01 < asked.loss.expected


def test_accuracy_is_foretold_only_where_it_was_measured():
    assert forecast(question()).utility.loss.basis is Basis.MEASURED
    assert forecast(question(contract=contract_of())).utility.loss.basis is Basis.OTHER_TABLE
    for unknown in (
        question(contract=contract_of(classes=("a", "b", "c"))),
        question(recipe=Recipe.FEDAVG_MLP, rounds=1),
    ):
        answer = forecast(unknown)
        assert answer.utility is None
        assert AdviceCode.ACCURACY_UNKNOWN in [advice.code for advice in answer.advice]


def test_with_a_ceiling_the_loss_becomes_an_accuracy():
    utility = forecast(question(ceiling=0.977)).utility
    assert utility.accuracy == pytest.approx((0.977 - utility.loss.high, 0.977 - utility.loss.low))


# -- budget ------------------------------------------------------------------------------------------------------------


def test_what_is_foretold_is_what_would_run():
    for asked in (question(), question(epsilon=3.0, sites=10, rounds=20), question(evaluations=3)):
        assert forecast(asked).plan == make_plan(asked.settings, asked.contract)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(2, 20), st.integers(1, 20)), max_size=4), st.floats(1, 10), st.integers(1, 5))
def test_the_largest_run_fits_and_a_larger_one_does_not(releases, limit, sites):
    history = tuple(GaussianEvent(sigma, 1.0, steps) for sigma, steps in releases)
    asked = question(sites=sites, history=history, limit=limit)
    answer = forecast(asked)
    largest = answer.largest_epsilon
    assert (largest >= 1.0) == answer.cost.fits
    if largest > 0:
        assert forecast(asked.at(largest)).cost.fits
    assert not forecast(asked.at(largest + 0.01)).cost.fits


def test_a_history_is_composed_not_added():
    """After ε 7 of 8 a run of 1 does not only fit: Gaussians compose by squares, so ε 3 fits."""
    spent = make_plan(RunSettings(epsilon=7.0), CONTRACT).events()
    answer = forecast(question(history=spent))
    assert answer.cost.fits
    assert answer.cost.after == pytest.approx(epsilon([*spent, *answer.plan.events()], DELTA))
    assert 3 < answer.largest_epsilon < 3.5


def test_such_runs_fit_exactly_as_often_as_it_says():
    answer = forecast(question(epsilon=2.0))
    run, runs = answer.plan.events(), answer.cost.runs_that_fit
    assert epsilon(run * runs, DELTA) <= 8.0 < epsilon(run * (runs + 1), DELTA)


def test_a_run_over_the_budget_is_refused_with_what_would_fit():
    spent = make_plan(RunSettings(epsilon=7.5), CONTRACT).events()
    answer = forecast(question(epsilon=5.0, history=spent))
    with pytest.raises(FedprivError, match=r"from ε 7\.50 to 9\.\d\d, over its lifetime's 8") as refused:
        require_affordable(answer)
    assert refused.value.code is ErrorCode.BUDGET_TOO_SMALL
    assert f"--epsilon {answer.largest_epsilon:g}." in refused.value.remedy


def test_nothing_fits_into_a_spent_budget():
    answer = forecast(question(epsilon=0.01, history=(GaussianEvent(0.5, 1.0, 1),), limit=1.0))
    assert (answer.largest_epsilon, answer.cost.runs_that_fit) == (0.0, 0)
    with pytest.raises(FedprivError, match="Nothing is left"):
        require_affordable(answer)


def test_evaluations_are_charged_to_held_out_records_and_left_out_when_they_do_not_fit():
    answer = forecast(question(epsilon=1.0, evaluations=3, held_out_epsilon=7.5))
    assert (answer.held_out.planned, answer.held_out.released) == (3, 1)
    assert answer.held_out.after == pytest.approx(7.5 + 1 / 3)
    assert answer.cost == forecast(question(epsilon=1.0)).cost


# -- advice ------------------------------------------------------------------------------------------------------------


def advice_about(feature):
    contract = contract_of(feature)
    run = RunSettings()
    return [
        advice for advice in advise(contract, run, make_plan(run, contract), None) if advice.feature == feature.name
    ]


@pytest.mark.parametrize(
    ("feature", "code", "remedy"),
    [
        (Feature(name="crp", lo=1, hi=100), AdviceCode.RANGE_SPANS_DECADES, "transform: sqrt"),
        (Feature(name="psa", lo=0.01, hi=100), AdviceCode.RANGE_SPANS_DECADES, "transform: log"),
        (Feature(name="psa", lo=0.01, hi=100, transform=Transform.SQRT), AdviceCode.RANGE_SPANS_DECADES, "log"),
        (Feature(name="ferritin", lo=0, hi=10_000, default=100), AdviceCode.DEFAULT_OFF_CENTRE, "sqrt or log"),
        (Feature(name="ph", lo=0, hi=7.5, default=7.4), AdviceCode.DEFAULT_OFF_CENTRE, "Narrow the range"),
    ],
)
def test_a_range_that_wastes_budget_is_named_with_what_to_do(feature, code, remedy):
    (advice,) = advice_about(feature)
    assert (advice.code, advice.feature) == (code, feature.name)
    assert remedy in advice.remedy


@pytest.mark.parametrize(
    "feature",
    [
        Feature(name="age", lo=18, hi=100, default=60),
        Feature(name="smoker", lo=0, hi=1, default=0),
        Feature(name="psa", lo=0.01, hi=100, transform=Transform.LOG),
        *CONTRACT.features,
    ],
)
def test_a_sound_range_gets_no_hint(feature):
    assert advice_about(feature) == []


@pytest.mark.parametrize(
    ("fields", "codes"),
    [
        ({}, []),
        ({"delta": 1e-3}, [AdviceCode.DELTA_TOO_LARGE]),
        ({"rounds": 200}, [AdviceCode.ROUNDS_UNUSUAL]),
        ({"contract": contract_of(group="patient")}, [AdviceCode.SEVERAL_RECORDS]),
        (
            {"contract": contract_of(group="patient", nominal_patients=230), "unit": "patient"},
            [AdviceCode.ACCURACY_UNKNOWN],
        ),
        ({"epsilon": 5.0}, [AdviceCode.SITES_REFUSE]),
        ({"epsilon": 3.0, "rounds": 8, "contract": contract_of(nominal_size=60)}, [AdviceCode.SITES_REFUSE]),
        ({"epsilon": 0.2, "sites": 10}, [AdviceCode.TOO_FEW_RECORDS, AdviceCode.MANY_FEATURES]),
    ],
)
def test_settings_that_waste_budget_get_a_hint(fields, codes):
    assert [advice.code for advice in forecast(question(**fields)).advice] == codes


def test_a_run_of_patients_is_foretold_for_those_declared_and_refused_where_none_are():
    answer = forecast(question(contract=OF_PATIENTS, unit="patient"))
    assert (answer.plan.nominal_size, answer.plan.unit, answer.utility) == (230, "patient", None)
    with pytest.raises(FedprivError, match=r"has no group and nominal_patients\. Declare them"):
        forecast(question(unit="patient"))


# -- command line ------------------------------------------------------------------------------------------------------


def invoke(*arguments, **options):
    result = CliRunner().invoke(plan_cli.app, [*arguments], **options)
    if result.exception is not None and not isinstance(result.exception, FedprivError | SystemExit):
        raise result.exception
    return result


def line(seq=1, run_id="R", round_number=0, **changes):
    fields = {"seq": seq, "run_id": run_id, "round": round_number, "phase": "train", "mechanism": "gaussian"}
    fields |= {"adjacency": "add-remove", "state": "committed"}
    fields |= {"noise_multiplier": 2.0, "sample_rate": 1.0, "steps": 1} | changes
    return json.dumps(fields)


def test_the_table_has_a_row_for_every_epsilon():
    out = invoke("--epsilons", "3,0.5", "--ceiling", "0.977").output
    rows = [row.split() for row in out.splitlines() if row.strip().startswith(("0.5 ", "3 "))]
    assert [row[0] for row in rows] == ["0.5", "3"]
    assert rows[1][:3] == ["3", "8.55", "34"]
    assert "%" in out


def test_the_guide_shows_what_the_command_prints():
    guide = (Path(__file__).parents[3] / "docs" / "how-to-plan.md").read_text()
    shown = guide.split("$ fedpriv plan --ceiling 0.977\n")[1].split("\nThe options")[0]
    printed = invoke("--ceiling", "0.977").output
    assert [line.strip() for line in shown.splitlines()] == [line.strip() for line in printed.splitlines()]


def test_json_is_the_forecast_itself():
    answer = Forecast.model_validate_json(invoke("--json", "--epsilon", "2", "--epsilons", "1,2").output)
    assert answer == forecast(question(epsilon=2.0), (1.0, 2.0))


def test_a_history_is_read_from_a_file_or_from_standard_input(tmp_path):
    lines = "\n".join(line(seq, round_number=seq) for seq in range(3)) + "\n\n"
    (tmp_path / "history.jsonl").write_text(lines)
    from_file = invoke("--json", "--history", str(tmp_path / "history.jsonl"))
    piped = invoke("--json", "--history", "-", input=lines)
    assert from_file.output == piped.output
    spent = Forecast.model_validate_json(piped.output).cost.spent
    assert spent == pytest.approx(epsilon([GaussianEvent(2.0, 1.0, 3)], DELTA))


def test_what_does_not_fit_is_shown_and_then_refused():
    result = invoke("--limit", "1.5", "--epsilon", "2")
    assert "does not fit" in result.output
    assert isinstance(result.exception, FedprivError)
    assert result.exception.code is ErrorCode.BUDGET_TOO_SMALL
    assert "--epsilon 1.5" in result.exception.remedy


def test_the_command_speaks_on_standard_error_and_exits_with_the_code_of_its_refusal():
    command = "from fedpriv_common.cli import main; main()"
    arguments = ["plan", "--limit", "0.5", "--epsilons", "0.5"]
    done = subprocess.run([sys.executable, "-c", command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_STATUS[ErrorCode.BUDGET_TOO_SMALL]
    assert done.stderr.startswith("BUDGET_TOO_SMALL: A run of ε 1 would bring")
    assert "such runs" in done.stdout


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        ("nonsense", "Invalid JSON"),
        ("[]", "should be an object"),
        (line(2, mechanism="laplace"), "'laplace'"),
        (line(2, noise_multiplier=0.0), "noise_multiplier: Input should be greater than 0"),
        (line(2, sample_rate=None), "sample_rate: "),
        (line(2, adjacency="replace-one"), "adjacency: "),
        (line(2, mechanism="geometric", epsilon_pure=1.0), "phase: "),
        (line(2), "the release of line 1 again"),
    ],
)
def test_a_line_that_is_no_release_is_named(second, fault):
    result = invoke("--history", "-", input=f"{line(1)}\n{second}\n")
    assert isinstance(result.exception, FedprivError)
    assert result.exception.code is ErrorCode.BAD_HISTORY
    assert result.exception.message.startswith("standard input, line 2: ")
    assert fault in result.exception.message


@pytest.mark.parametrize(
    ("arguments", "code", "fault"),
    [
        (["--records", "123"], ErrorCode.RUN_REFUSED, "--records: "),
        (["--epsilon", "-1"], ErrorCode.RUN_REFUSED, "--epsilon: "),
        (["--epsilons", "1,99"], ErrorCode.RUN_REFUSED, "--epsilons: "),
        (["--epsilons", "one"], ErrorCode.RUN_REFUSED, "--epsilons: "),
        (["--limit", "0"], ErrorCode.RUN_REFUSED, "--limit: "),
        (["--acceptable-loss", "50"], ErrorCode.RUN_REFUSED, "--acceptable-loss: "),
        (["--history", "no-such-file"], ErrorCode.BAD_HISTORY, "no-such-file: No such file"),
        (["--contract", "no-such-contract"], ErrorCode.BAD_CONTRACT, "no-such-contract"),
    ],
)
def test_a_bad_option_is_named(arguments, code, fault):
    result = invoke(*arguments)
    assert isinstance(result.exception, FedprivError)
    assert result.exception.code is code
    assert fault in result.exception.message
