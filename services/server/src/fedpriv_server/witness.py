"""The last ledger head seen of each site: a site's ledger must be equal to it or descend from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fedpriv_common import keys
from fedpriv_common.canonical import canonical_json
from fedpriv_common.errors import Refusal, RefusalError
from fedpriv_common.wire import SiteFacts
from fedpriv_server.archive import Archive
from fedpriv_server.outbox import StoredObject

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
#: Beyond, an epsilon protects nobody, and is no figure for a page.
_MOST_EPSILON: Final = 1e4
#: As many entries as an object key has digits for.
_MAX_SEQ: Final = 10**12 - 1


@dataclass(frozen=True)
class Head:
    """A ledger's newest entry; −1 and empty: none was ever seen."""

    seq: int = -1
    head: str = ""


class Witness:
    """Heads by site, for one data set."""

    def __init__(self, dataset: str, heads: dict[str, Head] | None = None) -> None:
        self._dataset = dataset
        self._heads = dict(heads or {})

    @classmethod
    def load(cls, archive: Archive, dataset: str, sites: tuple[str, ...]) -> Witness:
        """The highest head of each site; raises STORE_UNAVAILABLE."""
        heads = {}
        for site in sites:
            for key in archive.keys(keys.witness_prefix(site, dataset))[-1:]:
                body = archive.get(key)
                if body is not None:
                    facts = SiteFacts.model_validate_json(body)
                    heads[site] = Head(facts.ledger_seq, facts.ledger_head)
        return cls(dataset, heads)

    def learn(self, earlier: Witness) -> None:
        """Take over what another one has read of sites that this one has not heard of."""
        self._heads = {**earlier._heads, **self._heads}

    def of(self, site: str) -> Head:
        """The head to send to a site."""
        return self._heads.get(site, Head())

    def accept(self, site: str, facts: SiteFacts) -> None:
        """Move on to the head that a site told.

        Raises LEDGER_ROLLED_BACK for one that cannot follow the last, ValueError for facts that no site tells.
        """
        if facts.dataset != self._dataset:
            raise ValueError("facts of another data set")
        if not _DIGEST.fullmatch(facts.ledger_head) or not _DIGEST.fullmatch(facts.policy_digest):
            raise ValueError("facts without digests")
        spent = (facts.epsilon_run, facts.epsilon_spent, facts.epsilon_planned, facts.epsilon_held_out)
        if min(*spent, facts.epsilon_limit) < 0 or max(*spent, facts.epsilon_limit) > _MOST_EPSILON:
            raise ValueError("facts with a budget that no site has")
        if not 0 < facts.delta < 1:
            raise ValueError("facts with a delta that is none")
        known = self.of(site)
        if not 0 <= facts.ledger_seq <= _MAX_SEQ:
            raise ValueError("facts of no entry")
        if facts.ledger_seq < known.seq:
            raise RefusalError(Refusal.LEDGER_ROLLED_BACK, f"entry {known.seq} was seen, and now {facts.ledger_seq}")
        if facts.ledger_seq == known.seq and facts.ledger_head != known.head:
            raise RefusalError(Refusal.LEDGER_ROLLED_BACK, f"entry {known.seq} was seen with another hash")
        self._heads[site] = Head(facts.ledger_seq, facts.ledger_head)

    def to_object(self, site: str, facts: SiteFacts) -> StoredObject:
        """The head as an object of the bucket: what the site said, under its key."""
        return StoredObject(
            keys.witness(site, self._dataset, facts.ledger_seq), canonical_json(facts.model_dump(mode="json"))
        )
