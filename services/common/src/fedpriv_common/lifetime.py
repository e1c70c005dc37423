"""A data set's whole life: what was released from it before, and what still fits under its limit.

The history is what `fedpriv ledger export` writes, one JSON line per release. It holds the parameters of mechanisms,
never a sum of epsilon, so everything here is composed, not added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fedpriv_common.accounting import TARGET_SHARE, GaussianEvent, calibrate_noise, coalesce, epsilon, within
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.plan import Phase

#: More runs than this are not told apart.
MOST_RUNS: Final = 9_999


@dataclass(frozen=True)
class History:
    """What was released: Gaussian releases on training records, pure epsilon on held-out ones.

    A record is either for training or held out, so its epsilon is the larger of the two, not their sum.
    """

    training: tuple[GaussianEvent, ...] = ()
    held_out_epsilon: float = 0.0


class _Line(BaseModel):
    """What every line of an export has; what else it holds is for other readers."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    seq: Annotated[int, Field(ge=0)]
    run_id: str
    round: Annotated[int, Field(ge=0)]
    phase: Phase
    adjacency: Literal["add-remove"]
    state: Literal["reserved", "committed"]


class _Gaussian(_Line):
    mechanism: Literal["gaussian"]
    noise_multiplier: Annotated[float, Field(gt=0)]
    sample_rate: Annotated[float, Field(gt=0, le=1)]
    steps: Annotated[int, Field(ge=1)]


class _Geometric(_Line):
    mechanism: Literal["geometric"]
    phase: Literal[Phase.EVALUATE]
    epsilon_pure: Annotated[float, Field(gt=0)]


_ENTRY: TypeAdapter[_Gaussian | _Geometric] = TypeAdapter(
    Annotated[_Gaussian | _Geometric, Field(discriminator="mechanism")]
)


def read_history(lines: Iterable[str], source: str) -> History:
    """Read an export; raises BAD_HISTORY naming the first line that is none of it."""
    training: list[GaussianEvent] = []
    held_out = 0.0
    seen: dict[tuple[str, int, Phase], int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        entry = _read_line(line, f"{source}, line {number}")
        release = (entry.run_id, entry.round, entry.phase)
        if release in seen:
            raise _bad_history(
                f"{source}, line {number}", f"the release of line {seen[release]} again ({_named(release)})"
            )
        seen[release] = number
        if isinstance(entry, _Geometric):
            held_out += entry.epsilon_pure
        else:
            training.append(GaussianEvent(entry.noise_multiplier, entry.sample_rate, entry.steps))
    return History(coalesce(training), held_out)


def runs_that_fit(history: Sequence[GaussianEvent], run: Sequence[GaussianEvent], limit: float, delta: float) -> int:
    """How many runs of these events can follow `history` before epsilon at `delta` passes `limit`; at most MOST_RUNS.

    Repeated runs are composed, so they are more than the limit over a run's epsilon.
    """

    def fits(runs: int) -> bool:
        further = [GaussianEvent(event.noise_multiplier, event.sample_rate, event.steps * runs) for event in run]
        return within([*history, *further], limit, delta)[0]

    if not fits(1):
        return 0
    low, high = 1, 2
    while high <= MOST_RUNS and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return min(low, MOST_RUNS)


def largest_run(
    history: Sequence[GaussianEvent], run: Sequence[GaussianEvent], limit: float, delta: float, run_delta: float
) -> float:
    """Epsilon at `run_delta` of the largest run of this kind that fits after `history`; 0.0 when none does.

    The noise of all its releases is scaled alike until history and run together come to the limit. For full-batch
    releases, of which only Σ steps/σ² counts, that holds for any number of rounds.
    """
    if not within(history, limit, delta)[0]:
        return 0.0

    def scaled(scale: float) -> list[GaussianEvent]:
        return [GaussianEvent(scale * event.noise_multiplier, event.sample_rate, event.steps) for event in run]

    try:
        scale = calibrate_noise(lambda scale: [*history, *scaled(scale)], limit / TARGET_SHARE, delta)
    except ValueError:
        return 0.0
    return epsilon(scaled(scale), run_delta)


def _read_line(line: str, where: str) -> _Gaussian | _Geometric:
    try:
        return _ENTRY.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"] if part not in ("gaussian", "geometric"))
        raise _bad_history(where, f"{field + ': ' if field else ''}{first['msg']}") from None


def _named(release: tuple[str, int, Phase]) -> str:
    run_id, round_number, phase = release
    return f"run {run_id}, round {round_number}, {phase}"


def _bad_history(where: str, fault: str) -> FedprivError:
    return FedprivError(
        ErrorCode.BAD_HISTORY,
        f"{where}: {fault}.",
        "A history is what `fedpriv ledger export` writes for one ledger, whole and unchanged.",
    )
