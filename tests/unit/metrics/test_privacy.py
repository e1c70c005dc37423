"""How a site stands, and what its limit still allows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpriv_common import keys
from fedpriv_common.accounting import GaussianEvent, epsilon
from fedpriv_common.errors import Refusal
from fedpriv_common.objects import Parsed
from fedpriv_common.plan import RunSettings
from fedpriv_common.recipes import Recipe
from fedpriv_common.records import EventKind, RoundClosed, RunEvent
from fedpriv_metrics.forecast import Question, ask, count
from fedpriv_metrics.index import Index, RunIndex
from fedpriv_metrics.privacy import run_privacy, status
from tests.run_writer import Script
from tests.unit.metrics.scripted import RUN, indexed, parsed

LENIENT = RunSettings(quorum=1)


def happened(run: RunIndex, kind: EventKind, site: str, after_s: float) -> None:
    assert run.updated_at is not None
    at = run.updated_at + timedelta(seconds=after_s)
    event = RunEvent(run_id=RUN, event_id=f"E{len(run.events)}", at=at, kind=kind, site=site, round=3)
    run.apply(Parsed(keys.event(RUN, event.event_id), at, event))


def closed(run: RunIndex, number: int, refused: dict[str, str]) -> None:
    before = run.rounds[number - 1]
    received = tuple(site for site in before.expected if site not in refused)
    update = {"round": number, "received": received, "refused": refused}
    value = RoundClosed.model_validate(before.model_dump() | update)
    run.apply(Parsed(keys.round_closed(RUN, number), value.closed_at, value))


def test_a_site_within_its_budget_is_just_that() -> None:
    assert [site.status for site in run_privacy(indexed(upto="round 3"), count).sites] == ["within_budget"] * 3


@pytest.mark.parametrize(
    ("limit", "expected"), [(2.0, "within_budget"), (1.2, "near_limit"), (0.99, "at_limit")], ids=str
)
def test_nearness_is_measured_against_the_sites_own_limit(limit: float, expected: str) -> None:
    assert status(indexed(Script(epsilon_limit=limit, earlier_runs={})), "site-1") == expected


def test_a_site_that_declined_the_plan_is_refused_with_its_code() -> None:
    script = Script(settings=LENIENT, refusals={"site-2": Refusal.POLICY_REFUSED})
    site = run_privacy(indexed(script), count).sites[1]
    assert (site.site, site.status, site.code) == ("site-2", "refused", "POLICY_REFUSED")
    assert (site.epsilon_limit, site.runs_left, site.rounds) == (None, None, [])


@pytest.mark.parametrize(
    ("code", "expected"), [(Refusal.BUDGET_EXHAUSTED, "at_limit"), (Refusal.LEDGER_UNAVAILABLE, "refused")], ids=str
)
def test_a_site_that_declined_the_last_round_is_told_by_its_code(code: Refusal, expected: str) -> None:
    run = indexed(Script(settings=LENIENT), upto="round 3")
    closed(run, 4, {"site-3": code})
    assert (status(run, "site-3"), status(run, "site-1")) == (expected, "within_budget")


def test_a_site_that_missed_the_last_round_is_offline_until_it_answers() -> None:
    script = Script(settings=LENIENT, absent={3: frozenset({"site-1"})})
    assert status(indexed(script, upto="round 3"), "site-1") == "offline"
    assert status(indexed(script, upto="round 4"), "site-1") == "within_budget"


def test_a_site_is_offline_from_the_event_until_it_is_back() -> None:
    run = indexed(upto="round 3")
    happened(run, EventKind.SITE_OFFLINE, "site-1", 1)
    assert (status(run, "site-1"), status(run, "site-2")) == ("offline", "within_budget")
    happened(run, EventKind.SITE_BACK, "site-1", 2)
    assert status(run, "site-1") == "within_budget"


def test_a_site_that_has_not_answered_the_plan_is_waited_for() -> None:
    objects = [entry for entry in parsed(upto="round 0") if "admissions/site-2" not in entry.key]
    index = Index()
    index.apply(RUN, objects)
    run = index.run(RUN)
    assert run is not None
    assert status(run, "site-2") == "waiting"


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.0, 12.0), st.floats(0.1, 12.0), st.floats(4.0, 40.0), st.integers(1, 50), st.sampled_from([1e-5, 1e-6])
)
def test_the_number_of_runs_is_the_largest_that_keeps_the_limit(
    spent: float, limit: float, sigma: float, steps: int, delta: float
) -> None:
    runs = count(Question((GaussianEvent(sigma, 1.0, steps),), spent, limit, delta))

    def total(number: int) -> float:
        events = [GaussianEvent(sigma, 1.0, steps)] * number
        return spent if not events else epsilon(events + _history(spent, delta), delta)

    assert runs == 0 or total(runs) <= limit + 1e-6
    assert runs == 9_999 or total(runs + 1) >= limit - 1e-6


def _history(spent: float, delta: float) -> list[GaussianEvent]:
    """A Gaussian release of this epsilon, found by another search than the one under test."""
    if spent == 0:
        return []
    low, high = 1e-3, 1e7
    for _ in range(200):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if epsilon([GaussianEvent(middle, 1.0, 1)], delta) > spent else (low, middle)
    return [GaussianEvent(high, 1.0, 1)]


def test_runs_left_counts_the_run_in_progress_as_done() -> None:
    script = Script(earlier_runs={})
    plan, limit = script.plan(), script.epsilon_limit
    fitting = 0
    while epsilon(plan.events() * (fitting + 1), plan.delta) <= limit:
        fitting += 1
    for upto in ("round 2", "end"):
        assert run_privacy(indexed(script, upto=upto), count).sites[0].runs_left == fitting - 1


def test_sampled_plans_are_counted_by_the_accountant_in_a_process_of_its_own() -> None:
    plan = Script(settings=RunSettings(recipe=Recipe.FEDAVG_MLP)).plan()
    question = Question(plan.events(), 0.0, 2.0, plan.delta)
    assert not question.quick
    runs = asyncio.run(ask(question))
    events = list(plan.events())
    assert epsilon(events * runs, plan.delta) <= 2.0 < epsilon(events * (runs + 1), plan.delta)


def test_a_question_that_cannot_be_counted_fails_and_leaves_nothing_running() -> None:
    question = Question((GaussianEvent(5.0, 0.5, 1),), 0.0, 1.0, 1e-5)
    with pytest.raises(ValueError, match="ended with status"):
        asyncio.run(ask(replace(question, delta=2.0)))
