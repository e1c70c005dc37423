"""A site over a small table, as a process would build it."""

from functools import cache

import numpy as np
import pytest

from fedpriv_client.data.site_data import SiteData
from fedpriv_client.privacy.ledger.ledger import Ledger, LedgerIdentity
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_client.privacy.policy import Policy
from fedpriv_client.privacy.randomness import SystemRandomness
from fedpriv_client.privacy.requests import RunRequests
from fedpriv_client.site import Site
from fedpriv_client.training import Trainer
from fedpriv_common.contract import load_contract
from fedpriv_common.plan import Phase, RunSettings, make_plan
from fedpriv_common.wire import Operation, Request, encode_array

CONTRACT = load_contract("breast-cancer-wisconsin")
RUN = "01J9ZZZZZZZZZZZZZZZZZZZZZZ"


def records(count=60, seed=4):
    generator = np.random.default_rng(seed)
    return SiteData(generator.uniform(-1, 1, (count, 30)), generator.integers(0, 2, count))


class SiteOnDisk:
    """A site whose ledger outlives it: `start` is what a new process does."""

    def __init__(self, folder, policy=None, data=None, contract=CONTRACT):
        self.contract = contract
        self.ledger_path, self.marker = folder / "ledger.db", folder / "marker.json"
        self.policy = policy or Policy(min_reply_ms=0)
        self.data = data or records()
        self.trained = []
        self.requests = RunRequests(folder / "state", "https://hub:8080")
        identity = LedgerIdentity(contract.dataset, 0, 1, 0.0, "c", 1)
        Ledger.begin(SqliteStore.create(self.ledger_path), self.marker, identity)

    def start(self):
        self.ledger = Ledger.open(SqliteStore.open(self.ledger_path), self.marker)
        return Site(self.contract, self.policy, self.ledger, self._trainer, self.requests)

    def _trainer(self, plan):
        outer, trainer = self, Trainer(plan, self.data, SystemRandomness())

        class Watched:
            def release(self, phase, parameters, centre):
                outer.trained.append((phase, len(list(outer.ledger.export()))))
                return trainer.release(phase, parameters, centre)

        return Watched()


@cache  # calibrating a mini-batch plan takes a second
def plan_of(**settings):
    return make_plan(RunSettings(min_reply_ms=0, **settings), CONTRACT)


def admission(of, run_id=RUN, **changes):
    fields = {
        "operation": Operation.ADMIT,
        "run_id": run_id,
        "plan": of.model_dump_json(),
        "plan_digest": of.digest(),
    }
    return Request(**(fields | changes))


def release(of, number, phase, run_id=RUN, **changes):
    train = phase == "train"
    fields = {
        "operation": Operation.RELEASE,
        "run_id": run_id,
        "plan_digest": of.digest(),
        "round": number,
        "phase": Phase(phase),
        "parameters": encode_array(np.zeros(of.model.n_parameters)) if train else b"",
        "centre": encode_array(np.zeros(30)) if train and of.centre else b"",
    }
    return Request(**(fields | changes))


@pytest.fixture
def on_disk(tmp_path):
    return SiteOnDisk(tmp_path)
