"""The audit notices what it is for; whole audits are run by `make audit` and tests/privacy."""

import json
from pathlib import Path

import pytest
from rich.console import Console

import fedpriv_client
from fedpriv_client.audit.clipping import check_clipping
from fedpriv_client.audit.defects import DEFECTS, NanKept, PatientByRecord, Shuffled, SizeDependent, Unclipped
from fedpriv_client.audit.noise import check_no_seed
from fedpriv_client.audit.patients import check_patients
from fedpriv_client.audit.run import conclude
from fedpriv_client.audit.sampling import check_sampling
from fedpriv_client.audit.show import report, show
from fedpriv_client.audit.subject import Subject
from fedpriv_client.own_code import code_digest, load_own_audit
from fedpriv_common.audit_result import Bound, Check, SeededDefect, load_audit
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.recipes import Recipe

HOLDS = Check(name="noise.deviation", expects="within 1 %", passed=True, figures={"ratio": 1.001})
BOUND = Bound(
    recipe="fedsgd-logreg", claim=1, delta=1e-5, confidence=0.999, canaries=20_000, clopper_pearson=0.2, gaussian=0.8
)
CAUGHT = SeededDefect(name="no_noise", what="no noise is added", caught_by=("noise.deviation",), bound=100.0, claim=1)


def failed(checks):
    return {check.name for check in checks if not check.passed}


def test_the_code_of_sites_passes_clipping_and_sampling():
    assert failed([*check_clipping(Subject()), *check_sampling(Subject(), 1000), check_no_seed()]) == set()


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("trainer", [Unclipped, NanKept])
def test_gradients_that_are_not_bounded_are_noticed(trainer):
    assert {"clipping.gradients_of_logreg", "clipping.gradients_of_mlp"} <= failed(
        check_clipping(Subject(trainer=trainer))
    )


@pytest.mark.parametrize("trainer", [Shuffled, SizeDependent])
def test_samples_that_are_not_poisson_of_the_planned_rate_are_noticed(trainer):
    assert failed(check_sampling(Subject(trainer=trainer), 1000)) == {"sampling.poisson"}


def test_a_patient_counts_once_and_one_who_does_not_is_noticed():
    assert failed(check_patients(Subject(), 1000)) == set()
    by_record = {"patients.gradients_of_logreg", "patients.gradients_of_mlp", "patients.centring", "patients.sampling"}
    assert failed(check_patients(Subject(trainer=PatientByRecord), 1000)) == by_record


def test_the_defects_have_names_of_their_own_and_the_power_is_of_every_recipe():
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS)
    assert DEFECTS[0].measured_on == tuple(Recipe)


def test_nothing_that_serves_imports_the_audit_or_its_defects():
    root = Path(fedpriv_client.__file__).parent
    importing = {
        path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*.py") if path.name != "defects.py"
    }
    assert [name for name, text in importing.items() if "audit.defects" in text] == ["audit/run.py"]
    outside = [name for name, text in importing.items() if "client.audit" in text and not name.startswith("audit/")]
    assert outside == ["cli.py"]


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        ({"checks": [HOLDS.model_copy(update={"passed": False})]}, "noise.deviation"),
        ({"bounds": [BOUND.model_copy(update={"gaussian": 1.3})]}, "bound.fedsgd-logreg"),
        ({"defects": [CAUGHT.model_copy(update={"caught_by": ()})]}, "defect.no_noise"),
    ],
)
def test_an_audit_that_failed_is_written_down_named_and_ends_with_its_code(tmp_path, capsys, change, failure):
    parts = {"checks": [HOLDS], "bounds": [BOUND], "defects": [CAUGHT]} | change
    result = conclude(**parts, quick=False, seconds=1.0)
    out = tmp_path / "results" / "audit.json"
    with pytest.raises(FedprivError, match=failure) as caught:
        report(result, out)
    assert caught.value.code is ErrorCode.AUDIT_FAILED
    assert load_audit(out) == result
    assert json.loads(out.read_text())["verdict"] == "failed"
    assert f"{failure} failed" in capsys.readouterr().out


def test_an_audit_that_passed_says_so_with_every_check(tmp_path):
    console = Console(record=True, width=120)
    show(conclude([HOLDS], [BOUND], [CAUGHT], quick=False, seconds=41.0), console)
    text = console.export_text()
    for part in ("noise.deviation", "0.80", "100 or more", "Audit passed", "1 of 1 seeded defects", code_digest()[:12]):
        assert part in text


def test_a_result_that_cannot_be_written_says_why(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FedprivError, match="--out") as caught:
        report(conclude([HOLDS], [BOUND], [], quick=True, seconds=1.0), tmp_path / "file" / "audit.json")
    assert caught.value.code is ErrorCode.BAD_SETTING


def test_an_audit_is_quoted_only_by_the_code_that_it_is_of(tmp_path):
    path = tmp_path / "audit.json"
    result = conclude([HOLDS], [BOUND], [CAUGHT], quick=False, seconds=1.0)
    path.write_text(result.model_dump_json())
    assert load_own_audit(path) == result
    path.write_text(result.model_copy(update={"code_digest": "0" * 64}).model_dump_json())
    with pytest.raises(FedprivError, match="of other code") as caught:
        load_own_audit(path)
    assert caught.value.code is ErrorCode.BAD_AUDIT
