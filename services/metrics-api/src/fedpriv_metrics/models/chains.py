"""What the hub can say of the sites' ledgers, which it does not hold: the heads they told, and whether these fit."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from fedpriv_metrics.models.answer import Answer

ChainState = Literal["consistent", "forked", "rolled_back", "unknown"]


class ChainHead(Answer):
    """A ledger's newest entry as some object tells it."""

    object: str = Field(description="key in the bucket")
    seq: int | None = Field(description="number of the entry, from 0; null where an object only refuses the ledger")
    head: str | None = Field(description="hash of the entry")
    run_id: str | None = Field(description="null for a witness object, which belongs to no run")


class ChainCheck(Answer):
    """One thing that was looked at."""

    what: str
    state: Literal["ok", "failed", "not checked"]
    detail: str
    evidence: list[ChainHead] = Field(description="the heads that contradict each other, or the objects that say so")


class Chain(Answer):
    """One ledger: of a site, for a data set."""

    site: str
    dataset: str
    state: ChainState
    heads: int = Field(description="heads that were compared")
    runs: int = Field(description="runs in which the site told one")
    signed: int = Field(description="heads that the site signed, in its parts of privacy statements")
    last: ChainHead | None = Field(description="the newest head")
    genesis: str | None = Field(description="hash of the ledger's first entry, as its signed parts name it")
    partition: int | None
    partitions: int | None
    checks: list[ChainCheck]


class Chains(Answer):
    """Every ledger that the hub has heard of."""

    chains: list[Chain]
    statements: int = Field(description="privacy statements whose parts were compared")
    witnesses: int = Field(description="witness objects whose entry numbers were compared")
    read_at: datetime | None = Field(description="when statements and witness objects were last looked for")
    not_proven: list[str] = Field(description="what none of these checks can tell")
