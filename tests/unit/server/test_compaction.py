"""Segments hold every object of a run once and as it is, whatever was compacted when."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpriv_common import keys
from fedpriv_common.plan import Phase, RunSettings
from fedpriv_common.segments import Manifest, SegmentDamagedError, check_segment, decode_segment
from fedpriv_common.store import Listed
from fedpriv_server.compaction_plan import ROUNDS, Bundle, State, make_bundle, plan_chunks
from tests.run_writer import Script, encode, new_run_id, run_steps

RUN = new_run_id()
SCRIPT = Script(settings=RunSettings(sites=2, rounds=120), sites=("site-1", "site-2"))
STEPS = [encode(objects) for _, objects in run_steps(RUN, SCRIPT)]
EVERYTHING = {key: body for step in STEPS for key, body in step.items()}


class Bucket(dict[str, bytes]):
    """Objects by key, written once."""

    def compact(self, state: State) -> Bundle | None:
        bundle = make_bundle(RUN, state, (Listed(key, "", len(self[key])) for key in sorted(self)), self.get)
        for entry in bundle.objects if bundle else ():
            assert entry.key not in self
            self[entry.key] = entry.body
        return bundle

    def in_segments(self, manifest: Manifest) -> list[tuple[str, bytes]]:
        found = []
        for segment in manifest.segments:
            check_segment(segment, self[segment.key])
            found += decode_segment(segment, self[segment.key])
        return found


def after(bundle: Bundle) -> State:
    manifest = bundle.manifest
    return State(
        manifest.number, manifest.low_water, manifest.final, manifest.segments, manifest.left_out, bundle.covered
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, len(STEPS)), max_size=5), st.data())
def test_every_object_is_in_the_segments_once_and_as_it_is(cuts: list[int], data: st.DataObject) -> None:
    late = data.draw(st.lists(st.sampled_from(sorted(EVERYTHING)), max_size=3, unique=True))
    bucket, state, done = Bucket(), State(), 0
    for cut in sorted({*cuts, len(STEPS)}):
        for step in STEPS[done:cut]:
            bucket |= {key: body for key, body in step.items() if key not in late or key == keys.run_end(RUN)}
        done = cut
        if (bundle := bucket.compact(state)) is not None:
            state = after(bundle)
    for key in late:
        bucket.setdefault(key, EVERYTHING[key])
        if (bundle := bucket.compact(state)) is not None:
            state = after(bundle)
    manifest = Manifest.model_validate_json(bucket[keys.manifest(RUN, state.number)])
    assert manifest.final
    assert sorted(bucket.in_segments(manifest)) == sorted(EVERYTHING.items())
    assert bucket.compact(state) is None


def test_a_run_that_goes_on_is_compacted_by_whole_fifties_and_what_is_later_stays_loose() -> None:
    bucket = Bucket()
    for step in STEPS[: 2 + 1 + 98]:  # plan, admissions, rounds 0 to 98
        bucket |= step
    bundle = bucket.compact(State())
    assert bundle is not None
    manifest = bundle.manifest
    assert (manifest.number, manifest.low_water, manifest.final) == (1, 50, False)
    assert [(segment.first_round, segment.last_round) for segment in manifest.segments] == [(0, 49)]
    assert {keys.round_of(key) for key, _ in bucket.in_segments(manifest)} == {None, *range(50)}
    bucket |= STEPS[2 + 1 + 98]
    following = bucket.compact(after(bundle))
    assert following is not None
    assert (following.manifest.number, following.manifest.low_water) == (2, 100)
    assert following.manifest.segments[0] == manifest.segments[0]


def test_the_bytes_of_segments_depend_on_the_objects_only() -> None:
    bundles = [Bucket(EVERYTHING).compact(State()), Bucket(dict(reversed(EVERYTHING.items()))).compact(State())]
    assert bundles[0] == bundles[1] is not None


def test_segments_of_a_run_follow_each_other_in_time() -> None:
    bundle = Bucket(EVERYTHING).compact(State())
    assert bundle is not None
    times = [(segment.first_at, segment.last_at) for segment in bundle.manifest.segments]
    assert len(times) == 3
    assert all(before[1] < following[0] for before, following in pairwise(times))


def test_what_is_no_object_is_left_to_its_key_and_named() -> None:
    bad = {
        keys.record(RUN, 3, "site-9", Phase.TRAIN): b"{not json",
        keys.event(RUN, "E1"): b"[" * 100_000,
        keys.event(RUN, "E2"): b"x" * (2**20 + 1),
    }
    pretty = keys.record(RUN, 4, "site-1", Phase.TRAIN)
    bucket = Bucket(EVERYTHING | bad | {pretty: EVERYTHING[pretty].replace(b",", b",\n", 1)})
    bundle = bucket.compact(State())
    assert bundle is not None
    assert bundle.manifest.left_out == tuple(sorted([*bad, pretty]))
    assert bundle.manifest.final
    assert sorted(key for key, _ in bucket.in_segments(bundle.manifest)) == sorted(set(EVERYTHING) - {pretty})


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d + b"x", lambda d: b"\0" + d[1:], lambda _: b""])
def test_a_damaged_segment_is_told_by_its_digest(damage: object) -> None:
    assert callable(damage)
    bundle = Bucket(EVERYTHING).compact(State())
    assert bundle is not None
    with pytest.raises(SegmentDamagedError):
        check_segment(bundle.manifest.segments[0], damage(bundle.objects[0].body))


@given(st.sets(st.integers(0, 300), max_size=200), st.none() | st.integers(0, 120), st.booleans())
def test_chunks_cover_what_closed_and_nothing_that_may_still_change(
    closed: set[int], low: int | None, ended: bool
) -> None:
    chunks = plan_chunks(low, closed, ended=ended)
    covered = [number for chunk in chunks for number in range(chunk.first, chunk.last + 1)]
    assert covered == sorted(set(covered))
    assert all(chunk.last - chunk.first < ROUNDS for chunk in chunks)
    wanted = {number for number in closed if low is None or number >= low}
    if ended:
        assert wanted <= set(covered)
    else:
        assert set(covered) <= wanted
        assert len(covered) % ROUNDS == 0
