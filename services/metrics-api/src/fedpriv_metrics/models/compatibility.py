"""The contract of the first dashboard."""

from __future__ import annotations

from datetime import datetime

from fedpriv_metrics.models.answer import Answer


class SeedRow(Answer):
    """A row of `GET /metrics`, the contract of the first dashboard."""

    round: int
    loss: float | None
    accuracy: float | None
    epsilon: float | None
    run_id: str
    site: str
    recorded_at: datetime
