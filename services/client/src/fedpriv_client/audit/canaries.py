"""20,000 canaries through whole runs of a whole site: how much can a server tell from the replies?

A canary is a record that moves one coordinate of the gradient, as far as the clip lets it, and no other. A fair coin
decides whether it is in the site's table. The server asks every round at the same parameters and adds up what comes
back at the canary's coordinate: no attacker can tell more about it, because the coordinates' noise is independent.

FedSGD canaries are records of the table, and their gradients those of the model: at zero parameters the gradient of
logistic regression is ½·x. The MLP has no record with such a gradient, so there the canaries take the place of the
model's gradients, and everything after them (sampling, clip, sum, noise, steps, divisor) is the trainer's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedpriv_client.audit.bounds import clopper_pearson_epsilon, gaussian_mu_epsilon
from fedpriv_client.audit.subject import LabSite, Subject, lab_plan, lab_site, values
from fedpriv_client.data.site_data import SiteData
from fedpriv_client.privacy.randomness import SystemRandomness
from fedpriv_common.audit_result import Bound
from fedpriv_common.plan import Phase, Plan
from fedpriv_common.recipes import Recipe

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

CANARIES = 20_000
#: Enough to see a missing mechanism, not half of it.
QUICK_CANARIES = 4_000
#: Of the two bounds of a recipe together, by Bonferroni. A correct site is accused once in 50,000 audits.
CONFIDENCE = 0.99999

#: Far above every clip and what preprocessing lets through, so that a missing clip shows.
_SIZE = 1e6
#: Columns of the tables; more canaries than coordinates are spread over several sites.
_FEATURES = {Recipe.FEDSGD_LOGREG: 400, Recipe.FEDAVG_MLP: 30}


class DiracGradients:
    """In place of a model: the gradient of a record is `_SIZE` at the coordinate that its label names."""

    def __init__(self, size: int) -> None:
        self._size = size

    def chunks(self, parameters: FloatArray, features: FloatArray, labels: NDArray[np.int64]) -> Iterator[FloatArray]:
        """Chunks of shape (≤ 256, size)."""
        for start in range(0, len(labels), 256):
            part = labels[start : start + 256]
            rows = np.zeros((len(part), self._size))
            rows[np.arange(len(part)), part] = _SIZE
            yield rows


@dataclass(frozen=True)
class Scores:
    """What the server made of the replies about each canary, which of them were in, and the epsilon it was told."""

    scores: FloatArray
    included: BoolArray
    claim: float
    delta: float


def collect_scores(subject: Subject, recipe: Recipe, canaries: int = CANARIES) -> Scores:
    """Run as many sites as it takes for `canaries` or a few more."""
    plan = subject.plan(lab_plan(recipe, _FEATURES[recipe]))
    per_site = plan.model.n_features if recipe is Recipe.FEDSGD_LOGREG else plan.model.n_parameters
    parts = [_one_site(subject, plan, recipe, per_site) for _ in range(-(-canaries // per_site))]
    return Scores(
        scores=np.concatenate([part.scores for part in parts]),
        included=np.concatenate([part.included for part in parts]),
        claim=max(part.claim for part in parts),
        delta=plan.delta,
    )


def _one_site(subject: Subject, plan: Plan, recipe: Recipe, count: int) -> Scores:
    included = SystemRandomness().uniform(count) < 0.5
    present = np.flatnonzero(included)
    z = np.zeros((len(present), plan.model.n_features))
    if recipe is Recipe.FEDSGD_LOGREG:
        z[np.arange(len(present)), present] = _SIZE
        data, gradients = SiteData(z=z, labels=np.zeros(len(present), dtype=np.int64)), None
    else:
        data, gradients = SiteData(z=z, labels=present), DiracGradients(plan.model.n_parameters)
    with lab_site(subject, plan, data, gradients=gradients) as site:
        site.admit()
        scores = _score(site, count)
        facts = site.close().facts
    if facts is None:
        raise RuntimeError("the site under audit refused to close its run")
    return Scores(scores, included, facts.epsilon_run, facts.delta)


def _score(site: LabSite, count: int) -> FloatArray:
    """The sum over releases of a canary's coordinate, in units of its clip, weighted by 1/variance."""
    scores = np.zeros(count)
    for phase, reply in site.whole_run():
        if phase is Phase.EVALUATE:
            continue  # of records that are held out, and no canary is
        release = site.plan.release(phase)
        if release is None or not reply.payload:
            raise RuntimeError(f"the site under audit refused a release: {reply.code}")
        seen = values(reply.payload)[:count] / release.max_grad_norm
        if phase is Phase.TRAIN and site.plan.batch_size is not None and site.plan.local_learning_rate is not None:
            seen *= -site.plan.batch_size / site.plan.local_learning_rate
        scores += seen / (release.steps * release.noise_multiplier**2)
    return scores


def measure(subject: Subject, recipe: Recipe, canaries: int = CANARIES) -> Bound:
    """Both lower bounds for one recipe, beside the epsilon of the site's ledger."""
    seen = collect_scores(subject, recipe, canaries)
    alpha = (1.0 - CONFIDENCE) / 2
    chosen = SystemRandomness().uniform(len(seen.scores)) < 0.5
    return Bound(
        recipe=recipe.value,
        claim=seen.claim,
        delta=seen.delta,
        confidence=CONFIDENCE,
        canaries=len(seen.scores),
        clopper_pearson=clopper_pearson_epsilon(seen.scores, seen.included, chosen, seen.delta, alpha),
        gaussian=gaussian_mu_epsilon(seen.scores, seen.included, seen.delta, alpha),
    )
