"""What an audit found, as a file: written by `fedpriv audit` at a site, quoted by the privacy statement.

An audit is an experiment on generated records: no figure in it comes from a site's table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fedpriv_common.errors import ErrorCode, FedprivError

AUDIT_SCHEMA_VERSION: Final = "1.0"

Figure = bool | int | float | str


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Check(_Frozen):
    """One test of the code: what must hold, whether it does, and the figures that say so."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z_]*\.[a-z][a-z_]*$", description="group.property")]
    expects: Annotated[str, Field(min_length=1, description="what must hold, with its threshold")]
    passed: bool
    figures: dict[str, Figure]


class Bound(_Frozen):
    """Lower bounds on the epsilon that the code really has, from what an attacker can tell of its replies.

    The code is refuted when the larger of the two is above `claim`, which is what the site's ledger says. `power` is
    what the same experiment finds when the noise is halved: a bound that cannot rise above the claim even then proves
    nothing.
    """

    recipe: str
    claim: Annotated[float, Field(gt=0, description="epsilon by the ledger, rounded up to 1e-4")]
    delta: Annotated[float, Field(gt=0, lt=1)]
    confidence: Annotated[float, Field(gt=0, lt=1, description="of both bounds together")]
    canaries: Annotated[int, Field(gt=0)]
    clopper_pearson: Annotated[float, Field(ge=0, description="assumes nothing about the noise")]
    gaussian: Annotated[float, Field(ge=0, description="assumes that scores are normal, as they are by design")]
    power: Annotated[float | None, Field(description="the larger bound at half the noise; none: not measured")] = None

    @property
    def bound(self) -> float:
        """The larger of the two bounds."""
        return max(self.clopper_pearson, self.gaussian)

    @property
    def refutes(self) -> bool:
        """Whether the code cannot have the epsilon that its ledger claims."""
        return self.bound > self.claim


class SeededDefect(_Frozen):
    """A fault that was put into the code on purpose, and which checks noticed."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z_]*$")]
    what: str
    caught_by: tuple[str, ...]
    bound: Annotated[float | None, Field(description="lower bound on its epsilon; none: no bound can see it")] = None
    claim: float | None = None

    @property
    def caught(self) -> bool:
        """Whether any check noticed, and the bound too if this is a defect that a bound can see."""
        seen = self.bound is None or self.claim is None or self.bound > self.claim
        return bool(self.caught_by) and seen


class AuditResult(_Frozen):
    """`fedpriv audit --out FILE`. Passed: every check holds, no bound refutes the claim, every defect was caught."""

    schema_version: Literal["1.0"] = AUDIT_SCHEMA_VERSION
    at: AwareDatetime
    code_version: str
    code_digest: Annotated[
        str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 over the audited packages' source files")
    ]
    software: dict[str, str]
    quick: Annotated[bool, Field(description="fewer canaries and no seeded defects")]
    verdict: Literal["passed", "failed"]
    checks: tuple[Check, ...]
    bounds: tuple[Bound, ...]
    defects: tuple[SeededDefect, ...]
    seconds: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _verdict_is_that_of_the_parts(self) -> Self:
        if (self.verdict == "passed") is not (not self.failures() and bool(self.checks) and bool(self.bounds)):
            raise ValueError(f"verdict {self.verdict} is not what checks, bounds and defects say")
        return self

    def failures(self) -> tuple[str, ...]:
        """Names of the checks that failed, bounds above their claim (`bound.RECIPE`) and defects nobody noticed."""
        return (
            *(check.name for check in self.checks if not check.passed),
            *(f"bound.{bound.recipe}" for bound in self.bounds if bound.refutes),
            *(f"defect.{defect.name}" for defect in self.defects if not defect.caught),
        )


def load_audit(path: Path) -> AuditResult:
    """Read an audit's file. Raises BAD_AUDIT for one that is not there, not an audit or contradicts itself."""
    try:
        return AuditResult.model_validate_json(path.read_bytes())
    except OSError as error:
        fault = error.strerror or "cannot be read"
    except ValidationError as error:
        fault = "; ".join(
            f"{'.'.join(str(part) for part in entry['loc']) or 'audit'}: {entry['msg']}"
            for entry in error.errors(include_url=False)[:3]
        )
    raise FedprivError(
        ErrorCode.BAD_AUDIT,
        f"Audit {path}: {fault}.",
        "Run `fedpriv audit --out FILE` with this version and give its file.",
    )
