"""What sites answer, on its way in: the contents of each reply, apart from those of every other.

Flower keeps the objects of all senders in one store, by their content, with the children that whoever named an object
first said it has. There, a site could announce one reply again and again with other objects, of which none would ever
be forgotten; let objects have each other for children until nothing can count them; or name the objects of another
site's reply first, so that this one cannot be read any more. Here, a reply has the objects of its first announcement,
and nothing else has a part in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fedpriv_common.canonical import sha256_hex


@dataclass
class _Reply:
    run_id: int
    node_id: int
    #: In which its contents come; another announcement begins another one.
    session: str
    #: By object id, in the order of the announcement; None is still to come.
    contents: dict[str, bytes | None]


class Replies:
    """The replies of some of Flower's runs, by the id of the reply's message."""

    def __init__(self) -> None:
        self._runs: set[int] = set()
        self._replies: dict[str, _Reply] = {}
        self._sessions: dict[str, _Reply] = {}

    def __len__(self) -> int:
        return len(self._replies)

    def __contains__(self, run_id: int) -> bool:
        return run_id in self._runs

    def begin(self, run_id: int) -> None:
        """From now on, replies to this run's messages are kept here."""
        self._runs.add(run_id)

    def end(self, run_id: int) -> None:
        """Forget the run and all of its replies."""
        self._runs.discard(run_id)
        for reply_id in [reply_id for reply_id, reply in self._replies.items() if reply.run_id == run_id]:
            self.forget(reply_id)

    def announce(self, reply_id: str, run_id: int, node_id: int, session: str, object_ids: Iterable[str]) -> list[str]:
        """The objects of a reply that are still to come, in this session. Its first announcement said which it has."""
        reply = self._replies.setdefault(reply_id, _Reply(run_id, node_id, session, dict.fromkeys(object_ids)))
        if reply.node_id != node_id:
            return []
        self._sessions.pop(reply.session, None)
        reply.session, self._sessions[session] = session, reply
        return [object_id for object_id, content in reply.contents.items() if content is None]

    def session(self, object_id: str, node_id: int | None = None) -> str:
        """In which session an object is to come, from this node if one is given: stock nodes may not say. Empty if it
        is not to come."""
        for reply in self._replies.values():
            if node_id in (None, reply.node_id) and reply.contents.get(object_id, b"") is None:
                return reply.session
        return ""

    def store(self, session: str, object_id: str, content: bytes) -> bool:
        """Take an object; False if it is not to come, or is another one than its id says."""
        reply = self._sessions.get(session)
        if reply is None or reply.contents.get(object_id, b"") is not None or sha256_hex(content) != object_id:
            return False
        reply.contents[object_id] = content
        return True

    def contents(self, reply_id: str) -> dict[str, bytes]:
        """By object id, what has come of a reply."""
        reply = self._replies.get(reply_id)
        return {} if reply is None else {key: content for key, content in reply.contents.items() if content is not None}

    def forget(self, reply_id: str) -> None:
        """Keep nothing of a reply, and take nothing more of it."""
        reply = self._replies.pop(reply_id, None)
        if reply is not None:
            self._sessions.pop(reply.session, None)
