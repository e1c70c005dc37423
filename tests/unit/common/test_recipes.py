"""Which strategies there are for whom, and what of them may be chosen: the same for everyone who asks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fedpriv_common.contract import load_contract
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.plan import Plan, RunSettings, make_plan
from fedpriv_common.plan_cli import STRATEGY_HELP
from fedpriv_common.recipes import STRATEGIES, Recipe, require_replies, resolve_strategy
from fedpriv_common.run_options import run_settings, strategy_options

CONTRACT = load_contract("breast-cancer-wisconsin")
LOGREG, MLP = Recipe
PLAN = make_plan(RunSettings(), CONTRACT)


@pytest.mark.parametrize(
    "recipe, name, options, words",
    [
        (LOGREG, "magic", {}, "'magic' is not one of fedsgd, fedavg, fedprox, fedadam, fedtrimmedavg, krum"),
        (LOGREG, "krum", {}, "for it there are fedsgd, fedavg, fedadam"),
        (LOGREG, "fedprox", {}, "where the proximal term is zero: use fedavg"),
        (MLP, "fedsgd", {}, "must be sums of gradients"),
        (MLP, "fedavg", {"eta": 0.1}, "it has no options"),
        (MLP, None, {"eta": 0.1}, "'fedavg' has no option 'eta'"),
        (MLP, "fedadam", {"beta": 0.1}, "it has eta, beta_1, beta_2, tau"),
        (MLP, "fedadam", {"beta_1": 1.0}, "beta_1 is 1, it must be from 0 to 0.9999"),
        (MLP, "fedadam", {"tau": float("nan")}, "tau is nan"),
        (MLP, "krum", {"num_malicious_nodes": 1.5}, "must be a whole number"),
        (MLP, "fedtrimmedavg", {"beta": 0.5}, "beta is 0.5, it must be from 0.001 to 0.499"),
        (MLP, "fedprox", {"proximal_mu": 0.0}, "proximal_mu is 0"),
    ],
)
def test_what_there_is_not_is_refused_and_what_there_is_told(
    recipe: Recipe, name: str | None, options: dict[str, float], words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        resolve_strategy(recipe, name, options)


@pytest.mark.parametrize(
    "name, options, least, words",
    [
        ("krum", {"num_malicious_nodes": 1.0}, 5, None),
        ("krum", {"num_malicious_nodes": 1.0}, 4, "needs at least 5 replies"),
        ("krum", {"num_malicious_nodes": 2.0}, 6, "needs at least 7 replies"),
        ("fedtrimmedavg", {"beta": 0.2}, 5, None),
        ("fedtrimmedavg", {"beta": 0.2}, 4, "choose beta of at least 0.25"),
        ("fedtrimmedavg", {"beta": 0.2}, 3, "choose beta of at least 0.334"),
        ("fedtrimmedavg", {"beta": 0.334}, 3, None),
        ("fedavg", {}, 1, None),
    ],
)
def test_a_quorum_that_a_strategy_cannot_work_with_is_refused(
    name: str, options: dict[str, float], least: int, words: str | None
) -> None:
    if words is None:
        require_replies(name, options, least)
        return
    with pytest.raises(ValueError, match=words):
        require_replies(name, options, least)


def test_a_plan_counts_on_the_quorum_not_on_the_sites() -> None:
    settings: dict[str, Any] = {"recipe": "fedavg-mlp", "strategy": "krum", "sites": 7}
    with pytest.raises(ValueError, match="goes on with 4"):
        make_plan(RunSettings(**settings, quorum=4), CONTRACT)


def test_a_plan_names_every_option_and_nothing_else() -> None:
    plan = make_plan(RunSettings(strategy="fedadam", strategy_options={"eta": 0.3}), CONTRACT)
    assert plan.strategy_options == {"eta": 0.3, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-3}
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    for options in ({"eta": 0.3}, {**plan.strategy_options, "eta": 11.0}, {**plan.strategy_options, "x": 1.0}):
        with pytest.raises(ValidationError):
            Plan.model_validate({**plan.model_dump(), "strategy_options": options})
    with pytest.raises(ValidationError, match="is not for fedsgd-logreg"):
        Plan.model_validate({**PLAN.model_dump(), "strategy": "krum"})


def test_a_plan_without_options_has_the_digest_that_it_had_before_there_were_any() -> None:
    assert "strategy_options" not in PLAN.model_dump(mode="json")
    assert "strategy_options" not in RunSettings().model_dump(mode="json")


def test_equal_options_have_one_digest_and_one_hash() -> None:
    ordered = [
        RunSettings(strategy="fedadam", strategy_options=each) for each in ({"eta": 1, "tau": 1}, {"tau": 1, "eta": 1})
    ]
    assert ordered[0] == ordered[1]
    assert hash(ordered[0]) == hash(ordered[1])
    zeros = [
        make_plan(RunSettings(strategy="fedadam", strategy_options={"beta_1": each}), CONTRACT) for each in (0.0, -0.0)
    ]
    assert zeros[0].digest() == zeros[1].digest()


def test_no_share_is_advised_that_would_be_refused() -> None:
    with pytest.raises(ValueError, match=r"is set\): ask for more sites"):
        require_replies("fedtrimmedavg", {"beta": 0.2}, 2)


def test_what_is_declined_of_an_option_names_it_as_it_is_given() -> None:
    with pytest.raises(FedprivError, match="--strategy-option eta: Input should be a finite number"):
        run_settings("fedpriv run", strategy_options={"eta": float("nan")})


def test_options_of_the_command_line_are_numbers_by_name() -> None:
    assert strategy_options("fedpriv run", None) is None
    assert strategy_options("fedpriv run", ["beta_1=0.9", "eta = 1e-1"]) == {"beta_1": 0.9, "eta": 0.1}
    for text in ("beta_1", "beta_1=", "=3", "beta_1=high"):
        with pytest.raises(FedprivError, match=r"is not name=number") as refused:
            strategy_options("fedpriv run", [text])
        assert refused.value.code is ErrorCode.RUN_REFUSED


def test_help_and_reference_name_every_strategy_and_option() -> None:
    reference = (Path(__file__).parents[3] / "docs" / "reference" / "strategies.md").read_text()
    assert re.findall(r"fed\w+|krum", STRATEGY_HELP) == list(STRATEGIES)
    assert re.findall(r"^## `(\w+)`$", reference, re.M) == list(STRATEGIES)
    for name, spec in STRATEGIES.items():
        section = reference.split(f"## `{name}`\n")[1].split("\n## ")[0]
        rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) to (\S+) \|", section, re.M)
        documented = {option: tuple(float(number) for number in numbers) for option, *numbers in rows}
        assert documented == {key: (one.default, one.least, one.most) for key, one in spec.options.items()}, name
        assert all(f"`{recipe}`" in section for recipe in spec.recipes), name
