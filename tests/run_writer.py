"""Writes the objects of a plausible run, step by step, as the server would: for tests of what reads them.

Plan and epsilon are real (`make_plan`, `accounting.epsilon` over each site's whole history); only the learning curve
is a formula, because no record is at hand.

    for step in write_steps(store, run_id):   # "run", "admissions", "round 0" … "round 13", "end": one per `next`
        ...
    run_id = write_run(store)                 # all of it;  write_run(store, upto=7): still active after round 7
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

from pydantic import BaseModel
from ulid import ULID

from fedpriv_common import keys
from fedpriv_common.accounting import GaussianEvent, coalesce, epsilon
from fedpriv_common.canonical import digest
from fedpriv_common.contract import load_contract
from fedpriv_common.errors import ErrorCode, Refusal
from fedpriv_common.plan import Evaluation, Phase, Plan, RunSettings, make_plan
from fedpriv_common.records import (
    GLOBAL,
    Admission,
    EndCause,
    Estimate,
    EventKind,
    HeldOutEvaluation,
    MetricRecord,
    PublicValidation,
    RoundClosed,
    RunEnd,
    RunEvent,
    RunInfo,
    RunSites,
    RunState,
)
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import OK, SiteFacts

CONTRACT = load_contract("breast-cancer-wisconsin")
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
#: Time of the next object; the default clock of a script is simulated, so that a run is the same every time.
Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Script:
    """What happens in a run; unless told otherwise, all goes well."""

    settings: RunSettings = field(default_factory=RunSettings)
    sites: Sequence[str] = ("site-1", "site-2", "site-3")
    #: Runs of the same plan that each site's ledger already holds.
    earlier_runs: Mapping[str, int] = field(default_factory=lambda: {"site-1": 1, "site-2": 4})
    #: Releases of other kinds that it holds, before those.
    history: Mapping[str, Sequence[GaussianEvent]] = field(default_factory=dict)
    epsilon_limit: float = 8.0
    #: Of sites that set another.
    limits: Mapping[str, float] = field(default_factory=dict)
    #: Sites that decline the plan.
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    #: Sites that do not answer in a round.
    absent: Mapping[int, frozenset[str]] = field(default_factory=dict)
    #: Accuracy that the learning curve comes to.
    ceiling: float = 0.93
    #: Sites release their held-out counts where the plan says so.
    evaluated: bool = False
    #: Sites that were asked as well and have not answered the plan: then `asked.json` is written, as by a real server.
    pending: Sequence[str] = ()
    #: The run ends after this round instead of the plan's last.
    last_round: int | None = None
    state: RunState = RunState.FINISHED
    cause: EndCause = EndCause.COMPLETE
    code: ErrorCode | None = None

    def plan(self) -> Plan:
        """The plan of the script's settings."""
        return _plan(self.settings)

    def facts(self, site: str, rounds: int) -> SiteFacts:
        """What `site` says of its budget once it has released in `rounds` rounds, the centring round first."""
        plan, earlier = self.plan(), self.earlier_runs.get(site, 0)
        limit = self.limits.get(site, self.epsilon_limit)
        before = tuple(self.history.get(site, ()))
        history = before + plan.events() * earlier
        run = charged(plan, rounds)
        seq = sum(event.steps for event in before) + earlier * (plan.rounds + 3) + rounds
        return SiteFacts(
            dataset=plan.dataset,
            epsilon_run=_epsilon(run, plan.delta),
            epsilon_spent=_epsilon(history + run, plan.delta),
            epsilon_planned=_epsilon(history + plan.events(), plan.delta),
            epsilon_limit=limit,
            delta=plan.delta,
            policy_digest=digest({"site": site, "epsilon": limit}),
            ledger_seq=seq,
            ledger_head=digest({"site": site, "seq": seq}),
        )


def simulated(start: datetime = START, tick: timedelta = timedelta(milliseconds=9)) -> Clock:
    """A clock that moves by `tick` at each reading."""
    ticks = 0

    def read() -> datetime:
        nonlocal ticks
        ticks += 1
        return start + ticks * tick

    return read


def wall() -> datetime:
    """The clock of a run that happens now."""
    return datetime.now(UTC)


def new_run_id(at: datetime = START) -> str:
    """A run id that sorts by `at`."""
    return str(ULID.from_datetime(at))


def run_steps(
    run_id: str, script: Script | None = None, clock: Clock | None = None
) -> Iterator[tuple[str, dict[str, BaseModel]]]:
    """The run's steps in order: a name and the objects by key, in the order in which the server writes them."""
    script, clock = script or Script(), clock or simulated()
    plan = script.plan()
    started = clock()
    begun: dict[str, BaseModel] = {
        keys.run_info(run_id): RunInfo(
            run_id=run_id,
            created_at=started,
            settings=script.settings,
            plan=plan,
            plan_digest=plan.digest(),
            public_validation=PublicValidation(name="wisconsin-public-fifth", size=113),
        )
    }
    if script.pending:
        begun[keys.run_asked(run_id)] = RunSites(run_id=run_id, sites=(*script.sites, *script.pending))
    yield "run", begun
    admissions = {
        keys.admission(run_id, site): Admission(
            run_id=run_id,
            site=site,
            at=clock(),
            code=script.refusals.get(site, OK),
            facts=None if site in script.refusals else script.facts(site, 0),
        )
        for site in script.sites
    }
    yield "admissions", dict(admissions)
    members = [site for site in script.sites if site not in script.refusals]
    first = 0 if plan.centre else 1
    last = plan.rounds if script.last_round is None else script.last_round
    away: frozenset[str] = frozenset()
    released = dict.fromkeys(members, 0)
    for number in range(first, last + 1):
        absent = script.absent.get(number, frozenset())
        objects: dict[str, BaseModel] = {}
        for site in sorted(absent ^ away):
            kind = EventKind.SITE_OFFLINE if site in absent else EventKind.SITE_BACK
            at = clock()
            event = RunEvent(run_id=run_id, event_id=new_run_id(at), at=at, kind=kind, site=site, round=number)
            objects[keys.event(run_id, event.event_id)] = event
        away = absent
        received = [site for site in members if site not in absent]
        phase = Phase.TRAIN if number else Phase.CENTRE
        for site in received:
            released[site] += 1
            objects[keys.record(run_id, number, site, phase)] = MetricRecord(
                run_id=run_id,
                site=site,
                round=number,
                phase=phase,
                recorded_at=clock(),
                provenance="dp",
                metrics={},
                facts=script.facts(site, released[site]),
            )
        if number:
            objects[keys.record(run_id, number, GLOBAL, Phase.EVALUATE)] = MetricRecord(
                run_id=run_id,
                site=GLOBAL,
                round=number,
                phase=Phase.EVALUATE,
                recorded_at=clock(),
                provenance="public",
                metrics=learning_curve(number, script.ceiling),
                facts=None,
            )
        objects[keys.round_closed(run_id, number)] = RoundClosed(
            run_id=run_id,
            round=number,
            phase=phase,
            closed_at=clock(),
            expected=tuple(members),
            received=tuple(received),
            refused={},
            duration_ms=38.0 + 7 * (number % 4),
        )
        if script.evaluated and plan.evaluate and number in plan.evaluate.at:
            objects[keys.evaluation(run_id, number)] = _evaluation(
                run_id, number, plan.evaluate, received, script.ceiling - 0.31 * math.exp(-number / 4), clock()
            )
        yield f"round {number}", objects
    ended = clock()
    finished = script.state is RunState.FINISHED
    yield (
        "end",
        {
            keys.run_end(run_id): RunEnd(
                run_id=run_id,
                ended_at=ended,
                state=script.state,
                cause=script.cause,
                code=script.code,
                rounds=last,
                duration_s=(ended - started).total_seconds(),
                model_digest=digest({"model": run_id}) if finished else None,
                metrics=learning_curve(last, script.ceiling) if finished else {},
            )
        },
    )


def learning_curve(number: int, ceiling: float = 0.93) -> dict[str, float | None]:
    """Figures of the global model after a training round: a formula, not a training."""
    left = math.exp(-number / 4)
    accuracy = round((ceiling - 0.31 * left) * 113) / 113
    return {"accuracy": accuracy, "loss": 0.21 + 0.47 * left, "auc": 0.98 - 0.2 * left}


def _evaluation(
    run_id: str, number: int, evaluation: Evaluation, sites: Sequence[str], accuracy: float, at: datetime
) -> HeldOutEvaluation:
    return HeldOutEvaluation(
        run_id=run_id,
        round=number,
        released_at=at,
        mechanism=evaluation.mechanism,
        epsilon=evaluation.epsilon,
        confidence=0.95,
        counts=dict.fromkeys(sites, ((12, 1), (2, 19))),
        figures={"accuracy": Estimate(value=accuracy - 0.015, low=accuracy - 0.07, high=min(1.0, accuracy + 0.03))},
    )


def write_steps(
    store: ObjectStore, run_id: str, script: Script | None = None, clock: Clock | None = None
) -> Iterator[str]:
    """Put the objects of one step per `next`, and yield the step's name once they are in the store."""
    for name, objects in run_steps(run_id, script, clock):
        for key, body in encode(objects).items():
            store.put_once(key, body)
        yield name


def write_run(
    store: ObjectStore,
    run_id: str | None = None,
    script: Script | None = None,
    *,
    upto: int | None = None,
    clock: Clock | None = None,
) -> str:
    """Write a run and return its id: all of it, or up to and including round `upto`, so that it is still active."""
    run_id = run_id or new_run_id()
    for name in write_steps(store, run_id, script, clock):
        if upto is not None and name == f"round {upto}":
            break
    return run_id


def encode(objects: Mapping[str, BaseModel]) -> dict[str, bytes]:
    """The bytes of each object."""
    return {key: value.model_dump_json().encode() for key, value in objects.items()}


@cache
def _plan(settings: RunSettings) -> Plan:
    return make_plan(settings, CONTRACT)


def charged(plan: Plan, rounds: int) -> tuple[GaussianEvent, ...]:
    """What the first `rounds` rounds of a run charge."""
    if rounds == 0:
        return ()
    training = rounds - 1 if plan.centre else rounds
    centre = (plan.centre.event(),) if plan.centre else ()
    return centre + (plan.train.event(),) * training


def _epsilon(events: tuple[GaussianEvent, ...], delta: float) -> float:
    return _epsilon_of(coalesce(events), delta)


@cache
def _epsilon_of(events: tuple[GaussianEvent, ...], delta: float) -> float:
    return epsilon(events, delta)
