"""How the answers stand to the bucket."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from fedpriv_metrics.models.answer import Answer


class Readiness(Answer):
    """Whether answers are of the bucket as it is now."""

    status: Literal["ready", "loading", "stale"]
    detail: str
    read_at: datetime | None = Field(description="when the bucket was last read; answers are at least this new")
