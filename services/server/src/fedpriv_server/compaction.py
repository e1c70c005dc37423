"""Puts the many objects of a run together into few segments, behind the runs and never in their way.

A run is compacted whenever fifty closed rounds of it are loose, and once more when it has ended:

    writer thread   … puts a close ─ puts a close ─ puts end.json ─────────────────────────────── puts the bundle
    this thread                └ fifty: due            └ due ─ lists ─ plans ─ segments and manifest to the outbox

What is compacted is what the bucket holds, so a plan depends on nothing that this process remembers. Bundles go
through the outbox: they are durable, come after what they are of, and a server that was killed goes on with them. Two
servers that compact one run do no harm to each other; see fedpriv_common.segments for how one of them wins.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from pydantic import ValidationError

from fedpriv_common import keys
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.objects import kind_of
from fedpriv_common.segments import Manifest, SegmentDamagedError, check_segment, decode_segment
from fedpriv_common.store import ObjectStore
from fedpriv_server.archive import Archive
from fedpriv_server.compaction_plan import ROUNDS, Bundle, State, make_bundle
from fedpriv_server.outbox import StoredObject

log = logging.getLogger(__name__)

#: Newest runs that are looked at when a server starts: of an older one's end, an earlier start has taken care.
_LOOKED_AT: Final = 50
#: Bytes of objects that are remembered until they are compacted; those beyond are read from the bucket again.
_MOST_REMEMBERED: Final = 16 * 2**20
#: How often another server's compaction may come first before it is left to that server.
_ATTEMPTS: Final = 5
#: Pause after a failure, seconds; it doubles up to the second figure, with jitter.
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
#: How long the bucket is waited for to take a bundle before it is looked after again, seconds.
_SENT_S: Final = 30.0


class Compactor:
    """Compacts runs in a thread of its own. `written` is for the writer's thread."""

    def __init__(self, archive: Archive, store: ObjectStore) -> None:
        """Reads what `store` holds, and hands over what it makes of it to `archive`."""
        self._archive = archive
        self._store = store
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._due: dict[str, None] = {}
        self._closed: Counter[str] = Counter()
        #: Runs whose end this process has seen: whatever is written of them later is compacted as well.
        self._ended: set[str] = set()
        self._remembered: dict[str, dict[str, bytes]] = {}
        self._remembered_bytes = 0
        #: How far the run that was compacted last is, so that its segments are not read again each time.
        self._states: dict[str, State] = {}

    def start(self) -> None:
        """Begin, with what an earlier start may have left."""
        threading.Thread(target=self._run, name="compaction", daemon=True).start()

    def stop(self) -> None:
        """Compact no more; the next start goes on."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def written(self, entry: StoredObject) -> None:
        """The bucket has this object."""
        run_id = keys.run_of(entry.key)
        if run_id is None or kind_of(entry.key, run_id) is None:
            return
        with self._changed:
            if self._remembered_bytes + len(entry.body) <= _MOST_REMEMBERED:
                self._remembered.setdefault(run_id, {})[entry.key] = entry.body
                self._remembered_bytes += len(entry.body)
            self._closed[run_id] += "/rounds/" in entry.key
            if entry.key == keys.run_end(run_id):
                self._ended.add(run_id)
            if self._closed[run_id] >= ROUNDS or run_id in self._ended:
                self._closed[run_id] = 0
                self._due[run_id] = None
                self._changed.notify_all()

    def _run(self) -> None:
        pause_s, looked = _FIRST_PAUSE_S, False
        while not self._stopping.is_set():
            run_id = None
            try:
                if not looked:
                    self._look_back()
                    looked = True
                run_id = self._next()
                if run_id is not None:
                    self._compact(run_id)
                    pause_s = _FIRST_PAUSE_S
            except Exception as error:  # nothing may end this thread, and nothing here may end a run
                delay = pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
                log.warning(
                    "compaction_waits", extra={"run_id": run_id, "reason": str(error), "retry_in_s": round(delay, 1)}
                )
                if run_id is not None:
                    with self._changed:
                        self._due[run_id] = None
                self._stopping.wait(delay)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _look_back(self) -> None:
        """Runs of earlier starts that may lack their last segment."""
        for run_id in self._archive.run_ids()[-_LOOKED_AT:]:
            if self._stopping.is_set():
                return
            newest = self._newest(run_id, self._manifests(run_id))
            if newest is None or not newest.final:
                with self._changed:
                    self._due[run_id] = None

    def _next(self) -> str | None:
        with self._changed:
            self._changed.wait_for(lambda: self._due or self._stopping.is_set())
            if self._stopping.is_set():
                return None
            run_id = next(iter(self._due))
            del self._due[run_id]
            return run_id

    def _compact(self, run_id: str) -> None:
        for _ in range(_ATTEMPTS):
            state = self._state(run_id)
            listed = self._store.list_entries(keys.run_prefix(run_id))
            bundle = make_bundle(run_id, state, listed, self._getter(run_id))
            if bundle is None:
                return
            number = self._archive.put(bundle.objects)
            while not self._archive.wait_until_sent(number, _SENT_S):
                if self._stopping.is_set():
                    return  # the outbox has it, and the next start's writer sends it
            ours = bundle.objects[-1]
            if self._store.get(ours.key) == ours.body:
                manifest = bundle.manifest
                log.info(
                    "run_compacted",
                    extra={"run_id": run_id, "segments": len(manifest.segments), "final": manifest.final},
                )
                self._states[run_id] = State(
                    manifest.number,
                    manifest.low_water,
                    manifest.final,
                    manifest.segments,
                    manifest.left_out,
                    bundle.covered,
                )
                self._forget(run_id, bundle)
                return
            self._states.pop(run_id, None)
            self._stopping.wait(random.uniform(0.1, 0.5))  # noqa: S311 - another server is at it
        log.warning("compaction_left", extra={"run_id": run_id, "reason": "another server compacts this run"})

    def _state(self, run_id: str) -> State:
        """What the bucket holds of the run's segments; raises STORE_UNAVAILABLE."""
        numbers = self._manifests(run_id)
        known = self._states.get(run_id)
        if known is not None and known.number == max(numbers, default=0):
            return known
        state = State(number=max(numbers, default=0))
        if state.number >= 999_999:
            raise ValueError("there is no number left for another manifest")
        manifest = self._newest(run_id, numbers)
        if manifest is not None:
            covered, segments = set(manifest.left_out), []
            for segment in manifest.segments:
                data = self._store.get(segment.key) or b""
                try:
                    check_segment(segment, data)
                    covered.update(key for key, _ in decode_segment(segment, data))
                    segments.append(segment)
                except SegmentDamagedError as error:
                    # Its objects are loose again, and come into another segment.
                    log.error("segment_damaged", extra={"key": segment.key, "reason": str(error)})
            final = manifest.final and len(segments) == len(manifest.segments)
            state = State(
                state.number, manifest.low_water, final, tuple(segments), manifest.left_out, frozenset(covered)
            )
        self._states = {run_id: state}  # of one run at a time: the keys of a long one take megabytes
        return state

    def _manifests(self, run_id: str) -> list[int]:
        """Numbers of the run's manifests."""
        listed = self._store.list_keys(keys.manifest_prefix(run_id))
        return [number for key in listed if (number := keys.manifest_number(key)) is not None]

    def _newest(self, run_id: str, numbers: Iterable[int]) -> Manifest | None:
        """The newest manifest that is one; raises STORE_UNAVAILABLE."""
        for number in sorted(numbers, reverse=True):
            key = keys.manifest(run_id, number)
            try:
                manifest = Manifest.model_validate_json(self._store.get(key) or b"")
            except ValidationError as error:
                log.error("manifest_damaged", extra={"key": key, "reason": f"{error.error_count()} faults"})
                continue
            if manifest.matches(key):
                return manifest
            log.error("manifest_damaged", extra={"key": key, "reason": "it is of another run or number"})
        return None

    def _getter(self, run_id: str) -> Callable[[str], bytes | None]:
        with self._changed:
            remembered = dict(self._remembered.get(run_id, ()))

        def get(key: str) -> bytes | None:
            if self._stopping.is_set():
                raise FedprivError(ErrorCode.STORE_UNAVAILABLE, "The server stops.", "Its next start goes on.")
            return remembered[key] if key in remembered else self._store.get(key)

        return get

    def _forget(self, run_id: str, bundle: Bundle) -> None:
        """Remember no bodies that are compacted now."""
        with self._changed:
            bodies = self._remembered.get(run_id, {})
            for key in bundle.covered.intersection(bodies):
                self._remembered_bytes -= len(bodies.pop(key))
            if not bodies:
                self._remembered.pop(run_id, None)
