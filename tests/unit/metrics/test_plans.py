"""A plan through the API: the same figures as on the command line, and a clear word on what is no question."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from fedpriv_common.accounting import GaussianEvent, epsilon, gaussian_mu
from fedpriv_common.contract import load_contract
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.plan_cli import app as cli
from fedpriv_metrics.contracts import find_contract, load_contracts
from fedpriv_metrics.index import Index
from fedpriv_metrics.models.plan import PlanAnswer, PlanQuery
from fedpriv_metrics.parts import Parts
from fedpriv_metrics.planner_process import Asked, compute
from fedpriv_metrics.plans import QuestionError, Told, UnknownSiteError, budgets_told, command, inquire, plan_answer
from fedpriv_metrics.viewer import Viewer
from tests.run_writer import Script
from tests.unit.metrics.scripted import RUN, parsed

CONTRACT = load_contract("breast-cancer-wisconsin")
TIGHT = Told("site-2", RUN, open_run=False, spent=7.5, limit=8.0, delta=1e-5, held_out=2.0)


def planned(told: tuple[Told, ...] = (), **query: object) -> PlanAnswer:
    inquiry = inquire(PlanQuery(**query), CONTRACT, told)  # type: ignore[arg-type]
    # As it goes to the process and comes back.
    answered = compute(Asked.model_validate_json(inquiry.asked.model_dump_json()))
    assert answered.forecast is not None, answered.refused
    return plan_answer(inquiry, answered, answered.forecast, {CONTRACT.dataset: CONTRACT})


def on_the_command_line(*options: str) -> dict[str, object]:
    result = CliRunner().invoke(cli, ["--json", *options])
    answer: dict[str, object] = json.JSONDecoder().raw_decode(result.stdout)[0]
    return answer


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ({}, []),
        (
            {"epsilon": 2.5, "sites": 7, "records": 1200, "rounds": 20, "ceiling": 0.977, "epsilons": "0.25,4"},
            shlex.split("--epsilon 2.5 --sites 7 --records 1200 --rounds 20 --ceiling 0.977 --epsilons 0.25,4"),
        ),
        (
            {"evaluations": 3, "strategy": "fedadam", "strategy_option": ["eta=0.2"], "acceptable_loss": 0.02},
            ["--evaluations", "3", "--strategy", "fedadam", "--strategy-option", "eta=0.2", "--acceptable-loss", "2"],
        ),
        ({"epsilon": 9, "limit": 3, "epsilons": ""}, ["--epsilon", "9", "--limit", "3", "--epsilons", ""]),
    ],
)
def test_the_api_foretells_what_the_command_line_does(query: dict[str, object], options: list[str]) -> None:
    foretold = planned(**query).forecast
    assert json.loads(foretold.model_dump_json()) == on_the_command_line(*options)


def test_a_run_that_cannot_be_paid_is_answered_with_what_could_be() -> None:
    answer = planned((TIGHT,), epsilon=4, site="site-2")
    assert (answer.fits, answer.forecast.cost.fits) == (False, False)
    assert answer.refusal is not None
    assert answer.refusal.code is ErrorCode.BUDGET_TOO_SMALL
    largest = answer.forecast.largest_epsilon
    assert f"--epsilon {largest:g}." in answer.refusal.remedy
    assert planned((TIGHT,), epsilon=largest, site="site-2").fits
    assert not planned((TIGHT,), epsilon=largest + 0.02, site="site-2").fits


def test_a_site_counts_with_its_own_limit_and_what_it_told() -> None:
    answer = planned((TIGHT,), site="site-2")
    assert answer.history.epsilon_spent == 7.5
    assert answer.history.site == "site-2"
    assert "not its releases" in answer.history.assumption
    # One full-batch Gaussian release stands for the history, so μ² add.
    release = GaussianEvent(1 / gaussian_mu(7.5, 1e-5), 1.0, 1)
    after = epsilon([release, *answer.forecast.plan.events()], 1e-5)
    assert answer.forecast.cost.after == answer.sites[0].after == after
    assert answer.forecast.held_out.spent == 2.0


def test_a_run_that_one_site_cannot_pay_does_not_fit() -> None:
    answer = planned((TIGHT,), epsilon=4)
    assert answer.forecast.cost.fits
    assert not answer.sites[0].fits
    assert not answer.fits


def test_sites_that_have_told_of_the_data_set_come_least_left_first_and_only_to_who_may_see_them() -> None:
    index = Index()
    index.apply(RUN, parsed(Script(earlier_runs={"site-1": 1, "site-2": 4}), upto="round 3"))
    parts = Parts(index).all()
    told = budgets_told(parts, "breast-cancer-wisconsin@1", Viewer())
    assert [entry.site for entry in told] == ["site-2", "site-1", "site-3"]
    run = index.run(RUN)
    assert run is not None
    facts = run.facts("site-2")
    assert facts is not None
    # The run is open: what it will have spent counts.
    assert told[0].open_run
    assert told[0].spent == facts.epsilon_planned > facts.epsilon_spent
    assert [entry.site for entry in budgets_told(parts, "breast-cancer-wisconsin@1", Viewer("site-1"))] == ["site-1"]
    assert budgets_told(parts, "another@1", Viewer()) == []


@pytest.mark.parametrize(
    ("query", "where", "why"),
    [
        ({"records": 1234}, "records", "two significant digits"),
        ({"quorum": 4}, "epsilon", "quorum 4 is more than"),
        ({"evaluations": 3, "evaluation_epsilon": 1.0}, "epsilon", "evaluations of epsilon"),
        ({"strategy_option": ["eta"]}, "strategy_option", "name=number"),
        ({"epsilons": "1,,2"}, None, ""),
        ({"epsilons": "60"}, "epsilons", "from 0.001 to 50"),
        ({"epsilons": "1.2.3"}, "epsilons", "not a list of numbers"),
        ({"spent": 1, "site": "site-2"}, "spent", "leave one of the two out"),
    ],
)
def test_what_is_no_question_is_named(query: dict[str, object], where: str | None, why: str) -> None:
    if where is None:
        with pytest.raises(ValidationError):
            PlanQuery(**query)  # type: ignore[arg-type]
        return
    with pytest.raises(QuestionError) as refused:
        inquire(PlanQuery(**query), CONTRACT, (TIGHT,))  # type: ignore[arg-type]
    assert refused.value.faults[0][0] == where
    assert why in refused.value.faults[0][1]


def test_a_site_that_tells_nonsense_keeps_no_plan_back() -> None:
    odd = Told("site-9", RUN, open_run=False, spent=1e-300, limit=8.0, delta=1e-300, held_out=0.0)
    answer = planned((odd, TIGHT))
    assert [site.site for site in answer.sites] == ["site-2"]
    assert answer.sites_left_out == 1


def test_an_unknown_site_is_named() -> None:
    with pytest.raises(UnknownSiteError):
        inquire(PlanQuery(site="site-9"), CONTRACT, (TIGHT,))


@pytest.mark.parametrize(
    "query",
    [
        {"strategy": "krum"},
        {"strategy": "nothing"},
        {"unit": "patient"},
        {"epsilon": 0.001, "delta": 1e-12, "sites": 1000, "records": 1, "epsilons": ""},
        {"epsilon": 50, "delta": 1e-3, "limit": 0.001, "lifetime_delta": 1e-12, "spent": 1000, "epsilons": ""},
        {"epsilon": 50, "limit": 1000, "lifetime_delta": 1e-3, "spent": 1000, "records": 1_000_000_000},
    ],
)
def test_no_combination_of_what_is_allowed_makes_the_planner_fail(query: dict[str, object]) -> None:
    answered = compute(inquire(PlanQuery(**query), CONTRACT, ()).asked)  # type: ignore[arg-type]
    if answered.refused is None:
        assert answered.forecast is not None
        assert answered.model_dump_json()
    else:
        assert answered.refused.code is ErrorCode.RUN_REFUSED
        assert answered.refused.message.endswith(".")


def test_the_command_starts_the_run_that_was_planned() -> None:
    assert command(PlanQuery()) == "fedpriv run --epsilon 1"
    query = PlanQuery(epsilon=0.25, sites=5, rounds=12, strategy="fedadam", strategy_option=["eta=0.5", "tau=1e-3"])
    words = shlex.split(command(query))
    assert words[:8] == ["fedpriv", "run", "--epsilon", "0.25", "--sites", "5", "--rounds", "12"]
    assert words[8:] == ["--strategy", "fedadam", "--strategy-option", "eta=0.5", "--strategy-option", "tau=1e-3"]
    assert planned(records=460).command_note is None
    assert "declares 460 records" in (planned(records=2000).command_note or "")


def test_contracts_are_found_by_data_set_and_by_name(tmp_path: Path) -> None:
    text = Path(__file__).parents[3] / "services/common/src/fedpriv_common/contracts/breast_cancer_wisconsin.yaml"
    newer = tmp_path / "newer.yaml"
    newer.write_text(text.read_text().replace('version: "1"', 'version: "2"'))
    contracts = load_contracts([str(newer)])
    assert list(contracts) == ["breast-cancer-wisconsin@1", "breast-cancer-wisconsin@2"]
    assert find_contract(contracts, None) == CONTRACT
    assert find_contract(contracts, "breast-cancer-wisconsin@1") == CONTRACT
    found = find_contract(contracts, "breast-cancer-wisconsin")
    assert found is not None
    assert found.version == "2"
    assert find_contract(contracts, "wdbc") is None
    newer.write_text(text.read_text().replace("nominal_size: 460", "nominal_size: 470"))
    with pytest.raises(FedprivError, match="another one of breast-cancer-wisconsin@1"):
        load_contracts([str(newer)])
