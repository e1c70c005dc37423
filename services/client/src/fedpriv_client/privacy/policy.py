"""The site's own rules. A run may ask for less than they allow, never for more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedpriv_common.accounting import epsilon
from fedpriv_common.canonical import digest
from fedpriv_common.contract import DataContract
from fedpriv_common.errors import ErrorCode, FedprivError, Refusal, RefusalError
from fedpriv_common.plan import Plan, Recipe


class Policy(BaseModel):
    """What a site allows. Every default holds unless the site's file says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epsilon: Annotated[float, Field(gt=0, description="lifetime budget of the data set")] = 8.0
    delta: Annotated[float | None, Field(gt=0, lt=1, description="none: min(1e-5, 1/(10·nominal size))")] = None
    max_run_epsilon: Annotated[float, Field(gt=0, description="most that one run may plan")] = 3.0
    min_noise_multiplier: Annotated[float, Field(gt=0)] = 1.0
    min_nominal_size: Annotated[int, Field(ge=1)] = 100
    held_out_share: Annotated[float, Field(ge=0, lt=1, description="records kept from training")] = 0.0
    recipes: Annotated[tuple[Recipe, ...], Field(min_length=1)] = tuple(Recipe)

    def delta_for(self, contract: DataContract) -> float:
        """The δ under which the data set's lifetime is accounted."""
        return self.delta if self.delta is not None else min(1e-5, 1.0 / (10 * contract.nominal_size))

    def digest(self) -> str:
        """SHA-256 of the policy's canonical form."""
        return digest(self.model_dump(mode="json"))

    def check(self, plan: Plan, contract: DataContract) -> None:
        """Refuse a plan that asks for more than this policy allows; the detail names the line that refused."""
        delta = self.delta_for(contract)
        if plan.recipe not in self.recipes:
            raise _refused(f"recipes: {plan.recipe} is not allowed")
        if plan.nominal_size < self.min_nominal_size:
            raise _refused(f"min_nominal_size: {plan.nominal_size} < {self.min_nominal_size}")
        if plan.delta > delta:
            raise _refused(f"delta: {plan.delta} > {delta}")
        for release in (plan.centre, plan.train):
            if release is not None and release.noise_multiplier < self.min_noise_multiplier:
                raise _refused(
                    f"min_noise_multiplier: {release.phase} {release.noise_multiplier} < {self.min_noise_multiplier}"
                )
        charged = epsilon(plan.events(), plan.delta)
        if charged > plan.epsilon:
            raise _refused(f"the plan charges epsilon {charged:.4f} but states {plan.epsilon}")
        if plan.epsilon > self.max_run_epsilon:
            raise _refused(f"max_run_epsilon: {plan.epsilon} > {self.max_run_epsilon}")


def load_policy(path: Path | None) -> Policy:
    """Read the site's policy file, or the defaults without one. Raises BAD_POLICY."""
    if path is None:
        return Policy()
    try:
        return Policy.model_validate(yaml.safe_load(path.read_text()) or {})
    except OSError as error:
        fault = error.strerror or "cannot be read"
    except yaml.YAMLError as error:
        fault = f"not YAML: {' '.join(str(error).split())}"
    except ValidationError as error:
        fault = "; ".join(
            f"{'.'.join(str(part) for part in entry['loc']) or 'policy'}: {entry['msg']}"
            for entry in error.errors(include_url=False)
        )
    raise FedprivError(ErrorCode.BAD_POLICY, f"Policy {path}: {fault}.", "docs/reference/policy.md has the format.")


def _refused(line: str) -> RefusalError:
    return RefusalError(Refusal.POLICY_REFUSED, line)
