"""A Site from its settings. Every fault of a file shows here, before the site goes online."""

from __future__ import annotations

from dataclasses import dataclass

from fedpriv_client.data.partition import CANONICAL_FORM, SiteKey
from fedpriv_client.data.site_data import load_site_data
from fedpriv_client.privacy.ledger.ledger import Ledger, LedgerIdentity
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_client.privacy.policy import Policy, load_policy
from fedpriv_client.privacy.randomness import SystemRandomness
from fedpriv_client.settings import SiteSettings
from fedpriv_client.site import Releases, Site
from fedpriv_common.accounting import epsilon
from fedpriv_common.contract import DataContract, load_contract
from fedpriv_common.plan import Plan


@dataclass(frozen=True)
class Assembled:
    """A site and what it is made of."""

    site: Site
    contract: DataContract
    policy: Policy
    ledger: Ledger

    def epsilon_spent(self) -> float:
        """Epsilon of everything in the ledger, at the policy's delta."""
        with self.ledger.reading() as history:
            return epsilon(history.charged(), self.policy.delta_for(self.contract))


def assemble(settings: SiteSettings) -> Assembled:
    """Open contract, policy, ledger and data; raises their FedprivError. Does not import torch."""
    contract, policy = load_contract(settings.contract), load_policy(settings.policy)
    key = SiteKey.read(settings.site_key)
    identity = LedgerIdentity(
        dataset=contract.dataset,
        partition=settings.partition,
        partitions=settings.partitions,
        held_out_share=policy.held_out_share,
        site_key_commitment=key.commitment(),
        canonical_form=CANONICAL_FORM,
    )
    ledger = Ledger.open(SqliteStore.open(settings.ledger), settings.ledger_marker, identity)
    data = load_site_data(
        settings.data,
        contract,
        key,
        partition=settings.partition,
        partitions=settings.partitions,
        held_out_share=policy.held_out_share,
    )

    def make_trainer(plan: Plan) -> Releases:
        from fedpriv_client.training import Trainer  # torch takes seconds to import

        return Trainer(plan, data, SystemRandomness())

    return Assembled(Site(contract, policy, ledger, make_trainer), contract, policy, ledger)
