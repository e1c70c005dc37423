"""Epsilon from a part's entries: the site reports it with these functions, an auditor recomputes it with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fedpriv_common import attack
from fedpriv_common.accounting import Adjacency, GaussianEvent, coalesce, epsilon, gaussian_mu
from fedpriv_common.statement.schema import (
    Charge,
    EarlierCharges,
    GaussianCharge,
    GeometricCharge,
    Section,
    SiteEpsilon,
    Spent,
    Strength,
)


def site_epsilon(
    entries: Sequence[Charge], earlier: Sequence[EarlierCharges], earlier_held_out: float, delta: float
) -> SiteEpsilon:
    """Epsilon of a run's `entries`, and of them together with everything `earlier`. Reserved counts as released."""
    run, lifetime = gaussian_events(entries), lifetime_events(entries, earlier)
    held_out = math.fsum(entry.epsilon_pure for entry in entries if isinstance(entry, GeometricCharge))
    spent_run = _spent(run, delta)
    return SiteEpsilon(
        delta=delta,
        run=spent_run,
        lifetime=_spent(lifetime, delta) if earlier else spent_run,
        held_out_run=_pure(held_out),
        held_out_lifetime=_pure(held_out + earlier_held_out),
    )


def gaussian_events(entries: Sequence[Charge]) -> tuple[GaussianEvent, ...]:
    """What the entries charge to training records."""
    return coalesce(entry.event() for entry in entries if isinstance(entry, GaussianCharge))


def lifetime_events(entries: Sequence[Charge], earlier: Sequence[EarlierCharges]) -> tuple[GaussianEvent, ...]:
    """What this run and all others charged to training records."""
    return coalesce([*gaussian_events(entries), *(charges.event() for charges in earlier)])


def strengths(sections: Sequence[Section]) -> tuple[Strength, Strength]:
    """The strength of this run and of the whole life, each at the site whose records are protected least by it."""
    run, lifetime = [], []
    for section in sections:
        if section.signed is not None:
            part = section.signed.part
            spent, events = part.epsilon, gaussian_events(part.entries)
            run.append(_strength(spent.guaranteed_run, spent.delta, events, spent.held_out_run.add_remove))
            events = lifetime_events(part.entries, part.earlier)
            held_out = spent.held_out_lifetime.add_remove
            lifetime.append(_strength(spent.guaranteed_lifetime, spent.delta, events, held_out))
        elif (told := section.told) is not None:
            run.append(_strength(told.epsilon_run, told.delta))
            lifetime.append(_strength(max(told.epsilon_spent, told.epsilon_held_out), told.delta))
    return max(run, key=_spent_most), max(lifetime, key=_spent_most)


def _strength(
    spent: float, delta: float, events: Sequence[GaussianEvent] | None = None, held_out: float = 0.0
) -> Strength:
    """What an attacker can do with it. `events` are what was released of training records; none: not known."""
    at_most = attack.any_mechanism(spent, delta)
    success = at_most if events is None else max(attack.releases(events), attack.any_mechanism(held_out, 0.0))
    return Strength(
        epsilon=spent,
        delta=delta,
        mu=gaussian_mu(spent, delta) if spent > 0 else 0.0,
        attack_success=min(success, at_most),
        attack_success_at_most=at_most,
    )


def _spent_most(strength: Strength) -> float:
    return strength.epsilon


def _spent(events: Sequence[GaussianEvent], delta: float) -> Spent:
    return Spent(add_remove=epsilon(events, delta), replace_one=epsilon(events, delta, Adjacency.REPLACE_ONE))


def _pure(epsilon_pure: float) -> Spent:
    """A replaced record changes two counts by one: twice the epsilon of one that is added or removed."""
    return Spent(add_remove=epsilon_pure, replace_one=2 * epsilon_pure)
