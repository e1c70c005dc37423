"""A run from the operator's request to the model in the bucket."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from fedpriv_common import keys
from fedpriv_common.canonical import sha256_hex
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.model import evaluate
from fedpriv_common.plan import Phase
from fedpriv_common.records import (
    GLOBAL,
    EndCause,
    HeldOutEvaluation,
    MetricRecord,
    RoundClosed,
    RunEnd,
    RunInfo,
    RunState,
)
from fedpriv_common.statement.sign import read_public_key
from fedpriv_common.statement.verify import parse, verify
from fedpriv_common.store import ObjectStore
from fedpriv_common.table import read_csv
from fedpriv_common.wire import Operation, Reply, Request, encode_array
from fedpriv_server.strategy import Iterate, make_strategy
from tests.integration.server_harness import CONTRACT, SITES, LightSite, Server
from tests.integration.server_run.runs import ran, read


def test_a_run_leaves_everything_in_the_bucket_and_the_model_that_its_replies_make(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    status = ran(server)
    run_id = status.run_id
    assert (status.state, status.cause, status.round) == (RunState.FINISHED, EndCause.COMPLETE, 4)
    assert status.warning is None

    prefix = keys.run_prefix(run_id)
    expected = {keys.run_info(run_id), keys.run_decision(run_id), keys.run_end(run_id), keys.model(run_id)}
    expected |= {keys.run_asked(run_id), keys.run_admitted(run_id)}
    expected |= {keys.statement(run_id), keys.statement_page(run_id)}
    expected |= {keys.admission(run_id, site) for site in SITES}
    for number in range(5):
        phase = Phase.TRAIN if number else Phase.CENTRE
        expected |= {keys.record(run_id, number, site, phase) for site in SITES}
        expected |= {keys.round_closed(run_id, number), keys.checkpoint(run_id, number)}
        expected |= {keys.record(run_id, number, GLOBAL, Phase.EVALUATE)} if number else set()
    expected |= {keys.evaluation(run_id, 4), *(keys.record(run_id, 4, site, Phase.EVALUATE) for site in SITES)}
    # Sites of a server that has just started may come online during its first run, which is an event.
    assert {key for key in store.list_keys(prefix) if "/events/" not in key} == expected

    # The model, recomputed from what the sites sent.
    info = RunInfo.model_validate_json(read(store, keys.run_info(run_id)))
    plan = info.plan
    assert plan.rounds == 4
    asked = {name: [request for request in site.asked if request.run_id == run_id] for name, site in sites.items()}
    iterate = Iterate.first(plan, b"unused by logistic regression")
    for number in range(5):
        requests = [released(asked[name], number) for name in SITES]
        replies = [
            np.frombuffer(sites[name].payload(request), "<f8") for name, request in zip(SITES, requests, strict=True)
        ]
        if number == 0:
            iterate = iterate.centred(plan, replies)
        else:
            assert all(request.parameters == encode_array(iterate.parameters) for request in requests)
            assert all(request.centre == encode_array(iterate.centre) for request in requests)
            iterate = iterate.trained(plan, make_strategy(plan), replies)
    model = read(store, keys.model(run_id))
    tensors = load(model)
    assert np.array_equal(tensors["parameters"], iterate.published())
    assert np.array_equal(tensors["centre"], iterate.centre)

    # The curve, recomputed on the public set.
    table = read_csv(Path(server.extra["FEDPRIV_VALIDATION"]), CONTRACT)
    figures = evaluate(
        plan.model, iterate.published(), iterate.centre, CONTRACT.standardise(table.features), table.labels
    )
    record = MetricRecord.model_validate_json(read(store, keys.record(run_id, 4, GLOBAL, Phase.EVALUATE)))
    assert record.provenance == "public"
    assert record.metrics == {"accuracy": figures.accuracy, "loss": figures.loss, "auc": figures.auc}
    assert info.public_validation is not None
    assert info.public_validation.size == len(table)

    # What the sites say of the published model: two of them, as the third holds no records out.
    (question,) = [request for request in asked[SITES[0]] if request.phase is Phase.EVALUATE]
    assert (question.parameters, question.centre) == (encode_array(iterate.published()), encode_array(iterate.centre))
    held_out = HeldOutEvaluation.model_validate_json(read(store, keys.evaluation(run_id, 4)))
    assert (held_out.provenance, held_out.mechanism, held_out.epsilon) == ("dp", "geometric", 1.0)
    matrix = ((50, 2), (-1, 30))
    assert held_out.counts == {"site-1": matrix, "site-2": matrix, "site-3": None}
    accuracy = held_out.figures["accuracy"]
    assert accuracy.value == 160 / 162
    assert 0.9 < accuracy.low < accuracy.value < accuracy.high <= 1.0
    assert status.held_out == held_out.figures

    end = RunEnd.model_validate_json(read(store, keys.run_end(run_id)))
    assert (end.state, end.cause, end.rounds) == (RunState.FINISHED, EndCause.COMPLETE, 4)
    assert end.model_digest == sha256_hex(model)
    assert end.metrics == record.metrics == status.metrics
    assert end.held_out == held_out.figures

    # Light sites sign nothing: the hub does, and says what it has on their word only.
    body = read(store, keys.statement(run_id))
    report = verify(body, read_public_key(server.hub.statement_public_key), {}, unsigned=set(SITES), model=model)
    assert report.first_failure is None
    assert [(section.site, section.signed) for section in parse(body).statement.sections] == [(s, None) for s in SITES]
    assert "did not answer the end of the run" in read(store, keys.statement_page(run_id)).decode()
    closed = RoundClosed.model_validate_json(read(store, keys.round_closed(run_id, 4)))
    assert closed.expected == closed.received == SITES

    # One question per site and round, the last head with each, and a close.
    for name, requests in asked.items():
        operations = [(request.operation, request.round) for request in requests]
        assert operations == [
            (Operation.ADMIT, 0),
            *((Operation.RELEASE, number) for number in range(5)),
            (Operation.RELEASE, 4),
            (Operation.CLOSE, 0),
        ]
        first = requests[0].witness_seq
        assert [request.witness_seq for request in requests[1:]] == list(range(first + 1, first + 8)) or first == -1
        heads = list(store.list_keys(keys.witness_prefix(name, CONTRACT.dataset)))
        assert heads[-1].endswith(f"{sites[name].facts(requests[-1]).ledger_seq:012d}.json")


def test_objects_are_encrypted_with_the_customers_key_and_written_once(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    status = ran(server)
    key = keys.model(status.run_id)
    answer = store.client.get_object(Bucket=store.bucket, Key=key)
    assert answer["ServerSideEncryption"] == "aws:kms"
    assert store.kms_key_id.rpartition("/")[2] in answer["SSEKMSKeyId"]
    with pytest.raises(FedprivError) as conflict:
        store.put_once(key, b"another model")
    assert conflict.value.code is ErrorCode.STORE_CONFLICT


def test_prometheus_shows_runs_and_forgets_their_labels(server: Server, sites: dict[str, LightSite]) -> None:
    url = f"http://127.0.0.1:{server.prometheus_port}/metrics"

    def figures() -> str:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
            return str(answer.read().decode())

    seen: list[str] = []

    def look(request: Request) -> Reply | None:
        if request.round == 3:
            seen.append(figures())
        return None

    sites["site-1"].behave = look
    status = ran(server)
    assert f'fl_round{{run_id="{status.run_id}"}} 2.0' in seen[0]
    assert f'fl_privacy_epsilon_spent{{run_id="{status.run_id}",site="site-1"}}' in seen[0]
    assert "fl_sites_online 3.0" in seen[0]
    after = figures()
    assert status.run_id not in after
    assert "fl_round_duration_seconds_count" in after
    assert 'fl_runs_ended_total{state="finished"}' in after


def released(requests: list[Request], number: int) -> Request:
    """The one training or centring release of a round that a site was asked for."""
    of_round = [r for r in requests if r.operation is Operation.RELEASE and r.round == number]
    (request,) = [r for r in of_round if r.phase is not Phase.EVALUATE]
    return request
