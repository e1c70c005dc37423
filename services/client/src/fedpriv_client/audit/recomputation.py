"""Is the epsilon that a site reports that of its ledger? Recomputed from the exported lines by `dp-accounting` itself.

Nothing of fedpriv's accounting is used here: an event is made of each line, and composed as the library composes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import dp_accounting
import numpy as np
from dp_accounting import pld

from fedpriv_client.audit.subject import Subject, lab_plan, lab_site
from fedpriv_client.data.site_data import SiteData
from fedpriv_common.audit_result import Check, Figure
from fedpriv_common.plan import Phase, Plan
from fedpriv_common.recipes import Recipe

#: Allowed difference, relative: sites report upper bounds at a coarser discretisation than the library's default.
ABOVE, BELOW = 0.02, 0.002

_FEATURES, _ROUNDS = 3, 6


def check_ledger(subject: Subject) -> list[Check]:
    """Whole runs of each recipe on a table of two records; what was released, charged and reported must agree."""
    return [check for recipe in Recipe for check in _run(subject, recipe)]


def _run(subject: Subject, recipe: Recipe) -> list[Check]:
    plan = subject.plan(lab_plan(recipe, _FEATURES, _ROUNDS))
    data = SiteData(z=np.zeros((2, _FEATURES)), labels=np.array([0, 1], dtype=np.int64))
    with lab_site(subject, plan, data) as site:
        site.admit()
        released = sum(reply.code == "OK" and bool(reply.payload) for _, reply in site.whole_run())
        facts = site.close().facts
        entries = list(site.ledger.export())
    charged, planned = sorted(_parameters(entry) for entry in entries), sorted(_planned(plan))
    held_out = sum(entry["epsilon_pure"] for entry in entries if entry["phase"] == Phase.EVALUATE)
    reported_held_out = facts.epsilon_held_out if facts else 0.0
    reported, delta = (facts.epsilon_spent, facts.delta) if facts else (0.0, plan.delta)
    recomputed = _epsilon(entries, delta)
    short = recipe.value.split("-")[-1]
    figures: dict[str, Figure] = {
        "reported": reported,
        "recomputed": recomputed,
        "delta": delta,
        "reported_held_out": reported_held_out,
        "recomputed_held_out": held_out,
    }
    return [
        Check(
            name=f"ledger.entries_of_{short}",
            expects="one committed entry per release, with the plan's σ, C, q and steps, or ε of an evaluation",
            passed=charged == planned and released == len(planned),
            figures={"released": released, "entries": len(entries), "planned": len(planned)},
        ),
        Check(
            name=f"ledger.epsilon_of_{short}",
            expects=f"reported ε at most {BELOW:.1%} below and {ABOVE:.0%} above dp-accounting's of the entries; "
            "that of held-out records is their sum",
            passed=(1 - BELOW) * recomputed <= reported <= (1 + ABOVE) * recomputed
            and abs(reported_held_out - held_out) <= 1e-9,
            figures=figures,
        ),
    ]


def _parameters(entry: dict[str, Any]) -> tuple[Any, ...]:
    names = (
        "state",
        "phase",
        "round",
        "mechanism",
        "noise_multiplier",
        "max_grad_norm",
        "sample_rate",
        "steps",
        "epsilon_pure",
    )
    return tuple(entry.get(name, "") for name in names)


def _planned(plan: Plan) -> list[tuple[Any, ...]]:
    releases = [(0, plan.centre)] if plan.centre is not None else []
    releases += [(number, plan.train) for number in range(1, plan.rounds + 1)]
    gaussian = [
        (
            "committed",
            release.phase.value,
            number,
            release.mechanism,
            release.noise_multiplier,
            release.max_grad_norm,
            release.sample_rate,
            release.steps,
            "",
        )
        for number, release in releases
    ]
    if plan.evaluate is None:
        return gaussian
    evaluation = plan.evaluate
    return gaussian + [
        ("committed", "evaluate", number, evaluation.mechanism, "", "", "", "", evaluation.epsilon)
        for number in evaluation.at
    ]


def _epsilon(entries: list[dict[str, Any]], delta: float) -> float:
    released = (entry for entry in entries if entry["mechanism"] == "gaussian")
    return _composed(
        tuple((entry["noise_multiplier"], entry["sample_rate"], entry["steps"]) for entry in released), delta
    )


@cache  # most defects leave the entries as they are
def _composed(released: tuple[tuple[float, float, int], ...], delta: float) -> float:
    """Epsilon at delta of Gaussian releases, each of (σ, q, steps), by the library alone."""
    accountant = pld.PLDAccountant()
    for noise_multiplier, sample_rate, steps in released:
        event = dp_accounting.GaussianDpEvent(noise_multiplier)
        if sample_rate < 1.0:
            event = dp_accounting.PoissonSampledDpEvent(sample_rate, event)
        accountant.compose(event, steps)
    return float(accountant.get_epsilon(delta))
