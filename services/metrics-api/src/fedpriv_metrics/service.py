"""The parts of one process, put together; routes get them through `ServiceDep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from fedpriv_common.store import ObjectStore
from fedpriv_metrics.cache import ByteCache
from fedpriv_metrics.contracts import Contracts
from fedpriv_metrics.follow import Follower
from fedpriv_metrics.forecast import Forecaster
from fedpriv_metrics.index import Index
from fedpriv_metrics.parts import Parts
from fedpriv_metrics.planner import Planners
from fedpriv_metrics.prometheus import Figures
from fedpriv_metrics.proofs import Proofs
from fedpriv_metrics.stream import Streams
from fedpriv_metrics.tail import Tail


class Service:
    """Index, its follower, and what serves from it."""

    def __init__(
        self,
        tail: Tail,
        figures: Figures,
        poll_s: float,
        contracts: Contracts | None = None,
        store: ObjectStore | None = None,
        auditor_keys: Path | None = None,
        streams: Streams | None = None,
    ) -> None:
        """`store`: for what is handed out as it is, such as statements; none: there are none. `auditor_keys`: folder of
        the public keys that they are checked with; none: they are not checked."""
        self.figures = figures
        self.contracts = contracts or {}
        self.index = Index()
        self.cache = ByteCache()
        self.forecaster = Forecaster()
        self.parts = Parts(self.index)
        self.planners = Planners()
        self.streams = streams or Streams(figures.streams)
        self.follower = Follower(tail, self.index, figures, poll_s)
        self.proofs = Proofs(self.index, store, auditor_keys)


def service_of(request: Request) -> Service:
    """The process's service."""
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(service_of)]
