"""Whatever is written, compacted, read, refused and restarted in whatever order: every reader comes to the same.

The writers are the server's own compaction and put-once, the readers the API's own tail and index; the bucket is in
memory, so that a thousand histories take seconds. Rounds of a segment and the length of a short run are made small, so
that short histories have everything in them.
"""

from __future__ import annotations

from typing import cast
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fedpriv_common import keys
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.objects import Parsed, parse
from fedpriv_common.plan import Phase, RunSettings
from fedpriv_common.store import PutOutcome
from fedpriv_metrics import tail as tail_module
from fedpriv_metrics.answers import METRIC_NAMES, metric_series, run_detail
from fedpriv_metrics.forecast import count
from fedpriv_metrics.index import Index
from fedpriv_metrics.narration import run_log
from fedpriv_metrics.privacy import run_privacy
from fedpriv_metrics.seq import Seq, key_digest
from fedpriv_metrics.tail import S3Tail
from fedpriv_server import compaction_plan
from fedpriv_server.archive import Archive
from fedpriv_server.compaction import Compactor
from fedpriv_server.compaction_plan import make_bundle
from fedpriv_server.outbox import StoredObject
from tests.memory_store import MemoryStore
from tests.run_writer import Script, encode, run_steps
from tests.unit.metrics.scripted import RUN

SCRIPT = Script(
    settings=RunSettings(sites=2, quorum=1, rounds=8),
    sites=("site-1", "site-2"),
    absent={3: frozenset({"site-2"}), 6: frozenset({"site-1"})},
)
WRITTEN = [entry for _, objects in run_steps(RUN, SCRIPT) for entry in encode(objects).items()]
END = keys.run_end(RUN)


class Reader:
    """An API process, as far as it reads."""

    def __init__(self, store: MemoryStore) -> None:
        self.store, self.now = store, 1000.0
        self.start()

    def start(self) -> None:
        self.tail, self.index, self.settled = S3Tail(self.store, lambda: self.now), Index(), False
        self.applied: list[str] = []

    def restart(self) -> None:
        self.tail.close()
        self.start()

    def poll(self, later_s: float = 1.0) -> None:
        self.now += later_s
        for batch in self.tail.poll():
            assert not self.settled, "a settled run stays settled"
            self.applied += [parsed.key for parsed in self.index.apply(batch.run_id, batch.objects)]
            for skipped in batch.skipped:
                self.index.skip(batch.run_id, skipped)
            if batch.settled:
                self.index.settle(batch.run_id)
                self.settled = True

    def answers(self) -> list[object]:
        run = self.index.run(RUN)
        assert run is not None
        series = [metric_series(run, name, None, 0, 99, 100) for name in METRIC_NAMES]
        return [str(self.index.seq), run_detail(run), run_privacy(run, count), run_log(run, 100), *series]


class Writer:
    """A server, as far as it compacts: it plans, hands over to its disk, and sends object by object."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.start()

    def start(self) -> None:
        """Nothing but what is on its disk outlasts a kill."""
        self.compactor = Compactor(cast(Archive, None), self.store)
        self.outbox: list[StoredObject] = getattr(self, "outbox", [])

    def plan(self) -> None:
        state = self.compactor._state(RUN)
        bundle = make_bundle(RUN, state, self.store.list_entries(keys.run_prefix(RUN)), self.store.get)
        self.outbox = bundle.objects if bundle else []

    def send(self) -> None:
        try:
            self.store.put_once(self.outbox[0].key, self.outbox[0].body)
        except FedprivError as error:
            if error.code is not ErrorCode.STORE_CONFLICT:
                raise
            assert keys.is_manifest(self.outbox[0].key), "only the next manifest is competed for"
        del self.outbox[0]


class Storage(RuleBasedStateMachine):
    """One run, two servers that compact it, two API processes that read it."""

    @initialize()
    def begin(self) -> None:
        self.small = [
            patch.object(compaction_plan, "ROUNDS", 2),
            patch.object(tail_module, "SHORT", 14),
            patch.object(tail_module, "BATCH", 7),
        ]
        for patched in self.small:
            patched.start()
        self.store = MemoryStore()
        self.readers = [Reader(self.store), Reader(self.store)]
        self.writers = [Writer(self.store), Writer(self.store)]
        self.coming = list(WRITTEN)
        self.late: list[tuple[str, bytes]] = []
        self.bad = 0

    # -- what is written -------------------------------------------------------------------------------------------

    @rule(most=st.integers(1, 12))
    def write(self, most: int) -> None:
        for _ in range(min(most, len(self.coming))):
            if self.coming[0][0] == END and self.late:
                return  # the outbox sends in order: what the end comes after is there before it
            key, body = self.coming.pop(0)
            assert self.store.put_once(key, body) is PutOutcome.CREATED

    @precondition(lambda self: self.coming and self.coming[0][0] not in (END, keys.run_info(RUN)))
    @rule()
    def hold_back(self) -> None:
        self.late.append(self.coming.pop(0))

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def write_late(self, data: st.DataObject) -> None:
        key, body = self.late.pop(data.draw(st.integers(0, len(self.late) - 1)))
        self.store.put_once(key, body)

    @rule(data=st.data())
    def write_again(self, data: st.DataObject) -> None:
        key, body = data.draw(st.sampled_from(WRITTEN))
        if key in self.store.objects:
            assert self.store.put_once(key, body) is PutOutcome.ALREADY_THERE

    @precondition(lambda self: END not in self.store.objects)
    @rule()
    def write_what_is_no_object(self) -> None:
        self.bad += 1
        self.store.put_once(keys.record(RUN, self.bad, "site-9", Phase.TRAIN), b"{no object")

    # -- compaction ------------------------------------------------------------------------------------------------

    @rule(who=st.integers(0, 1), requests=st.none() | st.integers(0, 30))
    def plan_compaction(self, who: int, requests: int | None) -> None:
        if not self.writers[who].outbox:
            self._with_faults(requests, self.writers[who].plan)

    @rule(who=st.integers(0, 1), requests=st.none() | st.integers(0, 2))
    def send_compaction(self, who: int, requests: int | None) -> None:
        if self.writers[who].outbox:
            self._with_faults(requests, self.writers[who].send)

    @rule(who=st.integers(0, 1))
    def kill_server(self, who: int) -> None:
        self.writers[who].start()

    # -- reading ---------------------------------------------------------------------------------------------------

    @rule(who=st.integers(0, 1), later_s=st.sampled_from([0.5, 1.0, 40.0]), requests=st.none() | st.integers(0, 40))
    def poll(self, who: int, later_s: float, requests: int | None) -> None:
        self._with_faults(requests, lambda: self.readers[who].poll(later_s))

    @rule(who=st.integers(0, 1))
    def kill_reader(self, who: int) -> None:
        self.readers[who].restart()

    def _with_faults(self, requests: int | None, action: object) -> None:
        assert callable(action)
        self.store.fail_after(requests)
        try:
            action()
        except FedprivError as error:
            assert requests is not None and error.code is ErrorCode.STORE_UNAVAILABLE
        finally:
            self.store.fail_after(None)

    # -- what holds ------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_doubled(self) -> None:
        for reader in getattr(self, "readers", ()):
            assert len(set(reader.applied)) == len(reader.applied)
            assert set(reader.applied) <= self.store.objects.keys()
            seq = Seq()
            for key in reader.applied:
                seq = seq.plus(key_digest(key))
            assert reader.index.seq == seq

    def teardown(self) -> None:
        if not hasattr(self, "readers"):
            return
        try:
            self._finish()
        finally:
            for reader in self.readers:
                reader.tail.close()
            for patched in self.small:
                patched.stop()

    def _finish(self) -> None:
        """All is written and compacted, and every reader has come to the end."""
        for key, body in [*self.late, *self.coming]:
            self.store.put_once(key, body)
        for writer in self.writers:
            while writer.outbox:
                writer.send()
        for _ in range(2):
            self.writers[0].plan()
            while self.writers[0].outbox:
                self.writers[0].send()
        assert self.writers[0].compactor._state(RUN).final
        plain = Index()
        objects: list[Parsed] = [parse(key, RUN, body) for key, body in WRITTEN]
        plain.apply(RUN, objects)
        expected = Reader(self.store)
        expected.index = plain
        from_segments = Reader(self.store)
        from_objects = Reader(MemoryStore(self.store.objects, hidden=("/manifests/", "/segments/")))
        for reader in (*self.readers, from_segments, from_objects):
            for _ in range(4):
                reader.poll(61.0)
            assert reader.settled
            run, model = reader.index.run(RUN), plain.run(RUN)
            assert run is not None and model is not None
            assert run.skipped_count == self.bad
            run.skipped, run.skipped_count = {}, 0
            assert reader.answers() == expected.answers()
        runs = [reader.index.run(RUN) for reader in (from_segments, from_objects)]
        assert runs[0] is not None and runs[1] is not None
        assert runs[0].feed.after(Seq(), 1000) == runs[1].feed.after(Seq(), 1000)
        for reader in (expected, from_segments, from_objects):
            reader.tail.close()


TestStorage = Storage.TestCase
TestStorage.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
