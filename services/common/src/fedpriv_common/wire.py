"""What crosses between server and site, as the fields of one Flower ConfigRecord.

The list of fields is the privacy boundary: a value that is not here does not cross. Arrays travel as
little-endian float64 bytes, which cannot execute anything and have exactly one length that is right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from fedpriv_common.canonical import sha256_hex
from fedpriv_common.contract import Unit
from fedpriv_common.errors import Refusal, RefusalError
from fedpriv_common.plan import APP, Phase

#: Key of the ConfigRecord in a Flower message's content.
RECORD = "fedpriv"
#: Longest that a server holds a pull back, seconds. A site that hears nothing for some seconds more knows that the
#: connection is dead; asking every few seconds is the price.
PULL_HELD_S: Final = 6.0

Field = str | int | float | bytes
FloatArray = NDArray[np.float64]
T = TypeVar("T", str, int, bytes)


class Operation(StrEnum):
    """What the server may ask of a site."""

    ADMIT = "admit"
    RELEASE = "release"
    CLOSE = "close"


def encode_array(array: FloatArray) -> bytes:
    """Flat little-endian float64 bytes of `array`."""
    return np.ascontiguousarray(array, dtype="<f8").tobytes()


#: No model of ours comes near. Within it, rounding of a record's gradient stays far below any clipping bound.
MOST_PARAMETER: Final = 1e6
#: Features lie between −1 and 1, and so does their mean.
MOST_CENTRE: Final = 1.0


def decode_array(data: bytes, size: int, most: float = math.inf) -> FloatArray:
    """The vector of `size` finite float64 values in `data`, none beyond ±`most`; raises BAD_PARAMETERS otherwise."""
    if len(data) != 8 * size:
        raise RefusalError(Refusal.BAD_PARAMETERS, f"expected {8 * size} bytes, got {len(data)}")
    array = np.frombuffer(data, dtype="<f8").astype(np.float64)
    if not np.isfinite(array).all():
        raise RefusalError(Refusal.BAD_PARAMETERS, "values that are not finite")
    if size and np.abs(array).max() > most:
        raise RefusalError(Refusal.BAD_PARAMETERS, f"values beyond {most:g}")
    return array


@dataclass(frozen=True, kw_only=True)
class Request:
    """One message to a site. `plan` is the plan's JSON at admission, empty afterwards; `witness_*` is the last
    ledger head the server has seen of this site (−1 and empty if none)."""

    operation: Operation
    run_id: str
    app: str = APP
    plan: str = ""
    plan_digest: str = ""
    round: int = 0
    phase: Phase = Phase.CENTRE
    parameters: bytes = b""
    centre: bytes = b""
    witness_seq: int = -1
    witness_head: str = ""

    def to_fields(self) -> dict[str, Field]:
        """The request as ConfigRecord fields."""
        return {
            "operation": self.operation.value,
            "run_id": self.run_id,
            "app": self.app,
            "plan": self.plan,
            "plan_digest": self.plan_digest,
            "round": self.round,
            "phase": self.phase.value,
            "parameters": self.parameters,
            "centre": self.centre,
            "witness_seq": self.witness_seq,
            "witness_head": self.witness_head,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> Request:
        """Parse a message; raises BAD_REQUEST unless every field is there with its type."""
        try:
            return cls(
                operation=Operation(_take(fields, "operation", str)),
                run_id=_take(fields, "run_id", str),
                app=_take(fields, "app", str),
                plan=_take(fields, "plan", str),
                plan_digest=_take(fields, "plan_digest", str),
                round=_take(fields, "round", int),
                phase=Phase(_take(fields, "phase", str)),
                parameters=_take(fields, "parameters", bytes),
                centre=_take(fields, "centre", bytes),
                witness_seq=_take(fields, "witness_seq", int),
                witness_head=_take(fields, "witness_head", str),
            )
        except ValueError as error:
            raise RefusalError(Refusal.BAD_REQUEST, str(error)) from None

    def digest(self) -> str:
        """SHA-256 over what determines the reply: plan, round, phase and arrays, each with its length."""
        parts = (
            self.run_id.encode(),
            self.plan_digest.encode(),
            str(self.round).encode(),
            self.phase.value.encode(),
            self.parameters,
            self.centre,
        )
        return sha256_hex(b"".join(len(part).to_bytes(8, "big") + part for part in parts))


class SiteFacts(BaseModel):
    """What a site says of its own budget. Policy facts and planned constants only: no record is in them.

    `epsilon_run` is this run's releases so far, `epsilon_spent` every release ever charged to the data set,
    `epsilon_planned` what the lifetime's epsilon will be when the run has ended as planned. These are of the training
    records; `epsilon_held_out` is every evaluation ever charged to the held-out ones, pure, under the same limit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str
    epsilon_run: float
    epsilon_spent: float
    epsilon_planned: float
    epsilon_held_out: float = 0.0
    epsilon_limit: float
    delta: float
    adjacency: Literal["add-remove"] = "add-remove"
    unit: Unit = "record"
    policy_digest: str
    ledger_seq: int
    ledger_head: str


OK = "OK"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One message from a site: `code` is OK or a Refusal; `payload` the float64 bytes of a charged release; `part`,
    at a run's close, the JSON of the site's SignedPart of the privacy statement."""

    code: str
    payload: bytes = b""
    facts: SiteFacts | None = None
    part: str = ""

    def to_fields(self) -> dict[str, Field]:
        """The reply as ConfigRecord fields."""
        return {
            "code": self.code,
            "payload": self.payload,
            "facts": self.facts.model_dump_json() if self.facts else "",
            "part": self.part,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> Reply:
        """Parse a reply; raises ValueError unless every field is there, of its type and within its list."""
        code = _take(fields, "code", str)
        if code != OK:
            code = Refusal(code).value
        facts = _take(fields, "facts", str)
        try:
            parsed = SiteFacts.model_validate_json(facts) if facts else None
        except ValidationError as error:
            raise ValueError(f"facts: {error.error_count()} faults") from None
        return cls(code=code, payload=_take(fields, "payload", bytes), facts=parsed, part=_take(fields, "part", str))


def _take(fields: Mapping[str, object], name: str, kind: type[T]) -> T:
    value = fields.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"field {name!r} is missing or not {kind.__name__}")
    return value
