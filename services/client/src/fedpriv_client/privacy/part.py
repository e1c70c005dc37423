"""The site's part of a privacy statement: what its ledger says of a run, signed with its node key.

Made when the run is closed, so that nothing can be added to the run after it. It holds entries of the ledger, policy
facts and versions; no value of it depends on a record.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from fedpriv_client.privacy.ledger.entries import Evaluation, Release
from fedpriv_client.privacy.ledger.history import History, RunHistory
from fedpriv_client.privacy.policy import Policy
from fedpriv_common.accounting import coalesce
from fedpriv_common.audit_result import AuditResult
from fedpriv_common.contract import DataContract
from fedpriv_common.statement.figures import site_epsilon
from fedpriv_common.statement.schema import (
    EarlierCharges,
    GaussianCharge,
    GeometricCharge,
    LedgerFacts,
    Limits,
    SignedPart,
    SitePart,
    Software,
    Timing,
)
from fedpriv_common.statement.sign import sign_part

#: What the guarantee rests on, besides our own code.
_PACKAGES: Final = ("dp-accounting", "flwr", "numpy", "opacus", "scipy", "torch")


@dataclass(frozen=True)
class Signatory:
    """Who signs for this site, and what it says of itself. `image_digest` and `audit` are None where not told."""

    site: str
    key: ec.EllipticCurvePrivateKey
    image_digest: str | None = None
    audit: AuditResult | None = None

    def sign(self, history: History, run_id: str, contract: DataContract, policy: Policy, timing: Timing) -> SignedPart:
        """The signed part for a run that `history` knows."""
        genesis, run = history.genesis, history.runs[run_id]
        if genesis is None:
            raise ValueError("a ledger without a genesis entry")
        others = [other for name, other in history.runs.items() if name != run_id]
        entries: list[GaussianCharge | GeometricCharge] = [_gaussian(entry) for entry in run.releases.values()]
        entries += [_geometric(entry) for entry in run.evaluations.values()]
        earlier = tuple(
            EarlierCharges(**vars(event)) for event in coalesce(event for other in others for event in other.charged())
        )
        earlier_held_out = math.fsum(_held_out(other) for other in others)
        delta = policy.delta_for(contract)
        part = SitePart(
            at=datetime.now(UTC),
            run_id=run_id,
            site=self.site,
            dataset=genesis.dataset,
            plan_digest=run.admit.plan_digest,
            contract_digest=contract.digest(),
            unit=run.admit.plan.unit,
            ledger=LedgerFacts(
                genesis=history.hashes[0],
                partition=genesis.partition,
                partitions=genesis.partitions,
                seq=history.seq,
                head=history.head,
            ),
            entries=tuple(entries),
            earlier=earlier,
            earlier_held_out=earlier_held_out,
            epsilon=site_epsilon(entries, earlier, earlier_held_out, delta),
            limits=Limits(
                policy_digest=policy.digest(),
                admitted_under=run.admit.policy_digest,
                epsilon=policy.epsilon,
                delta=delta,
                max_run_epsilon=policy.max_run_epsilon,
                held_out_share=policy.held_out_share,
            ),
            randomness="operating-system",
            timing=timing,
            software=Software.of("fedpriv-client", _PACKAGES, self.image_digest),
            audit=self.audit,
        )
        return sign_part(part, self.key)


def _gaussian(entry: Release) -> GaussianCharge:
    return GaussianCharge.model_validate(entry.model_dump(include=set(GaussianCharge.model_fields)))


def _geometric(entry: Evaluation) -> GeometricCharge:
    return GeometricCharge.model_validate(entry.model_dump(include=set(GeometricCharge.model_fields)))


def _held_out(run: RunHistory) -> float:
    return math.fsum(evaluation.epsilon_pure for evaluation in run.evaluations.values())
