"""A backup of the ledger that is restored by mistake: the real site refuses, and the operator reads why.

If this failed, the operator would see a run that does not start, or worse, one that does.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedpriv_client.privacy.ledger.ledger import Ledger
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import EndCause, RunState
from fedpriv_common.store import ObjectStore
from tests.integration.leased_sites import two_processes
from tests.integration.node_process import SiteProcess, running
from tests.integration.server_harness import Server
from tests.integration.server_harness import running as server_running

SETTINGS = RunSettings(sites=1, rounds=2, min_reply_ms=0)


@pytest.fixture
def server(tmp_path: Path, object_store: ObjectStore) -> Iterator[Server]:
    with server_running(Server(tmp_path, object_store)) as server:
        yield server


@pytest.fixture
def site(server: Server, object_store: ObjectStore) -> Iterator[SiteProcess]:
    ledger, marker = (str(server.folder / name) for name in ("{partition}.sqlite", "{partition}.marker"))
    with two_processes(server, object_store, ledger, marker) as (first, _):
        yield first


def runs_of(ledger: Path) -> set[str]:
    with Ledger.open(SqliteStore.open(ledger), ledger.with_suffix(".marker")).reading() as history:
        return set(history.runs)


def test_a_site_whose_ledger_was_restored_from_an_older_backup_is_refused_by_name(
    server: Server, site: SiteProcess
) -> None:
    ledger = server.folder / "0.sqlite"
    backup = server.folder / "backup"
    with closing(sqlite3.connect(ledger)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    with running(site):
        site.logged("ready")
        first = server.finish(server.client.start(SETTINGS))
        assert first.state is RunState.FINISHED
        assert site.stop() == 0
    assert runs_of(ledger) == {first.run_id}
    for file in server.folder.glob("0.sqlite*"):
        file.unlink()
    shutil.copy(backup, ledger)
    with running(site):
        site.logged("ready", count=2)
        second = server.finish(server.client.start(SETTINGS))
    assert (second.state, second.cause, second.model) == (RunState.HALTED, EndCause.REFUSED, None)
    assert [it.code for it in second.sites if it.code] == ["LEDGER_ROLLED_BACK"]
    (refused, *_) = site.entries("refused")
    assert refused["code"] == "LEDGER_ROLLED_BACK"
    assert "restore the newest one" in refused["detail"]
    assert runs_of(ledger) == set()
