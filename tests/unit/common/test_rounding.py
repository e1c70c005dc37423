"""Spent is never shown smaller than it is, and what remains never larger."""

import math
import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpriv_common.rounding import round_down, round_up, spell_left, spell_limit, spell_spent

ROOT = Path(__file__).parents[3]
positive = st.floats(0, 1e308, allow_subnormal=True)


@given(st.floats(0, 1e6))
def test_spent_is_never_understated_and_remaining_never_overstated(value):
    assert round_up(value) >= value >= round_down(value)
    assert round_up(value) - round_down(value) <= 0.0100001


@pytest.mark.parametrize(("value", "up", "down"), [(0.94, 0.94, 0.94), (0.9989, 1.0, 0.99), (2.001, 2.01, 2.0)])
def test_rounding_keeps_what_is_already_round(value, up, down):
    assert (round_up(value), round_down(value)) == (up, down)


@given(positive, st.integers(0, 6))
def test_what_a_person_reads_errs_on_the_safe_side(value, digits):
    exact, unit = Fraction(repr(value)), Fraction(1, 10**digits)
    assert exact <= Fraction(spell_spent(value, digits)) < exact + unit
    assert exact - unit < Fraction(spell_left(value, digits)) <= exact
    assert float(spell_limit(value)) == value


@pytest.mark.parametrize(
    ("value", "spent", "left", "limit"),
    [
        (0.0, "0.00", "0.00", "0.00"),
        (8.0, "8.00", "8.00", "8.00"),
        (1e-9, "0.01", "0.00", "1e-09"),
        (0.998971, "1.00", "0.99", "0.998971"),
        (0.125, "0.13", "0.12", "0.125"),
        (1.005, "1.01", "1.00", "1.005"),
    ],
)
def test_numbers_read_as_on_the_dashboard(value, spent, left, limit):
    assert (spell_spent(value), spell_left(value), spell_limit(value)) == (spent, left, limit)


def test_an_unbounded_epsilon_leaves_nothing():
    assert (spell_spent(math.inf), spell_left(-math.inf), spell_left(-0.5)) == ("∞", "0", "0.00")
    assert round_up(math.inf) == math.inf


def test_no_text_rounds_an_epsilon_to_the_nearest():
    """In an f-string, `{…epsilon…:.2f}` or the like would; what a person typed may stand as `:g`."""
    nearest = re.compile(r"\{[^{}]*(epsilon|spent|charged|claim)[^{}]*:[^{}]*\.\d[efg%]\}")
    sources = [*ROOT.glob("services/*/src/**/*.py"), *ROOT.glob("scripts/**/*.py")]
    assert len(sources) > 100
    found = [
        f"{path.name}: {line.strip()}"
        for path in sources
        for line in path.read_text().splitlines()
        if nearest.search(line)
    ]
    assert found == []
