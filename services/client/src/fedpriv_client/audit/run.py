"""The audit as a whole: every check on the code that sites run, then on code with each known defect in it."""

from __future__ import annotations

import hashlib
import logging
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np

import fedpriv_common
from fedpriv_client.audit import noise, sampling
from fedpriv_client.audit.canaries import CANARIES, measure
from fedpriv_client.audit.clipping import check_clipping
from fedpriv_client.audit.defects import DEFECTS, Defect
from fedpriv_client.audit.neighbours import check_neighbours
from fedpriv_client.audit.recomputation import check_ledger
from fedpriv_client.audit.restart import Restarts
from fedpriv_client.audit.subject import Subject
from fedpriv_common.audit_result import AuditResult, Bound, Check, SeededDefect
from fedpriv_common.plan import Recipe

#: With `quick`: enough canaries to see a missing mechanism, not half of it.
QUICK_CANARIES = 4_000
#: For code with a defect the same checks take fewer steps: what they look for is larger than what they must not miss.
_DEFECT_STEPS = 400
_DEFECT_NEIGHBOURS = ("one more", "outlier of 1e6", "infinite", "empty label", "no records")
_PACKAGES = ("fedpriv_client", "fedpriv_common")
_SOFTWARE = ("torch", "opacus", "numpy", "scipy", "dp-accounting")


def run_audit(*, quick: bool = False, progress: Callable[[str], None] = lambda step: None) -> AuditResult:
    """Run everything; takes under a minute on two cores. `progress` is told what begins."""
    began = time.monotonic()
    with _quiet_sites(), Restarts() as restarts:
        progress("noise, clipping, sampling, neighbours, ledger")
        checks = [*check_directly(Subject()), noise.check_no_seed(), restarts.check()]
        bounds = []
        for recipe in Recipe:
            progress(f"canaries through {recipe}")
            bounds.append(measure(Subject(), recipe, QUICK_CANARIES if quick else CANARIES))
        defects = []
        if not quick:
            for defect in DEFECTS:
                progress(f"seeded defect: {defect.what}")
                found, seen = try_defect(defect)
                defects.append(found)
                if defect.name == "half_noise":
                    bounds = [_with_power(bound, half) for bound, half in zip(bounds, seen, strict=True)]
    return conclude(checks, bounds, defects, quick=quick, seconds=time.monotonic() - began)


def check_directly(subject: Subject, *, steps: int = noise.STEPS, tables: tuple[str, ...] | None = None) -> list[Check]:
    """The checks that need no statistics of canaries; by default as the audit runs them on the code of sites."""
    return [
        *noise.check_noise(subject, steps),
        *check_clipping(subject),
        *sampling.check_sampling(subject),
        *check_neighbours(subject, tables),
        *check_ledger(subject),
    ]


def try_defect(defect: Defect) -> tuple[SeededDefect, list[Bound]]:
    """Which checks notice a defect, and the bounds of those recipes where one is measured."""
    subject = defect.subject()
    checks = check_directly(subject, steps=_DEFECT_STEPS, tables=_DEFECT_NEIGHBOURS)
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


def code_digest() -> str:
    """SHA-256 over names and contents of all source files of the site's code, in order of their names."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        root = Path(str(files(package)))
        for path in sorted(path for suffix in ("*.py", "*.yaml") for path in root.rglob(suffix)):
            content = path.read_bytes()
            name = f"{package}/{path.relative_to(root).as_posix()}"
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _with_power(bound: Bound, half: Bound) -> Bound:
    return bound.model_copy(update={"power": half.bound})


@contextmanager
def _quiet_sites() -> Iterator[None]:
    """Sites under audit are asked what they must refuse, thousands of times; their log would be all one sees."""
    site_log = logging.getLogger("fedpriv_client")
    level = site_log.level
    site_log.setLevel(logging.CRITICAL)
    try:
        with np.errstate(over="ignore"):  # gradients that overflow without a clip are among the defects
            yield
    finally:
        site_log.setLevel(level)
