"""What an epsilon means to a person: how well the best attacker can tell whether a record was there.

An attacker who decides between "was there" and "was not" is right about members with a true-positive rate, and wrong
about others with a false-positive rate. Differential privacy bounds the first by the second, whatever the attacker
knows or computes; a rate equal to the false-positive rate is mere guessing. Three bounds, from general to particular:

* `any_mechanism`: of every (ε, δ)-private mechanism (Kairouz, Oh, Viswanath 2015, theorem 2.1). It allows for
  mechanisms far worse than a Gaussian one: at ε 8 and 1 % false positives it allows 99.97 %.
* `gaussian`: of a μ-GDP mechanism (Dong, Roth, Su 2022, equation 6); for full-batch releases the exact best attack.
  With the μ of (ε, δ) at δ 1e-5 and 1 % false positives: ε 1 → 2.0 %, ε 3 → 5.4 %, ε 8 → 25.5 %.
* `releases`: of what was in fact released, by its whole privacy profile. This is the one to tell a person.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from fedpriv_common.accounting import Adjacency, GaussianEvent, delta_profile, full_batch_mu

#: One false alarm in a hundred, at which attacks are commonly compared.
FALSE_POSITIVE_RATE = 0.01

_NORMAL = NormalDist()
#: Where a profile is read: every 0.05 up to epsilon 50.
_EPSILONS = [step / 20 for step in range(1001)]


def any_mechanism(epsilon: float, delta: float, false_positive_rate: float = FALSE_POSITIVE_RATE) -> float:
    """The most true positives against any (epsilon, delta)-private mechanism: the smaller of
    δ + e^ε·FPR and 1 − e^(−ε)·(1 − δ − FPR)."""
    rate = _checked(false_positive_rate)
    if epsilon > 700:
        return 1.0
    missed = max(0.0, math.exp(-epsilon) * (1 - delta - rate), 1 - delta - math.exp(epsilon) * rate)
    return 1 - missed


def gaussian(mu: float, false_positive_rate: float = FALSE_POSITIVE_RATE) -> float:
    """The most true positives against a μ-GDP mechanism, Φ(μ + Φ⁻¹(FPR)); a Gaussian mechanism of μ attains it."""
    return _NORMAL.cdf(mu + _NORMAL.inv_cdf(_checked(false_positive_rate)))


def releases(
    events: Sequence[GaussianEvent],
    false_positive_rate: float = FALSE_POSITIVE_RATE,
    adjacency: Adjacency = Adjacency.ADD_REMOVE,
) -> float:
    """The most true positives against all of `events` together: exact where nothing is sampled, else an upper bound."""
    bound = gaussian(adjacency.sensitivity * full_batch_mu(events), false_positive_rate)
    if all(event.sample_rate == 1.0 for event in events):
        return bound
    profile = zip(_EPSILONS, delta_profile(events, _EPSILONS, adjacency), strict=True)
    return min(bound, *(any_mechanism(epsilon, delta, false_positive_rate) for epsilon, delta in profile))


def _checked(rate: float) -> float:
    if not 0 < rate < 1:
        raise ValueError(f"false_positive_rate must be in (0, 1), got {rate}")
    return rate
