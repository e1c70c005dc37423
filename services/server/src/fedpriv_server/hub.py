"""What a run stands on: the server's parts, and how far an earlier start of it came."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedpriv_common.contract import DataContract
from fedpriv_common.records import Admission, Estimate
from fedpriv_common.statement.schema import SignedPart
from fedpriv_server.archive import Archive
from fedpriv_server.evaluation import PublicSet
from fedpriv_server.outbox import Outbox
from fedpriv_server.postbox import Postbox
from fedpriv_server.prometheus import Prometheus
from fedpriv_server.statements import Statements
from fedpriv_server.strategy import Iterate
from fedpriv_server.unclosed import Unclosed
from fedpriv_server.witness import Witness


@dataclass(frozen=True)
class Hub:
    """What every run of this server uses."""

    postbox: Postbox
    archive: Archive
    outbox: Outbox
    witness: Witness
    contract: DataContract
    public: PublicSet | None
    prometheus: Prometheus
    unclosed: Unclosed
    statements: Statements


@dataclass(frozen=True)
class Progress:
    """How far an earlier start of the run came. `known`: keys that it wrote."""

    admissions: dict[str, Admission] = field(default_factory=dict)
    iterate: Iterate | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    parts: dict[str, SignedPart] = field(default_factory=dict)
    held_out: dict[str, Estimate] = field(default_factory=dict)

    @property
    def begun(self) -> bool:
        """Whether there is anything to go on from."""
        return bool(self.known)
