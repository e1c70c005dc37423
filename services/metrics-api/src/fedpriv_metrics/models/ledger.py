"""What data sets have cost over all runs."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from fedpriv_common.records import RunState
from fedpriv_metrics.models.answer import Answer

AccountStatus = Literal["within_budget", "near_limit", "at_limit", "refused", "unknown"]


class BudgetPolicy(Answer):
    """What a site's policy said of its budget, from a moment on."""

    since: datetime = Field(description="when the site first told this; it may have held before")
    policy_digest: str = Field(description="of the whole policy: it changes with any line of it")
    epsilon_limit: float
    delta: float


class BudgetHistory(Answer):
    """Columns over the runs that a site joined, oldest first: what it told at admission, and last of all in each."""

    run_ids: list[str]
    at: list[datetime] = Field(description="when it told `epsilon_after`")
    epsilon_run: list[float] = Field(description="of the run's releases alone")
    epsilon_before: list[float] = Field(description="of every release ever charged, when it joined")
    epsilon_after: list[float] = Field(description="the same after its last release in the run")
    sampled: bool = Field(description="true when some runs were left out; the first and the last never are")


class Account(Answer):
    """The budget of one data set at one site over its whole life, as the site told it; null where it told nothing.

    `epsilon_spent` is composed at the site from its ledger, which also holds what this hub has not seen: releases in
    runs of other hubs, and ones whose reply was late. It is no sum of the charges that are listed.
    """

    site: str
    dataset: str
    status: AccountStatus
    code: str | None = Field(description="the refusal with which the site met the newest run, if it did")
    epsilon_limit: float | None = Field(description="the site's own, over the data set's whole life")
    delta: float | None
    adjacency: str | None
    unit: str | None
    epsilon_spent: float | None = Field(description="of every release ever charged to the training records")
    epsilon_planned: float | None = Field(description="the same when the active run has ended as planned, if one is")
    epsilon_remaining: float | None = Field(description="limit less spent; what fits composes, so it is more than that")
    epsilon_held_out: float | None = Field(
        description="pure epsilon of every evaluation on the held-out records, which are in no training release"
    )
    epsilon_before: float | None = Field(description="what had been spent when the site joined its first run here")
    told_at: datetime | None
    runs: int = Field(description="runs that it joined")
    declined: int = Field(description="runs whose plan it refused, at no cost")
    unlisted: int = Field(
        description="runs before which more had been spent than their predecessors here had told: late replies, or "
        "runs of another hub"
    )
    first_run: str
    first_at: datetime
    last_run: str
    last_at: datetime
    runs_left: int | None = Field(description="further runs like `last_run` that the limit allows; null: being counted")
    ledger_seq: int | None
    ledger_head: str | None
    policies: list[BudgetPolicy] = Field(description="newest first, at most 20")
    history: BudgetHistory


class LedgerPage(Answer):
    """Accounts by site and data set."""

    seq: str
    only_site: str | None = Field(description="the one site whose accounts you may see; null: you see every site's")
    accounts: list[Account]
    next_cursor: str | None


class Charge(Answer):
    """What one run cost one site."""

    run_id: str
    name: str
    state: RunState
    dataset: str
    site: str
    at: datetime = Field(description="when the site answered the plan, or else when the run was made")
    outcome: Literal["joined", "declined", "waiting"]
    code: str | None = Field(description="the refusal of the plan, or of a later round; a refusal costs nothing")
    delta: float | None = Field(description="at which the epsilons of the training records are told")
    epsilon_run: float | None = Field(description="of this run's releases alone; 0 where the plan was declined")
    epsilon_before: float | None = Field(description="of every release ever charged when the site joined")
    epsilon_after: float | None = Field(description="of every release ever charged after the run's last one")
    unlisted: bool = Field(description="more had been spent before than the runs before it told")
    rounds: int = Field(description="rounds in which a release reached the hub, centring included")
    missed: int = Field(description="closed rounds in which it was asked and said nothing")
    late: int = Field(description="replies that were discarded because their round had closed; they stay charged")
    evaluations: int = Field(description="releases on held-out records")
    epsilon_evaluations: float = Field(description="pure epsilon of those")
    ledger_seq: int | None
    ledger_head: str | None
    policy_digest: str | None


class ChargePage(Answer):
    """Charges, newest run first, then by site."""

    seq: str
    only_site: str | None
    charges: list[Charge]
    next_cursor: str | None
