"""A run's events for its viewers: one bounded list of encoded events, shared by every connection.

An event's id is the state after it (see seq.py). A viewer that comes back with an id gets exactly what came after:

    viewer has "3-a1f…"   this process's third state is "3-a1f…"  ─> events 4, 5, …
                          it is another one, or no longer held    ─> reset: read everything again
                          this process has read only two objects  ─> nothing yet, until it has caught up

Objects are published in the order in which the server writes them, one after the other, so two processes, or one
before and after a restart, hold the same states however their readings fall. Where objects once came in another
order, a viewer that changes the process is reset: nothing is ever lost or shown twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

from fedpriv_metrics.seq import Seq


class Encode(Protocol):
    """Makes the bytes of an event, given the state after it."""

    def __call__(self, seq: Seq, /) -> bytes:
        """As server-sent events spell it."""
        ...


#: Whom an event is for, as who publishes it says; and whether that is somebody.
Audience = Hashable
Sees = Callable[[Audience], bool]

#: Events that can be replayed.
LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Replay:
    """What a viewer at a state gets next: events and the state after them, or a reset to the current state."""

    events: list[bytes]
    seq: Seq
    reset: bool = False


class Feed:
    """The states and events of one run, or of the list of runs."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._dropped = 0
        #: `_states[i]` is the digest before `_events[i]`; the last one is the current state's.
        self._states = [0]
        #: Encoded when somebody first asks for them, and then kept: most of a long history is never asked for.
        self._events: list[bytes | Encode] = []
        self._audiences: list[Audience] = []
        self.changed = asyncio.Event()

    @property
    def seq(self) -> Seq:
        """The current state."""
        return Seq(self._dropped + len(self._events), self._states[-1])

    def publish(self, digest: int, encode: Encode, audience: Audience = None) -> None:
        """Add the event of the object with this key digest; `encode` is given the state after it."""
        self._events.append(encode)
        self._audiences.append(audience)
        self._states.append(self._states[-1] ^ digest)
        # Trimming in halves keeps the cost per event constant.
        if len(self._events) > 2 * self._limit:
            self.trim(self._limit)

    def wake(self) -> None:
        """Let every connection that waits look again."""
        self.changed.set()
        self.changed = asyncio.Event()

    def trim(self, kept: int) -> None:
        """Forget all but the last `kept` events; viewers of older states are reset."""
        surplus = len(self._events) - kept
        if surplus > 0:
            del self._events[:surplus], self._states[:surplus], self._audiences[:surplus]
            self._dropped += surplus

    def ahead(self, seq: Seq) -> bool:
        """Whether `seq` is of a process that has read more than this one."""
        return seq.count > self.seq.count

    def after(self, seq: Seq, most: int, sees: Sees = lambda _: True) -> Replay:
        """Of the `most` events after state `seq` those whose audience `sees` accepts, or a reset when that state is
        none of this feed's."""
        if self.ahead(seq):
            return Replay([], seq)
        place = seq.count - self._dropped
        if place < 0 or self._states[place] != seq.digest:
            return Replay([], self.seq, reset=True)
        end = min(place + most, len(self._events))
        events = [self._encoded(number) for number in range(place, end) if sees(self._audiences[number])]
        return Replay(events, Seq(self._dropped + end, self._states[end]))

    def _encoded(self, place: int) -> bytes:
        event = self._events[place]
        if not isinstance(event, bytes):
            event = self._events[place] = event(Seq(self._dropped + place + 1, self._states[place + 1]))
        return event
