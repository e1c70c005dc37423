"""What data sets have cost over all runs, from each site's part in them. Pure: no time, no input or output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fedpriv_common.errors import Refusal
from fedpriv_common.plan import Plan
from fedpriv_common.wire import SiteFacts
from fedpriv_metrics.forecast import Question
from fedpriv_metrics.models.ledger import (
    Account,
    AccountStatus,
    BudgetHistory,
    BudgetPolicy,
    Charge,
    ChargePage,
    LedgerPage,
)
from fedpriv_metrics.parts import Part
from fedpriv_metrics.privacy import NEAR, Forecast
from fedpriv_metrics.viewer import Viewer

#: Policies of a site that are told; a policy changes a few times in a data set's life.
MOST_POLICIES = 20
#: Two spellings of one composition may differ in their last digits.
_SAME = 1e-6

PlanOf = Callable[[str], Plan]


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose accounts: of one site or of all that the viewer sees, of one data set or of all."""

    viewer: Viewer
    site: str | None = None
    dataset: str | None = None

    def holds(self, part: Part) -> bool:
        """Whether a part is of it."""
        return self.viewer.sees(part.site) and self.site in (None, part.site) and self.dataset in (None, part.dataset)

    @property
    def key(self) -> tuple[str | None, str | None]:
        """Equal for scopes that get the same answers, for one viewer."""
        return self.site, self.dataset


@dataclass(slots=True)
class _Book:
    """An account's parts in the order of their runs."""

    parts: list[Part] = field(default_factory=list)
    #: Most that had been told to be spent when each part began.
    told_before: list[float | None] = field(default_factory=list)
    _most: float | None = None

    def add(self, part: Part) -> None:
        """The next run's."""
        self.parts.append(part)
        self.told_before.append(self._most)
        for facts in (part.admitted, part.facts):
            if facts is not None:
                self._most = max(self._most or 0.0, facts.epsilon_spent)


def ledger_page(
    seq: str,
    parts: Sequence[Part],
    scope: Scope,
    plan_of: PlanOf,
    forecast: Forecast,
    *,
    limit: int,
    cursor: str | None,
    points: int,
) -> LedgerPage:
    """At most `limit` accounts after `cursor` ("site/dataset"), by site and data set; each history has at most
    `points` (≥ 2) points."""
    books = _books(parts, scope)
    names = sorted(name for name in books if cursor is None or name > _split(cursor))
    shown = names[:limit]
    accounts = [_account(site, dataset, books[site, dataset], plan_of, forecast, points) for site, dataset in shown]
    return LedgerPage(
        seq=seq,
        only_site=scope.viewer.site,
        accounts=accounts,
        next_cursor="/".join(shown[-1]) if len(names) > limit else None,
    )


def charge_page(seq: str, parts: Sequence[Part], scope: Scope, *, limit: int, cursor: str | None) -> ChargePage:
    """At most `limit` charges after `cursor` ("run/site"), newest run first, then by site."""
    found = [
        (part, told)
        for book in _books(parts, scope).values()
        for part, told in zip(book.parts, book.told_before, strict=True)
        if cursor is None or _after(part, cursor)
    ]
    found.sort(key=lambda entry: entry[0].site)
    found.sort(key=lambda entry: entry[0].run_id, reverse=True)
    # Only what is told is built: a page is a small part of a long life.
    charges = [_charge(part, told) for part, told in found[:limit]]
    last = f"{charges[-1].run_id}/{charges[-1].site}" if len(found) > limit else None
    return ChargePage(seq=seq, only_site=scope.viewer.site, charges=charges, next_cursor=last)


def accounts_of(parts: Sequence[Part], scope: Scope, plan_of: PlanOf, forecast: Forecast, points: int) -> list[Account]:
    """Every account of the scope, by site and data set."""
    books = _books(parts, scope)
    return [_account(*name, books[name], plan_of, forecast, points) for name in sorted(books)]


def account_status(facts: SiteFacts | None, code: str | None) -> AccountStatus:
    """How a budget stands by what was told last; `code` is the refusal that met the newest run."""
    share = facts.epsilon_spent / facts.epsilon_limit if facts and facts.epsilon_limit > 0 else None
    if share is not None and (share >= 1 or (share >= NEAR and code == Refusal.BUDGET_EXHAUSTED)):
        return "at_limit"
    if code is not None:
        return "refused"
    if share is None:
        return "unknown"
    return "near_limit" if share >= NEAR else "within_budget"


def _books(parts: Sequence[Part], scope: Scope) -> dict[tuple[str, str], _Book]:
    books: dict[tuple[str, str], _Book] = {}
    for part in parts:
        if scope.holds(part):
            books.setdefault((part.site, part.dataset), _Book()).add(part)
    return books


def _account(site: str, dataset: str, book: _Book, plan_of: PlanOf, forecast: Forecast, points: int) -> Account:
    first, last = book.parts[0], book.parts[-1]
    newest = next((part for part in reversed(book.parts) if part.facts), None)
    facts = newest.facts if newest else None
    joined = [part for part in book.parts if part.admitted]
    active = next((part for part in joined if part.active), None)
    question = Question.of(plan_of(last.run_id), facts, ended=active is None) if facts else None
    unlisted = [_unlisted(part, told) for part, told in zip(book.parts, book.told_before, strict=True)]
    return Account(
        site=site,
        dataset=dataset,
        status=account_status(facts, last.code),
        code=last.code,
        epsilon_limit=facts and facts.epsilon_limit,
        delta=facts and facts.delta,
        adjacency=facts and facts.adjacency,
        unit=facts and facts.unit,
        epsilon_spent=facts and facts.epsilon_spent,
        epsilon_planned=facts.epsilon_planned if facts and active else None,
        epsilon_remaining=max(0.0, facts.epsilon_limit - facts.epsilon_spent) if facts else None,
        epsilon_held_out=newest.epsilon_held_out if newest else None,
        epsilon_before=joined[0].admitted.epsilon_spent if joined and joined[0].admitted else None,
        told_at=newest.told_at if newest else None,
        runs=len(joined),
        declined=sum(part.declined is not None for part in book.parts),
        unlisted=sum(unlisted),
        first_run=first.run_id,
        first_at=first.created_at,
        last_run=last.run_id,
        last_at=last.created_at,
        runs_left=forecast(question) if question else None,
        ledger_seq=facts and facts.ledger_seq,
        ledger_head=facts and facts.ledger_head,
        policies=_policies(book.parts),
        history=_history(joined, points),
    )


def _charge(part: Part, told_before: float | None) -> Charge:
    facts = part.facts
    return Charge(
        run_id=part.run_id,
        name=part.name,
        state=part.state,
        dataset=part.dataset,
        site=part.site,
        at=part.answered_at or part.created_at,
        outcome="declined" if part.declined else "joined" if facts else "waiting",
        code=part.code,
        delta=facts and facts.delta,
        epsilon_run=0.0 if part.declined else facts.epsilon_run if facts else None,
        epsilon_before=part.admitted.epsilon_spent if part.admitted else None,
        epsilon_after=facts and facts.epsilon_spent,
        unlisted=_unlisted(part, told_before),
        rounds=part.rounds,
        missed=part.missed,
        late=part.late,
        evaluations=part.evaluations,
        epsilon_evaluations=part.epsilon_evaluations,
        ledger_seq=facts and facts.ledger_seq,
        ledger_head=facts and facts.ledger_head,
        policy_digest=facts and facts.policy_digest,
    )


def _unlisted(part: Part, told_before: float | None) -> bool:
    """Whether the site came with more spent than it had told here; before its first run nothing had been told."""
    if part.admitted is None or told_before is None:
        return False
    return part.admitted.epsilon_spent > told_before * (1 + _SAME)


def _policies(parts: Sequence[Part]) -> list[BudgetPolicy]:
    found: list[BudgetPolicy] = []
    for part in parts:
        for facts, at in ((part.admitted, part.answered_at), (part.facts, part.told_at)):
            if facts is None or at is None or (found and found[-1].policy_digest == facts.policy_digest):
                continue
            limit, delta = facts.epsilon_limit, facts.delta
            found.append(BudgetPolicy(since=at, policy_digest=facts.policy_digest, epsilon_limit=limit, delta=delta))
    return found[: -MOST_POLICIES - 1 : -1]


def _history(parts: Sequence[Part], points: int) -> BudgetHistory:
    told = [
        (part.run_id, part.told_at, part.admitted.epsilon_spent, part.facts)
        for part in parts
        if part.admitted and part.facts and part.told_at
    ]
    sampled = len(told) > points
    if sampled:
        # What is spent never falls, so points at even distances hide no peak.
        places = sorted({round(step * (len(told) - 1) / (points - 1)) for step in range(points)})
        told = [told[place] for place in places]
    return BudgetHistory(
        run_ids=[run_id for run_id, _, _, _ in told],
        at=[at for _, at, _, _ in told],
        epsilon_run=[facts.epsilon_run for _, _, _, facts in told],
        epsilon_before=[before for _, _, before, _ in told],
        epsilon_after=[facts.epsilon_spent for _, _, _, facts in told],
        sampled=sampled,
    )


def _split(cursor: str) -> tuple[str, str]:
    site, _, dataset = cursor.partition("/")
    return site, dataset


def _after(part: Part, cursor: str) -> bool:
    run_id, site = _split(cursor)
    return part.run_id < run_id or (part.run_id == run_id and part.site > site)
