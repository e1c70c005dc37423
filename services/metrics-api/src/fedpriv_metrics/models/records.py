"""A run's records as they were written."""

from __future__ import annotations

from pydantic import Field

from fedpriv_common.records import MetricRecord
from fedpriv_metrics.models.answer import Answer


class RecordPage(Answer):
    """Records by round, site and phase, each in the schema in which it was written."""

    run_id: str
    seq: str
    complete_round: int | None = Field(
        description="rounds up to here have all of their records, those after it are not told yet; null: the run has "
        "ended and no record will come any more"
    )
    records: list[MetricRecord]
    partial: int = Field(description="so many at the end are of rounds that are not complete, and will be told again")
    more: bool = Field(description="further records are there now")
    next_cursor: str | None = Field(
        description="goes on after these, now or once further rounds are complete; null: these were the last ever"
    )
