"""A connection's life: comments while nothing happens, resets, bounded numbers, an end at shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from fedpriv_metrics.feed import Feed, Sees
from fedpriv_metrics.problems import ProblemError
from fedpriv_metrics.seq import Seq, key_digest
from fedpriv_metrics.stream import EventStream, Streams, Watch


def add(feed: Feed, key: str) -> None:
    feed.publish(key_digest(key), lambda seq: f"event: log\nid: {seq}\ndata: {key}\n\n".encode())
    feed.wake()


def encoded(key: str, seq: Seq) -> bytes:
    return f"id: {seq}\ndata: {key}\n\n".encode()


async def read(
    streams: Streams, feed: Feed, cursor: Seq, enough: Callable[[str], bool], sees: Sees = lambda _: True
) -> str:
    """What a viewer is sent until it has `enough`, or until its stream ends."""
    text = ""
    async with asyncio.timeout(10):
        async for chunk in streams.events(Watch(feed, "run", sees), cursor):
            text += chunk.decode()
            if enough(text):
                break
    return text


def streams(**settings: Any) -> Streams:
    return Streams(lambda _: None, **settings)


def test_a_silent_stream_is_kept_open_by_comments() -> None:
    text = asyncio.run(read(streams(comment_every_s=0.01), Feed(), Seq(), lambda text: text.count(": here") == 3))
    assert text.startswith(": open\nretry: 1000\n\n")
    assert "data" not in text


def test_an_event_wakes_a_viewer_that_waits() -> None:
    async def scenario() -> str:
        feed = Feed()
        viewer = asyncio.create_task(read(streams(), feed, feed.seq, lambda text: "data: b" in text))
        await asyncio.sleep(0)
        for key in "ab":
            add(feed, key)
        return await viewer

    text = asyncio.run(scenario())
    assert (text.count("data: a"), text.count("data: b")) == (1, 1)


def test_a_viewer_far_behind_is_given_everything_once_and_in_order() -> None:
    feed, keys = Feed(), [f"k{number}" for number in range(500)]
    for key in keys:
        add(feed, key)
    text = asyncio.run(read(streams(), feed, Seq(), lambda text: "data: k499\n" in text))
    assert [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data")] == keys


def test_a_viewer_that_has_seen_more_is_reset_when_this_process_does_not_catch_up() -> None:
    ahead = Seq(5, 123)
    text = asyncio.run(read(streams(catch_up_s=0.01), Feed(), ahead, lambda text: "reset" in text))
    assert f"id: {Seq()}" in text


def test_a_viewer_that_has_seen_more_goes_on_when_this_process_catches_up() -> None:
    async def scenario() -> str:
        feed, other = Feed(), Feed()
        for key in "abc":
            add(other, key)
        viewer = asyncio.create_task(read(streams(), feed, other.seq, lambda text: "data: d" in text))
        for key in "abcd":
            await asyncio.sleep(0)
            add(feed, key)
        return await viewer

    text = asyncio.run(scenario())
    assert "reset" not in text
    assert text.count("data:") == 1


def test_a_viewer_is_told_only_what_is_for_it_and_resumes_after_what_is_not() -> None:
    feed = Feed()
    for key in ("site-1/a", "site-2/b", "site-1/c", "site-2/d"):
        feed.publish(key_digest(key), partial(encoded, key), key.split("/")[0])
    text = asyncio.run(
        read(streams(), feed, Seq(), lambda text: "data: site-1/c" in text, lambda site: site == "site-1")
    )
    assert [line for line in text.splitlines() if line.startswith("data")] == ["data: site-1/a", "data: site-1/c"]
    last = Seq.parse(text.split("id: ")[-1].split()[0])
    assert last is not None
    assert feed.after(last, 10).events == [encoded("site-2/d", feed.seq)]


def test_a_stream_ends_when_its_key_is_revoked() -> None:
    good = [True]
    watch = Watch(Feed(), "run", lambda _: True, "me", lambda: good[0])

    async def scenario() -> str:
        text = ""
        async for chunk in streams(comment_every_s=0.01).events(watch, Seq()):
            text += chunk.decode()
            good[0] = False
        return text

    assert asyncio.run(scenario()).startswith(": open")


def test_one_viewer_leaves_room_for_others() -> None:
    service = streams(most=3, most_of_one=2)
    for _ in range(2):
        service.require_room("greedy")
        service.opened("greedy", 1)
    with pytest.raises(ProblemError) as refused:
        service.require_room("greedy")
    assert (refused.value.status_code, refused.value.code) == (429, "TOO_MANY_STREAMS")
    service.require_room("other")
    service.opened("other", 1)
    with pytest.raises(ProblemError) as refused:
        service.require_room("third")
    assert (refused.value.status_code, refused.value.code) == (503, "BUSY")


def test_every_stream_ends_at_shutdown() -> None:
    async def scenario() -> list[str]:
        service, feed = streams(), Feed()
        viewers = [asyncio.create_task(read(service, feed, Seq(), lambda _: False)) for _ in range(3)]
        await asyncio.sleep(0)
        service.close()
        return await asyncio.gather(*viewers)

    assert len(asyncio.run(scenario())) == 3


@pytest.mark.parametrize("leaves", ["at the end", "by cancellation"])
def test_open_streams_are_counted_however_they_end(leaves: str) -> None:
    told: list[int] = []

    async def scenario() -> None:
        service = Streams(told.append, most=1)
        stream = EventStream(service, Watch(Feed(), "run", lambda _: True, "me"), None)
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(_: Any) -> None:
            with pytest.raises(ProblemError, match="event streams"):
                service.require_room("you")

        serving = asyncio.create_task(stream({"type": "http"}, receive, send))
        await asyncio.sleep(0)
        if leaves == "at the end":
            gone.set()
        else:
            serving.cancel()
        await asyncio.wait([serving])
        service.require_room("you")

    asyncio.run(scenario())
    assert told == [1, 0]
