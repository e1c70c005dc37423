"""How many further runs of the same plan a site's limit allows.

The API knows a site's lifetime epsilon, not its history. The history stands here as the one Gaussian release that
has this epsilon at this delta; for a history of full-batch Gaussian releases that is what it is. The site's own
ledger decides when a run is asked for.

Where a plan samples, the accountant takes seconds and 70 MB, so it counts in a process of its own, which ends:

    python -m fedpriv_metrics.forecast < {"run": [{"noise_multiplier": σ, …}, …], "spent": ε, "limit": ε, "delta": δ}
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from dataclasses import asdict, dataclass
from functools import lru_cache

from fedpriv_common.accounting import GaussianEvent, gaussian_mu
from fedpriv_common.lifetime import runs_that_fit
from fedpriv_common.plan import Plan
from fedpriv_common.wire import SiteFacts
from fedpriv_metrics import apart

log = logging.getLogger(__name__)

#: Seconds that the process may take.
DEADLINE_S = 60.0
#: Answers that are kept.
_KEPT = 1024


@dataclass(frozen=True)
class Question:
    """How often a run of these events fits between the epsilon that is spent and the limit."""

    run: tuple[GaussianEvent, ...]
    spent: float
    limit: float
    delta: float

    @classmethod
    def of(cls, plan: Plan, facts: SiteFacts, *, ended: bool) -> Question:
        """While a run is active its planned end counts as spent; once it has ended, what it did spend."""
        spent = facts.epsilon_spent if ended else facts.epsilon_planned
        return cls(plan.events(), spent, facts.epsilon_limit, facts.delta)

    @property
    def quick(self) -> bool:
        """Whether the count is arithmetic: every release is full-batch, so their μ² add up."""
        return all(event.sample_rate == 1.0 for event in self.run)


@lru_cache(_KEPT)
def count(question: Question) -> int:
    """The largest number of runs, at most MOST_RUNS, with which the limit is kept."""
    spent, delta = question.spent, question.delta
    if spent >= question.limit:
        return 0
    history = [GaussianEvent(1.0 / gaussian_mu(spent, delta), 1.0, 1)] if spent > 0 else []
    return runs_that_fit(history, question.run, question.limit, question.delta)


class Forecaster:
    """Answers at once what is arithmetic; the rest is counted meanwhile, one question at a time."""

    def __init__(self) -> None:
        #: Grows with every answer that was counted meanwhile: what was said before may be completed now.
        self.revision = 0
        self._answers: dict[Question, int | None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._one = asyncio.Lock()

    def runs_left(self, question: Question) -> int | None:
        """The count, or None while it is not known."""
        if question.quick:
            return count(question)
        if question not in self._answers and len(self._answers) < _KEPT:
            self._answers[question] = None
            task = asyncio.get_running_loop().create_task(self._find(question))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return self._answers.get(question)

    async def _find(self, question: Question) -> None:
        async with self._one:
            try:
                self._answers[question] = await ask(question)
                self.revision += 1
            except (OSError, ValueError, TimeoutError) as error:
                log.warning("no forecast", extra={"why": str(error) or type(error).__name__})


async def ask(question: Question) -> int:
    """Count in a process of its own. Raises OSError, ValueError or TimeoutError when that fails."""
    asked = json.dumps(asdict(question)).encode()
    answer = await apart.compute("fedpriv_metrics.forecast", asked, DEADLINE_S)
    return int(answer)


def _main() -> None:
    asked = json.load(sys.stdin)
    run = tuple(GaussianEvent(**event) for event in asked.pop("run"))
    print(count(Question(run=run, **asked)))  # noqa: T201 - the answer


if __name__ == "__main__":
    _main()
