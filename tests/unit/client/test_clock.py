"""A machine whose clock is off signs with the server's time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from fedpriv_client.clock import ServerClock

NOON = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


def header(time: datetime) -> str:
    return format_datetime(time, usegmt=True)


@pytest.mark.parametrize(
    ("ahead_s", "told"),
    [(3600, "3600 s ahead of"), (-3600, "3600 s behind"), (5, "5 s ahead of"), (-301, "301 s behind")],
)
def test_a_clock_that_is_off_is_told_and_made_up_for(ahead_s: int, told: str) -> None:
    clock = ServerClock(lambda: NOON + timedelta(seconds=ahead_s))
    assert clock.fault(header(NOON)) == f"this machine's clock is {told} the server's"
    assert clock.now() == NOON
    assert clock.fault(header(NOON)) is None, "another refusal has another reason"


@pytest.mark.parametrize("ahead_s", [0, 4, -300])
def test_a_clock_that_the_server_would_accept_is_left_alone(ahead_s: int) -> None:
    machine = NOON + timedelta(seconds=ahead_s)
    clock = ServerClock(lambda: machine)
    assert clock.fault(header(NOON)) is None
    assert clock.now() == machine


def test_a_clock_that_is_set_meanwhile_is_made_up_for_anew() -> None:
    machine = NOON + timedelta(hours=1)
    clock = ServerClock(lambda: machine)
    clock.fault(header(NOON))
    machine = NOON
    assert "0 s" in str(clock.fault(header(NOON)))
    assert clock.now() == NOON


def test_more_than_a_day_is_a_broken_clock() -> None:
    machine = NOON + timedelta(days=2)
    clock = ServerClock(lambda: machine)
    assert "too much to be made up for" in str(clock.fault(header(NOON)))
    assert clock.now() == machine


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 99 Foo 2027 12:00:00 GMT"])
def test_without_a_date_nothing_is_said_about_clocks(date: str | None) -> None:
    assert ServerClock().fault(date) is None
