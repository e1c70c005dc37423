"""Steps are told at debug level only, and each to the piece of work that it belongs to."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from fedpriv_common.steps import measured, step

LOG = logging.getLogger("test-steps")


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records]


def test_a_step_that_was_taken_twice_counts_twice_and_an_inner_work_has_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, LOG.name), measured(LOG, "outer", round=3):
        for _ in range(2):
            with step("ask"):
                pass
        with step("work"), measured(LOG, "inner"), step("train"):
            pass
    inner, outer = told(caplog)
    assert (inner["msg"], set(inner["steps_ms"])) == ("inner", {"train"})
    assert (outer["msg"], outer["round"], set(outer["steps_ms"])) == ("outer", 3, {"ask", "work"})
    assert 0 <= inner["total_ms"] <= outer["steps_ms"]["work"] <= outer["total_ms"]


def test_work_that_fails_is_told_with_the_step_it_came_to(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.DEBUG, LOG.name),
        pytest.raises(ValueError, match="no"),
        measured(LOG, "work"),
        step("ask"),
    ):
        raise ValueError("no")
    (record,) = told(caplog)
    assert set(record["steps_ms"]) == {"ask"}


def test_nothing_is_told_without_a_step_nor_above_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, LOG.name), measured(LOG, "idle"):
        pass
    with caplog.at_level(logging.INFO, LOG.name), measured(LOG, "work"), step("ask"):
        pass
    assert told(caplog) == []
