"""Before anything is spent: what a run would be, what it would cost, and what accuracy to expect of it.

Declared and public values only, no records and no torch, so that command line and API share it. The plan in a
forecast is made by `make_plan`, as the server makes it: what is foretold is what would run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from fedpriv_common.accounting import TARGET_SHARE, GaussianEvent, epsilon, gaussian_mu, within
from fedpriv_common.advice import Advice, advise
from fedpriv_common.contract import DataContract, load_contract
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.lifetime import largest_run, runs_that_fit
from fedpriv_common.plan import Plan, RunSettings, default_delta, make_plan
from fedpriv_common.recipes import Recipe
from fedpriv_common.rounding import spell_limit, spell_spent
from fedpriv_common.utility import AccuracyLoss, Basis, expected_loss, noise_to_signal, nu_for_loss

#: The contract of the table on which the utility curve was measured.
_MEASURED_CONTRACT = "breast-cancer-wisconsin"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PlanQuestion(_Frozen):
    """What is asked: a run's settings, its data contract, and the data set's life so far."""

    settings: RunSettings = RunSettings()
    contract: DataContract
    history: tuple[GaussianEvent, ...] = ()
    held_out_epsilon: Annotated[float, Field(ge=0, description="spent on held-out records")] = 0.0
    limit: Annotated[float, Field(gt=0, le=1000, description="lifetime epsilon of the data set")] = 8.0
    lifetime_delta: Annotated[float | None, Field(gt=0, lt=1, description="none: min(1e-5, 1/(10·N))")] = None
    held_out_share: Annotated[float, Field(ge=0, le=0.5, description="records that sites keep from training")] = 0.1
    acceptable_loss: Annotated[float, Field(ge=0.001, le=0.2, description="of accuracy, as a fraction")] = 0.01
    ceiling: Annotated[float | None, Field(gt=0, le=1, description="accuracy without privacy, if known")] = None

    def at(self, run_epsilon: float) -> Self:
        """The same question about a run of another epsilon; raises ValidationError where settings do not allow it."""
        changes: dict[str, Any] = {"epsilon": run_epsilon}
        if self.settings.evaluation_epsilon is not None and self.settings.evaluations > 0:
            share = run_epsilon / self.settings.evaluations
            changes["evaluation_epsilon"] = min(self.settings.evaluation_epsilon, share)
        return self.model_copy(update={"settings": RunSettings(**dict(self.settings) | changes)})

    @property
    def delta(self) -> float:
        """The δ at which the lifetime is accounted."""
        return self.lifetime_delta or default_delta(self.contract.nominal_size)


class Utility(_Frozen):
    """What accuracy to expect, and how many records it would take to lose no more than is acceptable."""

    nu: float
    loss: AccuracyLoss
    acceptable_loss: float
    records_needed: Annotated[int, Field(description="over all sites, two significant digits, rounded up")]
    accuracy: Annotated[tuple[float, float] | None, Field(description="low, high; none without a ceiling")]


class Cost(_Frozen):
    """What the run does to a training record's lifetime budget. Exact: whoever shows it rounds what is spent up."""

    delta: float
    limit: float
    spent: float
    after: float
    fits: bool
    runs_that_fit: Annotated[int, Field(description="such runs from now on, this one included")]


class HeldOutCost(_Frozen):
    """What the run's evaluations do to a held-out record, which is in no training release: pure epsilons add.

    An evaluation that does not fit is skipped and charges nothing; it never stops a run.
    """

    limit: float
    spent: float
    after: float
    planned: Annotated[int, Field(description="evaluations that the plan foresees")]
    released: Annotated[int, Field(description="of those, how many fit")]


class Outlook(_Frozen):
    """One run: its plan, the accuracy to expect of it, what it costs."""

    plan: Plan
    total_step_length: Annotated[float, Field(description="L = ηT")]
    utility: Annotated[Utility | None, Field(description="none where the curve was not measured: see advice")]
    cost: Cost
    held_out: HeldOutCost


class Forecast(Outlook):
    """The answer: the run that was asked for, and beside it the same run at other epsilons."""

    largest_epsilon: Annotated[float, Field(description="largest run that fits, rounded down to two digits; 0: none")]
    advice: tuple[Advice, ...]
    table: tuple[Outlook, ...]


def forecast(question: PlanQuestion, epsilons: Iterable[float] = ()) -> Forecast:
    """Foretell a run, and the same at each of `epsilons`.

    Whether the budget can pay it is in `cost.fits`; `require_affordable` makes that an error. Raises RUN_REFUSED when
    no noise can keep the settings' epsilon, ValidationError when settings do not allow one of `epsilons`.
    """
    asked = _outlook(question)
    others = [question.at(other) for other in epsilons]
    return Forecast(
        **dict(asked),
        largest_epsilon=_largest_epsilon(question, asked.plan),
        advice=tuple(_advice(question, asked)),
        table=tuple(asked if other == question else _outlook(other) for other in others),
    )


def require_affordable(answer: Forecast) -> None:
    """Raise BUDGET_TOO_SMALL, saying what the remaining budget could pay, unless the run fits."""
    cost = answer.cost
    if cost.fits:
        return
    if answer.largest_epsilon > 0:
        remedy = f"The largest run of this kind that still fits, once, is --epsilon {answer.largest_epsilon:g}."
    else:
        remedy = "Nothing is left for another run; only the site can raise its limit."
    raise FedprivError(
        ErrorCode.BUDGET_TOO_SMALL,
        f"A run of ε {answer.plan.epsilon:g} would bring {answer.plan.dataset} from ε {spell_spent(cost.spent)} "
        f"to {spell_spent(cost.after)}, over its lifetime's {spell_limit(cost.limit)} (δ {cost.delta:g}).",
        remedy,
    )


def _outlook(question: PlanQuestion) -> Outlook:
    plan = _plan(question)
    return Outlook(
        plan=plan,
        total_step_length=plan.learning_rate * plan.rounds,
        utility=_utility(question, plan),
        cost=_cost(question, plan),
        held_out=_held_out_cost(question, plan),
    )


def _advice(question: PlanQuestion, asked: Outlook) -> Iterator[Advice]:
    loss = None if asked.utility is None else asked.utility.loss
    return advise(question.contract, question.settings, asked.plan, loss)


def _plan(question: PlanQuestion) -> Plan:
    try:
        return make_plan(question.settings, question.contract)
    except ValueError as error:
        undeclared = question.settings.unit == "patient" and question.contract.nominal_patients is None
        remedy = "Declare them, or leave --unit out." if undeclared else "Choose a larger epsilon or fewer steps."
        raise FedprivError(ErrorCode.RUN_REFUSED, f"{error}.", remedy) from None


def _utility(question: PlanQuestion, plan: Plan) -> Utility | None:
    """Where the curve was measured: two classes, the default recipe, the record as the unit."""
    if plan.recipe is not Recipe.FEDSGD_LOGREG or plan.model.n_classes != 2 or plan.unit != "record":
        return None
    mu = gaussian_mu(plan.epsilon, plan.delta)
    basis = _basis(question.contract)

    def nu_of(records: int) -> float:
        trained = records * (1.0 - question.held_out_share)
        return noise_to_signal(mu, sites=plan.sites, features=plan.model.n_features, records=trained)

    nu = nu_of(plan.nominal_size)
    loss = expected_loss(nu, basis)
    ceiling = question.ceiling
    return Utility(
        nu=nu,
        loss=loss,
        acceptable_loss=question.acceptable_loss,
        records_needed=_two_digits_up(nu_of(1) / nu_for_loss(question.acceptable_loss, basis)),
        accuracy=None if ceiling is None else (max(0.0, ceiling - loss.high), max(0.0, ceiling - loss.low)),
    )


@cache
def _measured_contract() -> DataContract:
    return load_contract(_MEASURED_CONTRACT)


def _basis(contract: DataContract) -> Basis:
    measured = _measured_contract()
    same = (contract.features, contract.label) == (measured.features, measured.label)
    return Basis.MEASURED if same else Basis.OTHER_TABLE


def _cost(question: PlanQuestion, plan: Plan) -> Cost:
    history, limit, delta = question.history, question.limit, question.delta
    after = epsilon([*history, *plan.events()], delta)
    return Cost(
        delta=delta,
        limit=limit,
        spent=epsilon(history, delta),
        after=after,
        fits=after <= limit,
        runs_that_fit=runs_that_fit(history, plan.events(), limit, delta),
    )


def _held_out_cost(question: PlanQuestion, plan: Plan) -> HeldOutCost:
    """As a site's ledger decides it: one evaluation after the other, each only if it fits."""
    after, released = question.held_out_epsilon, 0
    planned = 0 if plan.evaluate is None else len(plan.evaluate.at)
    for _ in range(planned):
        if plan.evaluate is not None and after + plan.evaluate.epsilon <= question.limit:
            after, released = after + plan.evaluate.epsilon, released + 1
    return HeldOutCost(
        limit=question.limit, spent=question.held_out_epsilon, after=after, planned=planned, released=released
    )


def _largest_epsilon(question: PlanQuestion, plan: Plan) -> float:
    """The largest epsilon, in hundredths, whose own plan fits; 0.0 when that of 0.01 does not."""
    history, limit, delta = question.history, question.limit, question.delta
    charged = largest_run(history, plan.events(), limit, delta, plan.delta)
    # A plan charges 0.999 of what it states, and settings allow no more than 50.
    hundredths = min(math.ceil(100 * charged / TARGET_SHARE), 5000)
    while hundredths > 0:
        candidate = _plan(question.at(hundredths / 100))
        if within([*history, *candidate.events()], limit, delta)[0]:
            return hundredths / 100
        hundredths -= 1
    return 0.0


def _two_digits_up(records: float) -> int:
    """A number of records as a contract declares it: two significant digits, rounded up."""
    digits = max(1, 10 ** (len(str(int(records))) - 2))
    return int(-(-records // digits) * digits)
