"""How each site stands, over all runs of this hub. Pure: no time, no input or output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from fedpriv_metrics.index import Index
from fedpriv_metrics.ledger import PlanOf, Scope, account_status, accounts_of, charge_page
from fedpriv_metrics.models.ledger import AccountStatus
from fedpriv_metrics.models.sites import SiteDetail, SiteEntry, SiteKey, SitePage, SiteSummary
from fedpriv_metrics.narration import site_entries
from fedpriv_metrics.parts import Part, Standing
from fedpriv_metrics.privacy import Forecast
from fedpriv_metrics.viewer import Viewer

#: Of a site by itself: its newest runs, and entries of their logs.
NEWEST_RUNS, NEWEST_ENTRIES = 20, 50
#: Points of the history of each of its accounts.
POINTS = 400
#: By site, as `site_keys` has them.
Keys = Mapping[str, SiteKey]
_WORST: tuple[AccountStatus, ...] = ("at_limit", "refused", "near_limit", "unknown", "within_budget")


def site_page(
    seq: str, parts: Sequence[Part], known: Keys, viewer: Viewer, *, limit: int, cursor: str | None
) -> SitePage:
    """At most `limit` sites after `cursor` (a site's name), by name: of any run, or on an allow-list."""
    by_site: dict[str, list[Part]] = {site: [] for site in known}
    for part in parts:
        by_site.setdefault(part.site, []).append(part)
    names = sorted(site for site in by_site if viewer.sees(site) and (cursor is None or site > cursor))
    shown = names[:limit]
    return SitePage(
        seq=seq,
        only_site=viewer.site,
        sites=[_summary(name, by_site[name], known.get(name)) for name in shown],
        next_cursor=shown[-1] if len(names) > limit else None,
    )


def site_detail(
    seq: str, index: Index, parts: Sequence[Part], known: Keys, scope: Scope, plan_of: PlanOf, forecast: Forecast
) -> SiteDetail:
    """The scope's site. Raises LookupError when nothing that is known names it, or the viewer may not see it."""
    own = [part for part in parts if scope.holds(part)]
    if scope.site is None or not scope.viewer.sees(scope.site) or not (own or scope.site in known):
        raise LookupError(f"nothing names a site {scope.site} that this viewer sees")
    return SiteDetail(
        **_summary(scope.site, own, known.get(scope.site)).model_dump(),
        seq=seq,
        accounts=accounts_of(own, scope, plan_of, forecast, POINTS),
        charges=charge_page(seq, own, scope, limit=NEWEST_RUNS, cursor=None).charges,
        entries=_entries(index, own),
    )


def _summary(site: str, parts: Sequence[Part], key: SiteKey | None) -> SiteSummary:
    """Of one site, whose parts are in the order of their runs."""
    last = parts[-1] if parts else None
    datasets = {part.dataset: part for part in parts}
    standing, since = _standing(last, key)
    return SiteSummary(
        site=site,
        standing=standing,
        since=since,
        run_id=last.run_id if last else None,
        run_active=last is not None and last.active,
        code=last.code if last else None,
        last_heard=max((part.last_heard for part in parts if part.last_heard), default=None),
        datasets=sorted(datasets),
        budget=min((_status(parts, dataset) for dataset in datasets), key=_WORST.index, default="unknown"),
        joined=sum(part.admitted is not None for part in parts),
        declined=sum(part.declined is not None for part in parts),
        rounds=sum(part.rounds for part in parts),
        missed=sum(part.missed for part in parts),
        late=sum(part.late for part in parts),
        bad=sum(part.bad for part in parts),
        stock=last is not None and last.stock,
        key=key,
    )


def _standing(last: Part | None, key: SiteKey | None) -> tuple[Standing, datetime | None]:
    """How the site stands, and since when where that matters."""
    if key is not None and key.until is not None:
        return "revoked", key.until
    if last is None:
        return "enrolled", key.since if key else None
    since = {"offline": last.silent_since, "awaiting_approval": last.waiting_since}
    return last.standing, since.get(last.standing)


def _status(parts: Sequence[Part], dataset: str) -> AccountStatus:
    own = [part for part in parts if part.dataset == dataset]
    facts = next((part.facts for part in reversed(own) if part.facts), None)
    return account_status(facts, own[-1].code)


def _entries(index: Index, parts: Sequence[Part]) -> list[SiteEntry]:
    found: list[SiteEntry] = []
    for part in parts[-NEWEST_RUNS:]:
        run = index.run(part.run_id)
        if run is not None:
            found += [SiteEntry(**entry.model_dump(), run_id=part.run_id) for entry in site_entries(run, part.site)]
    found.sort(key=lambda entry: (entry.at, entry.id), reverse=True)
    return found[:NEWEST_ENTRIES]
