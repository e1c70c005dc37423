"""What in a contract or in a run's settings wastes privacy budget, told from declared values alone.

Hints for a person, not refusals: each names the feature, if it is about one, and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from fedpriv_common.contract import DataContract, Feature, Transform
from fedpriv_common.plan import (
    DEFAULT_MAX_RUN_EPSILON,
    DEFAULT_MIN_NOISE_MULTIPLIER,
    DEFAULT_MIN_NOMINAL_SIZE,
    Plan,
    RunSettings,
    default_delta,
)
from fedpriv_common.recipes import Recipe
from fedpriv_common.utility import AccuracyLoss

#: hi/lo from which a linear scale squeezes most of a positive quantity into its lowest tenth.
_WIDE: Final = 20.0
#: From here the square root squeezes it as well.
_VERY_WIDE: Final = 1000.0
#: A declared usual value this far from the middle of [−1, 1] leaves most of the range unused.
_OFF_CENTRE: Final = 0.8
#: More features than this are worth a thought when the loss is large.
_FEW_FEATURES: Final = 10
#: Loss, as a fraction, from which records or epsilon are called too few.
_LARGE_LOSS: Final = 0.03
#: Rounds within which the utility curve was measured.
_MEASURED_ROUNDS: Final = (8, 50)


class AdviceCode(StrEnum):
    """Kinds of advice."""

    RANGE_SPANS_DECADES = "RANGE_SPANS_DECADES"
    DEFAULT_OFF_CENTRE = "DEFAULT_OFF_CENTRE"
    MANY_FEATURES = "MANY_FEATURES"
    DELTA_TOO_LARGE = "DELTA_TOO_LARGE"
    SITES_REFUSE = "SITES_REFUSE"
    TOO_FEW_RECORDS = "TOO_FEW_RECORDS"
    ROUNDS_UNUSUAL = "ROUNDS_UNUSUAL"
    ACCURACY_UNKNOWN = "ACCURACY_UNKNOWN"
    SEVERAL_RECORDS = "SEVERAL_RECORDS"


class Advice(BaseModel):
    """One hint: what it is about, what is the matter, what to do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: AdviceCode
    feature: Annotated[str | None, Field(description="none: about the run as a whole")] = None
    message: str
    remedy: str


def advise(contract: DataContract, settings: RunSettings, plan: Plan, loss: AccuracyLoss | None) -> Iterator[Advice]:
    """Everything worth a hint, the run's own first, then feature by feature in the contract's order."""
    yield from _about_run(contract, settings, plan)
    yield from _about_size(plan, loss)
    for feature in contract.features:
        yield from _about_feature(feature)


def _about_run(contract: DataContract, settings: RunSettings, plan: Plan) -> Iterator[Advice]:
    size = contract.nominal_size
    if plan.delta > default_delta(size):
        yield Advice(
            code=AdviceCode.DELTA_TOO_LARGE,
            message=f"δ {plan.delta:g} is large for {size} records: sites refuse it by default.",
            remedy=f"Choose --delta {default_delta(size):g} or less.",
        )
    for refused, least in _over_site_defaults(plan):
        yield Advice(
            code=AdviceCode.SITES_REFUSE,
            message=f"Sites refuse {refused} by default.",
            remedy=f"Stay {least}, or ask every site to allow it in its policy.",
        )
    if note := contract.unprotected(plan.unit):
        yield Advice(
            code=AdviceCode.SEVERAL_RECORDS,
            message=note,
            remedy="Choose --unit patient."
            if contract.nominal_patients
            else "Declare nominal_patients in the contract, and choose --unit patient.",
        )
    if plan.recipe is not Recipe.FEDSGD_LOGREG or plan.model.n_classes != 2 or plan.unit != "record":
        yield Advice(
            code=AdviceCode.ACCURACY_UNKNOWN,
            message="No accuracy is foretold: the curve is of the default recipe with two classes and single records.",
            remedy="Try the recipe on public data of this kind first.",
        )
    elif settings.rounds is not None and not _MEASURED_ROUNDS[0] <= settings.rounds <= _MEASURED_ROUNDS[1]:
        yield Advice(
            code=AdviceCode.ROUNDS_UNUSUAL,
            message=f"The curve was measured with {_MEASURED_ROUNDS[0]} to {_MEASURED_ROUNDS[1]} rounds, "
            f"not {settings.rounds}.",
            remedy="Leave --rounds out: more rounds do not buy accuracy, the noise grows with their root.",
        )


def _over_site_defaults(plan: Plan) -> Iterator[tuple[str, str]]:
    """What a policy without a file would refuse, and the bound."""
    if plan.epsilon > DEFAULT_MAX_RUN_EPSILON:
        yield f"a run of ε {plan.epsilon:g}", f"at or below {DEFAULT_MAX_RUN_EPSILON:g}"
    smallest = min(release.noise_multiplier for release in (plan.centre, plan.train) if release is not None)
    if smallest < DEFAULT_MIN_NOISE_MULTIPLIER:
        yield f"noise of σ {smallest:.2g}", f"at or above {DEFAULT_MIN_NOISE_MULTIPLIER:g}"
    if plan.nominal_size < DEFAULT_MIN_NOMINAL_SIZE:
        yield f"runs over {plan.nominal_size} {plan.unit}s", f"at or above {DEFAULT_MIN_NOMINAL_SIZE}"


def _about_size(plan: Plan, loss: AccuracyLoss | None) -> Iterator[Advice]:
    if loss is None or loss.expected < _LARGE_LOSS:
        return
    yield Advice(
        code=AdviceCode.TOO_FEW_RECORDS,
        message=f"{plan.nominal_size} records are few for ε {plan.epsilon:g} at {plan.sites} sites: "
        f"about {100 * loss.expected:.1f} points of accuracy go to the noise.",
        remedy="More records count most, then a larger epsilon; each site adds noise of its own.",
    )
    features = plan.model.n_features
    if features > _FEW_FEATURES:
        share = math.sqrt((_FEW_FEATURES + 1) / (features + 1))
        yield Advice(
            code=AdviceCode.MANY_FEATURES,
            message=f"The noise falls on {features} features alike.",
            remedy=f"Declare only those known to matter: with {_FEW_FEATURES} of them the noise is "
            f"{share:.2f} times what it is. Choose by public knowledge, not by looking at records.",
        )


def _about_feature(feature: Feature) -> Iterator[Advice]:
    ratio = feature.hi / feature.lo if feature.lo > 0 else 1.0
    linear, root = feature.transform is Transform.LINEAR, feature.transform is Transform.SQRT
    if (linear and ratio >= _WIDE) or (root and ratio >= _VERY_WIDE):
        better = Transform.LOG if ratio >= _VERY_WIDE else Transform.SQRT
        yield Advice(
            code=AdviceCode.RANGE_SPANS_DECADES,
            feature=feature.name,
            message=f"{feature.lo:g}…{feature.hi:g} spans {math.log10(ratio):.1f} decades on a "
            f"{feature.transform} scale: most values land close together at its lower end.",
            remedy=f"Use transform: {better}, or a narrower range.",
        )
    # A default at the end of its range says "absent", not "usual".
    if feature.default is None or feature.default in (feature.lo, feature.hi):
        return
    place = feature.standardised_default()
    if abs(place) > _OFF_CENTRE:
        end = "lower" if place < 0 else "upper"
        yield Advice(
            code=AdviceCode.DEFAULT_OFF_CENTRE,
            feature=feature.name,
            message=f"The default {feature.default:g} lies at the {end} end of {feature.lo:g}…{feature.hi:g} "
            f"(z = {place:.2f}): if it is a usual value, most of the range is unused.",
            remedy=(
                "Narrow the range to what is usual; what lies outside is clamped"
                + (f", or use transform: {Transform.SQRT} or {Transform.LOG}." if linear and place < 0 else ".")
            ),
        )
