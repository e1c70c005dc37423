"""Counts what was sent and what came of it, over all workers, and leaves the sum in var/results/fuzz.json.

FUZZ_EXAMPLES: how many inputs each test sends; the default makes more than 100,000 in all.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "11500"))
#: Longest that one input may take, seconds, on a machine that does other things, too.
DEADLINE_S = 10.0

COUNTS: Counter[str] = Counter()
_BEGAN = time.monotonic()
_RESULT = Path(__file__).parents[2] / "var" / "results" / "fuzz.json"

# Every refusal is logged; a hundred thousand of them would take most of the time, and nobody reads them.
logging.disable(logging.CRITICAL)

#: Generated inputs only, anew each time, none kept.
fuzzing = settings(
    max_examples=EXAMPLES,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


def share(part: float) -> settings:
    """`fuzzing` with a part of its inputs, for what takes longer for each."""
    return settings(fuzzing, max_examples=max(1, int(EXAMPLES * part)))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands over its counts; whoever leads writes the sum."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["fuzz"] = dict(COUNTS)
        return
    if not COUNTS["inputs"]:
        return
    result = {name: COUNTS[name] for name in ("inputs", "crashes", "hangs", "uncoded_500s", "over_tls")}
    seconds = round(time.monotonic() - _BEGAN, 1)
    _RESULT.parent.mkdir(parents=True, exist_ok=True)
    _RESULT.write_text(json.dumps({**result, "seconds": seconds}, indent=2) + "\n")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add up what a worker counted."""
    COUNTS.update(getattr(node, "workeroutput", {}).get("fuzz", {}))
