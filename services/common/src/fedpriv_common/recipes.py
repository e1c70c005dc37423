"""Which ways to train there are, which strategies fit each, and what may be chosen of a strategy.

One table for command line, planner, server and sites, so that none of them accepts what another would refuse. What a
strategy does with the replies is in the server (`aggregation.py`, `adam.py`); all of it is post-processing of values
that already carry their noise, and costs no epsilon.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from fedpriv_common.model import ModelKind


class Recipe(StrEnum):
    """Ways to train that server and sites both know."""

    FEDSGD_LOGREG = "fedsgd-logreg"
    FEDAVG_MLP = "fedavg-mlp"

    @property
    def model(self) -> ModelKind:
        """The architecture that the recipe trains."""
        return {Recipe.FEDSGD_LOGREG: ModelKind.LOGREG, Recipe.FEDAVG_MLP: ModelKind.MLP}[self]

    @property
    def default_strategy(self) -> str:
        """The strategy of a run that names none."""
        return {Recipe.FEDSGD_LOGREG: "fedsgd", Recipe.FEDAVG_MLP: "fedavg"}[self]


@dataclass(frozen=True)
class Option:
    """A number that may be chosen: `least` ≤ it ≤ `most`."""

    default: float
    least: float
    most: float
    whole: bool = False

    def check(self, name: str, value: float) -> None:
        """Raise ValueError for a value that is out of range, or not whole where it must be."""
        if not math.isfinite(value) or not self.least <= value <= self.most:
            raise ValueError(f"{name} is {value:g}, it must be from {self.least:g} to {self.most:g}")
        if self.whole and value != int(value):
            raise ValueError(f"{name} is {value:g}, it must be a whole number")


@dataclass(frozen=True)
class StrategySpec:
    """What a strategy can be used for, and with what."""

    recipes: tuple[Recipe, ...]
    options: Mapping[str, Option] = field(default_factory=dict)
    #: Why it is for no other recipe, as it ends a sentence.
    reason: str = ""


_ALL, _MLP = tuple(Recipe), (Recipe.FEDAVG_MLP,)
_SELECTS = "it leaves whole replies out, which the step of fedsgd-logreg, a sum over declared records, does not allow"

#: Names and options are those of Flower's strategies (flwr.serverapp.strategy), so are their defaults except where
#: Flower's would do nothing (proximal_mu 0, no malicious node).
STRATEGIES: Final[Mapping[str, StrategySpec]] = {
    "fedsgd": StrategySpec((Recipe.FEDSGD_LOGREG,), reason="its replies must be sums of gradients"),
    "fedavg": StrategySpec(_ALL),
    "fedprox": StrategySpec(
        _MLP,
        {"proximal_mu": Option(0.1, 1e-6, 100.0)},
        "the one local step of fedsgd-logreg starts at the global model, where the proximal term is zero: use fedavg",
    ),
    "fedadam": StrategySpec(
        _ALL,
        {
            "eta": Option(0.1, 1e-6, 10.0),
            "beta_1": Option(0.9, 0.0, 0.9999),
            "beta_2": Option(0.99, 0.0, 0.9999),
            "tau": Option(1e-3, 1e-9, 1.0),
        },
    ),
    "fedtrimmedavg": StrategySpec(_MLP, {"beta": Option(0.2, 0.001, 0.499)}, _SELECTS),
    "krum": StrategySpec(_MLP, {"num_malicious_nodes": Option(1, 1, 498, whole=True)}, _SELECTS),
}


def resolve_strategy(recipe: Recipe, name: str | None, chosen: Mapping[str, float]) -> tuple[str, dict[str, float]]:
    """The strategy's name and all of its options, defaults filled in.

    Raises ValueError, listing what is allowed, for an unknown name or option, a strategy that does not fit the recipe
    and a value out of range.
    """
    name = name or recipe.default_strategy
    if name not in STRATEGIES:
        raise ValueError(f"strategy {name!r} is not one of {', '.join(STRATEGIES)}")
    spec = STRATEGIES[name]
    if recipe not in spec.recipes:
        fitting = ", ".join(other for other, one in STRATEGIES.items() if recipe in one.recipes)
        raise ValueError(f"strategy {name!r} is not for {recipe} ({spec.reason}); for it there are {fitting}")
    for option in chosen:
        if option not in spec.options:
            allowed = ", ".join(spec.options) or "no options"
            raise ValueError(f"strategy {name!r} has no option {option!r}; it has {allowed}")
    # Plus zero: −0.0 equals 0.0, but would be spelled, and so digested, otherwise.
    resolved = {option: float(chosen.get(option, one.default)) + 0.0 for option, one in spec.options.items()}
    for option, value in resolved.items():
        spec.options[option].check(option, value)
    return name, resolved


def require_replies(name: str, options: Mapping[str, float], least: int) -> None:
    """Raise ValueError where a strategy could not do its work on the `least` replies that a round may have.

    Krum needs K ≥ 2f + 3 (Blanchard et al. 2017, Proposition 4.2). A trimmed mean that trims nobody would be a mean.
    """
    if name == "krum" and least < (needed := 2 * int(options["num_malicious_nodes"]) + 3):
        raise ValueError(
            f"krum against {options['num_malicious_nodes']:g} malicious sites needs at least {needed} replies in "
            f"every round, this run goes on with {least} (sites, or quorum where it is set)"
        )
    if name == "fedtrimmedavg" and int(options["beta"] * least) < 1:
        # Of two replies, to trim one at each end leaves nobody: no beta helps.
        larger = f"choose beta of at least {math.ceil(1000 / least) / 1000:g} or " if least > 2 else ""
        raise ValueError(
            f"fedtrimmedavg of beta {options['beta']:g} trims nobody of {least} replies (sites, or quorum where it "
            f"is set): {larger}ask for more sites"
        )


def spell_strategy(name: str, options: Mapping[str, float]) -> str:
    """`fedprox (proximal_mu 0.1)`, as people read it."""
    return name + (f" ({', '.join(f'{key} {value:g}' for key, value in options.items())})" if options else "")
