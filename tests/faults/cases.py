"""Which fault strikes whom, and when: every pair occurs, and what matters most in every combination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

SITES: Final = ("site-0", "site-1", "site-2")
TARGETS: Final = ("server", *SITES, "emulator", "metrics-api")
FAULTS: Final = ("kill", "pause", "disconnect", "disk-full", "sigterm")
#: The moments of a round, in order.
MOMENTS: Final = ("before-round", "training", "committed", "aggregation", "checkpoint")
#: Training rounds of each run; the fault strikes in one of them.
ROUNDS: Final = 4
#: Answers that a round needs of three.
QUORUMS: Final = (3, 2)


@dataclass(frozen=True)
class Case:
    """A run in which `fault` strikes `target` at the moment `when` of one round."""

    target: str
    fault: str
    when: str
    round: int
    quorum: int

    @property
    def name(self) -> str:
        """As it is chosen and reported."""
        return f"{self.target}/{self.fault}/{self.when}/round-{self.round}/quorum-{self.quorum}"

    @property
    def kind(self) -> str:
        """The target; sites are alike."""
        return "site" if self.target in SITES else self.target


def possible(target: str, fault: str) -> bool:
    """The emulator stands for AWS: it is stopped in order, paused or cut off. Everyone else crashes."""
    return fault in ("sigterm", "pause", "disconnect") if target == "emulator" else fault != "sigterm"


def all_cases() -> list[Case]:
    """The smallest set of cases that a greedy choice finds for `_wanted`; the same at every call.

    Greedy as AETG builds pairwise tests (Cohen, Dalal, Fredman, Patton 1997): next comes the case that covers most of
    what is left, among equals one whose target, round and quorum came least often so far.
    """
    candidates = [
        Case(target, fault, when, number, quorum)
        for when, target, fault in product(MOMENTS, TARGETS, FAULTS)
        if possible(target, fault)
        for number, quorum in product(range(1, ROUNDS + 1), QUORUMS)
    ]
    left = {interaction for case in candidates for interaction in _wanted(case)}
    chosen: list[Case] = []
    while left:
        seen = Counter(value for case in chosen for value in _factors(case))
        best = max(
            candidates,
            key=lambda case: (
                len(left.intersection(_wanted(case))),
                -seen["target", case.target] - 2 * seen["round", case.round] - seen["quorum", case.quorum],
            ),
        )
        chosen.append(best)
        left.difference_update(_wanted(best))
    return sorted(
        chosen, key=lambda case: (TARGETS.index(case.target), FAULTS.index(case.fault), MOMENTS.index(case.when))
    )


def few(cases: list[Case]) -> list[Case]:
    """Six of them: each fault, each kind of target, each moment."""
    wanted = (
        ("server", "kill", "checkpoint"),
        ("server", "disk-full", "aggregation"),
        ("site", "kill", "committed"),
        ("site", "pause", "training"),
        ("emulator", "sigterm", "before-round"),
        ("metrics-api", "disconnect", None),
    )
    return [
        next(c for c in cases if (c.kind, c.fault) == (kind, fault) and when in (None, c.when))
        for kind, fault, when in wanted
    ]


def _factors(case: Case) -> list[tuple[str, object]]:
    return [(name, getattr(case, name)) for name in ("target", "fault", "when", "round", "quorum")]


def _wanted(case: Case) -> Iterator[tuple[tuple[str, object], ...]]:
    """The interactions that a case covers: all pairs, and of server and sites every fault at every moment."""
    yield from combinations(_factors(case), 2)
    if case.kind in ("server", "site"):
        yield ("kind", case.kind), ("fault", case.fault), ("when", case.when)


def choose(cases: list[Case], words: list[str]) -> list[Case]:
    """The cases whose name holds one of the words; all without words."""
    holds: Callable[[Case], bool] = lambda case: not words or any(word in case.name for word in words)  # noqa: E731
    return [case for case in cases if holds(case)]
