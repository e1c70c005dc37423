"""The consortium's figures as the server writes them: records with their sites' budgets, closes, admissions, ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from pydantic import BaseModel
from ulid import ULID

from fedpriv_common import keys
from fedpriv_common.canonical import digest
from fedpriv_common.contract import load_contract
from fedpriv_common.plan import Phase, Plan, RunSettings, make_plan
from fedpriv_common.records import Admission, EndCause, MetricRecord, RoundClosed, RunEnd, RunInfo, RunState
from fedpriv_common.store import Listed, ObjectStore
from fedpriv_common.wire import OK, SiteFacts
from fedpriv_server.compaction_plan import State, make_bundle
from tests.bench.api.consortium import ROUNDS, RUNS, SITES, at_ms, site_name, values

SETTINGS = RunSettings(name="bench", sites=SITES, rounds=ROUNDS, evaluations=0)
#: Puts at the same time.
_PARALLEL = 16
_DIGEST = digest({"bench": "api"})


def run_id(run: int) -> str:
    """The run's id: the same at each bench."""
    at = datetime.fromtimestamp(at_ms(run, 0, 0) / 1000, UTC)
    return str(ULID.from_bytes(ULID.from_datetime(at).bytes[:6] + bytes([run] * 10)))


def fill(store: ObjectStore) -> None:
    """Every run, in the segments that the server's compaction makes of it when it has ended."""
    for run in range(RUNS):
        bodies = objects(run)
        listed = [Listed(key, "", len(body)) for key, body in sorted(bodies.items())]
        bundle = make_bundle(run_id(run), State(), listed, bodies.get)
        assert bundle is not None
        assert bundle.manifest.final
        for entry in bundle.objects:
            store.put_once(entry.key, entry.body, entry.content_type)


def fill_loose(store: ObjectStore, runs: int) -> int:
    """The first `runs` runs object by object, as they are before they are compacted; how many objects that are."""
    count = 0
    with ThreadPoolExecutor(_PARALLEL) as pool:
        for run in range(runs):
            bodies = objects(run)
            list(pool.map(store.put_once, bodies.keys(), bodies.values()))
            count += len(bodies)
    return count


def objects(run: int) -> dict[str, bytes]:
    """Every object of a run by its key."""
    return {key: value.model_dump_json().encode() for key, value in _objects(run)}


def _objects(run: int) -> Iterator[tuple[str, BaseModel]]:
    identity, plan = run_id(run), make_plan(SETTINGS, load_contract("breast-cancer-wisconsin"))
    sites = tuple(site_name(site) for site in range(SITES))
    began = _time(at_ms(run, 0, 0))
    yield (
        keys.run_info(identity),
        RunInfo(
            run_id=identity,
            created_at=began,
            settings=SETTINGS,
            plan=plan,
            plan_digest=plan.digest(),
            public_validation=None,
        ),
    )
    for site, name in enumerate(sites):
        at = _time(at_ms(run, site, 0))
        admission = Admission(run_id=identity, site=name, at=at, code=OK, facts=_facts(plan, run, 0))
        yield keys.admission(identity, name), admission
    # Nobody was asked in the centring round, so that there are no other records than those of both stores.
    yield keys.round_closed(identity, 0), _closed(identity, 0, (), at_ms(run, SITES, 0))
    for number in range(1, ROUNDS + 1):
        for site, name in enumerate(sites):
            yield (
                keys.record(identity, number, name, Phase.TRAIN),
                MetricRecord(
                    run_id=identity,
                    site=name,
                    round=number,
                    phase=Phase.TRAIN,
                    recorded_at=_time(at_ms(run, site, number)),
                    provenance="dp",
                    metrics=dict(values(run, site, number)),
                    facts=_facts(plan, run, number),
                ),
            )
        yield keys.round_closed(identity, number), _closed(identity, number, sites, at_ms(run, SITES, number))
    yield (
        keys.run_end(identity),
        RunEnd(
            run_id=identity,
            ended_at=_time(at_ms(run, 0, ROUNDS + 1)),
            state=RunState.FINISHED,
            cause=EndCause.COMPLETE,
            rounds=ROUNDS,
            duration_s=(at_ms(run, 0, ROUNDS + 1) - at_ms(run, 0, 0)) / 1000,
            model_digest=_DIGEST,
            metrics={},
        ),
    )


def _closed(identity: str, number: int, sites: tuple[str, ...], closed_ms: int) -> RoundClosed:
    return RoundClosed(
        run_id=identity,
        round=number,
        phase=Phase.TRAIN if number else Phase.CENTRE,
        closed_at=_time(closed_ms),
        expected=sites,
        received=sites,
        refused={},
        duration_ms=1900.0,
    )


def _facts(plan: Plan, run: int, number: int) -> SiteFacts:
    """A budget that grows with the root of the rounds; every run begins with a ledger of its own."""
    spent = plan.epsilon * math.sqrt(number / ROUNDS)
    return SiteFacts(
        dataset=plan.dataset,
        epsilon_run=spent,
        epsilon_spent=spent,
        epsilon_planned=plan.epsilon,
        epsilon_limit=8.0,
        delta=plan.delta,
        policy_digest=_DIGEST,
        ledger_seq=number,
        ledger_head=digest({"run": run, "round": number}),
    )


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
