"""From released mechanisms to epsilon: events in, a valid upper bound out.

Every bound here is a valid upper bound on the true epsilon, so the smallest may be reported:
  * `gaussian`: full-batch Gaussian releases compose to one Gaussian with μ² = Σ steps/σ², whose epsilon is exact;
    sampling never makes a release less private, so the same figure also bounds sampled ones;
  * `loss`: privacy loss distributions of `dp-accounting`, tight for Poisson sampling;
  * `renyi`: Rényi divergences, looser, but valid at any delta and a thousand times cheaper.
`account` takes the smallest of them and calibrates noise by it. Opacus' GDP accountant is never used: its
central-limit epsilon under-reports by up to 40 %.
"""

from fedpriv_common.accounting.account import (
    TARGET_SHARE,
    calibrate_noise,
    delta_profile,
    epsilon,
    group_epsilon,
    within,
)
from fedpriv_common.accounting.events import Adjacency, GaussianEvent, coalesce, full_batch_mu
from fedpriv_common.accounting.gaussian import gaussian_delta, gaussian_epsilon, gaussian_mu
from fedpriv_common.accounting.loss import PLD_INTERVAL, pld_epsilon
from fedpriv_common.accounting.renyi import rdp_epsilon

__all__ = [
    "PLD_INTERVAL",
    "TARGET_SHARE",
    "Adjacency",
    "GaussianEvent",
    "calibrate_noise",
    "coalesce",
    "delta_profile",
    "epsilon",
    "full_batch_mu",
    "gaussian_delta",
    "gaussian_epsilon",
    "gaussian_mu",
    "group_epsilon",
    "pld_epsilon",
    "rdp_epsilon",
    "within",
]
