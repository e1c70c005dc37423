"""What a site's key shows of the ledger and of the sites: its own, and that it is alone."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from fedpriv_common.store import ObjectStore
from tests.emulator import Emulator
from tests.integration.metrics_process import Api, running
from tests.run_writer import write_run

KEY = "fpk_a-key-that-only-this-test-knows"


def test_a_sites_key_shows_its_own_account_and_says_so(
    object_store: ObjectStore, emulator: Emulator, tmp_path: Path
) -> None:
    write_run(object_store)
    keys = tmp_path / "keys.json"
    entry = {"name": "radiology", "role": "site", "site": "site-1", "sha256": sha256(KEY.encode()).hexdigest()}
    keys.write_text(json.dumps({"keys": [entry]}))
    keys.chmod(0o600)
    with running(Api.over(object_store, emulator, tmp_path / "log", AUTH="keys", KEYS_FILE=str(keys))) as api:
        assert api.get("/v1/privacy/ledger").status_code == 401
        held = {"X-API-Key": KEY}
        ledger = api.get("/v1/privacy/ledger", **held).json()
        charges = api.get("/v1/privacy/ledger/charges", **held).json()
        sites = api.get("/v1/sites", **held).json()
        assert ledger["only_site"] == charges["only_site"] == sites["only_site"] == "site-1"
        assert [account["site"] for account in ledger["accounts"]] == ["site-1"]
        assert [charge["site"] for charge in charges["charges"]] == ["site-1"]
        assert [site["site"] for site in sites["sites"]] == ["site-1"]
        assert "site-2" not in api.get("/v1/sites/site-1", **held).text
        # Whether there is such a site is not told.
        for other in ("site-2", "site-9"):
            for path in (f"/v1/sites/{other}", f"/v1/privacy/ledger?site={other}"):
                assert api.get(path, **held).status_code == 403, path
