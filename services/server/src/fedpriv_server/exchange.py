"""One question to several sites: who answered well, who refused, who answered badly, who did not answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from fedpriv_common.errors import Refusal, RefusalError
from fedpriv_common.records import EventKind
from fedpriv_common.wire import OK, Reply, Request
from fedpriv_server.postbox import Postbox
from fedpriv_server.status import Waiting

log = logging.getLogger(__name__)

#: What facts, field names and Flower's envelopes may add to the payload of a reply, bytes.
_ENVELOPE_BYTES: Final = 64 * 1024
#: A message is of no use after its deadline; Flower takes replies a little longer, so that late ones are seen.
_AFTER_DEADLINE_S: Final = 60.0
#: A site that says "not yet" is asked again after about so many seconds, twice as long each time up to the second.
_AGAIN_S: Final = 1.0
_AGAIN_MAX_S: Final = 30.0
#: A question that is open for longer than this is told to whoever watches, seconds.
_TOLD_AFTER_S: Final = 2.0


@dataclass
class Answers:
    """`replies` passed every check; `refused` holds the code of each site that declined."""

    replies: dict[str, Reply] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)

    def __contains__(self, site: str) -> bool:
        return site in self.replies or site in self.refused or site in self.bad


class Exchange:
    """Asks and waits, woken by answers. The postbox's reader for as long as a run is active."""

    def __init__(
        self,
        postbox: Postbox,
        event: Callable[[EventKind, str, int | None], None],
        waits: Callable[[], None] = lambda: None,
    ) -> None:
        """`event` is told what is worth recording: its kind, the site, the round. `waits` is told when there is a
        `waiting` to show."""
        self._postbox = postbox
        self._event = event
        self._stands = waits
        self._until: datetime | None = None
        self._quorum = 0
        self._woken = asyncio.Event()
        self._answers = Answers()
        self._asked: Mapping[str, Request] = {}
        self._first: dict[str, deque[Request]] = {}
        self._heard: Callable[[str, Request, str], None] = lambda _site, _request, _code: None
        self._reply_bytes, self._ttl_s = 0, 0.0
        self._accept: Callable[[str, Reply], None] = lambda _site, _reply: None
        self._again: Collection[str] = ()
        self._waits: Callable[[str, str], None] = lambda _site, _code: None
        #: By site that said "not yet": the code, how often it was said, and the timer of the next question.
        self._not_yet: dict[str, tuple[str, int, asyncio.TimerHandle]] = {}
        self._stock: set[str] = set()

    async def ask(
        self,
        requests: Mapping[str, Request],
        accept: Callable[[str, Reply], None],
        *,
        payload_bytes: int,
        deadline_s: float,
        quorum: int,
        grace_s: float = 0.0,
        first: Mapping[str, Sequence[Request]] | None = None,
        heard: Callable[[str, Request, str], None] = lambda _site, _request, _code: None,
        again: Collection[str] = (),
        waits: Callable[[str, str], None] = lambda _site, _code: None,
    ) -> Answers:
        """Put one request to each site and wait: until all answered, or too few are left for `quorum` answers, or
        the quorum is there and every site that is missing is offline or has no ledger to write to (not before
        `grace_s`), or the deadline.

        `accept` raises ValueError or RefusalError for a reply that is OK but not acceptable; LEDGER_ROLLED_BACK counts
        as the site's own refusal. `first`: what a site is told before the question; `heard` is called with the code
        of each answer to that. `again`: refusals that mean "not yet"; `waits` is told of the first, and the site is
        asked again, with pauses, until the deadline.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._asked, self._accept, self._answers = requests, accept, Answers()
        self._first, self._heard = {site: deque(told) for site, told in (first or {}).items()}, heard
        self._again, self._waits, self._not_yet = again, waits, {}
        self._quorum = quorum
        telling = loop.call_later(_TOLD_AFTER_S, self._tell, datetime.now(UTC) + timedelta(seconds=deadline_s))
        self._reply_bytes, self._ttl_s = payload_bytes + _ENVELOPE_BYTES, deadline_s + _AFTER_DEADLINE_S
        try:
            for site in requests:
                self._send_next(site)
            while (wait_s := self._wait_s(loop.time() - started, deadline_s, quorum, grace_s)) > 0:
                self._woken.clear()
                # Not wait_for: in Python 3.11 it forgets that it was cancelled when an answer comes at that moment.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._woken.wait()
        finally:
            telling.cancel()
            self._until = None
            for _, _, timer in self._not_yet.values():
                timer.cancel()
            for site in requests:
                self._postbox.withdraw(site)
            self._asked = {}
        for site, (code, _, _) in self._not_yet.items():
            if site not in self._answers:
                self._answers.refused[site] = code
        return self._answers

    def _send_next(self, site: str) -> None:
        told = self._first.get(site)
        request = told[0] if told else self._asked[site]
        self._postbox.send(site, request, reply_bytes=self._reply_bytes, ttl_s=self._ttl_s)

    def waiting(self) -> Waiting | None:
        """Whom the question that is open waits for, once that has taken some seconds."""
        if self._until is None:
            return None
        lacking = max(0, self._quorum - len(self._answers.replies))
        return Waiting(sites=tuple(self._missing()), lacking=lacking, until=self._until)

    def _tell(self, until: datetime) -> None:
        self._until = until
        waiting = self.waiting()
        if waiting is not None and waiting.sites:
            log.info("waiting", extra=waiting.model_dump(mode="json"))
        self._stands()

    def _missing(self) -> list[str]:
        return [site for site in self._asked if site not in self._answers]

    def _wait_s(self, elapsed_s: float, deadline_s: float, quorum: int, grace_s: float) -> float:
        """How long to wait before looking again; 0 when there is nothing to wait for."""
        missing = self._missing()
        received = len(self._answers.replies)
        if not missing or received + len(missing) < quorum:
            return 0.0
        if received >= quorum and not any(self._may_have_paid(site) for site in missing):
            return min(grace_s, deadline_s) - elapsed_s
        return deadline_s - elapsed_s

    def _may_have_paid(self, site: str) -> bool:
        """Whether a site may have charged its ledger for an answer that is on its way, or that a person decides on."""
        code = self._not_yet[site][0] if site in self._not_yet else None
        return self._postbox.online(site) and code != Refusal.LEDGER_UNAVAILABLE

    # -- the postbox's reader --------------------------------------------------------------------------------------

    def answered(self, site: str, fields: dict[str, object] | None) -> None:
        """An answer to the question that is asked now."""
        if site not in self._asked or site in self._answers:
            return
        if told := self._first.get(site):
            with contextlib.suppress(ValueError):
                self._heard(site, told[0], Reply.from_fields(fields or {}).code)
            told.popleft()
            self._send_next(site)
            return
        request = self._asked[site]
        try:
            if fields is None:
                raise ValueError("not a fedpriv record, or too large")
            reply = Reply.from_fields(fields)
            if reply.code == OK:
                self._accept(site, reply)
                self._answers.replies[site] = reply
            elif reply.code in self._again:
                self._ask_later(site, reply.code)
            else:
                self._answers.refused[site] = reply.code
        except (ValueError, RefusalError) as error:
            where = {"site": site, "round": request.round, "reason": str(error)[:200]}
            if isinstance(error, RefusalError) and error.refusal is Refusal.LEDGER_ROLLED_BACK:
                # Told as if the site had seen it itself: it needs the same person's attention.
                log.warning("ledger_rolled_back", extra=where)
                self._answers.refused[site] = error.refusal.value
            else:
                log.warning("bad_reply", extra=where)
                self._answers.bad.add(site)
                self._event(EventKind.BAD_REPLY, site, request.round)
        self._woken.set()

    def _ask_later(self, site: str, code: str) -> None:
        _, times, _ = self._not_yet.get(site, ("", 0, None))
        # Jittered, so that sites that are waited for do not all answer at the same moment, each time.
        pause_s = min(_AGAIN_S * 2**times, _AGAIN_MAX_S) * random.uniform(0.5, 1.0)  # noqa: S311
        timer = asyncio.get_running_loop().call_later(pause_s, self._send_next, site)
        self._not_yet[site] = (code, times + 1, timer)
        if times == 0:
            self._waits(site, code)

    def late(self, site: str, round_number: int) -> None:
        """An answer to an earlier question: told, and not used."""
        self._event(EventKind.LATE_REPLY, site, round_number)

    def presence(self, site: str, online: bool) -> None:
        """A site came or went."""
        self._event(EventKind.SITE_BACK if online else EventKind.SITE_OFFLINE, site, None)
        self._woken.set()

    def stock(self, site: str) -> None:
        """A site without a ledger: told once, and waited for no longer."""
        if site not in self._stock:
            self._stock.add(site)
            self._event(EventKind.STOCK_NODE, site, None)
        if site in self._asked and site not in self._answers:
            self._answers.bad.add(site)
            self._woken.set()
