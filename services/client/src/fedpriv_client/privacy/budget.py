"""A site's epsilon after each round, ready before the round begins.

Composing a history with mini-batch releases takes a tenth of a second and more, too long for a round. The values a
run will report are therefore computed once, at admission, and again only if another run charges the ledger meanwhile.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

from fedpriv_client.privacy.ledger.history import History
from fedpriv_common.accounting import GaussianEvent, epsilon
from fedpriv_common.plan import Phase, Plan

#: For mini-batch plans: at how many points of a run epsilon is composed; between two, the later (larger) one holds.
_GRID_POINTS = 10


@dataclass(frozen=True)
class Budget:
    """Epsilon at the policy's delta: of the run, of everything ever charged, and of everything charged or held."""

    epsilon_run: float
    epsilon_spent: float
    epsilon_planned: float


class BudgetMeter:
    """Tells a run's Budget by the number of its releases that are charged. Values are upper bounds."""

    def __init__(self, delta: float) -> None:
        self._delta = delta
        self._key: object = None
        self._points: list[int] = []
        self._budgets: list[Budget] = []

    def read(self, history: History, run_id: str) -> Budget:
        """The budget with what is charged now."""
        run = history.runs[run_id]
        charged_by_others, held_by_others = history.charged(but_of=run), history.held(but_of=run)
        key = (run_id, charged_by_others, held_by_others)
        if key != self._key:
            self._fill(run.admit.plan, charged_by_others, held_by_others)
            self._key = key
        budget = self._budgets[bisect_left(self._points, len(run.releases))]
        if run.admit.plan.centre is not None and run.releases and (0, Phase.CENTRE) not in run.releases:
            # Asked out of order, a release costs what it is, not what the plan has in its place.
            budget = Budget(
                epsilon(run.charged(), self._delta), epsilon(history.charged(), self._delta), budget.epsilon_planned
            )
        if run.closed:
            # Nothing is held any more: what is charged is all there will be of this run.
            spent_for_good = epsilon([*history.charged(), *history.held()], self._delta)
            return Budget(budget.epsilon_run, budget.epsilon_spent, spent_for_good)
        return budget

    def _fill(self, plan: Plan, charged_by_others: list[GaussianEvent], held_by_others: list[GaussianEvent]) -> None:
        releases = (plan.centre is not None) + plan.train.rounds
        others = [*charged_by_others, *held_by_others]
        full_batch = all(event.sample_rate == 1.0 for event in (*plan.events(), *others))
        stride = 1 if full_batch else max(1, releases // _GRID_POINTS)
        self._points = sorted({*range(0, releases, stride), releases})
        charges = [_charges(plan, point) for point in self._points]
        # Each is an upper bound, so the larger of two stands: what is spent never falls, whatever grid it was read on.
        run = accumulate((epsilon(charged, self._delta) for charged in charges), max)
        spent = accumulate((epsilon([*charged_by_others, *charged], self._delta) for charged in charges), max)
        points = list(zip(run, spent, strict=True))
        planned = max(epsilon([*others, *plan.events()], self._delta), points[-1][1])
        self._budgets = [Budget(in_run, in_all, planned) for in_run, in_all in points]


def _charges(plan: Plan, releases: int) -> list[GaussianEvent]:
    """What the plan's first `releases` releases cost, in the order in which they are charged."""
    centre = [plan.centre.event()] if plan.centre is not None and releases > 0 else []
    rounds = releases - (plan.centre is not None)
    train = plan.train.event()
    if rounds < 1:
        return centre
    return [*centre, GaussianEvent(train.noise_multiplier, train.sample_rate, train.steps * rounds)]
