"""What runs gave for what they cost."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from fedpriv_common.records import Estimate, PublicValidation, RunState
from fedpriv_metrics.models.answer import Answer
from fedpriv_metrics.models.runs import ClosestBudget

FrontierMetric = Literal["accuracy", "auc", "loss"]
Missing = Literal["no_round", "not_evaluated", "not_released"]


class FrontierRun(Answer):
    """One run as a point: what it cost a record, and what the model of its last round is worth."""

    run_id: str
    name: str
    state: RunState
    recipe: str
    created_at: datetime
    sites: int = Field(description="sites planned")
    round: int = Field(description="last closed training round; 0 before the first")
    rounds: int = Field(description="training rounds planned")
    noise_multiplier: float = Field(description="σ of a training step")
    sample_rate: float = Field(description="q of a training step")
    epsilon_target: float
    epsilon_run: float | None = Field(description="at the site where it is largest; null before any release")
    closest_budget: ClosestBudget | None
    value: float | None = Field(description="of the metric, last released value; null for `missing`'s reason")
    low: float | None = Field(description="of the value's 95 % interval; null where none is known")
    high: float | None = Field(description="of the value's 95 % interval; null where none is known")
    missing: Missing | None = Field(
        description="why there is no value: no round has closed, the evaluation is still to come, or it was not "
        "released because it would cost privacy"
    )
    held_out: Estimate | None = Field(
        description="the same metric on the sites' held-out records, released under DP; its interval includes the noise"
    )
    pareto: bool = Field(
        description="no other run of this frontier has a lower or equal epsilon and an equal or better value, one of "
        "them strictly; false for a run without value or epsilon"
    )


class Frontier(Answer):
    """Runs that compare: same data contract, δ, adjacency and unit, and evaluated on the same records."""

    dataset: str
    contract_digest: str
    delta: float
    adjacency: str
    unit: str
    provenance: Literal["public", "dp"] = Field(
        description="public: on the public validation set; dp: on the sites' held-out records, noise included"
    )
    public_validation: PublicValidation | None
    runs: list[FrontierRun] = Field(description="newest first")


class Frontiers(Answer):
    """A frontier for each group of runs that compare, the one with the newest run first."""

    metric: FrontierMetric
    better: Literal["higher", "lower"]
    seq: str = Field(description="id of the bucket's state; changes with every object")
    truncated: bool = Field(description="true when older runs were left out")
    frontiers: list[Frontier]
