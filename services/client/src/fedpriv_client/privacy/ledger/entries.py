"""The ledger's entries. They hold what is released, never a sum of epsilon: epsilon is recomputed from them.

Each entry names the hash of the one before it, so that an edited, missing or inserted entry breaks the chain.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from fedpriv_common.accounting import GaussianEvent
from fedpriv_common.canonical import canonical_json, sha256_hex
from fedpriv_common.plan import Phase, Plan

#: Version of the entries' form; a ledger of another version is refused.
FORMAT = 2
#: `prev_hash` of the genesis entry.
NO_HASH = "0" * 64


def now() -> datetime:
    """The time an entry is stamped with, for people who read the ledger.

    Nothing is decided by it: order comes from `seq` and the chain, so a clock that goes backwards changes nothing.
    """
    return datetime.now(UTC)


def new_salt() -> str:
    """128 bits that nobody outside can guess."""
    return secrets.token_hex(16)


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seq: Annotated[int, Field(ge=0)]
    prev_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    at: AwareDatetime
    # Heads cross the border. Without it, whoever knows the rest of an entry finds by trial when it was written, to the
    # microsecond, and so how long the records were worked on.
    salt: str = Field(default_factory=new_salt, pattern=r"^[0-9a-f]{32}$")

    def body(self) -> bytes:
        """The canonical bytes that are stored and hashed."""
        return canonical_json(self.model_dump(mode="json"))

    def hash(self) -> str:
        """SHA-256 of the canonical bytes."""
        return sha256_hex(self.body())


class Genesis(_Entry):
    """Entry 0: what the ledger is for. None of it may change while the data set lives."""

    kind: Literal["genesis"] = "genesis"
    format: int = FORMAT
    dataset: str
    partition: Annotated[int, Field(ge=0)]
    partitions: Annotated[int, Field(ge=1)]
    held_out_share: Annotated[float, Field(ge=0, lt=1)]
    site_key_commitment: str
    canonical_form: int


class Admit(_Entry):
    """A run was admitted: its whole plan is held against the budget until the run is closed."""

    kind: Literal["admit"] = "admit"
    run_id: str
    plan_digest: str
    plan: Plan
    policy_digest: str


class _Charge(_Entry):
    """One mechanism call. `reserved` is written before anything is computed and is never refunded."""

    run_id: str
    round: Annotated[int, Field(ge=0)]
    phase: Phase
    adjacency: Literal["add-remove"] = "add-remove"
    request_digest: str
    policy_digest: str
    state: Literal["reserved", "committed"]
    reply_digest: str | None


class Release(_Charge):
    """A Gaussian sum over training records."""

    kind: Literal["release"] = "release"
    mechanism: Literal["gaussian"] = "gaussian"
    noise_multiplier: float
    max_grad_norm: float
    sample_rate: float
    steps: int

    def event(self) -> GaussianEvent:
        """What the release costs."""
        return GaussianEvent(self.noise_multiplier, self.sample_rate, self.steps)


class Evaluation(_Charge):
    """A confusion matrix of held-out records, which are in no training release."""

    kind: Literal["evaluation"] = "evaluation"
    phase: Literal[Phase.EVALUATE] = Phase.EVALUATE
    mechanism: Literal["geometric"] = "geometric"
    epsilon_pure: Annotated[float, Field(gt=0)]


class Close(_Entry):
    """A run ended: rounds it never reserved are free again, and it may never release anything more."""

    kind: Literal["close"] = "close"
    run_id: str


class Approval(_Entry):
    """A person at the site allowed a run with exactly this plan, or denied it. It charges nothing."""

    kind: Literal["approval"] = "approval"
    run_id: str
    plan_digest: str
    granted: bool
    by: Annotated[str, Field(min_length=1, max_length=100, description="who says so, as the command was told")]


Entry = Genesis | Admit | Release | Evaluation | Close | Approval
_ADAPTER: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="kind")])


def parse_entry(body: bytes) -> Entry:
    """Read an entry; raises ValueError when it is none or not in its canonical form."""
    entry = _ADAPTER.validate_json(body)
    if entry.body() != body:
        raise ValueError("not in canonical form")
    return entry
