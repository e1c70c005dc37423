"""The allow-list of a server that runs: sites are added, revoked and get other keys between two requests.

    added     may go online, and take part in the next run
    revoked   refused at once on every route; its held pull ends, a reply that is not complete is not used, and a run
              goes on as without a site that is offline
    rotated   revoked with the old key and added with the new: same name, same ledger, another node id. What the site
              was asked is asked again when it comes online with the new key, and its ledger answers as the first time

Every change is logged and stored in the bucket, where an auditor finds who could take part when.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from ulid import ULID

from fedpriv_common import keys
from fedpriv_common.canonical import canonical_json
from fedpriv_common.errors import FedprivError
from fedpriv_common.records import AllowList
from fedpriv_common.statement.sign import fingerprint, parse_public_key
from fedpriv_server.archive import Archive
from fedpriv_server.outbox import StoredObject
from fedpriv_server.postbox import Postbox
from fedpriv_server.runs import Runs
from fedpriv_server.statements import Statements
from fedpriv_server.superlink import SuperLink

log = logging.getLogger(__name__)

#: Fingerprint of a public key by site.
Fingerprints = dict[str, str]
_NOTHING: Final[Mapping[str, str]] = {}


class Roster:
    """Brings every part of the server to the same allow-list, on the event loop."""

    def __init__(self, link: SuperLink, postbox: Postbox, runs: Runs, statements: Statements, archive: Archive) -> None:
        self._link, self._postbox, self._runs = link, postbox, runs
        self._statements, self._archive = statements, archive
        self._storing: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Store who is on the list at the start."""
        self._record("start")

    async def apply(self, sites: Mapping[str, bytes]) -> None:
        """Make `sites`, PEM public key by name, the allow-list.

        Whoever goes, goes first and whatever else fails. Raises STORE_UNAVAILABLE when it cannot be read what is known
        of a site that comes; then that site and those after it are not in yet, and it can be tried again.
        """
        before = self._link.sites
        revoked = {site: pem for site, pem in before.items() if site not in sites}
        rotated = {site: pem for site, pem in before.items() if site in sites and sites[site] != pem}
        for site in (*revoked, *rotated):
            self._link.revoke(site)
            self._postbox.expel(site)
            self._statements.expel(site)
        for site in revoked:
            log.warning("site_revoked", extra={"site": site, "key": _fingerprint(before[site])})
        added = []
        try:
            for site in sorted(set(sites) - set(self._link.sites), key=lambda site: (site not in rotated, site)):
                if site not in rotated:
                    await asyncio.to_thread(self._runs.read_heads, site)
                    added.append(site)
                self._statements.admit(site, sites[site])
                self._postbox.admit(site, self._link.register(site, sites[site]))
                change = "site_rotated" if site in rotated else "site_added"
                log.warning(change, extra={"site": site, "key": _fingerprint(sites[site])})
        finally:
            if revoked or rotated or added:
                self._record("change", tuple(added), _fingerprints(revoked), _fingerprints(rotated))

    def _record(
        self,
        cause: Literal["start", "change"],
        added: tuple[str, ...] = (),
        revoked: Mapping[str, str] = _NOTHING,
        rotated: Mapping[str, str] = _NOTHING,
    ) -> None:
        record = AllowList(
            at=datetime.now(UTC),
            cause=cause,
            sites=_fingerprints(self._link.sites),
            added=added,
            revoked=dict(revoked),
            rotated=dict(rotated),
        )
        entry = StoredObject(keys.allow_list(str(ULID())), canonical_json(record.model_dump(mode="json")))
        # A full disk is waited for, but nobody's key stays valid meanwhile.
        storing = asyncio.create_task(self._store(entry))
        self._storing.add(storing)
        storing.add_done_callback(self._storing.discard)

    async def _store(self, entry: StoredObject) -> None:
        try:
            await asyncio.to_thread(self._archive.put, [entry])
        except FedprivError as error:
            log.error(str(error), extra={"code": error.code})


def _fingerprint(pem: bytes) -> str:
    return fingerprint(parse_public_key(pem))


def _fingerprints(sites: Mapping[str, bytes]) -> Fingerprints:
    return {site: _fingerprint(pem) for site, pem in sites.items()}
