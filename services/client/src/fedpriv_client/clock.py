"""The server's time, which requests are signed with: a site's machine may be hours off, and nobody there to set it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

log = logging.getLogger(__name__)

#: Flower refuses signatures from 5 s in its future or 305 s in its past; a server tells its time in whole seconds.
_AHEAD_S: Final = 4.0
_BEHIND_S: Final = 300.0
#: Further off than this, a clock is broken, and certificates are no good by it either.
_MOST_S: Final = 86_400.0


class ServerClock:
    """This machine's clock, and by how much it is off as the server sees it.

    The server is known by its certificate when it says what time it is. All that follows from its word is the time in
    this site's signatures, which nobody but the server is shown.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """`now`: this machine's clock, in UTC."""
        self._now = now
        self._correction = timedelta()

    def now(self) -> datetime:
        """The time to sign with."""
        return self._now() + self._correction

    def fault(self, date: str | None) -> str | None:
        """Why a server refused a signature and answered with this Date header, if the time was the reason.

        From then on `now` follows the server's clock, unless the two are more than a day apart.
        """
        try:
            server = parsedate_to_datetime(date or "")
            ahead_s = (self.now() - server).total_seconds()
        except (ValueError, TypeError):
            return None
        if -_BEHIND_S <= ahead_s <= _AHEAD_S:
            return None
        off_s = (self._now() - server).total_seconds()
        told = f"this machine's clock is {abs(off_s):.0f} s {'ahead of' if off_s > 0 else 'behind'} the server's"
        if abs(off_s) > _MOST_S:
            return f"{told}, too much to be made up for"
        self._correction = timedelta(seconds=-off_s)
        log.warning("clock_is_off", extra={"ahead_s": round(off_s)})
        return told
