"""Computes plans in a process of its own: scipy and the accountants would cost the API's process 100 MB.

It answers one question per line and ends when nobody writes to it any more:

    python -m fedpriv_metrics.planner_process < questions > answers
"""

from __future__ import annotations

import math
import signal
import sys
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedpriv_common.accounting import GaussianEvent, epsilon, gaussian_mu
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.lifetime import runs_that_fit
from fedpriv_common.plan import Plan
from fedpriv_common.planner import Forecast, PlanQuestion, forecast

#: Seconds after which the process gives up, though nobody has ended it.
HARD_DEADLINE_S = 60
#: Hints that are told; a contract may have thousands of features.
MOST_ADVICE = 100


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Budget(_Frozen):
    """What a site has told of a data set's lifetime. Epsilon of all its releases, not the releases."""

    spent: Annotated[float, Field(ge=0)]
    limit: float
    delta: float

    def history(self) -> tuple[GaussianEvent, ...]:
        """The one full-batch Gaussian release that has this epsilon at this delta (as in forecast.py)."""
        return (GaussianEvent(1.0 / gaussian_mu(self.spent, self.delta), 1.0, 1),) if self.spent > 0 else ()


class BudgetAfter(_Frozen):
    """The same budget when the run has ended as planned."""

    after: float
    fits: bool
    runs_that_fit: int


class Asked(_Frozen):
    """A question: the run, the epsilons beside it, what the data set had spent, and the budgets of sites."""

    question: PlanQuestion
    epsilons: tuple[float, ...] = ()
    #: What was spent before, where the history itself is not known.
    before: Budget | None = None
    budgets: tuple[Budget, ...] = ()


class Refused(_Frozen):
    """Settings of which no plan can be made."""

    code: ErrorCode
    message: str
    remedy: str


class Answered(_Frozen):
    """One of the two."""

    forecast: Forecast | None = None
    #: None for a site that told what no accountant can count with: it keeps no plan of the others back.
    budgets: tuple[BudgetAfter | None, ...] = ()
    refused: Refused | None = None


def compute(asked: Asked) -> Answered:
    """The answer to a question; a question of numbers beyond every accountant is refused like any other."""
    question = asked.question
    if asked.before is not None:
        question = question.model_copy(update={"history": asked.before.history()})
    try:
        foretold = forecast(question, asked.epsilons)
        budgets = tuple(_after(foretold.plan, budget) for budget in asked.budgets)
        return Answered(forecast=foretold.model_copy(update={"advice": foretold.advice[:MOST_ADVICE]}), budgets=budgets)
    except FedprivError as error:
        return Answered(refused=Refused(code=error.code, message=error.message, remedy=error.remedy))
    except (ValidationError, ArithmeticError, ValueError):
        return Answered(
            refused=Refused(
                code=ErrorCode.RUN_REFUSED,
                message="No noise can be found for these numbers.",
                remedy="Choose an epsilon, a delta and a limit that are less extreme.",
            )
        )


def _after(plan: Plan, budget: Budget) -> BudgetAfter | None:
    try:
        history, events = budget.history(), plan.events()
        after = epsilon([*history, *events], budget.delta)
        runs = runs_that_fit(history, events, budget.limit, budget.delta)
    except (ArithmeticError, ValueError):
        return None
    return BudgetAfter(after=after, fits=after <= budget.limit, runs_that_fit=runs) if math.isfinite(after) else None


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        # Whoever asked may have been killed while this computes.
        signal.alarm(HARD_DEADLINE_S)
        answered = compute(Asked.model_validate_json(line))
        signal.alarm(0)
        print(answered.model_dump_json(), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
