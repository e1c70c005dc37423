"""The log says what happened, why, and what follows."""

from __future__ import annotations

import pytest

from fedpriv_common.errors import Refusal
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import EndCause, EventKind, RunState
from fedpriv_metrics.narration import CAUSES, REFUSALS, run_log
from tests.run_writer import Script
from tests.unit.metrics.scripted import indexed

TROUBLED = Script(
    settings=RunSettings(quorum=1),
    refusals={"site-2": Refusal.BUDGET_EXHAUSTED},
    absent={3: frozenset({"site-1"})},
    last_round=5,
    state=RunState.HALTED,
    cause=EndCause.QUORUM,
)


def texts(script: Script | None = None, upto: str = "end") -> dict[str, str]:
    return {entry.id: entry.text for entry in run_log(indexed(script, upto), 500).entries}


def test_a_run_that_goes_well_is_told_in_short() -> None:
    told = texts()
    assert told["run"] == "Run breast-cancer began: 3 sites, 13 rounds, at most ε 1.00 (δ 1e-5) for each record"
    assert told["admissions/site-1"] == "site-1 joined: ε 1.00 of 8.00 is spent, 1.47 when the run has ended as planned"
    assert told["rounds/000000"] == "Round 0 (centring) closed: 3 of 3 sites, 38 ms"
    assert told["rounds/000007"] == "Round 7 closed: 3 of 3 sites, 59 ms"
    assert told["end"] == "Run finished after 13 rounds in 0.7 s: every round is done; the model is published"


def test_what_goes_wrong_is_told_with_cause_code_and_consequence() -> None:
    told = texts(TROUBLED)
    assert told["admissions/site-2"] == (
        "site-2 declined the run: its privacy budget cannot pay for it (BUDGET_EXHAUSTED)"
    )
    assert told["rounds/000003"] == "Round 3 closed: 1 of 2 sites, 59 ms; no answer from site-1"
    assert "site-1 is offline: the round waits for it until its deadline" in told.values()
    assert told["end"].endswith("too few sites answered; no model is published")


def test_entries_are_newest_first_and_bounded() -> None:
    log = run_log(indexed(TROUBLED), 500).entries
    assert [entry.at for entry in log] == sorted((entry.at for entry in log), reverse=True)
    assert run_log(indexed(TROUBLED), 2).entries == log[:2]
    assert {entry.level for entry in log} == {"ok", "info", "warning", "problem"}


@pytest.mark.parametrize("code", Refusal)
def test_every_refusal_has_words(code: Refusal) -> None:
    assert REFUSALS[code]


@pytest.mark.parametrize("cause", EndCause)
def test_every_cause_has_words(cause: EndCause) -> None:
    assert CAUSES[cause]


def test_every_kind_of_event_has_words() -> None:
    from tests.unit.metrics.test_privacy import happened

    run = indexed(upto="round 3")
    for kind in EventKind:
        happened(run, kind, "site-1", 1)
    told = [entry for entry in run_log(run, 500).entries if entry.id.startswith("events/")]
    assert len({entry.text for entry in told}) == len(EventKind)
    assert not any("client" in entry.text for entry in told)
