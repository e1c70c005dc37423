"""An audit's file says what its parts say, and nothing else can be read from it."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from fedpriv_common.audit_result import AuditResult, Bound, Check, SeededDefect, load_audit
from fedpriv_common.errors import ErrorCode, FedprivError

HOLDS = Check(name="noise.deviation", expects="within 1 %", passed=True, figures={"ratio": 1.001})
BOUND = Bound(
    recipe="fedsgd-logreg", claim=1, delta=1e-5, confidence=0.999, canaries=20_000, clopper_pearson=0.2, gaussian=0.8
)
CAUGHT = SeededDefect(name="no_noise", what="adds none", caught_by=("noise.deviation",), bound=6.0, claim=1.0)


def result(**changes):
    fields = {
        "at": datetime(2026, 1, 2, tzinfo=UTC),
        "code_version": "0.1.0",
        "code_digest": "0" * 64,
        "software": {"torch": "2.13.0"},
        "quick": False,
        "verdict": "passed",
        "checks": (HOLDS,),
        "bounds": (BOUND,),
        "defects": (CAUGHT,),
        "seconds": 50.0,
    }
    return AuditResult(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"checks": (HOLDS.model_copy(update={"passed": False}),)}, "noise.deviation"),
        ({"bounds": (BOUND.model_copy(update={"gaussian": 1.01}),)}, "bound.fedsgd-logreg"),
        ({"bounds": (BOUND.model_copy(update={"clopper_pearson": 1.01}),)}, "bound.fedsgd-logreg"),
        ({"defects": (CAUGHT.model_copy(update={"caught_by": ()}),)}, "defect.no_noise"),
        ({"defects": (CAUGHT.model_copy(update={"bound": 0.9}),)}, "defect.no_noise"),
    ],
)
def test_whatever_fails_fails_the_audit_and_is_named(changes, failure):
    assert result(**changes, verdict="failed").failures() == (failure,)
    with pytest.raises(ValidationError, match="verdict passed"):
        result(**changes)


@pytest.mark.parametrize("part", ["checks", "bounds"])
def test_an_audit_that_tested_nothing_has_not_passed(part):
    with pytest.raises(ValidationError, match="verdict passed"):
        result(**{part: ()})


def test_a_file_is_read_back_and_a_changed_one_is_not(tmp_path):
    path = tmp_path / "audit.json"
    path.write_text(result().model_dump_json())
    assert load_audit(path) == result()
    path.write_text(result().model_dump_json().replace('"passed":true', '"passed":false'))
    with pytest.raises(FedprivError) as caught:
        load_audit(path)
    assert caught.value.code is ErrorCode.BAD_AUDIT
    assert load_error(tmp_path / "none.json") is ErrorCode.BAD_AUDIT


def load_error(path):
    with pytest.raises(FedprivError) as caught:
        load_audit(path)
    return caught.value.code
