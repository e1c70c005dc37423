"""From an object's key and bytes to a record of the schema, or the reason why it is none.

The metrics API reads with this, and the server's compaction: what one of them skips the other leaves out.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from fedpriv_common import keys
from fedpriv_common.records import (
    GLOBAL,
    Admission,
    HeldOutEvaluation,
    MetricRecord,
    RoundClosed,
    RunEnd,
    RunEvent,
    RunInfo,
    RunSites,
)

StoredObject = RunInfo | RunSites | Admission | MetricRecord | RoundClosed | HeldOutEvaluation | RunEvent | RunEnd

#: Folders and files of a run that hold metrics; its checkpoints, model and statement are not read here.
KINDS: dict[str, type[StoredObject]] = {
    "run.json": RunInfo,
    "asked.json": RunSites,
    "admissions": Admission,
    "records": MetricRecord,
    "rounds": RoundClosed,
    "evaluations": HeldOutEvaluation,
    "events": RunEvent,
    "end.json": RunEnd,
}
#: What the server writes before what, at one time; a place is left for the global model's record.
_ORDER = {
    kind: rank
    for rank, kind in enumerate(
        (RunInfo, RunSites, Admission, MetricRecord, None, RoundClosed, HeldOutEvaluation, RunEvent, RunEnd)
    )
}
_BASE_32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
#: Ids beyond are of no time that a calendar knows: the end of the year 9998.
_LAST_MS = 253_370_764_799_000
#: Rounds beyond this are no plan of ours; an index grows with the highest round it is told.
MAX_ROUND = 99_999
#: Bytes of the largest object that is read: a record of a thousand sites' names comes to a tenth of it.
MOST_BYTES = 2**20


class MalformedObjectError(ValueError):
    """An object that does not hold what its key says; the message tells why, without quoting the content."""


class Parsed(NamedTuple):
    """A record with its key and the time that it carries."""

    key: str
    at: datetime
    value: StoredObject

    @property
    def order(self) -> tuple[datetime, int, str]:
        """Sorts objects as the server writes them: by time, and what has one time by what depends on what."""
        return self.at, _rank(self.value), self.key


def kind_of(key: str, run_id: str) -> type[StoredObject] | None:
    """What the object under `key` should hold, or None when it is not read here."""
    return KINDS.get(key.removeprefix(keys.run_prefix(run_id)).split("/", 1)[0])


def parse(key: str, run_id: str, body: bytes) -> Parsed:
    """Read an object; raises MalformedObjectError when its content is not what the key names."""
    kind = kind_of(key, run_id)
    if kind is None:
        raise MalformedObjectError("no kind of object has this key")
    try:
        value: StoredObject = kind.__pydantic_validator__.validate_json(body)
    except ValidationError as error:
        raise MalformedObjectError(_reason(kind, error)) from None
    if _round(value) > MAX_ROUND:
        raise MalformedObjectError(f"its round is over {MAX_ROUND}")
    if _key(value) != key:
        raise MalformedObjectError("it belongs under another key")
    return Parsed(key, _at(value), value)


def _reason(kind: type[StoredObject], error: ValidationError) -> str:
    """What is wrong, in words, at most three faults. Only names of the schema are quoted."""
    told = set()
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        name = str(fault["loc"][0]) if fault["loc"] else ""
        if fault["type"] == "json_invalid":
            told.add("it is not JSON")
        elif fault["type"] == "extra_forbidden" or name not in kind.model_fields:
            told.add("it has a field that the schema does not know" if name else "it is not of the schema")
        elif fault["type"] == "missing" and len(fault["loc"]) == 1:
            told.add(f"it has no {name}")
        else:
            told.add(f"its {name} is not of the schema")
    return "; ".join(sorted(told)[:3])


def drawn_at(run_id: str) -> datetime:
    """When a run's id was drawn: a ULID begins with the milliseconds since 1970 in ten digits of base 32."""
    milliseconds = 0
    for digit in run_id[:10]:
        milliseconds = 32 * milliseconds + _BASE_32.index(digit)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=min(milliseconds, _LAST_MS))


def _rank(value: StoredObject) -> int:
    """The model's figures come after the replies that they are of."""
    return _ORDER[type(value)] + (value.site == GLOBAL if isinstance(value, MetricRecord) else 0)


def _round(value: BaseModel) -> int:
    number = getattr(value, "round", None)
    return number if isinstance(number, int) else 0


def _key(value: StoredObject) -> str:
    match value:
        case MetricRecord():
            key = keys.record(value.run_id, value.round, value.site, value.phase)
        case RunInfo():
            key = keys.run_info(value.run_id)
        case RunSites():
            key = keys.run_asked(value.run_id)
        case Admission():
            key = keys.admission(value.run_id, value.site)
        case RoundClosed():
            key = keys.round_closed(value.run_id, value.round)
        case HeldOutEvaluation():
            key = keys.evaluation(value.run_id, value.round)
        case RunEvent():
            key = keys.event(value.run_id, value.event_id)
        case RunEnd():
            key = keys.run_end(value.run_id)
    return key


def _at(value: StoredObject) -> datetime:
    match value:
        case MetricRecord():
            at = value.recorded_at
        case RunInfo():
            at = value.created_at
        case RunSites():
            # It carries no time and is written with `run.json`, right after the run's id was drawn.
            at = drawn_at(value.run_id) + timedelta(milliseconds=2)
        case Admission() | RunEvent():
            at = value.at
        case RoundClosed():
            at = value.closed_at
        case HeldOutEvaluation():
            at = value.released_at
        case RunEnd():
            at = value.ended_at
    return at
