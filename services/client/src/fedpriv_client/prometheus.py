"""Figures for the site's own monitoring. Public facts only: the policy's limit, what the ledger has charged, fixed
codes, whether the site is online. Nothing is derived from records, and neither is how busy the process is shown."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from fedpriv_common.errors import Refusal
from fedpriv_common.wire import OK, Reply


class SiteFigures:
    """The figures, in a registry of their own: the default one tells time and memory of the process, too."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._online = Gauge("fl_site_online", "1 while the server knows this site as online", registry=self.registry)
        self._standing_by = Gauge(
            "fl_site_standing_by", "1 while every partition is held by another process", registry=self.registry
        )
        self._replies = Counter("fl_site_replies", "Replies by code", ["code"], registry=self.registry)
        self._spent = Gauge(
            "fl_privacy_epsilon_spent", "Epsilon of everything ever released", ["dataset"], registry=self.registry
        )
        self._limit = Gauge(
            "fl_privacy_epsilon_limit", "Epsilon that the data set may spend", ["dataset"], registry=self.registry
        )
        for code in (OK, *Refusal):
            self._replies.labels(code=code)

    def online(self, is_online: bool) -> None:
        """Whether the server knows the site as online."""
        self._online.set(is_online)

    def standing_by(self, is_standing_by: bool) -> None:
        """Whether this process waits for a partition."""
        self._standing_by.set(is_standing_by)

    def replied(self, reply: Reply) -> None:
        """Count a reply and take over the budget that it tells."""
        self._replies.labels(code=reply.code).inc()
        if reply.facts is not None:
            self.budget(reply.facts.dataset, reply.facts.epsilon_spent, reply.facts.epsilon_limit)

    def budget(self, dataset: str, spent: float, limit: float) -> None:
        """What the data set has spent, and may."""
        self._spent.labels(dataset=dataset).set(spent)
        self._limit.labels(dataset=dataset).set(limit)
