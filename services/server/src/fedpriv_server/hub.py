"""What a run stands on: the server's parts, and how far an earlier start of it came."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedpriv_common.contract import DataContract
from fedpriv_common.errors import ErrorCode
from fedpriv_common.records import Admission, Estimate, RoundClosed, RunDecision
from fedpriv_common.statement.schema import SignedPart
from fedpriv_server.archive import Archive
from fedpriv_server.checkpoint import Checkpoint
from fedpriv_server.evaluation import PublicSet
from fedpriv_server.postbox import Postbox
from fedpriv_server.prometheus import Prometheus
from fedpriv_server.statements import Statements
from fedpriv_server.term import Term
from fedpriv_server.unclosed import Unclosed
from fedpriv_server.witness import Witness


@dataclass(frozen=True)
class Hub:
    """What every run of this server uses."""

    postbox: Postbox
    archive: Archive
    witness: Witness
    contract: DataContract
    public: PublicSet | None
    prometheus: Prometheus
    unclosed: Unclosed
    statements: Statements
    term: Term


@dataclass(frozen=True)
class Progress:
    """How far an earlier start of the run came. `asked`: whom it asked to take part, empty if it asked nobody. `known`:
    keys that it wrote. `short`: the close of the round after the checkpoint's, when too few sites answered it. `fault`:
    why the run cannot go on from what was written."""

    asked: tuple[str, ...] = ()
    admissions: dict[str, Admission] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    short: RoundClosed | None = None
    decision: RunDecision | None = None
    fault: ErrorCode | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    parts: dict[str, SignedPart] = field(default_factory=dict)
    held_out: dict[str, Estimate] = field(default_factory=dict)

    @property
    def begun(self) -> bool:
        """Whether there is anything to go on from."""
        return bool(self.known)
