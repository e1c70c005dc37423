"""Whoever comes back with an id gets exactly what followed, or is told to read everything again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedpriv_metrics.feed import Feed
from fedpriv_metrics.seq import Seq, key_digest


def add(feed: Feed, key: str) -> None:
    feed.publish(key_digest(key), lambda seq: f"{seq} {key}".encode())


def feed_of(keys: list[str], limit: int = 4096) -> Feed:
    feed = Feed(limit)
    for key in keys:
        add(feed, key)
    return feed


def keys_in(events: list[bytes]) -> list[str]:
    return [event.decode().split(" ")[1] for event in events]


KEYS = [f"k{number}" for number in range(40)]


@given(st.integers(0, 40), st.integers(1, 10))
def test_a_viewer_gets_exactly_what_it_has_not_seen(seen: int, most: int) -> None:
    feed, cursor, got = feed_of(KEYS), feed_of(KEYS[:seen]).seq, []
    while (replay := feed.after(cursor, most)).events:
        assert len(replay.events) <= most
        got += keys_in(replay.events)
        cursor = replay.seq
    assert got == KEYS[seen:]
    assert cursor == feed.seq


def test_each_event_carries_the_state_after_it() -> None:
    feed = feed_of(KEYS[:3])
    events = feed.after(Seq(), 10).events
    assert [event.decode().split(" ")[0] for event in events] == [str(feed_of(KEYS[:n]).seq) for n in (1, 2, 3)]


@given(st.permutations(KEYS[:8]), st.integers(0, 8))
def test_a_viewer_of_another_order_is_reset_unless_it_saw_the_same_objects(order: list[str], seen: int) -> None:
    replay = feed_of(KEYS[:8]).after(feed_of(order[:seen]).seq, 100)
    same = set(order[:seen]) == set(KEYS[:seen])
    assert replay.reset is not same
    if same:
        assert keys_in(replay.events) == KEYS[seen:8]


def test_a_viewer_that_has_seen_more_waits_and_then_goes_on() -> None:
    ahead, feed = feed_of(KEYS[:5]).seq, feed_of(KEYS[:3])
    assert feed.ahead(ahead)
    assert feed.after(ahead, 10).events == [] and not feed.after(ahead, 10).reset
    for key in KEYS[3:6]:
        add(feed, key)
    assert keys_in(feed.after(ahead, 10).events) == ["k5"]


def test_memory_is_bounded_and_who_is_too_far_behind_is_reset() -> None:
    feed = feed_of(KEYS, limit=8)
    oldest = feed_of(KEYS[:20]).seq
    assert feed.after(oldest, 100).reset
    assert len(feed.after(feed_of(KEYS[:-8]).seq, 100).events) == 8
    feed.trim(2)
    assert feed.after(feed_of(KEYS[:-3]).seq, 100).reset
    assert keys_in(feed.after(feed_of(KEYS[:-2]).seq, 100).events) == KEYS[-2:]
    assert feed.seq == feed_of(KEYS).seq


@given(st.integers(0, 10**15 - 1), st.integers(0, 2**64 - 1))
def test_an_id_says_what_it_is(count: int, digest: int) -> None:
    assert Seq.parse(str(Seq(count, digest))) == Seq(count, digest)


@given(st.text(max_size=40))
def test_what_is_no_id_is_none(text: str) -> None:
    found = Seq.parse(text)
    assert found is None or str(found) == text or text[0] == "0"
