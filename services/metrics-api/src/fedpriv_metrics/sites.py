"""How each site stands, over all runs of this hub. Pure: no time, no input or output."""

from __future__ import annotations

from collections.abc import Sequence

from fedpriv_metrics.index import Index
from fedpriv_metrics.ledger import PlanOf, Scope, account_status, accounts_of, charge_page
from fedpriv_metrics.models.ledger import AccountStatus
from fedpriv_metrics.models.sites import SiteDetail, SiteEntry, SitePage, SiteSummary
from fedpriv_metrics.narration import site_entries
from fedpriv_metrics.parts import Part
from fedpriv_metrics.privacy import Forecast
from fedpriv_metrics.viewer import Viewer

#: Of a site by itself: its newest runs, and entries of their logs.
NEWEST_RUNS, NEWEST_ENTRIES = 20, 50
#: Points of the history of each of its accounts.
POINTS = 400
_WORST: tuple[AccountStatus, ...] = ("at_limit", "refused", "near_limit", "unknown", "within_budget")


def site_page(seq: str, parts: Sequence[Part], viewer: Viewer, *, limit: int, cursor: str | None) -> SitePage:
    """At most `limit` sites after `cursor` (a site's name), by name."""
    by_site: dict[str, list[Part]] = {}
    for part in parts:
        if viewer.sees(part.site) and (cursor is None or part.site > cursor):
            by_site.setdefault(part.site, []).append(part)
    names = sorted(by_site)
    shown = names[:limit]
    return SitePage(
        seq=seq,
        only_site=viewer.site,
        sites=[_summary(by_site[name]) for name in shown],
        next_cursor=shown[-1] if len(names) > limit else None,
    )


def site_detail(
    seq: str, index: Index, parts: Sequence[Part], scope: Scope, plan_of: PlanOf, forecast: Forecast
) -> SiteDetail:
    """The scope's site. Raises LookupError when no run that is known names it, or the viewer may not see it."""
    own = [part for part in parts if scope.holds(part)]
    if not own:
        raise LookupError(f"no run names a site {scope.site} that this viewer sees")
    return SiteDetail(
        **_summary(own).model_dump(),
        seq=seq,
        accounts=accounts_of(own, scope, plan_of, forecast, POINTS),
        charges=charge_page(seq, own, scope, limit=NEWEST_RUNS, cursor=None).charges,
        entries=_entries(index, own),
    )


def _summary(parts: Sequence[Part]) -> SiteSummary:
    """Of one site, whose parts are in the order of their runs."""
    last = parts[-1]
    datasets = {part.dataset: part for part in parts}
    return SiteSummary(
        site=last.site,
        standing=last.standing,
        since={"offline": last.silent_since, "awaiting_approval": last.waiting_since}.get(last.standing),
        run_id=last.run_id,
        run_active=last.active,
        code=last.code,
        last_heard=max((part.last_heard for part in parts if part.last_heard), default=None),
        datasets=sorted(datasets),
        budget=min((_status(parts, dataset) for dataset in datasets), key=_WORST.index),
        joined=sum(part.admitted is not None for part in parts),
        declined=sum(part.declined is not None for part in parts),
        rounds=sum(part.rounds for part in parts),
        missed=sum(part.missed for part in parts),
        late=sum(part.late for part in parts),
        bad=sum(part.bad for part in parts),
        stock=last.stock,
    )


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
