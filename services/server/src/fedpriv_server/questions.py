"""What a run asks of its sites, each question with the newest ledger head that the server has seen of the site."""

from __future__ import annotations

from dataclasses import dataclass

from fedpriv_common.canonical import canonical_json
from fedpriv_common.plan import Phase
from fedpriv_common.records import RunInfo
from fedpriv_common.wire import Operation, Reply, Request, encode_array
from fedpriv_server.strategy import Iterate
from fedpriv_server.witness import Witness


@dataclass(frozen=True)
class Questions:
    """The requests of one run, and what every answer must hold."""

    info: RunInfo
    witness: Witness

    def admit(self, site: str) -> Request:
        """Show the plan."""
        plan = canonical_json(self.info.plan.model_dump(mode="json")).decode()
        return self._request(site, Operation.ADMIT, plan=plan)

    def centre(self, site: str) -> Request:
        """Ask for the sum of the features, before any training."""
        return self._request(site, Operation.RELEASE, phase=Phase.CENTRE)

    def train(self, site: str, iterate: Iterate) -> Request:
        """Ask for the release of the round that follows on `iterate`."""
        return self._request(
            site,
            Operation.RELEASE,
            round=iterate.round + 1,
            phase=Phase.TRAIN,
            parameters=encode_array(iterate.parameters),
            centre=self._centre_of(iterate),
        )

    def evaluate(self, site: str, iterate: Iterate) -> Request:
        """Ask what held-out records say of the model that would be published now."""
        return self._request(
            site,
            Operation.RELEASE,
            round=iterate.round,
            phase=Phase.EVALUATE,
            parameters=encode_array(iterate.published()),
            centre=self._centre_of(iterate),
        )

    def close(self, site: str, run_id: str) -> Request:
        """End a run, this one or an earlier one that the site has not heard the end of."""
        head = self.witness.of(site)
        return Request(operation=Operation.CLOSE, run_id=run_id, witness_seq=head.seq, witness_head=head.head)

    def accept_facts(self, site: str, reply: Reply) -> None:
        """Move the witness on; raises ValueError for a reply without facts or with a ledger that went back."""
        if reply.facts is None:
            raise ValueError("a reply without facts")
        self.witness.accept(site, reply.facts)

    def _centre_of(self, iterate: Iterate) -> bytes:
        return encode_array(iterate.centre) if self.info.plan.centre else b""

    def _request(
        self,
        site: str,
        operation: Operation,
        *,
        plan: str = "",
        round: int = 0,  # the wire's own word
        phase: Phase = Phase.CENTRE,
        parameters: bytes = b"",
        centre: bytes = b"",
    ) -> Request:
        head = self.witness.of(site)
        return Request(
            operation=operation,
            run_id=self.info.run_id,
            plan=plan,
            plan_digest=self.info.plan_digest,
            round=round,
            phase=phase,
            parameters=parameters,
            centre=centre,
            witness_seq=head.seq,
            witness_head=head.head,
        )
