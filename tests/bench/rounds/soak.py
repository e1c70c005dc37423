"""Two hundred rounds, and the memory of everybody who takes part."""

from __future__ import annotations

from dataclasses import dataclass

from fedpriv_common.plan import RunSettings
from tests.bench.rounds.lab import Lab

ROUNDS = 200
#: Memory is looked at every so many rounds, from `SETTLED` on: until then, caches fill.
EVERY, SETTLED = 10, 20
#: How much more memory than then anybody may ever have later.
DRIFT = 0.05


@dataclass
class Soak:
    """By process, resident memory in MB; a figure for each of `rounds`."""

    rounds: list[int]
    memory_mb: dict[str, list[float]]

    @property
    def growth(self) -> dict[str, float]:
        """By process, how much larger the memory became after it had settled; 0.05 is 5 %."""
        return {name: max(values) / values[0] - 1 for name, values in self.memory_mb.items()}

    @property
    def flat(self) -> bool:
        """Whether nobody's memory grew by more than DRIFT."""
        return all(each <= DRIFT for each in self.growth.values())


def soak(three: Lab) -> Soak:
    """One run of 200 rounds at three real sites."""
    rounds: list[int] = []
    memory: dict[str, list[float]] = {}

    def look(number: int) -> None:
        if number < SETTLED or (rounds and number < min(ROUNDS, rounds[-1] + EVERY)) or number in rounds:
            return
        rounds.append(number)
        for name, value in three.memory().items():
            memory.setdefault(name, []).append(value)

    three.run(RunSettings(name="soak", rounds=ROUNDS), look)
    return Soak(rounds, memory)
