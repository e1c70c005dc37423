"""What is known of a run now, for those who watch it."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from fedpriv_common import keys
from fedpriv_common.records import EndState, Estimate, RunEnd, RunInfo, RunState
from fedpriv_common.wire import OK, SiteFacts
from fedpriv_server.postbox import Postbox
from fedpriv_server.status import RunStatus, SiteStatus, Waiting

#: What a run's status says while the bucket does not take what must not come out differently.
_DISK_ALONE: Final = (
    "S3 does not take what the run has decided: until it does, the run survives a crash of the server, "
    "but not the loss of the server's disk"
)
#: Rounds over which the median duration is taken.
_DURATIONS: Final = 1000


class Board:
    """Codes, budgets, figures and times of one run. Watchers are woken by `changed`."""

    def __init__(
        self, info: RunInfo, sites: tuple[str, ...], postbox: Postbox, metrics: dict[str, float | None], round_: int
    ) -> None:
        """`metrics` and `round_`: where an earlier start of the run left off."""
        self._info = info
        self._sites = sites
        self._postbox = postbox
        self._version = 0
        self._woken = asyncio.Event()
        self._durations_ms: deque[float] = deque(maxlen=_DURATIONS)
        #: Each site's last word on taking part: OK or a refusal.
        self.codes: dict[str, str] = {}
        self.facts: dict[str, SiteFacts] = {}
        #: Sites that were seen to run Flower's own node.
        self.stock: set[str] = set()
        self.metrics = metrics
        self.held_out: dict[str, Estimate] = {}
        self.round = round_
        #: How the run will end, once that is durable.
        self.decided: EndState | None = None
        self.end: RunEnd | None = None
        self.warning: str | None = None
        #: Whom the run waits for.
        self.waiting: Callable[[], Waiting | None] = lambda: None
        #: Whether the bucket lacks what it was waited for with.
        self.behind: Callable[[], bool] = lambda: False

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run was started, whatever happened meanwhile."""
        return max(0.0, (datetime.now(UTC) - self._info.created_at).total_seconds())

    @property
    def willing(self) -> tuple[str, ...]:
        """Sites that take part."""
        return tuple(site for site in self._sites if self.codes.get(site) == OK)

    def note(self, site: str, code: str, facts: SiteFacts | None) -> None:
        """What a site said."""
        self.codes[site] = code
        if facts is not None:
            self.facts[site] = facts

    def round_closed(self, round_number: int, duration_s: float) -> None:
        """A round closed, with the model of `round_number` as its outcome."""
        self.round = round_number
        self._durations_ms.append(1000 * duration_s)
        self.changed()

    def changed(self) -> None:
        """Wake whoever waits for news."""
        self._version += 1
        woken, self._woken = self._woken, asyncio.Event()
        woken.set()

    async def wait_for_change(self, version: int, timeout_s: float) -> None:
        """Return when the status is newer than `version`, at most after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self._version <= version and (left := deadline - time.monotonic()) > 0:
            try:
                await asyncio.wait_for(self._woken.wait(), left)
            except TimeoutError:
                return

    def status(self) -> RunStatus:
        """The run now."""
        end, plan = self.end, self._info.plan
        return RunStatus(
            run_id=self._info.run_id,
            name=self._info.settings.name,
            version=self._version,
            state=end.state if end else RunState.ACTIVE,
            cause=end.cause if end else None,
            decided=self.decided,
            code=end.code if end else None,
            created_at=self._info.created_at,
            epsilon=plan.epsilon,
            delta=plan.delta,
            round=self.round,
            rounds=plan.rounds,
            metrics=self.metrics,
            held_out=self.held_out,
            sites=tuple(self._site(site) for site in self._sites),
            median_round_ms=statistics.median(self._durations_ms) if self._durations_ms else None,
            elapsed_s=end.duration_s if end else self.elapsed_s,
            model=keys.model(self._info.run_id) if end and end.model_digest else None,
            warning=self.warning or (_DISK_ALONE if end is None and self.behind() else None),
            waiting=None if end else self.waiting(),
        )

    def _site(self, site: str) -> SiteStatus:
        facts = self.facts.get(site)
        told = {} if facts is None else facts.model_dump(include=_BUDGET)
        return SiteStatus(
            site=site,
            online=self._postbox.online(site),
            code=self.codes.get(site),
            stock=site in self.stock,
            **told,
        )


_BUDGET: Final = {"epsilon_run", "epsilon_spent", "epsilon_planned", "epsilon_limit"}
