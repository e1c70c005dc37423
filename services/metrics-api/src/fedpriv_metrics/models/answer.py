"""What every answer has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Whatever the API says: no field but those that are described."""

    model_config = ConfigDict(frozen=True, extra="forbid")
