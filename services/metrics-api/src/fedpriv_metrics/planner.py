"""Asks the process that computes plans (planner_process.py), one question at a time, and keeps its answers.

    asked ──> kept? ──yes──> answered
               │no
               ├── the same is being computed: wait for it
               ├── too many wait: PlannerBusyError
               └── start the process if it does not run, ask it, keep the answer

Whoever asks waits for `PATIENCE_S` at most; the computation goes on without them, and its answer is there when they
ask again. The process ends after a minute without a question.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections import OrderedDict
from contextlib import suppress

from fedpriv_common.recipes import Recipe
from fedpriv_metrics.planner_process import Answered, Asked

log = logging.getLogger(__name__)

#: Seconds that one computation may take.
DEADLINE_S = 30.0
#: Seconds that somebody waits for it: less than a page or a balancer does.
PATIENCE_S = 8.0
#: Questions that wait for the process.
MOST_WAITING = 8
#: Seconds without a question after which the process ends.
IDLE_S = 60.0
#: Answers that are kept, of some 30 kB each.
MOST_KEPT = 100
#: Longest line that the process may answer with.
_LONGEST_ANSWER = 2_000_000


class PlannerBusyError(Exception):
    """Too many questions wait; `retry_after_s` says when it is worth asking again."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"{retry_after_s} s")
        self.retry_after_s = retry_after_s


class PlanPendingError(PlannerBusyError):
    """The answer is being computed; whoever asks again will get it."""


class PlanTooSlowError(Exception):
    """The computation took longer than DEADLINE_S, and would again."""


class Planner:
    """Everything runs in the event loop; the process is started by the first question."""

    def __init__(self, idle_s: float = IDLE_S, deadline_s: float = DEADLINE_S) -> None:
        self._idle_s = idle_s
        self._deadline_s = deadline_s
        #: By question; None for one that took too long.
        self._kept: OrderedDict[str, Answered | None] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[Answered | None]] = {}
        self._one = asyncio.Lock()
        self._process: Process | None = None
        self._idle: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._process.pid if self._process else None

    async def ask(self, asked: Asked) -> Answered:
        """The answer. Raises PlannerBusyError, PlanPendingError or PlanTooSlowError when there is none yet."""
        # Spelled by json: what floats have in common with their spelling holds for the whole question.
        question = json.dumps(asked.model_dump(mode="json"), separators=(",", ":"), sort_keys=True)
        if question in self._kept:
            self._kept.move_to_end(question)
            return _answer(self._kept[question])
        task = self._tasks.get(question)
        if task is None:
            if len(self._tasks) >= MOST_WAITING:
                raise PlannerBusyError(3)
            task = self._tasks[question] = asyncio.create_task(self._find(question))
            task.add_done_callback(lambda _: self._tasks.pop(question, None))
        done, _ = await asyncio.wait({task}, timeout=PATIENCE_S)
        if not done:
            raise PlanPendingError(2)
        return _answer(task.result())

    async def close(self) -> None:
        """End the process and whatever waits for it."""
        for task in list(self._tasks.values()):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._end()

    async def _find(self, question: str) -> Answered | None:
        async with self._one:
            if self._idle is not None:
                self._idle.cancel()
            try:
                async with asyncio.timeout(self._deadline_s):
                    answer: Answered | None = await self._exchange_anew(question)
            except TimeoutError:
                log.warning("a plan took too long", extra={"seconds": self._deadline_s})
                answer = None
                await self._end()
            except BaseException:
                # The next question must not read what belongs to this one.
                await self._end()
                raise
            else:
                self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._dismiss)
        self._kept[question] = answer
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return answer

    async def _exchange_anew(self, question: str) -> Answered:
        """A process that idled may have been ended meanwhile; a new one is asked then, once."""
        idled = self._process is not None
        try:
            return await self._exchange(question)
        except OSError:
            if not idled:
                raise
            await self._end()
            return await self._exchange(question)

    async def _exchange(self, question: str) -> Answered:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "fedpriv_metrics.planner_process"),
                stdin=PIPE,
                stdout=PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=_LONGEST_ANSWER,
            )
        reading, writing = self._process.stdout, self._process.stdin
        if reading is None or writing is None:
            raise OSError("the planner has no pipes")
        writing.write(question.encode() + b"\n")
        await writing.drain()
        line = await reading.readline()
        if not line:
            raise OSError(f"the planner ended with status {await self._process.wait()}")
        return Answered.model_validate_json(line)

    def _dismiss(self) -> None:
        """Let the idle process end by itself: it reads to the end of its input."""
        if self._process is not None and self._process.stdin is not None and not self._one.locked():
            self._process.stdin.close()
            self._process = None

    async def _end(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class Planners:
    """Two, so that a plan that is arithmetic never waits for one that takes the accountants seconds."""

    def __init__(self) -> None:
        self._full_batch, self._sampled = Planner(), Planner()

    async def ask(self, asked: Asked) -> Answered:
        """As Planner.ask."""
        full_batch = asked.question.settings.recipe is Recipe.FEDSGD_LOGREG
        return await (self._full_batch if full_batch else self._sampled).ask(asked)

    async def close(self) -> None:
        """End both."""
        await self._full_batch.close()
        await self._sampled.close()


def _answer(answer: Answered | None) -> Answered:
    if answer is None:
        raise PlanTooSlowError
    return answer
