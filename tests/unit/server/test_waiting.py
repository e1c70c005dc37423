"""A run that stands still says at whom to look, and until when."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from fedpriv_common.records import RunState
from fedpriv_server.progress import show_progress, spell_cancelled
from fedpriv_server.status import RunStatus, SiteStatus, Waiting

UNTIL = datetime(2027, 3, 1, 14, 3, 10, tzinfo=UTC)


def active(waiting: Waiting | None = None, round_number: int = 6, stock: bool = False) -> RunStatus:
    return RunStatus(
        run_id="01J9ZZZZZZZZZZZZZZZZZZZZZZ",
        name="a",
        state=RunState.ACTIVE,
        cause=None,
        created_at=UNTIL,
        epsilon=1.0,
        delta=1e-5,
        round=round_number,
        rounds=13,
        metrics={},
        sites=(
            SiteStatus(site="site-1", online=True, code="OK"),
            SiteStatus(site="site-2", online=False, code="OK", stock=stock),
        ),
        median_round_ms=None,
        elapsed_s=1.0,
        model=None,
        waiting=waiting,
    )


def said(waiting: Waiting | None, round_number: int = 6, stock: bool = False) -> str:
    """What a person reads who follows a run."""
    output = io.StringIO()
    show_progress([active(waiting, round_number, stock)], Console(file=output, width=200))
    return output.getvalue()


@pytest.mark.parametrize("round_number", [0, 6])
def test_below_quorum_it_says_when_it_will_halt(round_number: int) -> None:
    waiting = Waiting(sites=("site-2",), lacking=1, until=UNTIL)
    assert said(waiting, round_number).startswith(
        f"waiting for site-2 (offline) until {UNTIL.astimezone():%H:%M:%S}, then halts: 1 more must answer, round "
    )


def test_with_the_quorum_there_it_only_waits() -> None:
    line = said(Waiting(sites=("site-1",), lacking=0, until=UNTIL))
    assert line.startswith("waiting for site-1 until ")
    assert "halts" not in line


def test_a_run_that_does_not_wait_says_nothing_of_it() -> None:
    assert said(None).startswith("training, round 6 of 13")
    assert said(Waiting(sites=(), lacking=0, until=UNTIL)).startswith("training")


def test_a_site_without_a_ledger_is_named() -> None:
    assert "site-2 runs Flower's own node, which has no ledger: it takes no part" in said(None, stock=True)
    assert "Flower" not in said(None)


@pytest.mark.parametrize(
    "decided, words",
    [
        (None, "has not written that down yet"),
        (RunState.CANCELLED, "is being cancelled, whatever happens"),
        (RunState.FINISHED, "was about to end already: finished"),
    ],
)
def test_who_cancels_a_run_is_told_only_what_is_certain(decided: RunState | None, words: str) -> None:
    assert words in spell_cancelled(active().model_copy(update={"decided": decided}))
