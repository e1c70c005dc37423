"""The privacy statement's state: whether there is one, and whether it is genuine as far as this hub can tell."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from fedpriv_metrics.models.answer import Answer

StatementState = Literal["none", "unchecked", "checking", "verified", "incomplete", "failed"]


class StatementFinding(Answer):
    """One check, as `fedpriv verify` prints it."""

    what: str
    state: Literal["ok", "failed", "not checked"]
    detail: str


class StatementKey(Answer):
    """A public key that a signature was checked with."""

    owner: str = Field(description="`hub`, or a site")
    fingerprint: str = Field(description="SHA-256 of the key in DER form")
    file: str = Field(description="in the folder of public keys")
    former: bool = Field(description="true for a key that has been replaced since")


class StatementCheck(Answer):
    """What the hub's own check of its statement found. An auditor's own, with `fedpriv verify`, needs no hub."""

    run_id: str
    state: StatementState = Field(
        description="`incomplete`: all that is signed holds, but a site's part is not signed, or its key is not here"
    )
    detail: str = Field(description="why there is none, why it is not checked, or what was found")
    expected: bool = Field(description="whether a statement will still come")
    digest: str | None = Field(description="SHA-256 of statement.json")
    size: int | None = Field(description="bytes of statement.json")
    model_digest: str | None = Field(description="SHA-256 of the model that the run published")
    findings: list[StatementFinding]
    keys: list[StatementKey]
    unsigned: list[str] = Field(description="sites that signed no part")
    checked_at: datetime | None
    seconds: float | None = Field(description="that the check took")
