"""Of the parts of a statement that a run left in the bucket, its next start takes those that its sites signed."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedpriv_common import keys
from fedpriv_common.store import ObjectStore
from fedpriv_server.archive import Archive
from fedpriv_server.history import read_progress
from fedpriv_server.notary import LocalNotary
from fedpriv_server.outbox import Outbox
from fedpriv_server.statements import Statements
from tests.statements import RUN, SERVER, Consortium


def test_a_forged_part_in_the_bucket_is_dropped_when_its_run_is_resumed(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    consortium = Consortium.ran(tmp_path / "consortium")
    pems = {
        site: key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for site, key in consortium.site_keys.items()
    }
    statements = Statements(tmp_path / "unsigned", LocalNotary(consortium.hub), pems, SERVER)
    honest, changed, _ = (consortium.parts()[site] for site in sorted(pems))
    forged = json.loads(changed.model_dump_json())
    forged["part"]["timing"]["overran"] = 7
    object_store.put_once(keys.run_info(RUN), consortium.run.model_dump_json().encode())
    object_store.put_once(keys.part(RUN, "site-1"), honest.model_dump_json().encode())
    object_store.put_once(keys.part(RUN, "site-2"), json.dumps(forged).encode())
    object_store.put_once(keys.part(RUN, "site-3"), b"\xff not even text")
    progress = read_progress(Archive(object_store, Outbox(tmp_path / "outbox")), consortium.run, statements.take_part)
    assert progress.parts == {"site-1": honest}
    assert progress.fault is None, "the run goes on: its statement says whose part is missing"
