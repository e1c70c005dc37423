"""Many small objects of a run in few large ones, so that a run is read by a handful of requests.

A segment is zstd-compressed lines, one for each object, in the order in which the server wrote them:

    {"key":"v1/runs/…/records/000001/site-1.train.json","body":{…}}

The body is the object's bytes as they are, so that whoever has a segment can recompute every object's digest. The
objects themselves stay where they are: they are the record, a segment is a copy that is quicker to read.

A manifest names all segments of a run. The bucket lets nothing under `v1/` be written twice, so a manifest is never
replaced: each is a new object with the next number, put with `If-None-Match`, and the highest one counts. The next
number is the compare-and-swap: of two servers that compact one run at one time only one gets it, and the other reads
what is there and begins again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import zstandard
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from fedpriv_common import keys
from fedpriv_common.objects import MOST_BYTES, Parsed
from fedpriv_common.records import Digest, RunObject

CONTENT_TYPE: Final = "application/zstd"
#: Fixed, so that a segment's bytes are a function of its objects. Higher ones take longer and save a few percent.
_LEVEL: Final = 9
#: Bytes that a segment may come to when it is decompressed; no more memory is ever taken for one.
MOST_RAW_BYTES: Final = 32 * 2**20
#: Keys that a manifest may leave to their objects.
MOST_LEFT_OUT: Final = 1000

_BEFORE_KEY: Final = b'{"key":"'
_BEFORE_BODY: Final = b'","body":'

Entry = tuple[str, bytes]


class SegmentDamagedError(ValueError):
    """A segment that is not what the manifest says of it; the message tells why, without quoting the content."""


class Segment(BaseModel):
    """What a manifest says of a segment. `first_at` and `last_at` are times of its first and last object."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Annotated[str, Field(max_length=200)]
    first_round: Annotated[int, Field(ge=0)]
    last_round: Annotated[int, Field(ge=0)]
    objects: Annotated[int, Field(ge=1)]
    sha256: Annotated[Digest, Field(description="of the compressed bytes")]
    bytes: Annotated[int, Field(ge=1, le=MOST_RAW_BYTES, description="compressed")]
    raw_bytes: Annotated[int, Field(ge=1, le=MOST_RAW_BYTES)]
    first_at: AwareDatetime
    last_at: AwareDatetime


class Manifest(RunObject):
    """`manifests/{number}.json`: where a run's objects stand, besides under their own keys."""

    number: Annotated[int, Field(ge=1)]
    low_water: Annotated[int, Field(ge=0, description="every round below it has closed and is in the segments")]
    final: Annotated[bool, Field(description="the run has ended, and no object of it is elsewhere")]
    segments: tuple[Segment, ...]
    left_out: Annotated[
        tuple[str, ...],
        Field(max_length=MOST_LEFT_OUT, description="keys that are not what they should be, or cannot be in a line"),
    ] = ()

    @model_validator(mode="after")
    def _of_this_run(self) -> Manifest:
        prefix = keys.run_prefix(self.run_id)
        named = [segment.key for segment in self.segments]
        if not all(key.startswith(f"{prefix}segments/") for key in named) or len(set(named)) < len(named):
            raise ValueError("segments of another run, or one of them twice")
        if not all(key.startswith(prefix) for key in self.left_out):
            raise ValueError("keys of another run")
        return self

    def matches(self, key: str) -> bool:
        """Whether it stands under its own key."""
        return key == keys.manifest(self.run_id, self.number)


def fits(body: bytes) -> bool:
    """Whether an object that was parsed can be a line's body as it is."""
    return len(body) <= MOST_BYTES and b"\n" not in body


def line_bytes(key: str, body: bytes) -> int:
    """Bytes of the line of an object."""
    return len(_BEFORE_KEY) + len(key) + len(_BEFORE_BODY) + len(body) + 2


def encode_segment(
    run_id: str, first: int, last: int, objects: Sequence[tuple[Parsed, bytes]]
) -> tuple[Segment, bytes]:
    """The segment of these objects, at least one, and its bytes, which depend on nothing but the objects."""
    ordered = sorted(objects, key=lambda entry: entry[0].order)
    raw = b"".join(_BEFORE_KEY + parsed.key.encode() + _BEFORE_BODY + body + b"}\n" for parsed, body in ordered)
    data = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True).compress(raw)
    digest = hashlib.sha256(data).hexdigest()
    described = Segment(
        key=keys.segment(run_id, first, last, digest),
        first_round=first,
        last_round=last,
        objects=len(ordered),
        sha256=digest,
        bytes=len(data),
        raw_bytes=len(raw),
        first_at=ordered[0][0].at,
        last_at=ordered[-1][0].at,
    )
    return described, data


def check_segment(described: Segment, data: bytes) -> None:
    """Raise SegmentDamagedError unless these are the bytes that the manifest speaks of."""
    if len(data) != described.bytes or hashlib.sha256(data).hexdigest() != described.sha256:
        raise SegmentDamagedError("its bytes are not those that the manifest names")
    try:
        size = zstandard.frame_content_size(data)
    except zstandard.ZstdError:
        raise SegmentDamagedError("it is not zstd") from None
    if size != described.raw_bytes:  # which is bounded: nothing of another size is ever decompressed
        raise SegmentDamagedError("it would decompress to another size than the manifest names")


def decode_segment(described: Segment, data: bytes) -> list[Entry]:
    """Key and body of every object in order, of bytes that `check_segment` has passed.

    Raises SegmentDamagedError when they are no lines, or not as many as the manifest names.
    """
    try:
        raw = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError:
        raise SegmentDamagedError("it does not decompress") from None
    entries = list(_entries(raw))
    if len(entries) != described.objects:
        raise SegmentDamagedError("it does not hold as many objects as the manifest names")
    return entries


def _entries(raw: bytes) -> Iterator[Entry]:
    lines = raw.split(b"\n")
    if lines.pop():
        raise SegmentDamagedError("its last line is cut off")
    start = len(_BEFORE_KEY)
    for line in lines:
        end = line.find(_BEFORE_BODY, start)
        if not line.startswith(_BEFORE_KEY) or end < 0 or not line.endswith(b"}"):
            raise SegmentDamagedError("a line is none")
        try:
            key = line[start:end].decode("ascii")
        except UnicodeDecodeError:
            raise SegmentDamagedError("a line's key is none") from None
        yield key, line[end + len(_BEFORE_BODY) : -1]
