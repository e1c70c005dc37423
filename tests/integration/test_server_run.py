"""A run from the operator's request to the model in the bucket, over TLS with node authentication, at a real server."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from safetensors.numpy import load

from fedpriv_client.data.breast_cancer import write_files
from fedpriv_common import keys
from fedpriv_common.canonical import sha256_hex
from fedpriv_common.errors import EXIT_STATUS, ErrorCode, FedprivError, Refusal
from fedpriv_common.model import evaluate
from fedpriv_common.plan import Phase, RunSettings
from fedpriv_common.records import (
    GLOBAL,
    Admission,
    EndCause,
    EventKind,
    MetricRecord,
    RoundClosed,
    RunEnd,
    RunEvent,
    RunInfo,
    RunState,
)
from fedpriv_common.store import ObjectStore
from fedpriv_common.table import read_csv
from fedpriv_common.wire import Operation, Reply, Request, encode_array
from fedpriv_server.operator_client import OperatorClient
from fedpriv_server.status import RunStatus
from fedpriv_server.strategy import FloatArray, Iterate, make_strategy
from tests.emulator import Emulator
from tests.integration.server_harness import (
    CONTRACT,
    SITES,
    LightSite,
    Server,
    online,
    running,
    three_sites,
    until,
)

FEDPRIV = str(Path(sys.executable).parent / "fedpriv")
SHORT = RunSettings(rounds=4, admission_deadline_s=20, round_deadline_s=20)


@pytest.fixture(scope="module")
def store(emulator: Emulator) -> Iterator[ObjectStore]:
    with pytest.MonkeyPatch.context() as environment:
        for key, value in emulator.environment.items():
            environment.setenv(key, value)
        yield emulator.store()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, store: ObjectStore) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    write_files(folder)
    with running(Server(folder, store, {"FEDPRIV_VALIDATION": str(folder / "public-validation.csv")})) as server:
        yield server


@pytest.fixture(scope="module")
def all_sites(server: Server) -> Iterator[dict[str, LightSite]]:
    with three_sites(server) as sites:
        yield sites


@pytest.fixture
def sites(all_sites: dict[str, LightSite]) -> Iterator[dict[str, LightSite]]:
    """The three sites, behaving."""
    yield all_sites
    for site in all_sites.values():
        site.behave = lambda _: None


def started(server: Server, settings: RunSettings = SHORT) -> str:
    """A run's id; the server may still be reading its bucket."""

    def start() -> str | None:
        try:
            return server.client.start(settings)
        except FedprivError as error:
            assert "has not read from S3 yet" in error.message, error
            return None

    return str(until(start, "a run's start"))


def ran(server: Server, settings: RunSettings = SHORT) -> RunStatus:
    return server.finish(started(server, settings))


def read(store: ObjectStore, key: str) -> bytes:
    body = store.get(key)
    assert body is not None, f"{key} is not in the bucket"
    return body


def events(store: ObjectStore, run_id: str) -> list[RunEvent]:
    prefix = f"{keys.run_prefix(run_id)}events/"
    return [RunEvent.model_validate_json(read(store, key)) for key in store.list_keys(prefix)]


# -- the whole way -----------------------------------------------------------------------------------------------------


def test_a_run_leaves_everything_in_the_bucket_and_the_model_that_its_replies_make(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    status = ran(server)
    run_id = status.run_id
    assert (status.state, status.cause, status.round) == (RunState.FINISHED, EndCause.COMPLETE, 4)
    assert status.warning is None

    prefix = keys.run_prefix(run_id)
    expected = {keys.run_info(run_id), keys.run_end(run_id), keys.model(run_id), keys.statement(run_id)}
    expected |= {keys.admission(run_id, site) for site in SITES}
    for number in range(5):
        phase = Phase.TRAIN if number else Phase.CENTRE
        expected |= {keys.record(run_id, number, site, phase) for site in SITES}
        expected |= {keys.round_closed(run_id, number), keys.checkpoint(run_id, number)}
        expected |= {keys.record(run_id, number, GLOBAL, Phase.EVALUATE)} if number else set()
    assert set(store.list_keys(prefix)) == expected

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

    end = RunEnd.model_validate_json(read(store, keys.run_end(run_id)))
    assert (end.state, end.cause, end.rounds) == (RunState.FINISHED, EndCause.COMPLETE, 4)
    assert end.model_digest == sha256_hex(model)
    assert end.metrics == record.metrics == status.metrics
    statement = json.loads(read(store, keys.statement(run_id)))
    assert statement["signed"] is False
    assert statement["signatures"] == []
    assert [site["site"] for site in statement["sites"]] == list(SITES)
    assert statement["sites"][0]["entries_planned"] == {"centre": 1, "train": 4}
    closed = RoundClosed.model_validate_json(read(store, keys.round_closed(run_id, 4)))
    assert closed.expected == closed.received == SITES

    # One question per site and round, the last head with each, and a close.
    for name, requests in asked.items():
        operations = [(request.operation, request.round) for request in requests]
        assert operations == [
            (Operation.ADMIT, 0),
            *((Operation.RELEASE, number) for number in range(5)),
            (Operation.CLOSE, 0),
        ]
        first = requests[0].witness_seq
        assert [request.witness_seq for request in requests[1:]] == list(range(first + 1, first + 7)) or first == -1
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
    """The one release of a round that a site was asked for."""
    (request,) = [r for r in requests if r.operation is Operation.RELEASE and r.round == number]
    return request


# -- operators ---------------------------------------------------------------------------------------------------------


def test_whoever_lacks_the_operators_key_is_refused(server: Server) -> None:
    for key in ("wrong", ""):
        stranger = OperatorClient(server.client.server, key, server.hub.authority)
        for attempt in (stranger.runs, lambda s=stranger: s.start(SHORT), lambda s=stranger: s.cancel("x")):
            with pytest.raises(FedprivError) as refused:
                attempt()
            assert refused.value.code is ErrorCode.OPERATOR_REFUSED


def test_the_address_of_a_connection_is_not_what_a_header_says(server: Server) -> None:
    """From this machine Control answers; believing the header, the gate would take us for a stranger."""
    headers = {"content-type": "application/protobuf", "x-forwarded-for": "203.0.113.5"}
    with httpx.Client(verify=ssl.create_default_context(cafile=str(server.hub.authority)), trust_env=False) as http:
        answer = http.post(f"{server.client.server}/v1/control/list-runs", headers=headers)
        assert answer.status_code == 200
        assert answer.headers.get("server") is None, "what serves is nobody's business"


def test_an_operator_who_trusts_another_authority_does_not_connect(server: Server, tmp_path: Path) -> None:
    from fedpriv_server.provision.pki import provision_hub

    other = provision_hub(tmp_path / "other")
    with pytest.raises(FedprivError) as refused:
        OperatorClient(server.client.server, "key", other.authority).runs()
    assert refused.value.code is ErrorCode.SERVER_CERTIFICATE


@pytest.mark.parametrize(
    "settings, words",
    [
        (RunSettings(sites=4), "wants 4 sites, the allow-list has 3"),
        (RunSettings(strategy="magic"), "strategy 'magic' is not one of fedsgd, fedavg"),
        (RunSettings(strategy="fedavg"), "works on the replies of fedavg-mlp"),
    ],
)
def test_settings_that_do_not_fit_start_nothing(
    server: Server, sites: dict[str, LightSite], settings: RunSettings, words: str
) -> None:
    before = len(server.client.runs())
    with pytest.raises(FedprivError, match=words) as refused:
        server.client.start(settings)
    assert refused.value.code is ErrorCode.RUN_REFUSED
    assert len(server.client.runs()) == before


def test_settings_of_another_form_are_a_problem_that_names_the_field(server: Server) -> None:
    client = server.client
    with pytest.raises(FedprivError, match="epsilon: Input should be greater than 0"):
        client._call("POST", "/v1/operator/runs", b'{"epsilon": -1}')
    with pytest.raises(FedprivError, match="code: Extra inputs are not permitted"):
        client._call("POST", "/v1/operator/runs", b'{"code": "import os"}')
    with pytest.raises(FedprivError, match="is not known to this server"):
        client.status("01J9ZZZZZZZZZZZZZZZZZZZZZZ")


def test_one_run_at_a_time_and_an_operator_can_end_it(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    reached, go_on = threading.Event(), threading.Event()
    sites["site-2"].behave = waiting(2, reached, go_on)
    run_id = started(server, SHORT)
    try:
        assert reached.wait(20)
        with pytest.raises(FedprivError, match=f"Run {run_id} is active") as busy:
            server.client.start(SHORT)
        assert busy.value.code is ErrorCode.RUN_REFUSED
        assert server.client.runs()[0].state is RunState.ACTIVE
        server.client.cancel(run_id)
    finally:
        go_on.set()
    status = server.finish(run_id)
    assert (status.state, status.cause, status.round) == (RunState.CANCELLED, EndCause.OPERATOR, 1)
    end = RunEnd.model_validate_json(read(store, keys.run_end(run_id)))
    assert (end.state, end.rounds) == (RunState.CANCELLED, 1)
    assert load(read(store, keys.model(run_id)))["parameters"].any(), "the last model is kept"
    until(lambda: all(sites[name].asked[-1].operation is Operation.CLOSE for name in SITES), "the sites' close")


def test_the_command_line_follows_a_run_to_its_end(server: Server, sites: dict[str, LightSite]) -> None:
    ended = command(server, "run", "--follow", "--rounds", "3", "--name", "from-the-terminal")
    assert ended.returncode == 0, ended.stderr
    run_id = ended.stdout.strip()
    assert "finished, round 3 of 3" in ended.stderr
    assert "accuracy" in ended.stderr
    listed = command(server, "runs").stdout
    assert run_id in listed
    assert "from-the-terminal" in listed


def test_the_command_line_fails_when_the_run_does(server: Server, sites: dict[str, LightSite]) -> None:
    sites["site-3"].behave = lambda request: Reply(code=Refusal.BUDGET_EXHAUSTED)
    ended = command(server, "run", "--follow", "--rounds", "3")
    assert ended.returncode == EXIT_STATUS[ErrorCode.RUN_FAILED]
    assert "cause: budget" in ended.stderr
    assert '"site-3": "BUDGET_EXHAUSTED"' in ended.stderr
    refused = command(server, "run", "--epsilon", "-1")
    assert refused.returncode == EXIT_STATUS[ErrorCode.RUN_REFUSED]
    assert "--epsilon" in refused.stderr


def command(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = ["--server", server.client.server, "--ca", str(server.hub.authority)]
    options += ["--operator-key-file", str(server.hub.operator_key)]
    return subprocess.run([FEDPRIV, *arguments, *options], capture_output=True, text=True, timeout=60, check=False)


# -- sites that do not do as they should -------------------------------------------------------------------------------


def waiting(number: int, reached: threading.Event, go_on: threading.Event) -> Callable[[Request], Reply | None]:
    """A behaviour that holds back the answer of a training round."""

    def behave(request: Request) -> Reply | None:
        if request.operation is Operation.RELEASE and request.phase is Phase.TRAIN and request.round == number:
            reached.set()
            assert go_on.wait(30)
        return None

    return behave


def hostile(payload: Callable[[bytes], bytes]) -> Callable[[LightSite], Callable[[Request], Reply | None]]:
    """A site that changes what it sends in training."""

    def of(site: LightSite) -> Callable[[Request], Reply | None]:
        def behave(request: Request) -> Reply | None:
            if request.operation is not Operation.RELEASE or request.phase is not Phase.TRAIN:
                return None
            honest = site.answer(request)
            return Reply(code="OK", payload=payload(honest.payload), facts=honest.facts)

        return behave

    return of


def with_facts(**changes: object) -> Callable[[LightSite], Callable[[Request], Reply | None]]:
    """A site that lies about its budget in training."""

    def of(site: LightSite) -> Callable[[Request], Reply | None]:
        def behave(request: Request) -> Reply | None:
            if request.operation is not Operation.RELEASE or request.phase is not Phase.TRAIN:
                return None
            honest = site.answer(request)
            assert honest.facts is not None
            return Reply(code="OK", payload=honest.payload, facts=honest.facts.model_copy(update=changes))

        return behave

    return of


TWO_OF_THREE = SHORT.model_copy(update={"quorum": 2, "rounds": 2})


@pytest.fixture(scope="module")
def without_third(server: Server, store: ObjectStore, all_sites: dict[str, LightSite]) -> FloatArray:
    """The parameters that a run reaches when the third site takes part in centring only."""
    third = all_sites["site-3"]
    third.behave = lambda request: Reply(code=Refusal.INTERNAL) if request.phase is Phase.TRAIN else None
    status = ran(server, TWO_OF_THREE)
    assert status.state is RunState.FINISHED
    third.behave = lambda _: None
    parameters: FloatArray = load(read(store, keys.model(status.run_id)))["parameters"]
    return parameters


@pytest.mark.parametrize(
    "behaviour",
    [
        hostile(lambda honest: honest[:-8]),
        hostile(lambda honest: b""),
        hostile(lambda honest: honest * 1000),
        hostile(lambda honest: honest * 300),
        hostile(lambda honest: encode_array(np.full(len(honest) // 8, np.nan))),
        hostile(lambda honest: encode_array(np.full(len(honest) // 8, -np.inf))),
        hostile(lambda honest: encode_array(np.full(len(honest) // 8, 1e300))),
        lambda _: lambda request: Reply(code="I_AM_ROOT") if request.phase is Phase.TRAIN else None,
        lambda site: lambda request: (
            Reply(code="OK", payload=site.payload(request)) if request.phase is Phase.TRAIN else None
        ),
        with_facts(dataset="../../model"),
        with_facts(ledger_seq=0),
        with_facts(ledger_seq=10**15),
        with_facts(ledger_head="short"),
        with_facts(epsilon_spent=-1.0),
    ],
    ids=[
        "too short", "empty", "too long", "long", "nan", "inf", "1e300", "unknown code", "no facts",
        "another data set", "ledger went back", "ledger far ahead", "no digest", "negative epsilon",
    ],
)  # fmt: skip
def test_a_hostile_reply_is_recorded_and_changes_nothing(
    server: Server,
    store: ObjectStore,
    sites: dict[str, LightSite],
    without_third: FloatArray,
    behaviour: Callable[[LightSite], Callable[[Request], Reply | None]],
) -> None:
    sites["site-3"].behave = behaviour(sites["site-3"])
    status = ran(server, TWO_OF_THREE)
    assert (status.state, status.cause) == (RunState.FINISHED, EndCause.COMPLETE)
    bad = [event for event in events(store, status.run_id) if event.kind is EventKind.BAD_REPLY]
    assert [(event.site, event.round) for event in bad] == [("site-3", 1), ("site-3", 2)]
    closed = RoundClosed.model_validate_json(read(store, keys.round_closed(status.run_id, 2)))
    assert closed.received == ("site-1", "site-2")
    tensors = load(read(store, keys.model(status.run_id)))
    assert np.isfinite(tensors["parameters"]).all()

    assert np.array_equal(tensors["parameters"], without_third), "as if the site had not answered"


def test_below_quorum_after_a_hostile_reply_the_run_halts_and_keeps_its_last_model(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    site = sites["site-1"]
    site.behave = lambda request: (
        Reply(code="OK", payload=b"", facts=site.facts(request))
        if request.operation is Operation.RELEASE and request.round == 3
        else None
    )
    status = ran(server)
    assert (status.state, status.cause, status.round) == (RunState.HALTED, EndCause.QUORUM, 2)
    assert load(read(store, keys.model(status.run_id)))["parameters"].any()
    end = RunEnd.model_validate_json(read(store, keys.run_end(status.run_id)))
    assert end.model_digest == sha256_hex(read(store, keys.model(status.run_id)))


@pytest.mark.parametrize(
    "code, cause",
    [(Refusal.BUDGET_EXHAUSTED, EndCause.BUDGET), (Refusal.POLICY_REFUSED, EndCause.REFUSED)],
)
def test_a_plan_that_a_site_declines_is_halted_at_once_with_the_cause(
    server: Server, store: ObjectStore, sites: dict[str, LightSite], code: Refusal, cause: EndCause
) -> None:
    sites["site-2"].behave = lambda request: Reply(code=code) if request.operation is Operation.ADMIT else None
    status = ran(server)
    assert (status.state, status.cause, status.round, status.model) == (RunState.HALTED, cause, 0, None)
    admission = Admission.model_validate_json(read(store, keys.admission(status.run_id, "site-2")))
    assert (admission.code, admission.facts) == (code, None)
    until(lambda: sites["site-1"].asked[-1].operation is Operation.CLOSE, "the close at the sites that were admitted")
    assert not sites["site-1"].releases(status.run_id), "nothing was asked of anyone"


def test_a_site_that_declines_in_the_middle_is_asked_no_more(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    sites["site-2"].behave = lambda request: (
        Reply(code=Refusal.LEDGER_UNAVAILABLE)
        if request.operation is Operation.RELEASE and request.round == 2
        else None
    )
    status = ran(server, SHORT.model_copy(update={"quorum": 2}))
    assert status.state is RunState.FINISHED
    closed = [RoundClosed.model_validate_json(read(store, keys.round_closed(status.run_id, n))) for n in (2, 3)]
    assert closed[0].refused == {"site-2": "LEDGER_UNAVAILABLE"}
    assert closed[1].expected == ("site-1", "site-3")
    assert [number for number, _, _ in sites["site-2"].releases(status.run_id)] == [0, 1, 2]
    assert sites["site-2"].asked[-1].operation is Operation.CLOSE, "it holds the rounds that it was not asked for"


def test_a_reply_after_the_deadline_is_late_and_the_round_went_on_without_it(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    reached, go_on = threading.Event(), threading.Event()
    sites["site-3"].behave = waiting(2, reached, go_on)
    sites["site-1"].behave = lambda request: go_on.set() if request.round == 3 else None
    status = ran(server, SHORT.model_copy(update={"quorum": 2, "round_deadline_s": 1.0}))
    assert status.state is RunState.FINISHED
    late = [event for event in events(store, status.run_id) if event.kind is EventKind.LATE_REPLY]
    assert [(event.site, event.round) for event in late] == [("site-3", 2)]
    closed = RoundClosed.model_validate_json(read(store, keys.round_closed(status.run_id, 2)))
    assert closed.received == ("site-1", "site-2")
    assert closed.duration_ms >= 1000


def test_sites_that_do_not_answer_halt_the_run_at_the_admission_deadline(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    go_on = threading.Event()

    def held(request: Request) -> Reply | None:
        assert request.operation is not Operation.ADMIT or go_on.wait(30)
        return None

    sites["site-3"].behave = held
    sites["site-1"].behave = lambda request: go_on.set() if request.operation is Operation.CLOSE else None
    status = ran(server, SHORT.model_copy(update={"admission_deadline_s": 0.5}))
    assert (status.state, status.cause) == (RunState.HALTED, EndCause.QUORUM)
    assert sites["site-3"].asked[-1].operation is Operation.CLOSE, "what it admits too late is closed, too"
    assert [event.kind for event in events(store, status.run_id)] == [EventKind.LATE_REPLY]


def test_a_key_that_is_not_on_the_allow_list_gets_nothing(server: Server, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    stranger = ec.generate_private_key(ec.SECP256R1())
    key = tmp_path / "stranger.key"
    key.write_bytes(stranger.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    site = LightSite("stranger")
    before = server.log.count("FLEET_NODE_ACTIVATION_FAILED") + server.log.count("could not be activated")
    with online(site, server.hub, key, server.port, tmp_path / "state"):
        refused = "No SuperNode found with the given public key"
        until(lambda: server.log.count(refused) > before, "the refusal of the key")
    assert not site.asked
