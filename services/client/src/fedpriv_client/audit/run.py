"""The audit as a whole: every check on the code that sites run, then on code with each known defect in it."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch

import fedpriv_common
from fedpriv_client.audit import noise, sampling
from fedpriv_client.audit.canaries import CANARIES, measure
from fedpriv_client.audit.clipping import check_clipping
from fedpriv_client.audit.defects import DEFECTS, HALF_NOISE
from fedpriv_client.audit.neighbours import check_neighbours
from fedpriv_client.audit.patients import check_patients
from fedpriv_client.audit.recomputation import check_ledger
from fedpriv_client.audit.restart import Restarts
from fedpriv_client.audit.subject import Subject
from fedpriv_client.own_code import code_digest
from fedpriv_common.audit_result import AuditResult, Bound, Check, SeededDefect
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.recipes import Recipe

#: What each process takes, and how many there are: one for each core that sites are given.
MEMORY_MB, PROCESSES = 400, 2
#: For code with a defect the same checks take fewer steps: what they look for is larger than what they must not miss.
_DEFECT_NOISY_STEPS, _DEFECT_SAMPLES = 200, 1000
_DEFECT_NEIGHBOURS = ("one more", "outlier of 1e6", "infinite", "empty label", "no records")
_SOFTWARE = ("torch", "opacus", "numpy", "scipy", "dp-accounting")


def run_audit(
    *,
    canaries: int = CANARIES,
    defects: bool = True,
    processes: int = PROCESSES,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> AuditResult:
    """Run everything; takes under a minute on two cores. `progress` is told how many parts of how many are done.

    Raises PROCESS_DIED when one of its processes is killed, as for want of memory.
    """
    began = time.monotonic()
    # Spawned: torch's threads do not survive a fork.
    workers = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_quieten)
    try:
        with Restarts() as restarts:
            tried = [workers.submit(try_defect, defect.name) for defect in DEFECTS] if defects else []
            measured = [workers.submit(measure, Subject(), recipe, canaries) for recipe in Recipe]
            direct = workers.submit(check_directly, Subject())
            parts: list[Future[Any]] = [*tried, *measured, direct]
            for done, part in enumerate(as_completed(parts)):
                progress(done, len(parts))
                part.result()  # what is broken is told at once
            checks = [*direct.result(), noise.check_no_seed(), restarts.check()]
    except BrokenProcessPool:
        raise FedprivError(
            ErrorCode.PROCESS_DIED,
            f"One of the audit's {processes} processes was killed, most likely for want of memory.",
            f"Give each {MEMORY_MB} MB, or run `fedpriv audit --processes 1`.",
        ) from None
    finally:
        workers.shutdown(wait=False, cancel_futures=True)
    halves = next((bounds for defect, bounds in (part.result() for part in tried) if defect.name == HALF_NOISE), [])
    powers = {bound.recipe: bound.bound for bound in halves}
    return conclude(
        checks,
        [part.result().model_copy(update={"power": powers.get(part.result().recipe)}) for part in measured],
        [part.result()[0] for part in tried],
        quick=canaries < CANARIES or not defects,
        seconds=time.monotonic() - began,
    )


def check_directly(
    subject: Subject,
    *,
    noisy_steps: int = noise.STEPS,
    samples: int = sampling.STEPS,
    tables: tuple[str, ...] | None = None,
) -> list[Check]:
    """The checks that need no statistics of canaries; by default as the audit runs them on the code of sites."""
    return [
        *noise.check_noise(subject, noisy_steps),
        *check_clipping(subject),
        *sampling.check_sampling(subject, samples),
        *check_neighbours(subject, tables),
        *check_patients(subject, samples),
        *check_ledger(subject),
    ]


def try_defect(name: str) -> tuple[SeededDefect, list[Bound]]:
    """Which checks notice the defect of that name, and the bounds of those recipes where one is measured."""
    (defect,) = (defect for defect in DEFECTS if defect.name == name)
    subject = defect.subject()
    checks = check_directly(
        subject, noisy_steps=_DEFECT_NOISY_STEPS, samples=_DEFECT_SAMPLES, tables=_DEFECT_NEIGHBOURS
    )
    bounds = [measure(subject, recipe) for recipe in defect.measured_on]
    # The least telling recipe counts: where a bound can see a defect it must see it in all of them.
    weakest = min(bounds, key=lambda bound: bound.bound - bound.claim, default=None)
    found = SeededDefect(
        name=defect.name,
        what=defect.what,
        caught_by=(
            *(check.name for check in checks if not check.passed),
            *(f"bound.{bound.recipe}" for bound in bounds if bound.refutes),
        ),
        bound=weakest.bound if weakest else None,
        claim=weakest.claim if weakest else None,
    )
    return found, bounds


def conclude(
    checks: list[Check], bounds: list[Bound], defects: list[SeededDefect], *, quick: bool, seconds: float
) -> AuditResult:
    """The result, with the verdict that follows from its parts."""
    passed = (
        all(check.passed for check in checks)
        and not any(bound.refutes for bound in bounds)
        and all(defect.caught for defect in defects)
    )
    return AuditResult(
        at=datetime.now(UTC).replace(microsecond=0),
        code_version=fedpriv_common.__version__,
        code_digest=code_digest(),
        software={"python": platform.python_version(), **{name: version(name) for name in _SOFTWARE}},
        quick=quick,
        verdict="passed" if passed else "failed",
        checks=tuple(checks),
        bounds=tuple(bounds),
        defects=tuple(defects),
        seconds=round(seconds, 1),
    )


def _quieten() -> None:
    """Sites under audit are asked what they must refuse, thousands of times; their log would be all one sees."""
    logging.getLogger("fedpriv_client").setLevel(logging.CRITICAL)
    np.seterr(over="ignore")  # gradients that overflow without a clip are among the defects
    torch.set_num_threads(1)  # each process has a core of its own
