"""Errors as answers."""

from __future__ import annotations

from fedpriv_metrics.models.answer import Answer


class Problem(Answer):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
    trace_id: str
    errors: list[dict[str, str]] | None = None
