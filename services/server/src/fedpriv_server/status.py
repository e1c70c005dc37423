"""What the operator route answers; server and command line share it. No record is in it, and no secret."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from fedpriv_common.records import EndCause, EndState, Estimate, RunState

#: Longest that a status may be waited for in one request, seconds.
MAX_WAIT_S = 20.0


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SiteStatus(_Answer):
    """A site as it last spoke in the run. `code` is OK, a refusal, or null before it answered."""

    site: str
    online: bool
    code: str | None = None
    stock: bool = Field(default=False, description="runs Flower's own node, which has no ledger: it takes no part")
    epsilon_run: float | None = None
    epsilon_spent: float | None = None
    epsilon_planned: float | None = None
    epsilon_limit: float | None = None


class Waiting(_Answer):
    """A question that has been open for some seconds: whom it waits for, and for how long at most."""

    sites: tuple[str, ...] = Field(description="have not answered")
    lacking: int = Field(description="answers that the quorum still lacks; with 0, slow sites are waited for")
    until: datetime = Field(description="then it goes on without them, or halts if the quorum lacks answers")


class RunStatus(_Answer):
    """A run now. `version` grows with every change."""

    run_id: str
    name: str
    version: int = 0
    state: RunState
    cause: EndCause | None
    decided: EndState | None = Field(default=None, description="how it is about to end: no crash changes that")
    code: str | None = Field(default=None, description="of a failed run: its entry in the error reference")
    created_at: datetime
    epsilon: float = Field(description="target of the run")
    delta: float
    round: int = Field(description="last closed training round; 0 before the first")
    rounds: int = Field(description="training rounds planned")
    metrics: dict[str, float | None] = Field(description="of the global model on the public validation set")
    held_out: dict[str, Estimate] = Field(default={}, description="on held-out records of the sites, under DP")
    sites: tuple[SiteStatus, ...]
    median_round_ms: float | None
    elapsed_s: float
    model: str | None = Field(description="key of the published model in the bucket")
    warning: str | None = None
    waiting: Waiting | None = None


class RunStarted(_Answer):
    """Answer to a started run."""

    run_id: str


class RunList(_Answer):
    """Runs, newest first."""

    runs: tuple[RunStatus, ...]


class Problem(_Answer):
    """RFC 9457 problem details, with the code of the error reference."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
