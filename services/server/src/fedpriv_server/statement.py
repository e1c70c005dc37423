"""The hub's part of a privacy statement: what a run released, under which guarantee, and what it does not cover.

It is not signed yet and says so: `signatures` is empty, and the figures of a site are the site's own words until its
part is signed with its node key.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from fedpriv_common.plan import Release
from fedpriv_common.records import RunInfo
from fedpriv_common.wire import SiteFacts

#: Stated plainly, because a guarantee that is silent about its edges is read as wider than it is.
NOT_PROTECTED: Final = (
    "that a site takes part, and when it answers: answers wait for min_reply_ms, but work that takes longer shows",
    "the declared nominal size, the data contract, and the choice of recipe, epsilon and delta",
    "a person with several records: the unit is one record, as `unit` says",
    "what a site itself does with its records, and the site's machine",
    "a ledger that a site's operator and the hub set back together",
)


def make_statement(run: RunInfo, facts: Mapping[str, SiteFacts], model_digest: str) -> dict[str, Any]:
    """The statement as JSON. `facts`: what each site last said of its budget."""
    plan = run.plan
    releases = [release for release in (plan.centre, plan.train) if release is not None]
    return {
        "schema_version": "1.0",
        "run_id": run.run_id,
        "name": run.settings.name,
        "created_at": run.created_at.isoformat(),
        "guarantee": {
            "kind": "record-level differential privacy at each site, against everyone outside the site",
            "adjacency": plan.adjacency,
            "unit": plan.unit,
            "epsilon_target": plan.epsilon,
            "delta": plan.delta,
            "accountant": "exact composition of Gaussians for full batches; else the smaller of PLD "
            "(dp-accounting, interval 1e-4) and RDP",
        },
        "plan": plan.model_dump(mode="json"),
        "plan_digest": run.plan_digest,
        "mechanisms": [_mechanism(release) for release in releases],
        "sites": [_site(name, facts[name], releases) for name in sorted(facts)],
        "model_digest": model_digest,
        "public_validation": None
        if run.public_validation is None
        else run.public_validation.model_dump(mode="json")
        | {"use": "shown as a learning curve; no round, weight or setting was chosen by it"},
        "not_protected": list(NOT_PROTECTED),
        "versions": {name: version(name) for name in ("fedpriv-server", "fedpriv-common", "flwr", "dp-accounting")},
        "signatures": [],
        "signed": False,
        "unsigned_means": "epsilon, policy and ledger head of each site are what the site told the hub",
    }


def _mechanism(release: Release) -> dict[str, Any]:
    return {
        "phase": release.phase.value,
        "mechanism": release.mechanism,
        "noise_multiplier": release.noise_multiplier,
        "max_grad_norm": release.max_grad_norm,
        "sample_rate": release.sample_rate,
        "steps": release.steps,
        "rounds": release.rounds,
    }


def _site(name: str, facts: SiteFacts, releases: list[Release]) -> dict[str, Any]:
    entries = {release.phase.value: release.rounds for release in releases}
    return {"site": name, **facts.model_dump(mode="json"), "entries_planned": entries}
