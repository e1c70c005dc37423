"""The cases of `python -m tests.faults` cover what they say, and the moments that they wait for exist."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from itertools import combinations, product
from pathlib import Path

import pytest

from tests.faults.cases import FAULTS, MOMENTS, QUORUMS, ROUNDS, SITES, TARGETS, all_cases, few, possible

CASES = all_cases()
FACTORS = {"target": TARGETS, "fault": FAULTS, "when": MOMENTS, "round": range(1, ROUNDS + 1), "quorum": QUORUMS}


@pytest.mark.parametrize("names", list(combinations(FACTORS, 2)))
def test_every_possible_pair_occurs(names: tuple[str, str]) -> None:
    first, second = names
    wanted = {
        pair for pair in product(FACTORS[first], FACTORS[second]) if names != ("target", "fault") or possible(*pair)
    }
    assert {(getattr(case, first), getattr(case, second)) for case in CASES} == wanted


@pytest.mark.parametrize("kind", ["server", "site"])
def test_every_fault_strikes_server_and_sites_at_every_moment(kind: str) -> None:
    faults = [fault for fault in FAULTS if fault != "sigterm"]
    assert {(case.fault, case.when) for case in CASES if case.kind == kind} == set(product(faults, MOMENTS))


def test_there_are_enough_of_them_each_once_and_the_same_each_time() -> None:
    assert len(CASES) >= 48
    assert len(set(CASES)) == len(CASES)
    assert all_cases() == CASES


def test_sites_and_rounds_are_struck_about_equally_often() -> None:
    for factor, values in (("target", SITES), ("round", FACTORS["round"]), ("quorum", QUORUMS)):
        counts = Counter(getattr(case, factor) for case in CASES)
        assert max(counts[value] for value in values) <= 2 * min(counts[value] for value in values)


def test_the_few_have_every_fault_every_kind_of_target_and_every_moment() -> None:
    chosen = few(CASES)
    assert {case.fault for case in chosen} == set(FAULTS)
    assert {case.kind for case in chosen} == {"server", "site", "emulator", "metrics-api"}
    assert {case.when for case in chosen} == set(MOMENTS)


def test_every_function_that_holds_a_process_at_a_moment_is_there() -> None:
    """A renamed one would end the containers; here it shows within a second."""
    hold = Path(__file__).parents[2] / "faults" / "hold"
    sys.path.insert(0, str(hold))
    before = sys.modules.pop("sitecustomize", None)
    try:
        held = importlib.import_module("sitecustomize")
        for module, (owner, name, _) in held.WRAPPED.items():
            loaded = importlib.import_module(module)
            assert callable(getattr(loaded if owner is None else getattr(loaded, owner), name)), module
    finally:
        sys.path.remove(str(hold))
        del sys.modules["sitecustomize"]
        if before is not None:
            sys.modules["sitecustomize"] = before
