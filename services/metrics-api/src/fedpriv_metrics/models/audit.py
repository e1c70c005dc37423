"""What an auditor asks of the whole hub: who took part when, who refused what, what was published."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field

from fedpriv_metrics.models.answer import Answer


class AuditKind(StrEnum):
    """Groups of entries."""

    RUN = "run"
    ADMISSION = "admission"
    REFUSAL = "refusal"
    ANSWER = "answer"
    STATEMENT = "statement"
    ALLOW_LIST = "allow_list"
    SERVER = "server"
    MALFORMED = "malformed"


class AuditEntry(Answer):
    """Something that happened, and the object in the bucket that says so."""

    id: str = Field(description="unique; entries of the same moment are in its order")
    at: datetime
    kind: AuditKind
    what: str = Field(description="more exactly, such as `site_declined` or `key_rotated`")
    level: Literal["ok", "info", "warning", "problem"]
    run_id: str | None
    run: str | None = Field(description="the run's name")
    site: str | None
    round: int | None
    code: str | None = Field(description="of a refusal or a failure: its entry in the error reference")
    digest: str | None = Field(description="SHA-256 of a plan or statement, or a key's fingerprint")
    text: str
    object: str = Field(description="key of the object in the bucket")


class AuditPage(Answer):
    """Entries, newest first."""

    entries: list[AuditEntry]
    next_cursor: str | None
    total: int = Field(description="entries that fit the question, on all pages")
    read_at: datetime | None = Field(description="when allow-lists and starts of servers were last looked for")
