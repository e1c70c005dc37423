"""A connection's life: comments while nothing happens, resets, bounded numbers, an end at shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fedpriv_metrics.feed import Feed
from fedpriv_metrics.seq import Seq, key_digest
from fedpriv_metrics.stream import EventStream, Streams


def add(feed: Feed, key: str) -> None:
    feed.publish(key_digest(key), lambda seq: f"event: log\nid: {seq}\ndata: {key}\n\n".encode())
    feed.wake()


async def read(streams: Streams, feed: Feed, cursor: Seq, enough: Callable[[str], bool]) -> str:
    """What a viewer is sent until it has `enough`, or until its stream ends."""
    text = ""
    async with asyncio.timeout(10):
        async for chunk in streams.events(feed, cursor, "run"):
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
        stream = EventStream(service, Feed(), None, "run")
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(_: Any) -> None:
            assert service.full

        serving = asyncio.create_task(stream({"type": "http"}, receive, send))
        await asyncio.sleep(0)
        if leaves == "at the end":
            gone.set()
        else:
            serving.cancel()
        await asyncio.wait([serving])
        assert not service.full

    asyncio.run(scenario())
    assert told == [1, 0]
