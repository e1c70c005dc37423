"""The API's answers. Columnar where they hold series: rows of models cost a hundred times more to encode."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fedpriv_common.errors import ErrorCode
from fedpriv_common.plan import Plan
from fedpriv_common.records import EndCause, Estimate, PublicValidation, RunState


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunSummary(_Answer):
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


class RunPage(_Answer):
    """Runs, newest first."""

    runs: list[RunSummary]
    next_cursor: str | None


class HeldOut(_Answer):
    """The model on records that the sites held out, released under DP. Intervals include the noise."""

    round: int = Field(description="of the model that was evaluated")
    mechanism: str
    epsilon: float = Field(description="pure epsilon of the release, for each held-out record of a site")
    confidence: float
    sites: list[str] = Field(description="that released their counts")
    figures: dict[str, Estimate] = Field(description="accuracy, balanced_accuracy; of two classes also sensitivity, …")


class RunDetail(RunSummary):
    """A run with its last figures."""

    seq: str = Field(description="id of the newest event; grows with every change")
    updated_at: datetime
    plan: Plan
    plan_digest: str
    public_validation: PublicValidation | None
    loss: float | None
    auc: float | None
    accuracy_interval: tuple[float, float] | None = Field(
        description="95 % Wilson interval over the public validation set's size"
    )
    held_out: HeldOut | None = Field(description="the last evaluation; null before the first")
    median_round_ms: float | None
    duration_s: float | None = Field(description="from creation to the end, or to the last change")
    sites_expected: list[str] = Field(description="in the last closed round")
    sites_received: list[str] = Field(description="in the last closed round")
    model_digest: str | None


class Series(_Answer):
    """One site's values (or the global model's, site `global`) over rounds; null where nothing was released."""

    site: str
    provenance: Literal["public", "dp"]
    rounds: list[int]
    values: list[float | None]


class MetricSeries(_Answer):
    """A metric in columns."""

    run_id: str
    metric: str
    seq: str
    sampled: bool = Field(description="true when buckets of min, max and last stand for the rounds")
    total: int = Field(description="points before sampling")
    series: list[Series]


SiteStatus = Literal["within_budget", "near_limit", "at_limit", "refused", "offline", "waiting"]


class SitePrivacy(_Answer):
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


class RunPrivacy(_Answer):
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


class LogEntry(_Answer):
    """Something that happened in a run, as a person reads it."""

    id: str
    at: datetime
    level: Literal["ok", "info", "warning", "problem"]
    kind: str
    site: str | None
    round: int | None
    text: str


class RunLog(_Answer):
    """What happened in a run, newest first."""

    run_id: str
    seq: str
    entries: list[LogEntry]


class StreamEventKind(StrEnum):
    """Types of server-sent events. A `reset` says that events may have been missed: read everything again."""

    RECORD = "record"
    ROUND_CLOSED = "round_closed"
    BUDGET = "budget"
    RUN_STATUS = "run_status"
    LOG = "log"
    RESET = "reset"


Change = Literal["run", "metrics", "privacy", "log"]


class StreamEvent(_Answer):
    """The data of a server-sent event. Its `id:` is `seq`; send that as `Last-Event-ID` to go on from there."""

    run_id: str | None = Field(description="null in a reset of the list of runs")
    seq: str = Field(description="id of the state after the event, of the run or of the list of runs")
    kind: StreamEventKind
    round: int | None
    site: str | None
    state: RunState | None = Field(description="of the run, in events of kind run_status")
    at: datetime | None = Field(description="time of what happened; null in a reset")
    changes: tuple[Change, ...] = Field(description="answers about the run that are no longer what they were")


class Readiness(_Answer):
    """Whether answers are of the bucket as it is now."""

    status: Literal["ready", "loading", "stale"]
    detail: str
    read_at: datetime | None = Field(description="when the bucket was last read; answers are at least this new")


class SeedRow(_Answer):
    """A row of `GET /metrics`, the contract of the first dashboard."""

    round: int
    loss: float | None
    accuracy: float | None
    epsilon: float | None
    run_id: str
    site: str
    recorded_at: datetime


class Problem(_Answer):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
    trace_id: str
    errors: list[dict[str, str]] | None = None
