"""Signed statements as a real run leaves them: entries of real ledgers, real keys, no training."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from fedpriv_client.privacy.ledger.ledger import Ledger, LedgerIdentity
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_client.privacy.part import Signatory
from fedpriv_client.privacy.policy import Policy
from fedpriv_common.canonical import canonical_json, sha256_hex
from fedpriv_common.contract import load_contract
from fedpriv_common.plan import Phase, Plan, RunSettings, make_plan
from fedpriv_common.records import EndCause, PublicValidation, RunInfo, RunState
from fedpriv_common.statement.schema import Outcome, SignedPart, SignedStatement, Software, Statement, Timing
from fedpriv_common.statement.sign import PublicKey
from fedpriv_common.wire import SiteFacts
from fedpriv_server.notary import LocalNotary
from fedpriv_server.statement import make_statement

CONTRACT = load_contract("breast-cancer-wisconsin")
SITES = ("site-1", "site-2", "site-3")
RUN, EARLIER = "01J9ZZZZZZZZZZZZZZZZZZZZZZ", "01J9AAAAAAAAAAAAAAAAAAAAAA"
SETTINGS = RunSettings(rounds=3)
MODEL = b"the model's bytes"
SERVER = Software(code_version="0.1.0", image_digest=None, packages={"Python": "3.11"})


@dataclass(frozen=True)
class Party:
    """A site: its key, its policy, its ledger."""

    name: str
    key: ec.EllipticCurvePrivateKey
    policy: Policy
    ledger: Ledger

    @classmethod
    def begin(cls, folder: Path, number: int, policy: Policy | None = None) -> Party:
        name, rules = SITES[number], policy or Policy(held_out_share=0.2)
        identity = LedgerIdentity(CONTRACT.dataset, number, len(SITES), rules.held_out_share, "c", 1)
        store = SqliteStore.create(folder / name / "ledger.sqlite")
        return cls(
            name, ec.generate_private_key(ec.SECP256R1()), rules, Ledger.begin(store, folder / f"{name}.json", identity)
        )

    def take_part(self, run_id: str, plan: Plan, commit: bool = True) -> None:
        """Charge everything that the plan foresees."""
        delta = self.policy.delta_for(CONTRACT)
        self.ledger.admit(run_id, plan, self.policy.digest(), epsilon_limit=self.policy.epsilon, delta=delta)
        steps = [(0, Phase.CENTRE)] if plan.centre else []
        steps += [(number, Phase.TRAIN) for number in range(1, plan.rounds + 1)]
        steps += [(number, Phase.EVALUATE) for number in (plan.evaluate.at if plan.evaluate else ())]
        for number, phase in steps:
            where = (run_id, number, phase, sha256_hex(f"{number}/{phase}".encode()))
            self.ledger.reserve(*where, epsilon_limit=self.policy.epsilon)
            if commit:
                self.ledger.commit(*where, f"{self.name}/{run_id}/{number}/{phase}".encode())
        self.ledger.close(run_id)

    def part(self, run_id: str = RUN, **signatory: Any) -> SignedPart:
        timing = Timing(overran=0, counted_since=datetime(2026, 1, 1, tzinfo=UTC))
        with self.ledger.reading() as history:
            return Signatory(self.name, self.key, **signatory).sign(history, run_id, CONTRACT, self.policy, timing)


@dataclass(frozen=True)
class Consortium:
    """A hub and its sites after one run, on ledgers that have seen an earlier one."""

    hub: ed25519.Ed25519PrivateKey
    parties: tuple[Party, ...]
    run: RunInfo

    @classmethod
    def ran(cls, folder: Path, settings: RunSettings = SETTINGS) -> Consortium:
        plan = make_plan(settings, CONTRACT)
        run = RunInfo(
            run_id=RUN,
            created_at=datetime(2026, 1, 2, tzinfo=UTC),
            settings=settings,
            plan=plan,
            plan_digest=plan.digest(),
            public_validation=PublicValidation(name="public", size=113),
        )
        parties = tuple(Party.begin(folder, number) for number in range(len(SITES)))
        parties[0].take_part(EARLIER, plan)
        for party in parties:
            party.take_part(RUN, plan)
        return cls(ed25519.Ed25519PrivateKey.generate(), parties, run)

    @property
    def hub_key(self) -> PublicKey:
        return self.hub.public_key()

    @property
    def site_keys(self) -> dict[str, PublicKey]:
        return {party.name: party.key.public_key() for party in self.parties}

    def parts(self) -> dict[str, SignedPart]:
        return {party.name: party.part() for party in self.parties}

    def statement(
        self, parts: dict[str, SignedPart] | None = None, facts: dict[str, SiteFacts] | None = None
    ) -> Statement:
        outcome = Outcome(state=RunState.FINISHED, cause=EndCause.COMPLETE, rounds=self.run.plan.rounds)
        told = self.parts() if parts is None else parts
        return make_statement(self.run, CONTRACT, outcome, facts or {}, told, sha256_hex(MODEL), SERVER)

    def countersign(self, statement: Statement) -> bytes:
        """The bytes of statement.json."""
        return encode(LocalNotary(self.hub).sign(statement))


def encode(signed: SignedStatement) -> bytes:
    return canonical_json(signed.model_dump(mode="json"))


def told(**changes: Any) -> SiteFacts:
    """What a site without a part may have told last."""
    facts: dict[str, Any] = {
        "dataset": CONTRACT.dataset,
        "epsilon_run": 0.9,
        "epsilon_spent": 0.9,
        "epsilon_planned": 1.0,
        "epsilon_limit": 8.0,
        "delta": 1e-5,
        "policy_digest": "0" * 64,
        "ledger_seq": 9,
        "ledger_head": "1" * 64,
    }
    return SiteFacts(**(facts | changes))
