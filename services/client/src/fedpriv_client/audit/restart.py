"""Noise of two processes that were started alike: what a restart, or a second container, must not repeat.

python -m fedpriv_client.audit.restart      # writes its noise to standard output, float64
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import AbstractContextManager
from types import TracebackType

import numpy as np

from fedpriv_client.audit.noise import CORRELATION, release_noise, seed_everything, standard_correlation, unlabelled
from fedpriv_client.audit.subject import Subject, lab_plan, values
from fedpriv_common.audit_result import Check
from fedpriv_common.plan import Phase
from fedpriv_common.recipes import Recipe

_FEATURES, _RELEASES = 200, 100
_DEADLINE_S = 120
#: Variables that seed something in Python, PyTorch or a framework around them, or look as if they did here.
SEEDS = dict.fromkeys(("PYTHONHASHSEED", "PL_GLOBAL_SEED", "SEED", "FEDPRIV_SEED", "FEDPRIV_RANDOM_SEED"), "0")


class Restarts(AbstractContextManager["Restarts"]):
    """Two processes that start at once, while other checks run; `check` waits for them."""

    def __init__(self) -> None:
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", __name__], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | SEEDS
            )
            for _ in range(2)
        ]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def check(self) -> Check:
        """Compare the noise of the two."""
        answers = [process.communicate(timeout=_DEADLINE_S) for process in self._processes]
        for process, (_, complaint) in zip(self._processes, answers, strict=True):
            if process.returncode != 0:
                raise RuntimeError(
                    f"a process of the audit ended with {process.returncode}: {complaint.decode()[-500:]}"
                )
        first, second = (values(noise) for noise, _ in answers)
        score = abs(standard_correlation(first, second))
        shared = int(np.intersect1d(first, second).size)
        return Check(
            name="noise.independent_restarts",
            expects=f"two processes with equal seeds ({', '.join(SEEDS)} and in the code): correlation below "
            f"{CORRELATION:g} standard errors, no value in common",
            passed=score <= CORRELATION and shared == 0,
            figures={"draws": first.size, "correlation": score, "in_common": shared},
        )


def main() -> None:
    """Write the noise of some releases."""
    seed_everything()
    subject, plan = Subject(), lab_plan(Recipe.FEDSGD_LOGREG, _FEATURES)
    trainer = subject.trainer(plan, unlabelled(50, _FEATURES), subject.randomness())
    noise = [release_noise(trainer, plan, Phase.TRAIN) for _ in range(_RELEASES)]
    sys.stdout.buffer.write(np.concatenate(noise).astype("<f8").tobytes())


if __name__ == "__main__":
    main()
