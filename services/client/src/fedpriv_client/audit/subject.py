"""What is audited, and a laboratory in which it serves: whole sites over generated records."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedpriv_client.data.partition import CANONICAL_FORM
from fedpriv_client.data.site_data import SiteData
from fedpriv_client.privacy.ledger.ledger import Ledger, LedgerIdentity
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_client.privacy.policy import Policy
from fedpriv_client.privacy.randomness import Randomness, SystemRandomness
from fedpriv_client.privacy.requests import RunRequests
from fedpriv_client.site import Site
from fedpriv_client.training import Gradients, Trainer
from fedpriv_common.contract import DataContract, Feature, Label
from fedpriv_common.plan import Phase, Plan, RunSettings, make_plan
from fedpriv_common.recipes import Recipe
from fedpriv_common.wire import Operation, Reply, Request, encode_array

FloatArray = NDArray[np.float64]

RUN_ID = "00000000000000000000000000"
#: As wide as it can be: what is audited is whether the code keeps its claim, not whether a site would accept it.
HELD_OUT_SHARE = 0.1
_POLICY = Policy(
    epsilon=50.0, max_run_epsilon=50.0, min_noise_multiplier=1e-3, held_out_share=HELD_OUT_SHARE, min_reply_ms=0
)


def _same(plan: Plan) -> Plan:
    return plan


@dataclass(frozen=True)
class Subject:
    """The code under audit, by its parts. The defaults are what a site runs; `defects` replaces one of them."""

    randomness: Callable[[], Randomness] = SystemRandomness
    trainer: type[Trainer] = Trainer
    site: type[Site] = Site
    plan: Callable[[Plan], Plan] = _same


@cache
def lab_contract(n_features: int) -> DataContract:
    """A data contract of that many columns, each declared from −1 to 1."""
    return DataContract(
        name="audit",
        version="1",
        nominal_size=460,
        label=Label(column="label", classes=("no", "yes")),
        features=tuple(Feature(name=f"f{index}", lo=-1.0, hi=1.0) for index in range(n_features)),
    )


@cache  # calibrating a mini-batch plan takes a second
def lab_plan(recipe: Recipe, n_features: int, rounds: int | None = None) -> Plan:
    """The plan that a server would make by default for such a table, without the waiting."""
    settings = RunSettings(recipe=recipe, rounds=rounds, min_reply_ms=0)
    return make_plan(settings, lab_contract(n_features))


class LabSite:
    """A whole site, asked as a server asks it."""

    def __init__(self, site: Site, ledger: Ledger, plan: Plan) -> None:
        self.ledger = ledger
        self.plan = plan
        self._site = site

    def admit(self) -> Reply:
        """Show the site the plan."""
        return self._site.handle(
            Request(
                operation=Operation.ADMIT,
                run_id=RUN_ID,
                plan=self.plan.model_dump_json(),
                plan_digest=self.plan.digest(),
            )
        )

    def release(self, number: int, phase: Phase, parameters: FloatArray | None = None) -> Reply:
        """Ask for one release, at `parameters` (zeros if none) and with the centre at zero."""
        needs_model = phase is not Phase.CENTRE
        if needs_model and parameters is None:
            parameters = np.zeros(self.plan.model.n_parameters)
        return self._site.handle(
            Request(
                operation=Operation.RELEASE,
                run_id=RUN_ID,
                plan_digest=self.plan.digest(),
                round=number,
                phase=phase,
                parameters=b"" if parameters is None else encode_array(parameters),
                centre=encode_array(np.zeros(self.plan.model.n_features)) if needs_model and self.plan.centre else b"",
            )
        )

    def close(self) -> Reply:
        """End the run."""
        return self._site.handle(Request(operation=Operation.CLOSE, run_id=RUN_ID))

    def whole_run(self, parameters: FloatArray | None = None) -> Iterator[tuple[Phase, Reply]]:
        """Every release of the plan in its order, each at the same parameters."""
        if self.plan.centre is not None:
            yield Phase.CENTRE, self.release(0, Phase.CENTRE)
        for number in range(1, self.plan.rounds + 1):
            yield Phase.TRAIN, self.release(number, Phase.TRAIN, parameters)
            if self.plan.evaluate is not None and number in self.plan.evaluate.at:
                yield Phase.EVALUATE, self.release(number, Phase.EVALUATE, parameters)


@contextmanager
def lab_site(
    subject: Subject,
    plan: Plan,
    data: SiteData,
    *,
    randomness: Randomness | None = None,
    gradients: Gradients | None = None,
) -> Iterator[LabSite]:
    """A site of the subject's code over `data`, with a ledger of its own that ends with it."""
    contract = lab_contract(plan.model.n_features)
    with tempfile.TemporaryDirectory(prefix="fedpriv-audit-") as folder:
        store = SqliteStore.create(Path(folder) / "ledger.db")
        try:
            identity = LedgerIdentity(contract.dataset, 0, 1, HELD_OUT_SHARE, "audit", CANONICAL_FORM)
            ledger = Ledger.begin(store, Path(folder) / "marker.json", identity)

            def make_trainer(plan: Plan) -> Trainer:
                return subject.trainer(plan, data, randomness or subject.randomness(), gradients)

            requests = RunRequests(Path(folder) / "state")
            yield LabSite(subject.site(contract, _POLICY, ledger, make_trainer, requests), ledger, plan)
        finally:
            store.close()


def values(payload: bytes) -> FloatArray:
    """The numbers in a reply, whatever they are: an attacker does not decline what is not finite."""
    return np.frombuffer(payload, dtype="<f8").astype(np.float64)
