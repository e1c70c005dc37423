"""Is the noise what the ledger says, and independent of everything? Seen on records that have no gradient.

Unlabelled records contribute zero, so what a site releases on them is its noise. Thresholds are set so that correct
noise fails one audit in 5,000, by the two tests of distributions; every other limit is five standard errors and more.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from fedpriv_client.audit.subject import Subject, lab_plan
from fedpriv_client.data.site_data import SiteData
from fedpriv_client.privacy.policy import Policy
from fedpriv_client.settings import SiteSettings
from fedpriv_client.training import Trainer
from fedpriv_common.audit_result import Check
from fedpriv_common.plan import Phase, Plan, RunSettings
from fedpriv_common.recipes import Recipe
from fedpriv_common.table import UNLABELLED

FloatArray = NDArray[np.float64]

STEPS = 2000
#: Allowed difference of the standard deviation from σC, or six of its standard errors where that is more.
DEVIATION = 0.01
#: Smallest p-value of the Kolmogorov–Smirnov test.
DISTRIBUTION = 1e-4
#: Largest correlation in standard errors: of all draws of two sources, and of any two releases.
CORRELATION, ANY_PAIR = 5.0, 7.0
#: Draws have 53 bits: among a million, more than this many equal ones mean that something repeats.
REPEATS = 2

_FEATURES = 200
_MLP_FEATURES, _MLP_STEPS = 30, 10


@dataclass(frozen=True)
class Noise:
    """Releases on records without gradient by two sites, in units of what their plan calls one standard deviation.

    Both have shape (releases, coordinates).
    """

    name: str
    site: FloatArray
    other_site: FloatArray


def check_noise(subject: Subject, steps: int = STEPS) -> list[Check]:
    """All checks of the noise; `steps` is how many noisy steps of each recipe are looked at."""
    observed = [_gradient_sums(subject, steps), _local_updates(subject, steps), _centring_sums(subject, steps)]
    return [
        *(_deviation(noise) for noise in observed),
        _distribution(observed),
        _independent_sites(observed),
        _independent_rounds(observed),
        _nothing_repeats(observed),
        _geometric(subject, steps),
    ]


def check_no_seed() -> Check:
    """No setting, policy, plan or run of fedpriv has a field that could seed anything."""
    words = ("seed", "random", "generator", "rng")
    fields = [
        f"{model.__name__}.{name}"
        for model in (Plan, RunSettings, Policy, SiteSettings)
        for name in model.model_fields
        if any(word in name.lower() for word in words)
    ]
    return Check(
        name="noise.no_seed_setting",
        expects="no field of plan, run, policy or site settings names a seed or a generator",
        passed=not fields,
        figures={"fields": ", ".join(fields) or "none"},
    )


def unlabelled(count: int, n_features: int) -> SiteData:
    """Records without a class: their gradient is zero, and so are their features."""
    return SiteData(z=np.zeros((count, n_features)), labels=np.full(count, UNLABELLED, dtype=np.int64))


def seed_everything() -> None:
    """Set every process-wide seed that a careless source of noise would follow, each time to the same."""
    torch.default_generator.manual_seed(0)  # as torch.manual_seed does, which takes 2 ms
    np.random.seed(0)
    random.seed(0)


def release_noise(trainer: Trainer, plan: Plan, phase: Phase) -> FloatArray:
    """One release at zero parameters, all seeds set before it."""
    seed_everything()
    return trainer.release(phase, np.zeros(plan.model.n_parameters), np.zeros(plan.model.n_features))


def _two_sites(
    subject: Subject, plan: Plan, phase: Phase, releases: int, scale: float, records: int = 50
) -> tuple[FloatArray, FloatArray]:
    def site() -> FloatArray:
        seed_everything()
        trainer = subject.trainer(plan, unlabelled(records, plan.model.n_features), subject.randomness())
        return np.stack([release_noise(trainer, plan, phase) for _ in range(max(2, releases // 2))]) / scale

    return site(), site()


def _gradient_sums(subject: Subject, steps: int) -> Noise:
    plan = subject.plan(lab_plan(Recipe.FEDSGD_LOGREG, _FEATURES))
    scale = plan.train.noise_multiplier * plan.train.max_grad_norm
    return Noise("gradient_sum", *_two_sites(subject, plan, Phase.TRAIN, steps, scale))


def _centring_sums(subject: Subject, steps: int) -> Noise:
    plan = subject.plan(lab_plan(Recipe.FEDSGD_LOGREG, _FEATURES))
    if plan.centre is None:
        raise RuntimeError("the plan under audit has no centring round")
    scale = plan.centre.noise_multiplier * plan.centre.max_grad_norm
    return Noise("centring_sum", *_two_sites(subject, plan, Phase.CENTRE, steps, scale))


def _local_updates(subject: Subject, steps: int) -> Noise:
    plan = subject.plan(lab_plan(Recipe.FEDAVG_MLP, _MLP_FEATURES))
    train = plan.train.model_copy(update={"steps": _MLP_STEPS})
    plan = plan.model_copy(update={"train": train})
    if plan.local_learning_rate is None or plan.batch_size is None:
        raise RuntimeError("the plan under audit has no local steps")
    step = plan.local_learning_rate / plan.batch_size
    scale = step * train.noise_multiplier * train.max_grad_norm * math.sqrt(_MLP_STEPS)
    return Noise("local_update", *_two_sites(subject, plan, Phase.TRAIN, steps // _MLP_STEPS, scale))


def _deviation(noise: Noise) -> Check:
    draws = np.concatenate([noise.site.ravel(), noise.other_site.ravel()])
    allowed = max(DEVIATION, 6.0 / math.sqrt(2 * draws.size))
    ratio = float(np.sqrt(np.mean(draws**2)))
    return Check(
        name=f"noise.deviation_of_{noise.name}",
        expects=f"standard deviation within {allowed:.2g} of σC, relative",
        passed=abs(ratio - 1.0) <= allowed,
        figures={"draws": draws.size, "of_planned": ratio},
    )


def _distribution(observed: list[Noise]) -> Check:
    draws = np.concatenate([part.ravel() for noise in observed for part in (noise.site, noise.other_site)])
    p_value = float(stats.kstest(draws, "norm").pvalue)
    return Check(
        name="noise.distribution",
        expects=f"Kolmogorov–Smirnov test against the normal distribution: p > {DISTRIBUTION:g}",
        passed=p_value > DISTRIBUTION,
        figures={"draws": draws.size, "p": p_value},
    )


def _independent_sites(observed: list[Noise]) -> Check:
    return _correlation(
        "noise.independent_sites",
        "two sites, and one site started again: noise uncorrelated under equal seeds",
        observed,
        lambda noise: (noise.site.ravel(), noise.other_site.ravel()),
    )


def _independent_rounds(observed: list[Noise]) -> Check:
    check = _correlation(
        "noise.independent_rounds",
        "noise of successive rounds uncorrelated under equal seeds, and of any two releases",
        observed,
        lambda noise: (noise.site[:-1].ravel(), noise.site[1:].ravel()),
    )
    largest = max(_largest_pair(np.concatenate([noise.site, noise.other_site])) for noise in observed)
    return check.model_copy(
        update={
            "passed": check.passed and largest <= ANY_PAIR,
            "figures": check.figures | {"largest_of_any_pair": largest, "limit_of_any_pair": ANY_PAIR},
        }
    )


def _correlation(
    name: str, expects: str, observed: list[Noise], pair: Callable[[Noise], tuple[FloatArray, FloatArray]]
) -> Check:
    scores = [abs(standard_correlation(*pair(noise))) for noise in observed]
    return Check(
        name=name,
        expects=f"{expects}; correlation below {CORRELATION:g} standard errors",
        passed=max(scores) <= CORRELATION,
        figures={f"{noise.name}": score for noise, score in zip(observed, scores, strict=True)},
    )


def standard_correlation(first: FloatArray, second: FloatArray) -> float:
    """Correlation about zero in its standard errors, 1/√n, for two vectors of equal length; 0 for one that is zero."""
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return 0.0 if norms == 0.0 else float(first @ second) / norms * math.sqrt(first.size)


def _largest_pair(releases: FloatArray) -> float:
    norms = np.linalg.norm(releases, axis=1, keepdims=True)
    unit = releases / np.where(norms > 0, norms, 1.0)
    products = np.abs(unit @ unit.T)
    np.fill_diagonal(products, 0.0)
    return float(products.max()) * math.sqrt(releases.shape[1])


def _geometric(subject: Subject, draws: int) -> Check:
    """Confusion matrices of no records at all: noise alone, with probability ∝ e^(−ε|k|) for k."""
    plan = subject.plan(lab_plan(Recipe.FEDSGD_LOGREG, 2))
    if plan.evaluate is None:
        raise RuntimeError("the plan under audit evaluates nothing")
    trainer = subject.trainer(plan, unlabelled(50, 2), subject.randomness())
    counts = np.concatenate([release_noise(trainer, plan, Phase.EVALUATE) for _ in range(max(2, draws // 4))])
    shrink = math.exp(-plan.evaluate.epsilon)
    # Cells of five and more expected draws: single values near zero, the tails beyond them together.
    reach = max(1, int(math.log(5 * (1 + shrink) / counts.size) / math.log(shrink)) - 1)
    inner = np.arange(-reach + 1, reach)
    tail = shrink**reach / (1 + shrink)
    expected = np.array([tail, *((1 - shrink) / (1 + shrink) * shrink ** np.abs(inner)), tail]) * counts.size
    found = [np.sum(counts <= -reach), *(np.sum(counts == value) for value in inner), np.sum(counts >= reach)]
    p_value = float(stats.chisquare(found, expected).pvalue)
    whole = bool(np.array_equal(counts, np.round(counts)))
    return Check(
        name="noise.geometric_of_evaluation",
        expects=f"whole numbers with probability ∝ e^(−ε|k|): p > {DISTRIBUTION:g} by the χ² test",
        passed=whole and p_value > DISTRIBUTION,
        figures={"draws": counts.size, "cells": len(found), "p": p_value},
    )


def _nothing_repeats(observed: list[Noise]) -> Check:
    draws = np.concatenate([part.ravel() for noise in observed for part in (noise.site, noise.other_site)])
    repeats = draws.size - np.unique(draws).size
    return Check(
        name="noise.nothing_repeats",
        expects=f"at most {REPEATS} draws of the same value",
        passed=repeats <= REPEATS,
        figures={"draws": draws.size, "repeats": repeats},
    )
