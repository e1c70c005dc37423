"""Objects in the metrics bucket: written once by the server, read by the metrics API.

A metric carries its provenance. `public` is computed on a public validation set or contains no records; `dp` was
released by a charged mechanism. The schema has no third kind, so an uncovered figure cannot be stored.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from fedpriv_common.errors import ErrorCode
from fedpriv_common.plan import Phase, Plan, RunSettings
from fedpriv_common.wire import SiteFacts

SCHEMA_VERSION: Final = "1.0"
#: The `site` of figures of the aggregated model; no site may take this name.
GLOBAL = "global"

SiteName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
RunId = Annotated[str, Field(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class RunObject(BaseModel):
    """What every object of a run carries."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal["1.0"] = SCHEMA_VERSION
    run_id: RunId


class PublicValidation(BaseModel):
    """The validation set that the server holds and that no site trains on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    size: int


class RunInfo(RunObject):
    """`run.json`: what was asked and what was planned."""

    created_at: AwareDatetime
    settings: RunSettings
    plan: Plan
    plan_digest: Digest
    public_validation: PublicValidation | None


class RunSites(RunObject):
    """`asked.json`: whom the run asks to take part, before they hear of it. `admitted.json`: who does, once nobody is
    waited for any more; it comes after the admissions. A server that was started in between asks the same and draws
    in nobody else. Nobody else reads them."""

    sites: tuple[SiteName, ...]


class Admission(RunObject):
    """`admissions/{site}.json`: a site's answer to the plan. `code` is OK or a refusal."""

    site: SiteName
    at: AwareDatetime
    code: str
    facts: SiteFacts | None


class MetricRecord(RunObject):
    """`records/{round}/{site}.{phase}.json`: one site's release in one round, or the global model's figures."""

    site: SiteName
    round: Annotated[int, Field(ge=0)]
    phase: Phase
    recorded_at: AwareDatetime
    provenance: Literal["public", "dp"]
    metrics: dict[MetricName, float | None]
    facts: SiteFacts | None


class Estimate(BaseModel):
    """A rate from noisy counts and its interval; the value is null where the counts add up to nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: Annotated[float | None, Field(ge=0, le=1)]
    low: Annotated[float, Field(ge=0, le=1)]
    high: Annotated[float, Field(ge=0, le=1)]


class HeldOutEvaluation(RunObject):
    """`evaluations/{round}.json`: the model on the sites' held-out records, released under differential privacy.

    `counts`: each site's noisy confusion matrix, a row for each true class; null for a site that released none.
    `figures`: rates of their sum, whose intervals include the noise; empty when no site released.
    """

    round: Annotated[int, Field(ge=1)]
    released_at: AwareDatetime
    provenance: Literal["dp"] = "dp"
    mechanism: Literal["geometric"]
    epsilon: Annotated[float, Field(gt=0, description="of each site's release, for each of its held-out records")]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    counts: dict[SiteName, tuple[tuple[int, ...], ...] | None]
    figures: dict[MetricName, Estimate]


class RoundClosed(RunObject):
    """`rounds/{round}.json`: who was expected in a round, who answered in time, who refused and with which code."""

    round: Annotated[int, Field(ge=0)]
    phase: Phase
    closed_at: AwareDatetime
    expected: tuple[SiteName, ...]
    received: tuple[SiteName, ...]
    refused: dict[SiteName, str]
    duration_ms: Annotated[float, Field(ge=0)]


class EventKind(StrEnum):
    """Things worth telling that happen between round closes."""

    SITE_OFFLINE = "site_offline"
    SITE_BACK = "site_back"
    LATE_REPLY = "late_reply"
    BAD_REPLY = "bad_reply"
    RUN_RESUMED = "run_resumed"
    AWAITING_APPROVAL = "awaiting_approval"
    STOCK_NODE = "stock_node"


class RunEvent(RunObject):
    """`events/{event_id}.json`: one such thing; `event_id` is a ULID."""

    event_id: str
    at: AwareDatetime
    kind: EventKind
    site: SiteName | None = None
    round: int | None = None


class RunState(StrEnum):
    """A run is active until `end.json` says otherwise."""

    ACTIVE = "active"
    FINISHED = "finished"
    HALTED = "halted"
    FAILED = "failed"
    CANCELLED = "cancelled"


class EndCause(StrEnum):
    """Why a run ended."""

    COMPLETE = "complete"
    QUORUM = "quorum"
    BUDGET = "budget"
    REFUSED = "refused"
    DEADLINE = "deadline"
    OPERATOR = "operator"
    INTERNAL = "internal"


EndState = Literal[RunState.FINISHED, RunState.HALTED, RunState.FAILED, RunState.CANCELLED]


class RunDecision(RunObject):
    """`decision.json`: how the run ends, written before its sites are told. A server that was started in between ends
    it so, whatever it would find now. Nobody else reads it."""

    decided_at: AwareDatetime
    state: EndState
    cause: EndCause
    code: ErrorCode | None = None


class RunEnd(RunObject):
    """`end.json`: the run's one terminal state."""

    ended_at: AwareDatetime
    state: EndState
    cause: EndCause
    code: Annotated[ErrorCode | None, Field(description="of a failed run: its entry in the error reference")] = None
    rounds: Annotated[int, Field(ge=0, description="training rounds completed")]
    duration_s: Annotated[float, Field(ge=0)]
    model_digest: Digest | None
    metrics: Annotated[dict[MetricName, float | None], Field(description="on the public validation set")]
    held_out: Annotated[dict[MetricName, Estimate], Field(description="of the last evaluation")] = {}


class AllowList(BaseModel):
    """`v1/allow-list/{event_id}.json`: whose replies count from this moment on, and what changed.

    Written at every start of a server and at every change. A key is told by its fingerprint, the SHA-256 of its DER
    form, as in privacy statements. A change while no server ran shows as the difference to the list before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["1.0"] = SCHEMA_VERSION
    at: AwareDatetime
    cause: Literal["start", "change"]
    sites: dict[SiteName, Digest]
    added: tuple[SiteName, ...] = ()
    revoked: dict[SiteName, Digest] = {}
    rotated: Annotated[dict[SiteName, Digest], Field(description="the key that each had before")] = {}
