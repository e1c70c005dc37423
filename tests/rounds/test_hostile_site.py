"""One hostile site of seven, within the length that any honest site may send: who keeps the model, and who does not."""

from __future__ import annotations

import numpy as np
import pytest

from fedpriv_client.data.breast_cancer import load_table
from fedpriv_client.data.site_data import SiteData
from fedpriv_client.training import Trainer
from fedpriv_common.model import evaluate
from fedpriv_common.plan import Phase, Plan, RunSettings, make_plan
from fedpriv_common.recipes import Recipe
from fedpriv_server.strategy import Iterate, make_strategy, reply_bound
from tests.bench.utility import randomness, split

SITES, SEED = 7, 1000
CONTRACT, TABLE = load_table()


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Calibrated once, which takes seconds: what differs between the strategies is not the noise."""
    return make_plan(RunSettings(recipe=Recipe.FEDAVG_MLP, epsilon=8.0, sites=SITES, rounds=6), CONTRACT)


def accuracy(plan: Plan, strategy: str, options: dict[str, float]) -> float:
    """On held-out records, after a run in which the seventh site pushes the model where the others come from."""
    plan = Plan.model_validate(plan.model_dump() | {"strategy": strategy, "strategy_options": options})
    z, (train, test) = CONTRACT.standardise(TABLE.features), split(TABLE.labels, SEED)
    trainers = [
        Trainer(plan, SiteData(z[share], TABLE.labels[share]), randomness(SEED, site))
        for site, share in enumerate(np.array_split(train, SITES)[:-1])
    ]
    iterate, rule = Iterate.first(plan, b"seed"), make_strategy(plan)
    for _ in range(plan.rounds):
        honest = [trainer.release(Phase.TRAIN, iterate.parameters, iterate.centre) for trainer in trainers]
        away = -np.sum(honest, axis=0)
        hostile = away / np.linalg.norm(away) * 0.99 * reply_bound(plan, Phase.TRAIN)
        iterate = iterate.trained(plan, rule, [*honest, hostile])
    return evaluate(plan.model, iterate.published(), iterate.centre, z[test], TABLE.labels[test]).accuracy


def test_an_average_is_lost_to_one_hostile_site(plan: Plan) -> None:
    assert accuracy(plan, "fedavg", {}) < 0.6


@pytest.mark.parametrize(
    "strategy, options", [("krum", {"num_malicious_nodes": 1.0}), ("fedtrimmedavg", {"beta": 0.2})]
)
def test_krum_and_the_trimmed_mean_keep_the_model(plan: Plan, strategy: str, options: dict[str, float]) -> None:
    assert accuracy(plan, strategy, options) > 0.8
