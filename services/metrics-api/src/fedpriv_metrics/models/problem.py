"""Errors as answers."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from fedpriv_metrics.models.answer import Answer


class ProblemCode(StrEnum):
    """What kind of problem it is: programs go by this. docs/reference/api.md says what to do about each."""

    BAD_REQUEST = "BAD_REQUEST"
    NO_KEY = "NO_KEY"
    WRONG_KEY = "WRONG_KEY"
    NOT_ALLOWED = "NOT_ALLOWED"
    NOT_FOUND = "NOT_FOUND"
    NO_SUCH_RUN = "NO_SUCH_RUN"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    TOO_SLOW = "TOO_SLOW"
    BODY_TOO_LARGE = "BODY_TOO_LARGE"
    URL_TOO_LONG = "URL_TOO_LONG"
    WRONG_HOST = "WRONG_HOST"
    BAD_PARAMETER = "BAD_PARAMETER"
    RATE_LIMITED = "RATE_LIMITED"
    TOO_MANY_STREAMS = "TOO_MANY_STREAMS"
    HEAD_TOO_LARGE = "HEAD_TOO_LARGE"
    INTERNAL = "INTERNAL"
    LOADING = "LOADING"
    BUSY = "BUSY"
    STORAGE_MISMATCH = "STORAGE_MISMATCH"


class Problem(Answer):
    """RFC 9457 problem details."""

    type: str = Field(description="urn:fedpriv:problem: and the code in lower case")
    title: str
    status: int
    code: ProblemCode
    detail: str = Field(description="what happened and what to do, for a person")
    instance: str | None = Field(description="the path that was asked for; null where none could be read")
    trace_id: str = Field(description="under which the service's log has the rest")
    errors: list[dict[str, str]] | None = Field(default=None, description="of bad parameters: where and what")
