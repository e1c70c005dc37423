"""Runs, and their figures over rounds."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from fedpriv_common.errors import ErrorCode
from fedpriv_common.plan import Plan
from fedpriv_common.records import EndCause, Estimate, PublicValidation, RunState
from fedpriv_metrics.models.answer import Answer


class ClosestBudget(Answer):
    """The site whose training records have used the largest share of their lifetime limit, when the run last heard."""

    site: str
    epsilon_spent: float
    epsilon_limit: float
    share: float = Field(description="of the limit; 1 when nothing is left")


class RunSummary(Answer):
    """One line of the run list."""

    run_id: str
    name: str
    state: RunState
    cause: EndCause | None = Field(description="why the run ended; null while it is active")
    code: ErrorCode | None = Field(description="of a failed run: its entry in the error reference")
    dataset: str
    recipe: str
    created_at: datetime
    ended_at: datetime | None
    epsilon_target: float
    delta: float
    sites: int = Field(description="sites planned")
    round: int = Field(description="last closed training round; 0 before the first")
    rounds: int = Field(description="training rounds planned")
    accuracy: float | None = Field(description="of the global model on the public validation set, last value")
    accuracy_interval: tuple[float, float] | None = Field(
        description="95 % Wilson interval over the public validation set's size"
    )
    held_out_accuracy: Estimate | None = Field(
        description="of the last evaluation on held-out records, released under DP; its interval includes the noise"
    )
    epsilon_run: float | None = Field(
        description="that this run cost a record at the site where it is largest: of the larger of its training "
        "releases and its evaluations, which are of different records; null before any release"
    )
    closest_budget: ClosestBudget | None
    duration_s: float | None = Field(description="from creation to the end, or to the last change")


class RunPage(Answer):
    """Runs, newest first."""

    runs: list[RunSummary]
    next_cursor: str | None


class HeldOut(Answer):
    """The model on records that the sites held out, released under DP. Intervals include the noise."""

    round: int = Field(description="of the model that was evaluated")
    mechanism: str
    epsilon: float = Field(description="pure epsilon of the release, for each held-out record of a site")
    confidence: float
    sites: list[str] = Field(description="that released their counts")
    figures: dict[str, Estimate] = Field(description="accuracy, balanced_accuracy; of two classes also sensitivity, …")


class Skipped(Answer):
    """An object of the run that could not be read, and why, without a word of its content."""

    key: str = Field(description="in the bucket, below the run's own prefix")
    reason: str


class SkippedObjects(Answer):
    """Objects of a run that could not be read. The figures are of the others."""

    count: int
    first: list[Skipped] = Field(description="at most five of them")


class WaitingSite(Answer):
    """A site that was asked to take part in an active run and has not answered."""

    site: str
    awaiting_approval: bool = Field(description="it has said that a person there must approve the plan first")


class RunDetail(RunSummary):
    """A run with its last figures."""

    seq: str = Field(description="id of the newest event; grows with every change")
    updated_at: datetime = Field(description="when it ended, last closed a round or last heard from a site")
    plan: Plan
    plan_digest: str
    public_validation: PublicValidation | None
    loss: float | None
    auc: float | None
    held_out: HeldOut | None = Field(description="the last evaluation; null before the first")
    evaluations: list[HeldOut] = Field(description="every evaluation by round; a plan has three at most")
    median_round_ms: float | None
    sites_expected: list[str] = Field(description="in the last closed round")
    sites_received: list[str] = Field(description="in the last closed round")
    waiting: list[WaitingSite] = Field(description="empty when every site has answered, and once the run has ended")
    skipped: SkippedObjects
    model_digest: str | None


class Series(Answer):
    """One site's values (or the global model's, site `global`) over rounds; null where nothing was released."""

    site: str
    provenance: Literal["public", "dp"]
    rounds: list[int]
    values: list[float | None]


class MetricSeries(Answer):
    """A metric in columns."""

    run_id: str
    metric: str
    seq: str
    sampled: bool = Field(description="true when buckets of min, max and last stand for the rounds")
    total: int = Field(description="points before sampling")
    series: list[Series]
