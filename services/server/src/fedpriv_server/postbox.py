"""Messages to sites and what became of them: one request at a time for each site, asked again when it got lost.

A message that a node has pulled is never delivered again by Flower. So a request is a letter here, posted as often as
it takes until it is answered or withdrawn:

    post ──> pulled ──> reply announced ──> its objects arrive ──> answered
      ^         │
      └─────────┴── the site went online anew, or asks for more work while it still owes this answer

The site's ledger answers a repetition with the bytes of the first time, so asking twice costs nothing.
Everything runs on the event loop of the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from fedpriv_common.wire import PULL_HELD_S, Request
from fedpriv_server.superlink import (
    BEAT_SECONDS,
    PATIENCE,
    FlowerRun,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
    PushObjectRequest,
    SuperLink,
)

log = logging.getLogger(__name__)

#: Longest that a pull is held back, seconds.
HOLD_SECONDS: Final = PULL_HELD_S
#: A site that asks for work this long after it got a letter, seconds, has lost it. Doubles with each repetition.
_LOST_SECONDS: Final = 1.0
#: A site whose held pull broke off is offline unless it asks again within this time, seconds.
_GONE_SECONDS: Final = 2.0
#: How long Flower's run outlives ours, seconds.
_LINGER_SECONDS: Final = 5.0
#: Withdrawn letters whose late answers are still recognised.
_REMEMBERED: Final = 10_000


class Reader(Protocol):
    """Who wants the answers of a run."""

    def answered(self, site: str, fields: dict[str, object] | None) -> None:
        """The site's answer to its letter is here; None if it is not of the agreed form or too long."""
        ...

    def late(self, site: str, round_number: int) -> None:
        """An answer came to a letter that was withdrawn."""
        ...

    def presence(self, site: str, online: bool) -> None:
        """The site went online or offline."""
        ...

    def stock(self, site: str) -> None:
        """The site runs Flower's own node, which will not answer."""
        ...


@dataclass
class _Letter:
    number: int
    request: Request
    reply_bytes: int
    ttl_s: float
    #: The copy that is in the post, and every one that ever was.
    message_id: str | None = None
    posted: list[str] = field(default_factory=list)
    pulled_at: float | None = None
    lost_after_s: float = _LOST_SECONDS
    #: Objects of the announced reply that are still to come, and bytes that they may have.
    missing: set[str] | None = None
    room: int = 0


@dataclass
class _Box:
    site: str
    #: None for a site that was taken off the allow-list: what is asked of it waits for its return.
    node_id: int | None
    online: bool = False
    letter: _Letter | None = None
    #: Set when a held pull should look again.
    knock: asyncio.Event = field(default_factory=asyncio.Event)
    #: Counts pulls: only the newest one of a site is held.
    pull: int = 0
    #: Offline after so many seconds without a sign of life.
    patience_s: float = PATIENCE * BEAT_SECONDS
    silence: asyncio.TimerHandle | None = None


class Postbox:
    """The sites of the allow-list, and the letters of the one run that is active."""

    def __init__(self, link: SuperLink, presence_changed: Callable[[int], None] = lambda _: None) -> None:
        """`presence_changed` is told how many sites are online, whenever that changes."""
        self._link = link
        self._boxes = {site: _Box(site, node_id) for site, node_id in link.nodes.items()}
        self._by_node = {node_id: self._boxes[site] for site, node_id in link.nodes.items()}
        self._presence_changed = presence_changed
        self._run: FlowerRun | None = None
        self._reader: Reader | None = None
        #: Letter's number and round by message id of copies that were withdrawn, to recognise late answers.
        self._withdrawn: dict[str, tuple[int, int]] = {}
        self._sent = 0
        self._closing = False

    @property
    def sites(self) -> tuple[str, ...]:
        """All sites that may take part, in order."""
        return tuple(sorted(site for site, box in self._boxes.items() if box.node_id is not None))

    def online(self, site: str) -> bool:
        """Whether the site is there, as far as is known."""
        return self._boxes[site].online

    # -- the allow-list --------------------------------------------------------------------------------------------

    def admit(self, site: str, node_id: int) -> None:
        """A site was put on the allow-list, or came back to it with this or another key."""
        box = self._boxes.setdefault(site, _Box(site, None))
        box.node_id = node_id
        self._by_node[node_id] = box

    def expel(self, site: str) -> None:
        """A site's key was taken off the allow-list: its pull ends, and what it was about to answer is not used."""
        box = self._boxes[site]
        if box.node_id is not None:
            del self._by_node[box.node_id]
            box.node_id = None
        if box.letter is not None:
            self._forget(box.letter)
            box.letter.missing = None
        if box.silence is not None:
            box.silence.cancel()
        box.pull += 1
        box.knock.set()
        self._set_online(box, False)

    # -- the run's side --------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def open(self, name: str, reader: Reader) -> AsyncIterator[None]:
        """Letters can be sent while the context is open; their answers go to `reader`."""
        run = self._link.start_run(name)
        self._run, self._reader = run, reader
        try:
            yield
        finally:
            for site in self._boxes:
                self.withdraw(site)
            self._run, self._reader = None, None
            self._withdrawn.clear()
            # Sites confirm after they replied; told that the run is over, they would report a fault.
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._link.finish_run, run)

    def send(self, site: str, request: Request, *, reply_bytes: int, ttl_s: float) -> None:
        """Ask a site, now or when it comes online. `reply_bytes` bounds all objects of the answer together."""
        self.withdraw(site)
        box = self._boxes[site]
        self._sent += 1
        box.letter = _Letter(self._sent, request, reply_bytes, ttl_s)
        if box.online:
            self._post(box)

    def withdraw(self, site: str) -> None:
        """Want no answer any more; one that is on its way will be late."""
        box = self._boxes[site]
        letter, box.letter = box.letter, None
        if letter is not None:
            self._forget(letter)

    def _post(self, box: _Box) -> None:
        letter = box.letter
        if letter is None or self._run is None or box.node_id is None:
            return
        self._forget(letter)
        letter.message_id = self._link.post(self._run, box.node_id, letter.request.to_fields(), letter.ttl_s)
        letter.pulled_at, letter.missing = None, None
        box.knock.set()

    def _forget(self, letter: _Letter) -> None:
        """The copy in the post may not be worked on or answered any more."""
        message_id, letter.message_id = letter.message_id, None
        if message_id is not None:
            self._link.withdraw(message_id)
            letter.posted.append(message_id)
            self._withdrawn[message_id] = (letter.number, letter.request.round)
            if len(self._withdrawn) > _REMEMBERED:
                del self._withdrawn[next(iter(self._withdrawn))]

    def _complete(self, box: _Box, letter: _Letter, fields: dict[str, object] | None) -> None:
        self._settle(box, letter)
        if self._reader is not None:
            self._reader.answered(box.site, fields)

    def _settle(self, box: _Box, letter: _Letter) -> None:
        box.letter = None
        for message_id in letter.posted:  # a second answer to the same question is not a late one
            self._withdrawn.pop(message_id, None)

    # -- the nodes' side: told by the gate after a request was authenticated and handled ---------------------------

    def seen(self, node_id: int) -> None:
        """The site sent a request."""
        box = self._by_node.get(node_id)
        if box is not None:
            self._expect(box)
            self._set_online(box, True)

    def activated(self, node_id: int, heartbeat_s: float) -> None:
        """The site went online anew: what it was working on is lost."""
        box = self._by_node.get(node_id)
        if box is not None:
            box.pull += 1  # one that is still held came by a dead connection: a letter must not go there
            box.knock.set()
            if box.letter is not None:
                self._forget(box.letter)
        self.heartbeat(node_id, heartbeat_s)
        if box is not None and box.letter is not None and box.letter.message_id is None:
            self._post(box)

    def deactivated(self, node_id: int) -> None:
        """The site went offline."""
        box = self._by_node.get(node_id)
        if box is not None:
            self._set_online(box, False)

    def heartbeat(self, node_id: int, interval_s: float) -> None:
        """The site is alive, and says how often it will say so."""
        box = self._by_node.get(node_id)
        if box is not None:
            box.patience_s = PATIENCE * interval_s
            self._expect(box)
            self._set_online(box, True)

    def asks_for_code(self, site: str) -> None:
        """The site wants the code of a run, as only Flower's own node does: its letter is of no use there."""
        box = self._boxes[site]
        if box.letter is not None:
            self._forget(box.letter)
            self._settle(box, box.letter)
        if self._reader is not None:
            self._reader.stock(site)

    def reply_announced(self, request: PushMessagesRequest, response: PushMessagesResponse) -> None:
        """A reply was taken; its objects follow."""
        self.seen(request.node.node_id)
        box = self._by_node.get(request.node.node_id)
        if box is None or not request.messages_list:
            return
        metadata = request.messages_list[0].metadata
        letter = box.letter
        if letter is None or metadata.reply_to_message_id != letter.message_id:
            number, round_number = self._withdrawn.pop(metadata.reply_to_message_id, (0, 0))
            asked_again = letter is not None and letter.number == number
            if number and not asked_again and self._reader is not None:
                self._reader.late(box.site, round_number)
            return
        if self._link.has_reply(metadata.reply_to_message_id, metadata.message_id):
            if letter.missing is None:  # announced again, a reply has as much room as it had
                letter.room = letter.reply_bytes
            letter.missing = set(response.objects_to_push)
            self._check(box, letter)

    def object_stored(self, request: PushObjectRequest) -> None:
        """One object of a reply arrived."""
        self.seen(request.node.node_id)
        box = self._by_node.get(request.node.node_id)
        letter = box.letter if box else None
        if box is None or letter is None or letter.missing is None or request.object_id not in letter.missing:
            return
        letter.missing.discard(request.object_id)
        letter.room -= len(request.object_content)
        if letter.room < 0:
            self._forget(letter)
            self._complete(box, letter, None)
            return
        self._check(box, letter)

    def _check(self, box: _Box, letter: _Letter) -> None:
        if not letter.missing and letter.message_id is not None:
            self._complete(box, letter, self._link.take_reply(letter.message_id))

    async def pull(
        self,
        request: PullMessagesRequest,
        look: Callable[[], PullMessagesResponse],
        disconnected: Callable[[], Awaitable[None]],
    ) -> PullMessagesResponse:
        """Answer a pull: at once if there is a message, else when one is posted, or empty after HOLD_SECONDS.

        `look` is Flower's handler; `disconnected` returns when nobody waits for the answer any more.
        """
        box = self._by_node.get(request.node.node_id)
        response = look()
        if box is None:
            return response
        box.pull += 1
        box.knock.set()  # an older pull of the same site is answered empty: its connection may be dead
        number, loop = box.pull, asyncio.get_running_loop()
        end, gone = loop.time() + HOLD_SECONDS, asyncio.ensure_future(disconnected())
        try:
            while not response.messages_list and number == box.pull and not self._closing:
                box.knock.clear()
                wait_s = min(end, self._lost_at(box)) - loop.time()
                if wait_s > 0:
                    knock = asyncio.ensure_future(box.knock.wait())
                    await asyncio.wait({knock, gone}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                    knock.cancel()
                if gone.done():
                    self._broke_off(box)
                    return response
                if number != box.pull or loop.time() >= end:
                    return response
                if loop.time() >= self._lost_at(box) and box.letter is not None:
                    box.letter.lost_after_s *= 2
                    log.info("asked_again", extra={"site": box.site, "round": box.letter.request.round})
                    self._post(box)
                response = look()
        finally:
            gone.cancel()
        if box.letter is not None and response.messages_list:
            box.letter.pulled_at = loop.time()
        return response

    def release(self) -> None:
        """Answer every held pull: the server stops."""
        self._closing = True
        for box in self._boxes.values():
            box.knock.set()

    def _lost_at(self, box: _Box) -> float:
        letter = box.letter
        if letter is None or letter.pulled_at is None:
            return float("inf")
        return letter.pulled_at + letter.lost_after_s

    # -- presence --------------------------------------------------------------------------------------------------

    def _broke_off(self, box: _Box) -> None:
        """The connection of a held pull is gone: so is the site, unless it comes back at once."""
        pull = box.pull

        def decide() -> None:
            if box.pull == pull:
                # Its next process may have another state folder, and cannot end this session before its own.
                if box.node_id is not None:
                    self._link.end_session(box.node_id)
                self._set_online(box, False)

        asyncio.get_running_loop().call_later(_GONE_SECONDS, decide)

    def _expect(self, box: _Box) -> None:
        if box.silence is not None:
            box.silence.cancel()
        loop = asyncio.get_running_loop()
        box.silence = loop.call_later(box.patience_s, self._set_online, box, False)

    def _set_online(self, box: _Box, online: bool) -> None:
        if box.online is online:
            return
        box.online = online
        log.info("site_online" if online else "site_offline", extra={"site": box.site})
        self._presence_changed(sum(other.online for other in self._boxes.values()))
        if online and box.letter is not None and box.letter.message_id is None:
            self._post(box)
        if self._reader is not None:
            self._reader.presence(box.site, online)
