"""The site's own rules. A run may ask for less than they allow, never for more.

Two ways to say no. A file that cannot be right stops the site before it is online (BAD_POLICY, with the line); a plan
that asks for too much is refused by the line that forbids it, in full to the site's log, as a fixed code to the server.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from fedpriv_common.accounting import epsilon
from fedpriv_common.canonical import digest
from fedpriv_common.contract import DataContract, Unit
from fedpriv_common.errors import ErrorCode, FedprivError, Refusal, RefusalError
from fedpriv_common.model import ModelKind
from fedpriv_common.plan import (
    DEFAULT_MAX_RUN_EPSILON,
    DEFAULT_MIN_NOISE_MULTIPLIER,
    DEFAULT_MIN_NOMINAL_SIZE,
    Plan,
    default_delta,
)
from fedpriv_common.recipes import Recipe
from fedpriv_common.rounding import spell_spent


def _no_switch(value: object) -> object:
    """YAML reads `yes` as true, and true would pass for 1."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not yes or no")
    return value


Number = Annotated[float, BeforeValidator(_no_switch)]
Count = Annotated[int, BeforeValidator(_no_switch)]


class Policy(BaseModel):
    """What a site allows. Every default holds unless the site's file says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epsilon: Annotated[Number, Field(gt=0, description="lifetime budget of the data set")] = 8.0
    delta: Annotated[Number | None, Field(gt=0, lt=1, description="none: min(1e-5, 1/(10·nominal size))")] = None
    max_run_epsilon: Number = Field(
        gt=0,
        default_factory=lambda told: min(DEFAULT_MAX_RUN_EPSILON, told.get("epsilon", DEFAULT_MAX_RUN_EPSILON)),
        description="most that one run may plan",
    )
    min_noise_multiplier: Annotated[Number, Field(gt=0, description="least σ of any release")] = (
        DEFAULT_MIN_NOISE_MULTIPLIER
    )
    min_nominal_size: Annotated[Count, Field(ge=1, description="least declared size of a run")] = (
        DEFAULT_MIN_NOMINAL_SIZE
    )
    held_out_share: Annotated[Number, Field(ge=0, le=0.5, description="records kept from training")] = 0.1
    recipes: Annotated[tuple[Recipe, ...], Field(min_length=1)] = tuple(Recipe)
    models: Annotated[tuple[ModelKind, ...], Field(min_length=1)] = tuple(ModelKind)
    units: Annotated[tuple[Unit, ...], Field(min_length=1, description="whom runs protect")] = (
        "record",
        "patient",
    )
    min_reply_ms: Annotated[
        Count,
        Field(ge=0, le=600_000, description="answers come at multiples of it, or of the plan's"),
    ] = 20
    approval: Annotated[StrictBool, Field(description="a person must approve each run's plan first")] = False

    @field_validator("max_run_epsilon")
    @classmethod
    def _within_the_lifetime(cls, value: float, told: ValidationInfo) -> float:
        lifetime = told.data.get("epsilon")
        if lifetime is not None and value > lifetime:
            raise ValueError(f"more than the whole lifetime's epsilon, {lifetime:g}: lower it, or raise epsilon")
        return value

    @field_validator("models")
    @classmethod
    def _leaves_a_recipe(cls, models: tuple[ModelKind, ...], told: ValidationInfo) -> tuple[ModelKind, ...]:
        recipes = told.data.get("recipes", ())
        if recipes and not any(recipe.model in models for recipe in recipes):
            raise ValueError(
                f"no allowed recipe ({', '.join(recipes)}) trains one of these: every run would be refused"
            )
        return models

    def delta_for(self, contract: DataContract) -> float:
        """The δ under which the data set's lifetime is accounted."""
        return self.delta if self.delta is not None else default_delta(contract.nominal_size)

    def digest(self) -> str:
        """SHA-256 of the policy's canonical form."""
        return digest(self.model_dump(mode="json"))

    def check(self, plan: Plan, contract: DataContract) -> None:
        """Refuse a plan that asks for more than this policy allows; the detail names the line that refused."""
        delta = self.delta_for(contract)
        if plan.recipe not in self.recipes:
            raise _refused("recipes", _listed(self.recipes), f"the plan's recipe is {plan.recipe}")
        if plan.model.kind not in self.models:
            raise _refused("models", _listed(self.models), f"the plan's model is {plan.model.kind}")
        if plan.unit not in self.units:
            raise _refused("units", _listed(self.units), f"the plan's unit is one {plan.unit}")
        if plan.nominal_size < self.min_nominal_size:
            raise _refused("min_nominal_size", self.min_nominal_size, f"the plan declares {plan.nominal_size}")
        if plan.delta > delta:
            raise _refused("delta", delta, f"the plan's is {plan.delta:g}")
        for release in (plan.centre, plan.train):
            if release is not None and release.noise_multiplier < self.min_noise_multiplier:
                raise _refused(
                    "min_noise_multiplier",
                    self.min_noise_multiplier,
                    f"the plan's {release.phase} phase has {release.noise_multiplier:g}",
                )
        if plan.epsilon > self.max_run_epsilon:
            raise _refused("max_run_epsilon", self.max_run_epsilon, f"the plan states {plan.epsilon:g}")
        charged = epsilon(plan.events(), plan.delta)
        if charged > plan.epsilon:
            raise RefusalError(
                Refusal.POLICY_REFUSED, f"the plan charges epsilon {spell_spent(charged, 4)} but states {plan.epsilon}"
            )

    def contradictions(self, contract: DataContract) -> Iterator[tuple[str, str]]:
        """Fields that cannot hold for this contract's data, each with what is wrong and what to do."""
        size = records = contract.nominal_size
        unit: Unit = "record" if "record" in self.units else "patient"
        try:
            size = contract.nominal(unit)
        except ValueError as error:
            yield "units", f"{error}: declare them with all sites, or allow record"
        if self.delta is not None and self.delta > 1 / records:
            enough = self.model_copy(update={"delta": None}).delta_for(contract)
            yield (
                "delta",
                f"{self.delta:g} is more than 1/{records}, so that giving away one whole record would still be "
                f"allowed: choose {enough:g} or less",
            )
        if self.min_nominal_size > size:
            yield (
                "min_nominal_size",
                f"{self.min_nominal_size} is more than the {size} {unit}s that {contract.dataset} declares: "
                "every run would be refused",
            )


def load_policy(path: Path | None, contract: DataContract) -> Policy:
    """Read the site's policy file, or the defaults without one, for the data of `contract`.

    Raises BAD_POLICY naming every line at fault, with what to do.
    """
    lines: dict[str, int] = {}
    try:
        content = {} if path is None else _read(path, lines)
        policy = Policy.model_validate(content)
    except OSError as error:
        raise _bad(path, [error.strerror or "cannot be read"]) from None
    except ValidationError as error:
        raise _bad(path, [_fault(dict(entry), lines) for entry in error.errors(include_url=False)]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise _bad(path, [f"not YAML: {' '.join(str(error).split())}"]) from None
    faults = [f"{_place(field, lines)}: {fault}" for field, fault in policy.contradictions(contract)]
    if faults:
        raise _bad(path, faults)
    return policy


def _read(path: Path, lines: dict[str, int]) -> Mapping[str, Any]:
    """The file's fields; `lines` is filled with where each stands. A field that stands twice has no value to go by."""
    text = path.read_text(encoding="utf-8")
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise yaml.YAMLError("expected lines of the form `field: value`")
    for key, _ in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in lines:
            raise yaml.YAMLError(f"{name} stands on line {lines[name]} and again on line {line}: keep one")
        lines[name] = line
    content: Mapping[str, Any] = yaml.safe_load(text)
    return content


def _fault(entry: Mapping[str, Any], lines: Mapping[str, int]) -> str:
    """One fault that pydantic found, as `line 3, epsilon: -1: …`."""
    field = ".".join(str(part) for part in entry["loc"]) or "policy"
    if entry["type"] == "extra_forbidden":
        near = difflib.get_close_matches(field, Policy.model_fields, n=1)
        meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(Policy.model_fields)}"
        return f"{_place(field, lines)}: not a field of a policy; {meant}"
    return f"{_place(field, lines)}: {str(entry['input'])[:60]}: {entry['msg'].removeprefix('Value error, ')}"


def _place(field: str, lines: Mapping[str, int]) -> str:
    line = lines.get(field.split(".", maxsplit=1)[0])
    return field if line is None else f"line {line}, {field}"


def _bad(path: Path | None, faults: list[str]) -> FedprivError:
    where = "The default policy" if path is None else f"Policy {path}"
    return FedprivError(
        ErrorCode.BAD_POLICY,
        f"{where}: {'; '.join(faults)}.",
        "Mend what is named; docs/reference/policy.md has every field and what it may hold.",
    )


def _refused(field: str, value: object, asked: str) -> RefusalError:
    return RefusalError(Refusal.POLICY_REFUSED, f"policy line `{field}: {value}`: {asked}")


def _listed(names: tuple[str, ...]) -> str:
    return f"[{', '.join(names)}]"
