"""Figures for Prometheus, on a port of their own that is not for the public. None is derived from records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fedpriv_common.records import EventKind, RunState
from fedpriv_common.wire import SiteFacts

if TYPE_CHECKING:
    from fedpriv_server.writer import WriterCounts

_ROUND_SECONDS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Prometheus:
    """The server's metrics. Labels that name a run are removed when the run ends."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._round = Gauge("fl_round", "Last closed training round", ["run_id"], registry=registry)
        self._duration = Histogram(
            "fl_round_duration_seconds",
            "From asking the sites to the new model",
            buckets=_ROUND_SECONDS,
            registry=registry,
        )
        labels = ["run_id", "site"]
        self._spent = Gauge(
            "fl_privacy_epsilon_spent", "Epsilon of every release ever charged", labels, registry=registry
        )
        self._limit = Gauge("fl_privacy_epsilon_limit", "The site's lifetime limit", labels, registry=registry)
        self._online = Gauge("fl_sites_online", "Sites that are online", registry=registry)
        self._events = Counter("fl_events_total", "What happened between round closes", ["kind"], registry=registry)
        self._ended = Counter("fl_runs_ended_total", "Runs that ended", ["state"], registry=registry)
        self._waiting = Gauge("fl_outbox_bundles", "Bundles that the bucket does not have yet", registry=registry)
        self._conflicts = Gauge("fl_store_conflicts", "Objects that held something else already", registry=registry)
        self._failures = Gauge("fl_store_failures", "Attempts to write that failed", registry=registry)
        self._labels: dict[str, set[str]] = {}

    def round_closed(self, run_id: str, round_number: int, seconds: float) -> None:
        """A round closed."""
        self._labels.setdefault(run_id, set())
        self._round.labels(run_id).set(round_number)
        self._duration.observe(seconds)

    def budget(self, run_id: str, site: str, facts: SiteFacts) -> None:
        """A site told its budget."""
        self._labels.setdefault(run_id, set()).add(site)
        self._spent.labels(run_id, site).set(facts.epsilon_spent)
        self._limit.labels(run_id, site).set(facts.epsilon_limit)

    def event(self, kind: EventKind) -> None:
        """Something happened."""
        self._events.labels(kind.value).inc()

    def run_ended(self, run_id: str, state: RunState) -> None:
        """A run ended: its labels go, so that they do not grow without end."""
        self._ended.labels(state.value).inc()
        sites = self._labels.pop(run_id, None)
        if sites is None:
            return
        for site in sites:
            self._spent.remove(run_id, site)
            self._limit.remove(run_id, site)
        if (run_id,) in self._round._metrics:
            self._round.remove(run_id)

    def sites_online(self, count: int) -> None:
        """Sites came or went."""
        self._online.set(count)

    def writer(self, counts: WriterCounts) -> None:
        """The writer did something."""
        self._waiting.set(counts.waiting)
        self._conflicts.set(counts.conflicts)
        self._failures.set(counts.failures)
