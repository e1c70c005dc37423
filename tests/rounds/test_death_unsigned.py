"""A server that dies at a run's end while KMS is away: the run ends, and its statement is signed when KMS is back."""

from __future__ import annotations

from pathlib import Path

from fedpriv_common import keys
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import RunState
from fedpriv_common.statement.sign import read_public_key
from fedpriv_common.statement.verify import verify
from fedpriv_common.store import ObjectStore
from fedpriv_server.provision.pki import provision_hub
from tests.emulator import Emulator
from tests.faulty_s3 import faulty_s3
from tests.integration.server_harness import SITES, Server, running, three_sites
from tests.integration.test_server_faults import started
from tests.waiting import until

ALIAS = "alias/death-unsigned"


def test_a_statement_that_a_dead_server_could_not_have_signed_is_signed_later(
    emulator: Emulator, object_store: ObjectStore, tmp_path: Path
) -> None:
    signing = provision_hub(tmp_path / "signing", statement_kms_alias=ALIAS)
    with faulty_s3(emulator.endpoint) as s3:
        endpoints = {key: s3.endpoint for key, value in emulator.environment.items() if value == emulator.endpoint}
        away = {"FEDPRIV_STATEMENT_KEY": ALIAS, "AWS_ENDPOINT_URL_KMS": "http://127.0.0.1:9"}
        server = Server(tmp_path / "server", object_store, {**endpoints, **away})
        with running(server), three_sites(server):
            process = server.process
            assert process is not None
            s3.before("PUT", "end.json", process.kill)
            run_id = started(server, RunSettings(rounds=2, admission_deadline_s=30))
            until(lambda: process.poll() is not None, "the server's death")
            server.start()
            status = server.finish(run_id)
            assert status.state is RunState.FINISHED
            assert object_store.get(keys.statement(run_id)) is None, "nothing unsigned goes to the bucket"
            server.kill()
            del server.extra["AWS_ENDPOINT_URL_KMS"]
            server.start()
            body = until(lambda: object_store.get(keys.statement(run_id)), "the signed statement")
    report = verify(body, read_public_key(signing.statement_public_key), {}, unsigned=set(SITES))
    assert report.statement is not None, "the hub's key in KMS signed it"
    assert (report.statement.run_id, report.statement.outcome.rounds) == (run_id, 2)
