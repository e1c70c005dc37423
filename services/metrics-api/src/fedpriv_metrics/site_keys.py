"""Which key each site is known by, and since when, from the allow-lists that the server left. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fedpriv_common.records import AllowList
from fedpriv_metrics.models.sites import SiteKey


def site_keys(lists: Iterable[AllowList]) -> dict[str, SiteKey]:
    """By site: the key that it has, or the last that it had. A list stands until the next, also while no server ran."""
    found: dict[str, SiteKey] = {}
    for listed in sorted(lists, key=lambda entry: entry.at):
        for site, fingerprint in listed.sites.items():
            known = found.get(site)
            if known is None:
                found[site] = SiteKey(fingerprint=fingerprint, since=listed.at, until=None, earlier=0)
            elif known.fingerprint != fingerprint:
                earlier = known.earlier + 1
                found[site] = SiteKey(fingerprint=fingerprint, since=listed.at, until=None, earlier=earlier)
            elif known.until is not None:
                found[site] = known.model_copy(update={"since": listed.at, "until": None})
        for site, known in found.items():
            if site not in listed.sites and known.until is None:
                found[site] = known.model_copy(update={"until": listed.at})
    return found
