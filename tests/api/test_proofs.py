"""Statements, models and the audit log through a real API over a real bucket, with statements really signed."""

from __future__ import annotations

import base64
import csv
import io
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fedpriv_common import keys
from fedpriv_common.canonical import sha256_hex
from fedpriv_common.records import EndCause, RunState
from tests.emulator import Emulator
from tests.integration.metrics_process import Api, running, until
from tests.proven_run import ProvenRun
from tests.run_writer import Script, new_run_id, write_run
from tests.statements import MODEL, RUN, SITES

SETTLED = ("verified", "failed", "incomplete", "unchecked", "none")


@dataclass
class Proven:
    """An API over a run whose every word is proven, an active one and one that was cancelled before its first round."""

    api: Api
    run: ProvenRun
    active: str
    cancelled: str
    folder: Path


@pytest.fixture(scope="module")
def proven(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proven]:
    folder = tmp_path_factory.mktemp("proven")
    run, store = ProvenRun.make(folder / "consortium"), emulator.store()
    run.put(store)
    active = write_run(store, new_run_id(), upto=2)
    script = Script(last_round=0, state=RunState.CANCELLED, cause=EndCause.OPERATOR)
    cancelled = write_run(store, new_run_id(), script)
    given = run.hand_out_keys(folder / "auditor")
    with running(Api.over(store, emulator, folder / "log", AUDITOR_KEYS=str(given))) as api:
        yield Proven(api, run, active, cancelled, folder)


def checked(api: Api, run_id: str) -> dict[str, Any]:
    """The state of the statement once it is known."""

    def known() -> dict[str, Any] | None:
        check: dict[str, Any] = api.json(f"/v1/runs/{run_id}/statement/check")
        return check if check["state"] in SETTLED else None

    return until(known, "the check", 60)  # type: ignore[return-value]


def test_a_statement_and_its_model_come_byte_for_byte_and_cost_the_bucket_one_request(proven: Proven) -> None:
    path = f"/v1/runs/{RUN}/statement"
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(proven.api.get, [path] * 40))
    body = proven.run.objects[keys.statement(RUN)]
    assert {answer.content for answer in answers} == {body}
    assert answers[0].headers["etag"] == f'"{sha256_hex(body)}"'
    assert proven.api.get(path, **{"If-None-Match": answers[0].headers["etag"]}).status_code == 304

    model = proven.api.get(f"/v1/runs/{RUN}/model")
    assert model.content == MODEL
    assert model.headers["content-disposition"] == f'attachment; filename="model-{RUN}.safetensors"'
    digest = base64.b64encode(bytes.fromhex(sha256_hex(MODEL))).decode()
    assert model.headers["repr-digest"] == f"sha-256=:{digest}:"

    before = proven.api.prometheus()['fl_s3_requests_total{op="GetObject"}']
    for _ in range(10):
        proven.api.get(path).raise_for_status()
        proven.api.get(f"/v1/runs/{RUN}/model").raise_for_status()
    assert proven.api.prometheus()['fl_s3_requests_total{op="GetObject"}'] == before


def test_a_genuine_statement_is_verified_in_a_process_of_its_own(proven: Proven) -> None:
    check = checked(proven.api, RUN)
    assert (check["state"], [f for f in check["findings"] if f["state"] == "failed"]) == ("verified", [])
    assert [key["owner"] for key in check["keys"]] == ["hub", *SITES]
    assert check["digest"] == sha256_hex(proven.run.objects[keys.statement(RUN)])
    assert {f"{site}: epsilon" for site in SITES} < {finding["what"] for finding in check["findings"]}
    assert proven.api.resident_mb() < 120


def test_runs_without_a_statement_say_why(proven: Proven) -> None:
    active = proven.api.json(f"/v1/runs/{proven.active}/statement/check")
    assert (active["state"], active["expected"]) == ("none", True)
    cancelled = proven.api.json(f"/v1/runs/{proven.cancelled}/statement/check")
    assert (cancelled["state"], cancelled["expected"]) == ("none", False)
    for run_id in (proven.active, proven.cancelled):
        for name in ("statement", "model"):
            problem = proven.api.get(f"/v1/runs/{run_id}/{name}")
            assert (problem.status_code, problem.headers["content-type"]) == (404, "application/problem+json")
    assert proven.api.get(f"/v1/runs/{new_run_id()}/statement/check").status_code == 404


def test_ledgers_that_cannot_be_one_are_told_with_the_objects_that_say_so(proven: Proven) -> None:
    # The statement and the witnesses are read by a task of their own.
    chains = until(lambda: _with_statement(proven.api), "the statement's parts")
    mine = {chain["site"]: chain for chain in chains["chains"]}
    for site in SITES:
        # The runs that are a formula tell other heads of the same sites: this is how a fork looks, or a roll-back.
        assert (mine[site]["state"] in ("forked", "rolled_back"), mine[site]["signed"]) == (True, 1)
        failed = [check for check in mine[site]["checks"] if check["state"] == "failed"]
        assert all(len({head["object"] for head in check["evidence"]}) > 1 for check in failed)
    assert chains["witnesses"] == len(SITES)
    assert any("fedpriv ledger verify" in sentence for sentence in chains["not_proven"])


def _with_statement(api: Api) -> dict[str, Any] | None:
    chains: dict[str, Any] = api.json("/v1/audit/chains")
    return chains if chains["statements"] and chains["witnesses"] else None


def test_the_audit_log_is_paged_filtered_and_exported(proven: Proven) -> None:
    until(lambda: proven.api.json("/v1/audit?kind=statement")["entries"], "the statement's entry")
    whole = proven.api.json("/v1/audit?limit=1000")
    assert whole["total"] == len(whole["entries"])
    joined, page = [], proven.api.json("/v1/audit?limit=7")
    while True:
        joined += page["entries"]
        if page["next_cursor"] is None:
            break
        page = proven.api.json(f"/v1/audit?limit=7&cursor={page['next_cursor']}")
    assert joined == whole["entries"]

    statement = proven.api.json("/v1/audit?kind=statement&kind=server")["entries"]
    assert [entry["what"] for entry in statement] == ["statement_published", "server_started"]
    assert statement[0]["digest"] == sha256_hex(proven.run.objects[keys.statement(RUN)])
    assert {entry["site"] for entry in proven.api.json("/v1/audit?site=site-2")["entries"]} == {"site-2"}
    assert {entry["run_id"] for entry in proven.api.json(f"/v1/audit?run={RUN}")["entries"]} == {RUN}

    table = proven.api.get("/v1/audit?limit=5", Accept="text/csv")
    assert len(list(csv.DictReader(io.StringIO(table.text)))) == 5
    assert 'rel="next"' in table.headers["link"]
    lines = proven.api.get("/v1/audit?format=ndjson")
    assert len(lines.text.splitlines()) == whole["total"]


@pytest.mark.parametrize(
    "query", ["cursor=x", "cursor=%00", "kind=all", "limit=0", "limit=1001", "site=NO", "run=1", "format=xml"]
)
def test_what_is_no_question_is_refused(proven: Proven, query: str) -> None:
    problem = proven.api.get(f"/v1/audit?{query}")
    assert (problem.status_code, problem.headers["content-type"]) == (422, "application/problem+json")


def test_a_statement_that_storage_changed_is_found_and_another_model_is_not_handed_out(
    proven: Proven, emulator: Emulator, tmp_path: Path
) -> None:
    body = proven.run.objects[keys.statement(RUN)]
    store = emulator.store()
    changed = proven.run.replaced(keys.statement(RUN), body.replace(b'"epsilon":8.0', b'"epsilon":9.0', 1))
    changed.replaced(keys.model(RUN), b"another model").put(store)
    api = Api.over(store, emulator, tmp_path / "log", AUDITOR_KEYS=str(proven.folder / "auditor"))
    with running(api):
        check = checked(api, RUN)
        failed = [finding["what"] for finding in check["findings"] if finding["state"] == "failed"]
        assert (check["state"], failed) == ("failed", ["hub's signature"])
        assert check["detail"].startswith("hub's signature: ")
        refused = api.get(f"/v1/runs/{RUN}/model")
        assert refused.status_code == 502
        assert "is not handed out" in refused.json()["detail"]


def test_without_keys_nothing_is_checked_and_it_says_how(proven: Proven, emulator: Emulator, tmp_path: Path) -> None:
    store = emulator.store()
    proven.run.put(store)
    with running(Api.over(store, emulator, tmp_path / "log")) as api:
        check = api.json(f"/v1/runs/{RUN}/statement/check")
        assert (check["state"], check["findings"]) == ("unchecked", [])
        assert "FEDPRIV_AUDITOR_KEYS" in check["detail"]
        chains = until(lambda: _with_statement(api), "the statement's parts")
        assert {chain["state"] for chain in chains["chains"]} == {"consistent"}
        assert api.end(signal.SIGTERM) == 0


def test_a_bucket_that_is_away_is_a_defined_answer(proven: Proven, tmp_path: Path) -> None:
    own = Emulator(tmp_path / "aws")
    own.start()
    try:
        store = own.store()
        proven.run.put(store)
        with running(Api.over(store, own, tmp_path / "log")) as api:
            own.stop()
            answer = api.get(f"/v1/runs/{RUN}/model")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert "STORE_UNAVAILABLE" in answer.json()["detail"]
    finally:
        own.stop()
