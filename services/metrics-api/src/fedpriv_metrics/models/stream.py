"""Server-sent events."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field

from fedpriv_common.records import RunState
from fedpriv_metrics.models.answer import Answer


class StreamEventKind(StrEnum):
    """Types of server-sent events. A `reset` says that events may have been missed: read everything again."""

    RECORD = "record"
    ROUND_CLOSED = "round_closed"
    BUDGET = "budget"
    RUN_STATUS = "run_status"
    LOG = "log"
    RESET = "reset"


Change = Literal["run", "metrics", "privacy", "log"]


class StreamEvent(Answer):
    """The data of a server-sent event. Its `id:` is `seq`; send that as `Last-Event-ID` to go on from there."""

    run_id: str | None = Field(description="null in a reset of the list of runs")
    seq: str = Field(description="id of the state after the event, of the run or of the list of runs")
    kind: StreamEventKind
    round: int | None
    site: str | None
    state: RunState | None = Field(description="of the run, in events of kind run_status")
    at: datetime | None = Field(description="time of what happened; null in a reset")
    changes: tuple[Change, ...] = Field(description="answers about the run that are no longer what they were")
