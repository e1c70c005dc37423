"""The privacy of a run, site by site."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedpriv_metrics.models.answer import Answer

SiteStatus = Literal["within_budget", "near_limit", "at_limit", "refused", "offline", "waiting"]


class SitePrivacy(Answer):
    """A site's budget for the run's data set. `rounds`, `epsilon_run` and `epsilon_spent` are columns."""

    site: str
    status: SiteStatus
    code: str | None = Field(description="the refusal, when the site declined")
    epsilon_limit: float | None
    epsilon_planned: float | None = Field(description="lifetime epsilon when the run has ended as planned")
    rounds: list[int]
    epsilon_run: list[float] = Field(description="epsilon of this run's releases after each round")
    epsilon_spent: list[float] = Field(description="epsilon of every release ever charged, after each round")
    runs_left: int | None = Field(description="further runs like this one that the limit allows")
    ledger_seq: int | None
    ledger_head: str | None
    policy_digest: str | None


class RunPrivacy(Answer):
    """The privacy of a run, site by site."""

    run_id: str
    seq: str
    dataset: str
    epsilon_target: float
    delta: float
    adjacency: str
    unit: str
    noise_multiplier: float
    max_grad_norm: float
    sample_rate: float
    steps: int
    sites: list[SitePrivacy]
