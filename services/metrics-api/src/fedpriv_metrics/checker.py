"""Checks of statements, each done once for all viewers and kept by what was checked with which keys."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

from fedpriv_metrics.artefacts import Artefact
from fedpriv_metrics.check import Result, RunFacts, check
from fedpriv_metrics.public_keys import PublicKeys

log = logging.getLogger(__name__)

#: Results that are kept.
_KEPT = 256
#: Seconds before a check that could not be done is tried again.
_AGAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Checked:
    """A check that is done. `result` is None when it could not be done, and `fault` says why."""

    result: Result | None
    at: datetime
    seconds: float
    fault: str = ""


#: Digests of statement, model and keys, and what the statement must agree with.
_Question = tuple[str, str | None, str, RunFacts]


class Checker:
    """Answers with what is known and has the rest found out meanwhile."""

    def __init__(self, keys: PublicKeys) -> None:
        self.keys = keys
        #: Grows with every check that is done.
        self.revision = 0
        self._done: OrderedDict[_Question, Checked] = OrderedDict()
        self._tasks: dict[_Question, asyncio.Task[None]] = {}

    def ask(self, statement: Artefact, model: Artefact | None, run: RunFacts) -> Checked | None:
        """What was found, or None while it is being checked."""
        question = statement.digest, model.digest if model else None, self.keys.digest(), run
        done = self._done.get(question)
        if done is not None and (done.result is not None or (datetime.now(UTC) - done.at).total_seconds() < _AGAIN_S):
            self._done.move_to_end(question)
            return done
        if question not in self._tasks and len(self._tasks) < _KEPT:
            task = asyncio.get_running_loop().create_task(self._find(question, statement, model))
            self._tasks[question] = task
            task.add_done_callback(lambda _: self._tasks.pop(question, None))
        return None

    async def _find(self, question: _Question, statement: Artefact, model: Artefact | None) -> None:
        files, _ = self.keys.read()
        began, result, fault = time.monotonic(), None, ""
        try:
            result = await check(statement.body, model.body if model else None, files, question[3])
        except TimeoutError:
            fault = "The check took too long and was given up; it is tried again."
        except (OSError, ValueError) as error:
            fault = "The check could not be done; the service's log has the reason, and it is tried again."
            log.warning("statement not checked", extra={"run_id": question[3].run_id, "why": str(error)})
        self._done[question] = Checked(result, datetime.now(UTC), time.monotonic() - began, fault)
        while len(self._done) > _KEPT:
            self._done.popitem(last=False)
        self.revision += 1
