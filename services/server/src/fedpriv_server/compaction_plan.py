"""Which objects of a run go into which segments: a function of what the bucket holds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from fedpriv_common import keys
from fedpriv_common.objects import MAX_ROUND, MOST_BYTES, MalformedObjectError, Parsed, kind_of, parse
from fedpriv_common.segments import (
    CONTENT_TYPE,
    MOST_LEFT_OUT,
    MOST_RAW_BYTES,
    Manifest,
    Segment,
    encode_segment,
    fits,
    line_bytes,
)
from fedpriv_common.store import Listed
from fedpriv_server.journal import as_object
from fedpriv_server.outbox import StoredObject

#: Closed rounds of one segment.
ROUNDS: Final = 50

Loose = list[tuple[Parsed, bytes]]


@dataclass(frozen=True, slots=True)
class State:
    """How far a run is compacted. `number`: of the highest manifest, 0 before the first. `covered`: keys in the
    segments, and those that are left out."""

    number: int = 0
    low_water: int | None = None
    final: bool = False
    segments: tuple[Segment, ...] = ()
    left_out: tuple[str, ...] = ()
    covered: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Bundle:
    """What one compaction writes, the manifest last, and the keys that are taken care of then."""

    objects: list[StoredObject]
    manifest: Manifest
    covered: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Closed rounds of one segment."""

    first: int
    last: int


def plan_chunks(low: int | None, closed: Iterable[int], *, ended: bool) -> list[_Chunk]:
    """Rounds to compact from `low` on (None: the first that closed), fifty at a time.

    Of a run that goes on only whole fifties that follow each other without a gap; of one that has ended, everything.
    """
    numbers = sorted(number for number in closed if number <= MAX_ROUND and (low is None or number >= low))
    start = low if low is not None else next(iter(numbers), 0)
    end = start
    for number in numbers:
        if number == end or ended:
            end = number + 1
    cuts = [*range(start, end, ROUNDS), end]
    chunks = [_Chunk(first, following - 1) for first, following in pairwise(cuts)]
    return chunks if ended else [chunk for chunk in chunks if chunk.last - chunk.first + 1 == ROUNDS]


def make_bundle(
    run_id: str, state: State, listed: Iterable[Listed], get: Callable[[str], bytes | None]
) -> Bundle | None:
    """Segments of what is loose among `listed`, and the next manifest; None when there is nothing to do.

    `get` reads an object, and its errors go through.
    """
    sizes = {entry.key: entry.size for entry in listed if kind_of(entry.key, run_id) is not None}
    loose = [key for key in sizes if key not in state.covered]
    ended = keys.run_end(run_id) in sizes
    closed = {number for key in sizes if "/rounds/" in key and (number := keys.round_of(key)) is not None}
    chunks = plan_chunks(state.low_water, closed, ended=ended)
    if not (chunks or (ended and (loose or not state.final))):
        return None
    low = chunks[-1].last + 1 if chunks else state.low_water or 0
    wanted = loose if ended else [key for key in loose if (number := keys.round_of(key)) is None or number < low]
    objects, left_out = _read(run_id, {key: sizes[key] for key in wanted}, get)
    chunks = chunks or [_Chunk(low, low)]
    segments, bundle, covered = list(state.segments), [], set(state.covered)
    for chunk, part in zip(chunks, _split(chunks, objects, ended=ended), strict=True):
        covered.update(parsed.key for parsed, _ in part)
        for piece in _pieces(part):
            described, data = encode_segment(run_id, chunk.first, chunk.last, piece)
            segments.append(described)
            bundle.append(StoredObject(described.key, data, CONTENT_TYPE))
    out = sorted({*state.left_out, *left_out})
    manifest = Manifest(
        run_id=run_id,
        number=state.number + 1,
        low_water=low,
        final=ended and len(out) <= MOST_LEFT_OUT,
        segments=tuple(segments),
        left_out=tuple(out[:MOST_LEFT_OUT]),
    )
    told = (manifest.segments, manifest.left_out, manifest.final)
    if told == (state.segments, state.left_out, state.final):
        return None
    bundle.append(as_object(keys.manifest(run_id, manifest.number), manifest))
    return Bundle(bundle, manifest, frozenset(covered.union(manifest.left_out)))


def _read(run_id: str, sizes: Mapping[str, int], get: Callable[[str], bytes | None]) -> tuple[Loose, list[str]]:
    """The objects, and the keys of those that are none or cannot be in a line."""
    objects, left_out = [], []
    for key, size in sizes.items():
        body = get(key) if size <= MOST_BYTES else b""
        if body is None:
            continue
        try:
            parsed = parse(key, run_id, body)
        except MalformedObjectError:
            left_out.append(key)
            continue
        if fits(body):
            objects.append((parsed, body))
        else:
            left_out.append(key)
    return objects, left_out


def _split(chunks: Sequence[_Chunk], objects: Loose, *, ended: bool) -> list[Loose]:
    """The objects of each chunk: by their round, and what has none by its time.

    What is later than the last chunk's last object waits for the next compaction, unless the run has ended.
    """
    parts: list[Loose] = [[] for _ in chunks]
    lasts, timed = [chunk.last for chunk in chunks], []
    for entry in objects:
        number = keys.round_of(entry[0].key)
        if number is None:
            timed.append(entry)
        else:
            parts[min(bisect_left(lasts, number), len(chunks) - 1)].append(entry)
    ends = [max((parsed.at for parsed, _ in part), default=None) for part in parts]
    for entry in timed:
        place = next((place for place, end in enumerate(ends) if end is not None and entry[0].at <= end), None)
        if place is not None or ended:
            parts[len(chunks) - 1 if place is None else place].append(entry)
    return parts


def _pieces(part: Loose) -> Iterable[Loose]:
    """The objects of one chunk in pieces that a reader decompresses."""
    piece: Loose = []
    size = 0
    for parsed, body in sorted(part, key=lambda entry: entry[0].order):
        length = line_bytes(parsed.key, body)
        if piece and size + length > MOST_RAW_BYTES:
            yield piece
            piece, size = [], 0
        piece.append((parsed, body))
        size += length
    if piece:
        yield piece
