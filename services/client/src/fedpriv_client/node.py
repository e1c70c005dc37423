"""The resident node: online for as long as its process lives, whatever the server does meanwhile.

offline ── activate ── pull ── answer ── push ── confirm ┐
   ↑                    ↑                                │
   │                    └────────────────────────────────┘
   └ back-off ── any failure: the session is over, since a message may have been lost with the answer that failed.
                 Going online anew tells the server to ask again; what was answered before is answered the same.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final

from flwr.app import Message

from fedpriv_client.app import SiteApp
from fedpriv_client.fleet import HEARTBEAT_SECONDS, AbandonedError, Fleet
from fedpriv_client.state import StateDir
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.steps import measured, step

log = logging.getLogger(__name__)

#: How long a request may still be worked on after the node was told to stop, seconds.
STOP_SECONDS: Final = 20.0
#: How long a run waits for a site by default, seconds.
_ROUND_WAITS_S = 900.0
#: How long going offline may take then; a server that does not hear of it finds out by itself.
_FAREWELL_SECONDS = 3.0


class Backoff:
    """Waits between attempts to go online: from a tenth of a second, doubling, with jitter.

    Up to 5 s while a round may still wait for the site (by default), up to 30 s later.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._online_at = clock()
        self._failures = 0

    def succeeded(self) -> None:
        """The server answers."""
        self._online_at = self._clock()
        self._failures = 0

    def failed(self) -> float:
        """Seconds to wait before the next attempt."""
        cap = 5.0 if self._clock() - self._online_at < _ROUND_WAITS_S else 30.0
        # 2**16 is far beyond both caps; without an end the power would overflow after some hours.
        delay = min(cap, 0.1 * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreads sites, hides nothing


class Patience:
    """Waits between pulls that brought nothing.

    A fedpriv server holds the answer back until there is a message: nothing to wait for. A stock SuperLink answers
    at once: it is asked twenty times a second for a minute after each message, as a round may be on, then ever less
    often, down to every three seconds.
    """

    _HELD = 1.0
    _ROUND = 60.0
    _SHORTEST, _LONGEST = 0.05, 3.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._message_at = -self._ROUND
        self._delay = self._SHORTEST

    def got_message(self) -> None:
        """A message came; another one may follow soon."""
        self._message_at = self._clock()
        self._delay = self._SHORTEST

    def got_nothing(self, took: float) -> float:
        """Seconds to wait before the next pull, after one that took `took` seconds."""
        if took >= self._HELD:
            return 0.0
        if self._clock() - self._message_at < self._ROUND:
            return self._SHORTEST
        self._delay = min(self._LONGEST, 1.5 * self._delay)
        return self._delay * random.uniform(0.8, 1.0)  # noqa: S311


class Node:
    """Keeps a site online and answers its messages, one at a time, in the order in which they come."""

    def __init__(
        self,
        fleet: Fleet,
        app: SiteApp,
        state: StateDir,
        presence: Callable[[bool], None],
        require_lease: Callable[[], None] = lambda: None,
    ) -> None:
        """`presence` is told when the site goes online and offline.

        `require_lease` raises when another process may be this site by now; it is asked before anything is sent.
        """
        self._fleet = fleet
        self._app = app
        self._state = state
        self._presence = presence
        self._require_lease = require_lease
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        #: Held while a message is worked on.
        self._working = threading.Lock()

    def run(self) -> None:
        """Serve until `stop`, then finish the request at hand, within STOP_SECONDS, and go offline.

        Raises SERVER_CERTIFICATE when the server's certificate is not accepted before the site was ever online, and
        whatever `fail` was given.
        """
        for work in (self._serve_for_ever, self._beat):
            threading.Thread(target=self._guarded, args=(work,), daemon=True).start()
        self._ended.wait()
        # The lock is kept: a message that comes now is left to the next start of this site.
        if not self._working.acquire(timeout=STOP_SECONDS):
            log.warning("stopped_at_work", extra={"after_s": STOP_SECONDS})
        # In a thread of its own, as a request can take longer than there is time.
        farewell = threading.Thread(target=self._farewell, daemon=True)
        farewell.start()
        farewell.join(_FAREWELL_SECONDS)
        if self._failure is not None:
            raise self._failure
        log.info("stopped")

    def stop(self) -> None:
        """Make `run` end. May be called from a signal handler."""
        self._ended.set()

    def fail(self, error: BaseException) -> None:
        """Make `run` end by raising `error`, unless something failed before."""
        self._failure = self._failure or error
        self._ended.set()

    # -- the threads -----------------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # a thread that ended unseen would leave a site that only looks alive
            self.fail(error)

    def _serve_for_ever(self) -> None:
        backoff, was_online = Backoff(), False
        while not self._ended.is_set():
            self._require_lease()
            try:
                self._state.node_id = node_id = self._fleet.activate(self._state.node_id)
            except (FedprivError, AbandonedError) as error:
                if _code(error) is ErrorCode.SERVER_CERTIFICATE and not was_online:
                    raise
                delay = backoff.failed()
                log.warning(str(error), extra={"code": _code(error), "retry_in_s": round(delay, 1)})
                self._ended.wait(delay)
                continue
            was_online = True
            self._presence(True)
            log.info("online", extra={"node_id": node_id})
            try:
                self._serve(backoff)
            except FedprivError as error:
                log.info("offline", extra={"reason": str(error)})
                self._require_lease()
            self._presence(False)
            self._ended.wait(backoff.failed())

    def _beat(self) -> None:
        """Signs of life, while pulls are held back or a request is worked on for long."""
        while not self._ended.wait(HEARTBEAT_SECONDS * random.uniform(0.5, 0.7)):  # noqa: S311
            try:
                self._require_lease()
                self._fleet.heartbeat()
            except (FedprivError, AbandonedError) as error:
                log.debug("heartbeat_failed", extra={"reason": str(error)})

    def _farewell(self) -> None:
        try:
            self._require_lease()  # else it would be another process's presence that ends
            self._fleet.deactivate()
        except (FedprivError, AbandonedError) as error:
            log.info("left_unheard", extra={"reason": str(error)})

    # -- one session -----------------------------------------------------------------------------------------------

    def _serve(self, backoff: Backoff) -> None:
        """Pull and answer until something fails."""
        patience = Patience()
        while not self._ended.is_set():
            try:
                with measured(log, "message_steps"):
                    self._serve_one(backoff, patience)
            except AbandonedError as error:
                log.warning("abandoned", extra={"reason": str(error)})

    def _serve_one(self, backoff: Backoff, patience: Patience) -> None:
        asked_at = time.monotonic()
        self._require_lease()
        message = self._fleet.pull()
        backoff.succeeded()
        if message is None:
            self._ended.wait(patience.got_nothing(time.monotonic() - asked_at))
            return
        patience.got_message()
        with self._working:
            self._answer(message)

    def _answer(self, message: Message) -> None:
        with step("answer"):
            reply = self._app.run(message)
        # A former holder's ledger refuses; that is no answer of the site.
        self._require_lease()
        with step("push"):
            self._fleet.push(reply)
        with step("confirm"):
            self._fleet.confirm(message)


def _code(error: FedprivError | AbandonedError) -> ErrorCode | None:
    return error.code if isinstance(error, FedprivError) else None
