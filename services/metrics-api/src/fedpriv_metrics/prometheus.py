"""Figures for monitoring, on a port of their own: `/metrics` on the API's port is the first dashboard's.

Labels with a run's id exist only while the run is active, so the number of series stays bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from fedpriv_common.objects import Parsed
from fedpriv_common.records import MetricRecord, RoundClosed
from fedpriv_metrics.index import RunIndex

# A series of the time at which each other series began would double them.
disable_created_metrics()  # type: ignore[no-untyped-call]

#: Older objects are history that is read at a start: their durations and ages are no news.
_LIVE = timedelta(minutes=5)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Figures:
    """The service's figures, in a registry of their own so that two of them can live in one process."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        run_site = ["run_id", "site"]
        self._spent = Gauge(
            "fl_privacy_epsilon_spent", "Lifetime epsilon of a site's data set", run_site, registry=registry
        )
        self._limit = Gauge(
            "fl_privacy_epsilon_limit", "Lifetime epsilon that a site allows", run_site, registry=registry
        )
        self._round = Gauge("fl_round", "Last closed training round", ["run_id"], registry=registry)
        self._duration = Histogram("fl_round_duration_seconds", "Time of a round", registry=registry)
        self._records = Counter("fl_records_ingested", "Metric records read", registry=registry)
        self._malformed = Counter("fl_objects_malformed", "Objects skipped: not of the schema", registry=registry)
        self._lag = Gauge("fl_ingest_lag_seconds", "Age of the newest object when it was read", registry=registry)
        self._s3 = Counter("fl_s3_requests", "Requests to S3", ["op"], registry=registry)
        self._streams = Gauge("fl_sse_connections", "Open event streams", registry=registry)
        self._requests = Histogram(
            "http_request_duration_seconds",
            "Time of a request; of an event stream, how long it was open",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(method=method, route=route, status=status).observe(seconds)

    def streams(self, count: int) -> None:
        """How many event streams are open."""
        self._streams.set(count)

    def s3_request(self, operation: str) -> None:
        """Count a request to S3, such as `ListObjectsV2`; retries count as requests."""
        self._s3.labels(op=operation).inc()

    def malformed(self) -> None:
        """Count an object that was skipped."""
        self._malformed.inc()

    def ingested(self, run: RunIndex, new: Sequence[Parsed]) -> None:
        """Take over what a run's new objects, in their order, say."""
        now = datetime.now(UTC)
        records = 0
        for parsed in new:
            if isinstance(parsed.value, MetricRecord):
                records += 1
            elif isinstance(parsed.value, RoundClosed) and now - parsed.at < _LIVE:
                self._duration.observe(parsed.value.duration_ms / 1000)
        self._records.inc(records)
        if new and now - new[-1].at < _LIVE:
            # A clock that is ahead makes no object come before it was written.
            self._lag.set(max(0.0, (now - new[-1].at).total_seconds()))
        if run.end:
            self._forget(run)
            return
        self._round.labels(run_id=run.run_id).set(run.training_round)
        for site in run.sites():
            if facts := run.facts(site):
                self._spent.labels(run_id=run.run_id, site=site).set(facts.epsilon_spent)
                self._limit.labels(run_id=run.run_id, site=site).set(facts.epsilon_limit)

    def _forget(self, run: RunIndex) -> None:
        self._round.remove_by_labels({"run_id": run.run_id})
        self._spent.remove_by_labels({"run_id": run.run_id})
        self._limit.remove_by_labels({"run_id": run.run_id})
