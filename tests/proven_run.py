"""A run that can be checked to the last hash: real ledgers, real keys, a signed statement, and the objects that a hub
writes of it. Only the learning curve is a formula (run_writer.py)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedpriv_common import keys
from fedpriv_common.canonical import canonical_json, sha256_hex
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import AllowList
from fedpriv_common.statement.schema import SignedPart
from fedpriv_common.statement.sign import PublicKey, fingerprint
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import SiteFacts
from tests.run_writer import Script, encode, run_steps, simulated
from tests.statements import MODEL, RUN, SETTINGS, SITES, Consortium

STARTED = datetime(2026, 1, 2, 8, 0, tzinfo=UTC)
#: When the run began: after the end of the only earlier one.
BEGUN = datetime(2026, 1, 2, 9, 0, tzinfo=UTC)


def pem(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass
class ProvenRun:
    """The consortium, and its run's objects by key, which a test may change before they are written."""

    consortium: Consortium
    objects: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def make(
        cls, folder: Path, settings: RunSettings = SETTINGS, *, unsigned: frozenset[str] = frozenset()
    ) -> ProvenRun:
        """`unsigned`: sites that sign no part."""
        consortium = Consortium.ran(folder, settings)
        run = cls(consortium)
        parts = {site: part for site, part in consortium.parts().items() if site not in unsigned}
        run._write_run()
        last = {site: run.facts(site, 10**6) for site in unsigned}
        statement = consortium.statement(parts, last)
        run.objects[keys.statement(RUN)] = consortium.countersign(statement)
        run.objects[keys.model(RUN)] = MODEL
        run._write_beside(parts)
        return run

    def facts(self, site: str, releases: int) -> SiteFacts:
        """What the site told after so many releases, with the head that its ledger really had then."""
        party = next(party for party in self.consortium.parties if party.name == site)
        with party.ledger.reading() as history:
            # Each release is reserved and committed: two entries after the admission's.
            seq = min(history.runs[RUN].admit.seq + 2 * releases, history.seq)
            head = history.hashes[seq]
        earlier = {"site-1": 1}
        script = Script(settings=self.consortium.run.settings, earlier_runs=earlier)
        told = script.facts(site, min(releases, script.plan().rounds + 1))
        return told.model_copy(update={"ledger_seq": seq, "ledger_head": head})

    def replaced(self, key: str, body: bytes) -> ProvenRun:
        """The same with another object under `key`."""
        return replace(self, objects=self.objects | {key: body})

    def put(self, store: ObjectStore) -> None:
        for key, body in self.objects.items():
            store.put_once(key, body)

    def hand_out_keys(self, folder: Path) -> Path:
        """The folder of public keys, as provisioning leaves it for auditors."""
        (folder / "sites").mkdir(parents=True)
        (folder / "hub.pem").write_bytes(pem(self.consortium.hub_key))
        for site, key in self.consortium.site_keys.items():
            (folder / "sites" / f"{site}.pem").write_bytes(pem(key))
        return folder

    def keys(self) -> dict[str, str]:
        """The same in memory."""
        site_keys = {f"sites/{site}.pem": pem(key).decode() for site, key in self.consortium.site_keys.items()}
        return {"hub.pem": pem(self.consortium.hub_key).decode(), **site_keys}

    def _write_run(self) -> None:
        script = Script(settings=self.consortium.run.settings, sites=SITES)
        released = dict.fromkeys(SITES, 0)
        for _, objects in run_steps(RUN, script, simulated(BEGUN)):
            told: dict[str, Any] = {}
            for key, value in objects.items():
                changes: dict[str, object] = {}
                site = getattr(value, "site", None)
                if site is not None and getattr(value, "facts", None) is not None:
                    released[site] += "/records/" in key
                    changes["facts"] = self.facts(site, released[site])
                if key == keys.run_end(RUN):
                    changes["model_digest"] = sha256_hex(MODEL)
                told[key] = value.model_copy(update=changes)
            self.objects |= encode(told)

    def _write_beside(self, parts: dict[str, SignedPart]) -> None:
        marks = {site: fingerprint(key) for site, key in self.consortium.site_keys.items()}
        start = AllowList(at=STARTED, cause="start", sites=marks)
        listed = canonical_json(start.model_dump(mode="json"))
        self.objects[keys.allow_list("01KDYD0Q000000000000000000")] = listed
        self.objects[keys.term(1)] = f'{{"server":"a","started_at":"{STARTED.isoformat()}"}}'.encode()
        for site, signed in parts.items():
            self.objects[keys.part(RUN, site)] = canonical_json(signed.model_dump(mode="json"))
            witness = self.facts(site, 10**6)
            key = keys.witness(site, witness.dataset, witness.ledger_seq)
            self.objects[key] = canonical_json(witness.model_dump(mode="json"))
