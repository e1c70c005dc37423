"""A Site from its settings. Every fault of a file shows here, before the site goes online."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedpriv_client.data.partition import CANONICAL_FORM, SiteKey
from fedpriv_client.data.site_data import load_site_data
from fedpriv_client.own_code import load_own_audit
from fedpriv_client.privacy.ledger.ledger import Ledger, LedgerIdentity
from fedpriv_client.privacy.ledger.opening import open_marker, open_store
from fedpriv_client.privacy.part import Signatory
from fedpriv_client.privacy.policy import Policy, load_policy
from fedpriv_client.privacy.requests import RunRequests
from fedpriv_client.settings import SiteSettings
from fedpriv_client.site import Releases, Site
from fedpriv_common.accounting import epsilon
from fedpriv_common.contract import DataContract, load_contract
from fedpriv_common.plan import Plan

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from fedpriv_client.lease import Lease


@dataclass(frozen=True)
class Assembled:
    """A site and what it is made of."""

    site: Site
    contract: DataContract
    policy: Policy
    ledger: Ledger
    lease: Lease | None = None

    def require_lease(self) -> None:
        """Raise LEASE_LOST when another process may be this site by now, by the clock or by the ledger's last claim."""
        if self.lease is not None:
            self.lease.require()
            if self.ledger.shut_out():
                from fedpriv_client.lease import lost  # boto3, which a site of its own never needs

                raise lost(self.lease.partition)

    def epsilon_spent(self) -> float:
        """Epsilon of everything in the ledger, at the policy's delta."""
        with self.ledger.reading() as history:
            return epsilon(history.charged(), self.policy.delta_for(self.contract))


def assemble(
    settings: SiteSettings, lease: Lease | None = None, node_key: EllipticCurvePrivateKey | None = None
) -> Assembled:
    """Open contract, policy, ledger and data; raises their FedprivError. Does not import torch.

    The node key signs the site's parts of privacy statements; without it there are none.
    With a lease, the ledger is claimed under its token first: whoever held the partition before writes no more.
    """
    contract = load_contract(settings.contract)
    policy = load_policy(settings.policy, contract)
    key = SiteKey.read(settings.site_key)
    identity = LedgerIdentity(
        dataset=contract.dataset,
        partition=settings.partition,
        partitions=settings.partitions,
        held_out_share=policy.held_out_share,
        site_key_commitment=key.commitment(),
        canonical_form=CANONICAL_FORM,
    )
    store = open_store(settings.ledger, settings.ledger_kms_key)
    if lease is not None:
        # Higher only where the table was lost and its tokens began anew.
        while (newest := store.claim(lease.token)) >= lease.token:
            lease.raise_above(newest)
    ledger = Ledger.open(store, open_marker(settings.ledger_marker, settings.ledger_kms_key), identity)
    data = load_site_data(
        settings.data,
        contract,
        key,
        partition=settings.partition,
        partitions=settings.partitions,
        held_out_share=policy.held_out_share,
    )

    def make_trainer(plan: Plan) -> Releases:
        from fedpriv_client.training import private_trainer  # torch takes seconds to import

        return private_trainer(plan, data)

    requests = RunRequests(settings.state_dir, settings.server)
    audit = None if settings.audit is None else load_own_audit(settings.audit)
    signatory = Signatory(settings.site, node_key, settings.image_digest, audit) if node_key else None
    site = Site(contract, policy, ledger, make_trainer, requests, signatory)
    return Assembled(site, contract, policy, ledger, lease)
