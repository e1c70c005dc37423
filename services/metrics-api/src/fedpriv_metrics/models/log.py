"""What happened in a run."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fedpriv_metrics.models.answer import Answer


class LogEntry(Answer):
    """Something that happened in a run, as a person reads it."""

    id: str
    at: datetime
    level: Literal["ok", "info", "warning", "problem"]
    kind: str
    site: str | None
    round: int | None
    text: str


class RunLog(Answer):
    """What happened in a run, newest first."""

    run_id: str
    seq: str
    entries: list[LogEntry]
