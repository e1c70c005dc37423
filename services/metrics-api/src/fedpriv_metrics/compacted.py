"""A run's segments, read in the order in which its objects were written.

Little is held at a time: segments as they are compressed (some twenty bytes for each object), and of those whose times
overlap, which is one as long as nothing came late, the objects. What a manifest says is not believed: bytes must have
the digest and decompress to the size that it names, and each line must hold what its key says.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from fedpriv_common import keys
from fedpriv_common.objects import MalformedObjectError, Parsed, parse
from fedpriv_common.segments import Manifest, Segment, SegmentDamagedError, check_segment, decode_segment
from fedpriv_common.store import ObjectStore
from fedpriv_metrics.seq import key_digest

#: Manifests that are tried, newest first, before a run is read from its objects.
_TRIED = 3
#: Bytes of the largest manifest: of a hundred thousand rounds.
_MANIFEST_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Skipped:
    """An object that was not read, and why, in words that quote nothing of it."""

    key: str
    why: str


@dataclass(slots=True)
class Compacted:
    """What there is of a run besides its loose objects."""

    manifest: Manifest | None = None
    segments: list[tuple[Segment, bytes]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether the run has ended and nothing of it is elsewhere, but for what the manifest leaves out."""
        return self.manifest is not None and self.manifest.final and len(self.segments) == len(self.manifest.segments)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Keys that are in no segment."""
        return self.manifest.left_out if self.manifest is not None else ()

    def cover(self) -> set[int]:
        """Digests of the keys in the segments; a segment that turns out to be damaged counts as one from now on."""
        covered: set[int] = set()
        for segment, data in list(self.segments):
            try:
                covered.update([key_digest(key) for key, _ in decode_segment(segment, data)])
            except SegmentDamagedError as error:
                self.segments.remove((segment, data))
                self.skipped.append(Skipped(segment.key, str(error)))
        return covered

    @property
    def low_water(self) -> int:
        """The first round of which something may be loose; 0 when a segment is damaged."""
        if self.manifest is None or len(self.segments) < len(self.manifest.segments):
            return 0
        return self.manifest.low_water


def read_compacted(
    store: ObjectStore, run_id: str, get_all: Callable[[Sequence[Segment]], Iterable[bytes | None]]
) -> Compacted:
    """The newest manifest that is one, and its segments that are what it says; `get_all` gets segments at one time.

    Raises STORE_UNAVAILABLE.
    """
    found = Compacted()
    listed = sorted(store.list_keys(keys.manifest_prefix(run_id)), reverse=True)
    for key in [key for key in listed if keys.manifest_number(key) is not None][:_TRIED]:
        try:
            manifest = Manifest.model_validate_json(store.get(key, _MANIFEST_BYTES) or b"")
            if not (manifest.matches(key) and manifest.run_id == run_id):
                raise MalformedObjectError("it is of another run or number")
        except ValidationError:
            found.skipped.append(Skipped(key, "it is no manifest"))
        except MalformedObjectError as error:
            found.skipped.append(Skipped(key, str(error)))
        else:
            found.manifest = manifest
            break
    if found.manifest is None:
        return found
    for segment, data in zip(found.manifest.segments, get_all(found.manifest.segments), strict=True):
        try:
            check_segment(segment, data or b"")
            found.segments.append((segment, data or b""))
        except SegmentDamagedError as error:
            found.skipped.append(Skipped(segment.key, str(error)))
    return found


def in_order(
    run_id: str, segments: Iterable[tuple[Segment, bytes]], loose: Iterable[Parsed], bad: Callable[[Skipped], None]
) -> Iterator[Parsed]:
    """Every object of the segments and of `loose`, which is in order, in the order of writing.

    What follows a line that is not what its key says is left out, and the segment is told to `bad`.
    """

    def lines(chain: Iterable[tuple[Segment, bytes]]) -> Iterator[Parsed]:
        for segment, data in chain:
            try:
                for key, body in decode_segment(segment, data):
                    yield parse(key, run_id, body)
            except (SegmentDamagedError, MalformedObjectError):
                bad(Skipped(segment.key, "it does not hold what it should"))

    streams = [lines(chain) for chain in _chains(segments)]
    return heapq.merge(*streams, loose, key=lambda parsed: parsed.order)


def _chains(segments: Iterable[tuple[Segment, bytes]]) -> list[list[tuple[Segment, bytes]]]:
    """Segments that follow each other in time, in as few chains as there are segments at any one time."""
    chains: list[list[tuple[Segment, bytes]]] = []
    for entry in sorted(segments, key=lambda entry: entry[0].first_at):
        chain = next((chain for chain in chains if chain[-1][0].last_at < entry[0].first_at), None)
        if chain is None:
            chains.append([entry])
        else:
            chain.append(entry)
    return chains
