"""What an operator may do, by route and by command line, and who is none."""

from __future__ import annotations

import signal
import ssl
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from safetensors.numpy import load

from fedpriv_common import keys
from fedpriv_common.errors import EXIT_STATUS, ErrorCode, FedprivError, Refusal
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import EndCause, RunEnd, RunInfo, RunState
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import Operation, Reply, Request
from fedpriv_server.operator_client import OperatorClient
from fedpriv_server.status import RunStatus
from tests.integration.server_harness import SITES, LightSite, Server, running
from tests.integration.server_run.runs import SHORT, read, started, waiting
from tests.run_writer import START, Script, encode, new_run_id, write_run
from tests.waiting import until

FEDPRIV = str(Path(sys.executable).parent / "fedpriv")


def test_whoever_lacks_the_operators_key_is_refused(server: Server) -> None:
    for key in ("wrong", ""):
        stranger = OperatorClient(server.client.server, key, server.hub.authority)
        for attempt in (stranger.runs, lambda s=stranger: s.start(SHORT), lambda s=stranger: s.cancel("x")):
            with pytest.raises(FedprivError) as refused:
                attempt()
            assert refused.value.code is ErrorCode.OPERATOR_REFUSED
            assert "--operator-key-file" in refused.value.remedy


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
        (RunSettings(strategy="fedprox"), "is not for fedsgd-logreg .* use fedavg"),
        (RunSettings(strategy="fedadam", strategy_options={"beta_3": 0.5}), "it has eta, beta_1, beta_2, tau"),
        (RunSettings(recipe="fedavg-mlp", strategy="krum"), "needs at least 5 replies in every round"),
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


def test_who_cancels_a_run_whose_end_is_decided_is_told_how_it_ends(
    server: Server, sites: dict[str, LightSite]
) -> None:
    closing, go_on = threading.Event(), threading.Event()

    def behave(request: Request) -> Reply | None:
        if request.operation is Operation.CLOSE:
            closing.set()
            assert go_on.wait(20)
        return None

    sites["site-2"].behave = behave
    try:
        run_id = started(server, SHORT)
        assert closing.wait(20)
        told = command(server, "cancel", run_id).stdout.strip()
    finally:
        go_on.set()
    assert told == f"{run_id} was about to end already: finished"
    assert server.finish(run_id).state is RunState.FINISHED


def test_the_command_line_follows_a_run_to_its_end(server: Server, sites: dict[str, LightSite]) -> None:
    ended = command(server, "run", "--follow", "--rounds", "3", "--name", "from-the-terminal")
    assert ended.returncode == 0, ended.stderr
    run_id = ended.stdout.strip()
    assert "finished, round 3 of 3" in ended.stderr
    assert "accuracy" in ended.stderr
    listed = command(server, "runs").stdout
    assert run_id in listed
    assert "from-the-terminal" in listed
    for_programs = command(server, "runs", "--state", "finished", "--json").stdout.splitlines()
    assert RunStatus.model_validate_json(for_programs[0]).run_id == run_id
    assert command(server, "runs", "--state", "active", "--json").stdout == ""
    assert "states are active" in command(server, "runs", "--state", "over").stderr
    late = command(server, "cancel", run_id)
    assert (late.returncode, late.stdout.strip()) == (0, f"{run_id} had ended already: finished")


def test_who_stops_watching_a_run_does_not_end_it(server: Server, sites: dict[str, LightSite]) -> None:
    reached, go_on = threading.Event(), threading.Event()
    sites["site-2"].behave = waiting(2, reached, go_on)
    try:
        watching = watched(server, "run", "--follow", "--rounds", "3")
        assert reached.wait(30)
        watching.send_signal(signal.SIGINT)
        told, warned = watching.communicate(timeout=30)
    finally:
        go_on.set()
    run_id = told.strip()
    assert watching.returncode == 130
    assert f"Run {run_id} goes on" in warned
    assert server.finish(run_id).state is RunState.FINISHED


def test_the_command_line_fails_when_the_run_does(server: Server, sites: dict[str, LightSite]) -> None:
    sites["site-3"].behave = lambda request: Reply(code=Refusal.BUDGET_EXHAUSTED)
    ended = command(server, "run", "--follow", "--rounds", "3")
    assert ended.returncode == EXIT_STATUS[ErrorCode.RUN_FAILED]
    assert "cause: budget" in ended.stderr
    assert '"site-3": "BUDGET_EXHAUSTED"' in ended.stderr
    refused = command(server, "run", "--epsilon", "-1")
    assert refused.returncode == EXIT_STATUS[ErrorCode.RUN_REFUSED]
    assert "--epsilon" in refused.stderr


def test_a_run_that_was_named_before_is_not_started_again(server: Server, sites: dict[str, LightSite]) -> None:
    options = ["--name", "only-once", "--once", "--rounds", "2", "--follow"]
    begun = command(server, "run", *options)
    assert begun.returncode == 0, begun.stderr
    again = command(server, "run", *options)
    assert (again.returncode, again.stdout) == (0, begun.stdout)
    assert "only-once has ended: finished" in again.stderr
    assert sum(run.name == "only-once" for run in server.client.runs()) == 1


def test_a_named_run_is_found_however_long_ago_it_was(object_store: ObjectStore, tmp_path: Path) -> None:
    """A server remembers its newest runs; a run that is named once must not be charged again when it is not of them."""
    ancient = write_run(object_store, script=Script(settings=RunSettings(name="ancient")))
    info = RunInfo.model_validate_json(read(object_store, keys.run_info(ancient)))
    end = RunEnd.model_validate_json(read(object_store, keys.run_end(ancient)))
    for number in range(51):
        later = {"run_id": new_run_id(START + timedelta(days=1, minutes=number))}
        settings = {"settings": info.settings.model_copy(update={"name": "later"})}
        copies = {
            keys.run_info(later["run_id"]): info.model_copy(update=later | settings),
            keys.run_end(later["run_id"]): end.model_copy(update=later),
        }
        for key, body in encode(copies).items():
            object_store.put_once(key, body)
    with running(Server(tmp_path, object_store)) as server:
        assert {run.name for run in server.client.runs()} == {"later"}
        found = server.client.last_named("ancient")
        assert found is not None
        assert (found.run_id, found.name, found.state) == (ancient, "ancient", end.state)
        assert server.client.last_named("later").run_id == later["run_id"]
        assert server.client.last_named("never-was") is None


def as_operator(server: Server, *arguments: str) -> list[str]:
    options = ["--server", server.client.server, "--ca", str(server.hub.authority)]
    return [FEDPRIV, *arguments, *options, "--operator-key-file", str(server.hub.operator_key)]


def command(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(as_operator(server, *arguments), capture_output=True, text=True, timeout=60, check=False)


def watched(server: Server, *arguments: str) -> subprocess.Popen[str]:
    """The command while it runs, as a terminal starts it: where the tests run in the background they ignore SIGINT, and
    whatever they start would inherit that."""
    pipe = subprocess.PIPE
    heard = ["env", "--default-signal=INT", *as_operator(server, *arguments)]
    return subprocess.Popen(heard, stdout=pipe, stderr=pipe, text=True)
