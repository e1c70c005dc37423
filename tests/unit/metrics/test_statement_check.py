"""The hub's own check of a statement: a genuine one holds, and each tampering is found and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from fedpriv_common import keys
from fedpriv_common.canonical import sha256_hex
from fedpriv_metrics.check import Result, RunFacts, examine
from tests.proven_run import ProvenRun, pem
from tests.statements import MODEL, RUN, SITES, Consortium


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> ProvenRun:
    return ProvenRun.make(tmp_path_factory.mktemp("proven"))


def facts(proven: ProvenRun, **changes: object) -> RunFacts:
    plan = proven.consortium.run.plan_digest
    told = {"run_id": RUN, "plan_digest": plan, "model_digest": sha256_hex(MODEL), "admitted": SITES}
    return RunFacts.model_validate(told | changes)


def check(
    proven: ProvenRun,
    statement: bytes | None = None,
    model: bytes | None = MODEL,
    keys_by_path: dict[str, str] | None = None,
    **changes: object,
) -> Result:
    body = proven.objects[keys.statement(RUN)] if statement is None else statement
    return examine(body, model, proven.keys() if keys_by_path is None else keys_by_path, facts(proven, **changes))


def failed(result: Result) -> list[str]:
    return [finding.what for finding in result.findings if finding.state == "failed"]


def test_a_genuine_statement_is_verified_and_its_keys_are_named(proven: ProvenRun) -> None:
    result = check(proven)

    assert (result.verdict, failed(result)) == ("verified", [])
    assert [(key.owner, key.file, key.former) for key in result.keys] == [
        ("hub", "hub.pem", False),
        *((site, f"sites/{site}.pem", False) for site in SITES),
    ]
    assert {"this run", "sites of the run", "model", "site-1: epsilon"} <= {finding.what for finding in result.findings}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda body: body.replace(b'"rounds":3', b'"rounds":2', 1), "hub's signature"),
        (lambda body: body.replace(b'"name":"', b'"name":"x', 1), "hub's signature"),
        (lambda body: body + b"\n", "form"),
        (lambda body: body[:-20], "form"),
        (lambda body: b"{}", "form"),
        (lambda body: b"", "form"),
        (lambda body: b"\xff\xfe" * 1000, "form"),
    ],
)
def test_a_changed_file_is_found(proven: ProvenRun, change: Callable[[bytes], bytes], found: str) -> None:
    result = check(proven, change(proven.objects[keys.statement(RUN)]))
    assert (result.verdict, failed(result)) == ("failed", [found])


def test_a_part_that_the_hub_changed_and_signed_anew_is_found(proven: ProvenRun) -> None:
    consortium = proven.consortium
    parts = consortium.parts()
    limits = parts["site-2"].part.limits.model_copy(update={"epsilon": 80.0})
    part = parts["site-2"].part.model_copy(update={"limits": limits})
    parts["site-2"] = parts["site-2"].model_copy(update={"part": part})

    result = check(proven, consortium.countersign(consortium.statement(parts)))
    assert (result.verdict, failed(result)) == ("failed", ["site-2: signature"])


def test_a_site_that_the_hub_left_out_is_found(proven: ProvenRun) -> None:
    consortium = proven.consortium
    parts = {site: part for site, part in consortium.parts().items() if site != "site-3"}

    result = check(proven, consortium.countersign(consortium.statement(parts)))
    assert failed(result) == ["sites of the run"]
    assert "site-3 admitted the run" in next(f.detail for f in result.findings if f.what == "sites of the run")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"run_id": "01J9AAAAAAAAAAAAAAAAAAAAAA"}, "run"),
        ({"plan_digest": "0" * 64}, "plan"),
        ({"model_digest": "0" * 64}, "model"),
    ],
)
def test_a_genuine_statement_of_something_else_is_found(
    proven: ProvenRun, changes: dict[str, object], word: str
) -> None:
    result = check(proven, **changes)
    assert failed(result) == ["this run"]
    assert f"of another {word}" in next(f.detail for f in result.findings if f.what == "this run")


def test_another_model_is_found_and_a_missing_one_is_not_checked(proven: ProvenRun) -> None:
    assert failed(check(proven, model=b"another")) == ["model"]
    missing = check(proven, model=None)
    assert (missing.verdict, failed(missing)) == ("incomplete", [])
    assert [f.what for f in missing.findings if f.state == "not checked"] == [*(f"{s}: audit" for s in SITES), "model"]


def test_a_site_that_signed_nothing_leaves_the_check_incomplete(tmp_path: Path) -> None:
    proven = ProvenRun.make(tmp_path, unsigned=frozenset({"site-3"}))
    result = check(proven)
    assert (result.verdict, result.unsigned, failed(result)) == ("incomplete", ("site-3",), [])


def test_a_site_whose_key_is_missing_is_not_checked_rather_than_false(proven: ProvenRun) -> None:
    held = {path: text for path, text in proven.keys().items() if path != "sites/site-2.pem"}
    result = check(proven, keys_by_path=held)
    assert (result.verdict, result.unkeyed, failed(result)) == ("incomplete", ("site-2",), [])


def test_another_key_under_a_sites_name_fails(proven: ProvenRun) -> None:
    other = pem(ec.generate_private_key(ec.SECP256R1()).public_key()).decode()
    assert failed(check(proven, keys_by_path=proven.keys() | {"sites/site-2.pem": other})) == ["site-2: signature"]
    assert failed(check(proven, keys_by_path=proven.keys() | {"hub.pem": other})) == ["hub's signature"]
    assert failed(check(proven, keys_by_path=proven.keys() | {"hub.pem": "no key"})) == ["hub's key"]


def test_what_a_replaced_key_signed_is_checked_with_that_key_of_that_site_only(proven: ProvenRun) -> None:
    other = pem(ec.generate_private_key(ec.SECP256R1()).public_key()).decode()
    held = proven.keys()
    rotated = held | {"sites/site-2.pem": other, "former/site-2-until-2026-11.pem": held["sites/site-2.pem"]}
    result = check(proven, keys_by_path=rotated)
    assert result.verdict == "verified"
    assert ("site-2", "former/site-2-until-2026-11.pem", True) in [(k.owner, k.file, k.former) for k in result.keys]

    # The former key of another site, and one whose site's name only begins alike, are none of this site's.
    for name in ("former/site-1-until-2026-11.pem", "former/site-2-until-x-until-2026-11.pem"):
        misplaced = held | {"sites/site-2.pem": other, name: held["sites/site-2.pem"]}
        assert failed(check(proven, keys_by_path=misplaced)) == ["site-2: signature"]


def test_a_file_that_is_not_the_hubs_names_nobody(proven: ProvenRun) -> None:
    consortium = proven.consortium
    forged = Consortium(ed25519.Ed25519PrivateKey.generate(), consortium.parties, consortium.run)
    result = check(proven, forged.countersign(forged.statement()))
    assert failed(result) == ["hub's signature"]
    assert [key.owner for key in result.keys] == ["hub"]
