"""What a privacy statement holds. Every number is a policy fact, a public constant or follows from them: no records.

    signed statement ── statement ── sections, one for each site ── signed part ── part, signature of the site
                     └─ signature of the hub

A part is made by the site from its own ledger and signed with its node key; the hub cannot change a word of it. The
hub signs the whole, so that nobody else can take a part or a sentence away unnoticed. That the hub itself left a site
out is noticed by whoever knows of the site and gives its key.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import version
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from fedpriv_common.accounting import GaussianEvent
from fedpriv_common.audit_result import AuditResult
from fedpriv_common.contract import DataContract, Unit
from fedpriv_common.plan import Phase, Plan
from fedpriv_common.records import Digest, EndCause, PublicValidation, RunId, RunState, SiteName
from fedpriv_common.wire import SiteFacts

#: Form and wording of statements. A change of either is another version: signed words are compared with known ones.
STATEMENT_VERSION: Final = "2.0"

Delta = Annotated[float, Field(gt=0, lt=1)]
Epsilon = Annotated[float, Field(ge=0)]
#: Within these, an accountant has an answer; no site releases anything beyond.
NoiseMultiplier = Annotated[float, Field(ge=1e-6, le=1e9)]
ReleasedSteps = Annotated[int, Field(ge=1, le=10**9)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Signature(_Frozen):
    """A signature over canonical JSON, after a line that says what is signed (`sign.py`)."""

    algorithm: Literal["ecdsa-p256-sha256", "ed25519"]
    key: Annotated[Digest, Field(description="SHA-256 of the public key; names it, proves nothing")]
    value: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$", max_length=200, description="base64")]


class Software(_Frozen):
    """What ran."""

    code_version: str
    image_digest: Annotated[str | None, Field(description="as FEDPRIV_IMAGE_DIGEST says; none: not told")]
    packages: Annotated[dict[str, str], Field(description="version by name, Python among them")]

    @classmethod
    def of(cls, distribution: str, packages: Iterable[str], image_digest: str | None) -> Self:
        """What runs here: our own `distribution`, and what its guarantee rests on."""
        versions = {"Python": platform.python_version()} | {name: version(name) for name in packages}
        return cls(code_version=version(distribution), image_digest=image_digest, packages=versions)


# -- a site's part -----------------------------------------------------------------------------------------------------


class _Charge(_Frozen):
    phase: Phase
    round: Annotated[int, Field(ge=0)]
    state: Annotated[
        Literal["reserved", "committed"], Field(description="reserved: charged, but nothing of it was ever sent")
    ]
    request_digest: Digest
    reply_digest: Digest | None


class GaussianCharge(_Charge):
    """A clipped sum over training records with Gaussian noise σ·C, `steps` times at sampling rate q."""

    mechanism: Literal["gaussian"] = "gaussian"
    noise_multiplier: NoiseMultiplier
    max_grad_norm: Annotated[float, Field(gt=0)]
    sample_rate: Annotated[float, Field(gt=0, le=1)]
    steps: ReleasedSteps

    def event(self) -> GaussianEvent:
        """What it costs."""
        return GaussianEvent(self.noise_multiplier, self.sample_rate, self.steps)


class GeometricCharge(_Charge):
    """Counts of held-out records with two-sided geometric noise: pure epsilon."""

    mechanism: Literal["geometric"] = "geometric"
    epsilon_pure: Annotated[float, Field(gt=0)]


Charge = Annotated[GaussianCharge | GeometricCharge, Field(discriminator="mechanism")]


class EarlierCharges(_Frozen):
    """Gaussian releases of equal parameters, over all other runs of the data set."""

    noise_multiplier: NoiseMultiplier
    sample_rate: Annotated[float, Field(gt=0, le=1)]
    steps: ReleasedSteps

    def event(self) -> GaussianEvent:
        """What they cost."""
        return GaussianEvent(self.noise_multiplier, self.sample_rate, self.steps)


class Spent(_Frozen):
    """Epsilon under both adjacencies. `add_remove` is what is guaranteed; `replace_one` is there to compare with."""

    add_remove: Epsilon
    replace_one: Epsilon


class SiteEpsilon(_Frozen):
    """A site's epsilon at `delta`, of this run and of the data set's whole life.

    Held-out records are in no training release, so that a record's epsilon is the larger of the two, not the sum.
    """

    delta: Delta
    run: Spent
    lifetime: Spent
    held_out_run: Annotated[Spent, Field(description="pure epsilon, at delta 0")]
    held_out_lifetime: Annotated[Spent, Field(description="pure epsilon, at delta 0")]

    @property
    def guaranteed_run(self) -> float:
        """Epsilon of this run for any record of the site."""
        return max(self.run.add_remove, self.held_out_run.add_remove)

    @property
    def guaranteed_lifetime(self) -> float:
        """Epsilon of everything ever released, for any record of the site."""
        return max(self.lifetime.add_remove, self.held_out_lifetime.add_remove)


class Limits(_Frozen):
    """What the site's own policy allows at the run's end, and the policy under which it was admitted."""

    policy_digest: Digest
    admitted_under: Annotated[Digest, Field(description="digest of the policy at admission")]
    epsilon: Annotated[float, Field(gt=0, description="lifetime budget of the data set")]
    delta: Delta
    max_run_epsilon: Annotated[float, Field(gt=0)]
    held_out_share: Annotated[float, Field(ge=0, lt=1)]


class LedgerFacts(_Frozen):
    """Which ledger the part was made from, and how far it had come."""

    genesis: Annotated[Digest, Field(description="hash of its first entry")]
    partition: Annotated[int, Field(ge=0)]
    partitions: Annotated[int, Field(ge=1)]
    seq: Annotated[int, Field(ge=0)]
    head: Annotated[Digest, Field(description="hash of its entry `seq`")]


class Timing(_Frozen):
    """How often the time of an answer could be told: it took longer than the plan's `min_reply_ms`."""

    overran: Annotated[int, Field(ge=0)]
    counted_since: Annotated[AwareDatetime, Field(description="start of the process; what came before is not counted")]


class SitePart(_Frozen):
    """What one site says of one run, from its own ledger, at the run's close."""

    schema_version: Literal["2.0"] = STATEMENT_VERSION
    at: AwareDatetime
    run_id: RunId
    site: SiteName
    dataset: str
    plan_digest: Digest
    contract_digest: Digest
    unit: Unit
    adjacency: Literal["add-remove"] = "add-remove"
    ledger: LedgerFacts
    entries: Annotated[
        tuple[Charge, ...], Field(max_length=1100, description="this run's releases, in their latest state")
    ]
    earlier: Annotated[tuple[EarlierCharges, ...], Field(max_length=1000, description="all other runs of the data set")]
    earlier_held_out: Annotated[float, Field(ge=0, description="pure epsilon of all other runs' evaluations")]
    epsilon: SiteEpsilon
    limits: Limits
    randomness: Annotated[Literal["operating-system"], Field(description="where noise and sampling come from")]
    timing: Timing
    software: Software
    audit: AuditResult | None


class SignedPart(_Frozen):
    """A part and the signature of the site's node key over it."""

    part: SitePart
    signature: Signature


# -- the whole ---------------------------------------------------------------------------------------------------------


class Section(_Frozen):
    """One site: its signed part; of a site that never answered the run's close, what it last told, which nobody
    signed."""

    site: SiteName
    signed: SignedPart | None
    told: SiteFacts | None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.signed is None) is (self.told is None):
            raise ValueError(f"{self.site}: either a signed part or what was told, and not both")
        return self


class Outcome(_Frozen):
    """How the run ended."""

    state: RunState
    cause: EndCause
    rounds: Annotated[int, Field(ge=0, description="training rounds completed")]


class Promise(_Frozen):
    """What a run was planned to cost a record of any site."""

    unit: Unit
    adjacency: Literal["add-remove"] = "add-remove"
    epsilon: Annotated[float, Field(gt=0)]
    delta: Delta


class Strength(_Frozen):
    """An epsilon in terms of an attack: of people who are not in the data, 1 % are accused; of those who are, at most
    `attack_success` are found by the best attack on what was released."""

    epsilon: Epsilon
    delta: Delta
    mu: Annotated[float, Field(ge=0, description="of the Gaussian mechanism with this ε at this δ, μ-GDP")]
    attack_success: Annotated[float, Field(ge=0, le=1, description="true positives at 1 % false positives")]
    attack_success_at_most: Annotated[float, Field(ge=0, le=1, description="the same for whatever has this ε and δ")]


class Words(_Frozen):
    """The guarantee, its means and its limits in sentences. They follow from plan, contract and parts."""

    guarantee: str
    trust_model: str
    accountant: str
    composition: str
    randomness: str
    sampling: str
    clipping: str
    preprocessing: str
    evaluation: str
    hyper_parameters: str
    not_protected: tuple[str, ...]


class Statement(_Frozen):
    """The privacy statement of one model."""

    schema_version: Literal["2.0"] = STATEMENT_VERSION
    at: AwareDatetime
    run_id: RunId
    name: str
    created_at: AwareDatetime
    outcome: Outcome
    promise: Promise
    plan: Plan
    plan_digest: Digest
    contract: DataContract
    model_digest: Annotated[Digest, Field(description="SHA-256 of model.safetensors")]
    public_validation: PublicValidation | None
    sections: tuple[Section, ...]
    run: Annotated[Strength, Field(description="of the site whose record is protected least by this run")]
    lifetime: Annotated[Strength, Field(description="of the site whose record is protected least by all its runs")]
    words: Words
    server: Software


class SignedStatement(_Frozen):
    """`statement.json`."""

    statement: Statement
    signature: Signature


def json_schema() -> str:
    """JSON Schema of `statement.json`, as docs/reference/statement.schema.json holds it."""
    schema = SignedStatement.model_json_schema(mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = f"fedpriv privacy statement {STATEMENT_VERSION}"
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
