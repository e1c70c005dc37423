"""A privacy statement is believed only whole, by keys that the auditor brought, with every figure recomputed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpriv_common.accounting import epsilon
from fedpriv_common.audit_result import AuditResult, Bound, Check
from fedpriv_common.canonical import canonical_json
from fedpriv_common.plan import RunSettings
from fedpriv_common.statement.page import render
from fedpriv_common.statement.schema import SignedPart, SitePart, Statement, json_schema
from fedpriv_common.statement.sign import holds, sign_part
from fedpriv_common.statement.verify import Report, State, parse, verify
from tests.statements import EARLIER, MODEL, RUN, SITES, Consortium, told

CODE_VERSION = version("fedpriv-client")


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    return Consortium.ran(tmp_path_factory.mktemp("consortium"))


@pytest.fixture(scope="module")
def genuine(consortium: Consortium) -> bytes:
    return consortium.countersign(consortium.statement())


def check(consortium: Consortium, body: bytes, **changes: Any) -> Report:
    arguments: dict[str, Any] = {"hub_key": consortium.hub_key, "site_keys": consortium.site_keys, "model": MODEL}
    return verify(body, **(arguments | {"expected": set(SITES)} | changes))


def failed(report: Report) -> list[str]:
    return [finding.what for finding in report.findings if finding.state is State.FAILED]


def test_a_genuine_statement_holds_in_every_check(consortium: Consortium, genuine: bytes) -> None:
    report = check(consortium, genuine)
    assert failed(report) == []
    skipped = [finding.what for finding in report.findings if finding.state is State.NOT_CHECKED]
    assert skipped == [f"{site}: audit" for site in SITES]
    assert report.statement is not None
    assert len(report.findings) == 8 + 7 * len(SITES)


def test_its_figures_are_those_of_the_ledgers(consortium: Consortium, genuine: bytes) -> None:
    statement = parse(genuine).statement
    first, second, _ = (section.signed.part for section in statement.sections if section.signed)
    plan = consortium.run.plan
    assert first.epsilon.run.add_remove == epsilon(plan.events(), 1e-5)
    assert first.epsilon.lifetime.add_remove == epsilon([*plan.events()] * 2, 1e-5)
    assert first.epsilon.run.replace_one > 2 * first.epsilon.run.add_remove * 0.99
    assert (first.epsilon.held_out_run.add_remove, first.epsilon.held_out_lifetime.add_remove) == (1.0, 2.0)
    assert second.epsilon.lifetime == second.epsilon.run
    assert first.ledger.genesis != second.ledger.genesis
    with consortium.parties[0].ledger.reading() as history:
        assert (first.ledger.seq, first.ledger.head) == (history.seq, history.head)
    assert statement.lifetime.epsilon == 2.0, "the site that spent most"
    assert 0.02 < statement.run.attack_success <= statement.run.attack_success_at_most < 0.03


def test_nothing_in_a_part_tells_of_other_runs_but_their_cost(genuine: bytes) -> None:
    assert EARLIER.encode() not in genuine
    assert RUN.encode() in genuine


# -- tampering ---------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_one_changed_byte_anywhere_is_refused(consortium: Consortium, genuine: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(genuine) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != genuine[place]))
    mutated = genuine[:place] + bytes([byte]) + genuine[place + 1 :]
    assert refused_at_once(consortium, mutated)


def refused_at_once(consortium: Consortium, body: bytes) -> bool:
    """Whether the hub's signature or the form refuses it, before any figure is recomputed."""
    try:
        signed = parse(body)
    except ValueError:
        return True
    return not holds(signed.statement, signed.signature, consortium.hub_key)


@pytest.mark.parametrize("tail", [b" ", b"\n", b"{}"])
def test_neither_more_bytes_nor_fewer_nor_another_spelling_pass(
    consortium: Consortium, genuine: bytes, tail: bytes
) -> None:
    for body in (genuine + tail, tail + genuine, genuine[:-1], json.dumps(json.loads(genuine)).encode(), b"", b"[]"):
        assert failed(check(consortium, body)) == ["form"]


def edited(consortium: Consortium, genuine: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """A statement that a hub changed and signed again: what the sites signed is then all that stands against it."""
    content = json.loads(genuine)["statement"]
    change(content)
    return consortium.countersign(Statement.model_validate_json(json.dumps(content)))


def part_of(content: dict[str, Any], number: int = 0) -> dict[str, Any]:
    part: dict[str, Any] = content["sections"][number]["signed"]["part"]
    return part


HUB_FORGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "smaller epsilon": (
        lambda content: part_of(content)["epsilon"]["run"].update(add_remove=0.5),
        "site-1: signature",
    ),
    "an entry less": (lambda content: part_of(content)["entries"].pop(), "site-1: signature"),
    "no history": (lambda content: part_of(content).update(earlier=[]), "site-1: signature"),
    "another limit": (lambda content: part_of(content)["limits"].update(epsilon=20.0), "site-1: signature"),
    "fewer overruns": (lambda content: part_of(content)["timing"].update(overran=1), "site-1: signature"),
    "a limit of the protection removed": (lambda content: content["words"]["not_protected"].pop(), "wording"),
    "a better promise": (lambda content: content["promise"].update(epsilon=0.1), "plan and contract"),
    "another plan": (lambda content: content["plan"].update(nominal_size=900), "plan and contract"),
    "a digest to go with it": (lambda content: content.update(plan_digest="0" * 64), "plan and contract"),
    "another contract": (lambda content: content["contract"].update(nominal_size=900), "plan and contract"),
    "a smaller summary": (lambda content: content["lifetime"].update(epsilon=0.5), "summary"),
    "a weaker attack": (lambda content: content["run"].update(attack_success=0.01), "summary"),
    "a site left out": (lambda content: content["sections"].pop(), "sites"),
    "a site twice": (lambda content: content["sections"].append(content["sections"][0]), "sites"),
    "another model": (lambda content: content.update(model_digest="0" * 64), "model"),
    "more rounds": (lambda content: content["outcome"].update(rounds=99), "plan and contract"),
    "two sites under each other's name": (
        lambda content: content["sections"][0].update(signed=content["sections"][1]["signed"]),
        "site-1: signature",
    ),
}


@pytest.mark.parametrize("forged", HUB_FORGES)
def test_a_hub_that_signs_a_changed_statement_is_found_out(consortium: Consortium, genuine: bytes, forged: str) -> None:
    change, found_by = HUB_FORGES[forged]
    assert found_by in failed(check(consortium, edited(consortium, genuine, change)))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_sites_signature_covers_every_value_of_its_part(
    consortium: Consortium, genuine: bytes, data: st.DataObject
) -> None:
    content = json.loads(genuine)["statement"]["sections"][0]["signed"]
    holder, place = data.draw(st.sampled_from(list(leaves(content["part"]))))
    holder[place] = data.draw(other_than(holder[place]))
    try:
        changed = SignedPart.model_validate_json(json.dumps(content))
    except ValueError:
        return  # the form refuses it
    assert not holds(changed.part, changed.signature, consortium.site_keys["site-1"])


def leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every value that holds no others, as the container and its place in it."""
    for place, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(inner, dict | list) and inner:
            yield from leaves(inner)
        else:
            yield value, place


def other_than(value: Any) -> st.SearchStrategy[Any]:
    if isinstance(value, bool) or value is None or value == []:
        return st.sampled_from([True, 1, "x"])
    if isinstance(value, int):
        return st.integers(0, 10**6).filter(lambda other: other != value)
    if isinstance(value, float):
        return st.floats(0, 10, allow_nan=False).filter(lambda other: other != value)
    return st.text("0123456789abcdef", min_size=len(value), max_size=len(value)).filter(lambda other: other != value)


def test_a_part_of_another_run_is_refused(consortium: Consortium) -> None:
    parts = consortium.parts() | {"site-1": consortium.parties[0].part(EARLIER)}
    report = check(consortium, consortium.countersign(consortium.statement(parts)))
    assert failed(report) == ["site-1: part"]


def test_swapped_or_foreign_keys_are_refused(consortium: Consortium, genuine: bytes) -> None:
    keys = consortium.site_keys
    swapped = keys | {"site-1": keys["site-2"], "site-2": keys["site-1"]}
    assert failed(check(consortium, genuine, site_keys=swapped)) == ["site-1: signature", "site-2: signature"]
    assert failed(check(consortium, genuine, hub_key=ed25519.Ed25519PrivateKey.generate().public_key())) == [
        "hub's signature"
    ]
    assert failed(check(consortium, genuine, hub_key=keys["site-1"])) == ["hub's signature"]
    del swapped["site-2"]
    assert "site-2: signature" in failed(check(consortium, genuine, site_keys=swapped))


def test_a_key_for_a_site_that_is_not_in_it_is_a_failure(consortium: Consortium, genuine: bytes) -> None:
    assert failed(check(consortium, genuine, expected={*SITES, "site-4"})) == ["sites"]


def test_another_model_is_refused_and_none_is_said_to_be_unchecked(consortium: Consortium, genuine: bytes) -> None:
    assert failed(check(consortium, genuine, model=MODEL + b"x")) == ["model"]
    last = check(consortium, genuine, model=None).findings[-1]
    assert (last.what, last.state) == ("model", State.NOT_CHECKED)


SITE_LIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "smaller run": (lambda part: part["epsilon"]["run"].update(add_remove=0.5), "epsilon"),
    "smaller by a hair": (
        lambda part: part["epsilon"]["run"].update(add_remove=part["epsilon"]["run"]["add_remove"] * (1 - 1e-5)),
        "epsilon",
    ),
    "smaller lifetime": (lambda part: part["epsilon"]["lifetime"].update(add_remove=0.5), "epsilon"),
    "smaller replace-one": (lambda part: part["epsilon"]["lifetime"].update(replace_one=0.5), "epsilon"),
    "smaller held-out": (lambda part: part["epsilon"]["held_out_run"].update(add_remove=0.1), "epsilon"),
    "at a larger delta": (lambda part: part["epsilon"].update(delta=1e-3), "epsilon"),
    "more noise": (lambda part: part["entries"][1].update(noise_multiplier=99.0), "entries"),
    "other clipping": (lambda part: part["entries"][1].update(max_grad_norm=0.2), "entries"),
    "more steps": (lambda part: part["entries"][1].update(steps=2), "entries"),
    "a round twice": (lambda part: part["entries"].append(part["entries"][1]), "entries"),
    "a round too many": (lambda part: part["entries"][1].update(round=4), "entries"),
    "a cheaper evaluation": (lambda part: part["entries"][-1].update(epsilon_pure=0.1), "entries"),
    "a reply that was not sent": (lambda part: part["entries"][1].update(state="reserved"), "entries"),
    "a short ledger": (lambda part: part["ledger"].update(seq=5), "entries"),
    "a partition that there is not": (lambda part: part["ledger"].update(partition=3), "entries"),
    "spent over its limit": (lambda part: part["limits"].update(epsilon=1.5), "limits"),
    "a run over its limit": (lambda part: part["limits"].update(max_run_epsilon=0.5), "limits"),
    "another plan": (lambda part: part.update(plan_digest="0" * 64), "part"),
    "another data set": (lambda part: part.update(dataset="other@1"), "part"),
    "a history that no accountant can add up": (
        lambda part: part["earlier"].append({"noise_multiplier": 1e-6, "sample_rate": 0.5, "steps": 10**9}),
        "epsilon",
    ),
}


@pytest.mark.parametrize("lie", SITE_LIES)
def test_what_a_site_signs_must_follow_from_its_entries_and_the_plan(consortium: Consortium, lie: str) -> None:
    change, found_by = SITE_LIES[lie]
    content = consortium.parties[0].part().part.model_dump(mode="json")
    change(content)
    lying = sign_part(SitePart.model_validate_json(json.dumps(content)), consortium.parties[0].key)
    parts = consortium.parts() | {"site-1": lying}
    found = failed(check(consortium, consortium.countersign(consortium.statement(parts))))
    assert f"site-1: {found_by}" in found


def test_a_site_whose_policy_became_stricter_during_the_run_is_no_liar(consortium: Consortium) -> None:
    content = consortium.parties[0].part().part.model_dump(mode="json")
    content["limits"] |= {"epsilon": 1.5, "policy_digest": "0" * 64}
    stricter = sign_part(SitePart.model_validate_json(json.dumps(content)), consortium.parties[0].key)
    report = check(consortium, consortium.countersign(consortium.statement(consortium.parts() | {"site-1": stricter})))
    assert failed(report) == []
    (finding,) = [finding for finding in report.findings if finding.what == "site-1: limits"]
    assert finding.state is State.NOT_CHECKED
    assert "stricter after admission" in finding.detail


def test_a_delta_at_which_epsilon_says_nothing_is_refused(consortium: Consortium) -> None:
    content = consortium.parties[0].part().part.model_dump(mode="json")
    content["limits"]["delta"] = content["epsilon"]["delta"] = 0.5
    lying = sign_part(SitePart.model_validate_json(json.dumps(content)), consortium.parties[0].key)
    parts = consortium.parts() | {"site-1": lying}
    assert "site-1: epsilon" in failed(check(consortium, consortium.countersign(consortium.statement(parts))))


def test_a_site_that_the_hub_left_out_is_asked_for_and_missed_by_who_has_its_key(consortium: Consortium) -> None:
    parts = consortium.parts()
    del parts["site-2"]
    body = consortium.countersign(consortium.statement(parts))
    keys = {site: key for site, key in consortium.site_keys.items() if site != "site-2"}
    (finding,) = [finding for finding in verify(body, consortium.hub_key, keys).findings if finding.what == "sites"]
    assert finding.state is State.NOT_CHECKED
    assert "ask who the others are" in finding.detail
    with_its_key = verify(body, consortium.hub_key, consortium.site_keys, expected={"site-2"})
    assert failed(with_its_key) == ["sites"]
    assert "--site-key SITE=SITE.pem" in render(parse(body))


@pytest.mark.parametrize("steps", [0, 10**9 + 1, 10**400])
def test_a_history_beyond_what_anybody_releases_is_no_part(consortium: Consortium, steps: int) -> None:
    content = consortium.parties[0].part().part.model_dump(mode="json")
    content["earlier"].append({"noise_multiplier": 1.0, "sample_rate": 0.5, "steps": steps})
    with pytest.raises(ValueError, match=r"earlier\.\d+\.steps"):
        SitePart.model_validate_json(json.dumps(content))


def test_two_sites_with_one_ledger_are_refused(consortium: Consortium) -> None:
    content = consortium.parties[1].part().part.model_dump(mode="json")
    content["ledger"]["genesis"] = consortium.parties[0].part().part.ledger.genesis
    forged = sign_part(SitePart.model_validate_json(json.dumps(content)), consortium.parties[1].key)
    parts = consortium.parts() | {"site-2": forged}
    assert failed(check(consortium, consortium.countersign(consortium.statement(parts)))) == ["ledgers"]


def test_a_part_is_no_statement_and_a_signature_has_one_spelling(consortium: Consortium, genuine: bytes) -> None:
    content = json.loads(genuine)
    value = base64.b64decode(content["signature"]["value"])
    content["signature"]["value"] = base64.b64encode(value[:-1] + bytes([value[-1] ^ 1])).decode()
    assert failed(check(consortium, canonical_json(content))) == ["hub's signature"]
    # The last letter before the padding carries bits that decoding drops.
    text = json.loads(genuine)["signature"]["value"]
    assert text.endswith("==")
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        if letter != text[-3]:
            content["signature"]["value"] = f"{text[:-3]}{letter}=="
            assert failed(check(consortium, canonical_json(content))) == ["hub's signature"]


# -- a site without a part ---------------------------------------------------------------------------------------------


def test_a_site_that_never_answered_the_close_is_shown_unsigned_and_refused_unless_put_up_with(
    consortium: Consortium,
) -> None:
    parts = consortium.parts()
    del parts["site-2"]
    body = consortium.countersign(consortium.statement(parts, {"site-2": told()}))
    assert failed(check(consortium, body)) == ["site-2: part"]
    report = check(consortium, body, unsigned={"site-2"})
    assert failed(report) == []
    statement = parse(body).statement
    assert any("site-2 did not answer the end of the run" in line for line in statement.words.not_protected)
    assert "not signed" in render(parse(body))


# -- audits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "held", "state", "words"),
    [
        (CODE_VERSION, True, State.OK, "passed on 2026-01-02, 1 checks, without its test of itself"),
        ("0.0.1", True, State.FAILED, "of version 0.0.1"),
        (CODE_VERSION, False, State.FAILED, "it failed: noise.deviation"),
    ],
)
def test_an_audit_is_quoted_and_counts(
    consortium: Consortium, version: str, held: bool, state: State, words: str
) -> None:
    audit = AuditResult(
        at=datetime(2026, 1, 2, tzinfo=UTC),
        code_version=version,
        code_digest="0" * 64,
        software={},
        quick=True,
        verdict="passed" if held else "failed",
        checks=(Check(name="noise.deviation", expects="within 1 %", passed=held, figures={"ratio": 1.0}),),
        bounds=(
            Bound(
                recipe="fedsgd-logreg",
                claim=1,
                delta=1e-5,
                confidence=0.999,
                canaries=20_000,
                clopper_pearson=0.2,
                gaussian=0.8,
            ),
        ),
        defects=(),
        seconds=1.0,
    )
    parts = consortium.parts() | {"site-1": consortium.parties[0].part(audit=audit)}
    body = consortium.countersign(consortium.statement(parts))
    (finding,) = (finding for finding in check(consortium, body).findings if finding.what == "site-1: audit")
    assert (finding.state, words in finding.detail) == (state, True), finding.detail
    assert ("passed" if held else "failed") in render(parse(body))


# -- mini-batches ------------------------------------------------------------------------------------------------------


def test_a_mini_batch_run_is_recomputed_by_its_own_accountant(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One site, so that it stays fast: sampling amplifies, and replacing one record is worse than adding one."""
    settings = RunSettings(recipe="fedavg-mlp", rounds=2, local_steps=4, evaluations=0)
    consortium = Consortium.ran(tmp_path_factory.mktemp("mlp"), settings)
    body = consortium.countersign(consortium.statement({"site-2": consortium.parties[1].part()}))
    report = check(consortium, body, expected={"site-2"})
    assert failed(report) == []
    (section,) = parse(body).statement.sections
    assert section.signed is not None
    spent = section.signed.part.epsilon.run
    assert 0.9 < spent.add_remove < 1.0 < spent.replace_one


# -- its form ----------------------------------------------------------------------------------------------------------


def test_the_published_schema_is_the_models() -> None:
    published = Path(__file__).parents[3] / "docs" / "reference" / "statement.schema.json"
    remedy = "python -m fedpriv_common.statement.schema > docs/reference/statement.schema.json"
    assert published.read_text() == json_schema(), remedy
    jsonschema.Draft202012Validator.check_schema(json.loads(published.read_text()))


def test_a_genuine_statement_is_of_the_published_schema(genuine: bytes) -> None:
    jsonschema.validate(json.loads(genuine), json.loads(json_schema()), cls=jsonschema.Draft202012Validator)
