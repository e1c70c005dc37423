"""Who asks, as an answer."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from fedpriv_metrics.models.answer import Answer
from fedpriv_metrics.viewer import Role


class Me(Answer):
    """Who asks, and what they may read."""

    auth: Literal["keys", "none"] = Field(description="none: everybody who reaches this API reads everything")
    name: str | None = Field(description="the API key's; null without keys")
    role: Role
    site: str | None = Field(description="of the role site: the one whose figures are seen")
    expires: datetime | None = Field(description="when the key stops being good; null: never")
